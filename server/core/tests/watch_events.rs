//! Whom a transaction tells of what.

mod support;

use std::sync::Arc;

use support::{
    Event, Replica, SESSION, check_sums, create, create_txn, ephemeral, grant, set_acl, set_data,
};
use zk_core::ConnId;
use zk_core::watch::WatchKind;
use zk_proto::Zxid;
use zk_proto::client::EventKind::{NodeChildrenChanged, NodeCreated, NodeDataChanged, NodeDeleted};
use zk_proto::client::perms;
use zk_proto::txn::{CreateTxn, Txn};

#[test]
fn sessions_come_and_go_with_their_ephemerals() {
    let mut replica = Replica::new();
    let opened = replica.apply(&Txn::CreateSession(30_000));
    assert_eq!(opened.opened_session, Some((SESSION, 30_000)));
    assert_eq!(replica.tree.sessions().get(&SESSION), Some(&30_000));
    for path in ["/z", "/y", "/x"] {
        replica.apply(&ephemeral(path));
    }
    replica.apply(&create("/other"));
    replica
        .watches
        .register_conn(ConnId(1), SESSION, Arc::default());
    assert!(replica.watches.add("/x", ConnId(1), WatchKind::Data));
    assert!(
        replica.watches.add("/y", ConnId(1), WatchKind::Data)
            && replica.watches.add("/z", ConnId(1), WatchKind::Data)
    );
    let closed = replica.apply(&Txn::CloseSession(Some(vec![
        "/z".into(),
        "/gone".into(),
        "/y".into(),
    ])));
    assert_eq!(closed.closed_session, Some(SESSION));
    assert_eq!(
        replica.events,
        ["/z", "/y", "/x"].map(|path| (1, NodeDeleted, path.to_owned()))
    );
    assert!(replica.tree.sessions().is_empty());
    assert_eq!(
        (
            replica.tree.znode_count(),
            replica.tree.znode("/").unwrap().stat().pzxid
        ),
        (5, Zxid(6))
    );
    // The form before 3.6.
    replica.apply(&ephemeral("/late"));
    replica.apply(&Txn::CloseSession(None));
    assert!(replica.tree.znode("/late").is_none());
    check_sums(&replica.tree);
}

#[test]
fn which_changes_tell_whom() {
    let both = |path: &str| {
        vec![
            (1, NodeDeleted, path.to_owned()),
            (2, NodeDeleted, path.to_owned()),
        ]
    };
    let parent = |path: &str| (2, NodeChildrenChanged, path.to_owned());
    let cases: [(Txn<'_>, Vec<Event>); 6] = [
        (
            create("/p/new"),
            vec![(1, NodeCreated, "/p/new".into()), parent("/p")],
        ),
        (
            Txn::Delete("/p/old".into()),
            [both("/p/old"), vec![parent("/p")]].concat(),
        ),
        (
            set_data("/p/old", None, 1),
            vec![(1, NodeDataChanged, "/p/old".into())],
        ),
        (set_acl("/p/old", vec![grant(1, "10.0.0.1")], 1), vec![]),
        (Txn::Error(-101), vec![]),
        (
            Txn::Multi(vec![
                set_data("/p/old", None, 1),
                Txn::Delete("/p/old".into()),
            ]),
            // The first has used the data watch up.
            vec![
                (1, NodeDataChanged, "/p/old".into()),
                (2, NodeDeleted, "/p/old".into()),
                parent("/p"),
            ],
        ),
    ];
    for (txn, want) in cases {
        let mut replica = Replica::new();
        replica.apply(&create("/p"));
        replica.apply(&create("/p/old"));
        for conn in [ConnId(1), ConnId(2)] {
            replica.watches.register_conn(conn, SESSION, Arc::default());
        }
        for path in ["/p/old", "/p/new"] {
            assert!(
                replica.watches.add(path, ConnId(1), WatchKind::Data)
                    && replica.watches.add(path, ConnId(2), WatchKind::Children)
            );
        }
        assert!(replica.watches.add("/p", ConnId(2), WatchKind::Children));
        replica.apply(&txn);
        assert_eq!(replica.events, want, "{txn:?}");
    }
}

#[test]
fn events_pass_the_acl_of_the_znode_they_name() {
    let mut replica = Replica::new();
    let secret = |path| {
        Txn::Create(CreateTxn {
            acl: vec![grant(perms::READ, "10.0.0.1")],
            ..create_txn(path)
        })
    };
    replica.apply(&create("/p"));
    for (conn, ip) in [(1, "10.0.0.1"), (2, "10.0.0.2")] {
        replica
            .watches
            .register_conn(ConnId(conn), SESSION, [grant(0, ip).id].into());
        assert!(
            replica.watches.add("/p/s", ConnId(conn), WatchKind::Data)
                && replica.watches.add("/p", ConnId(conn), WatchKind::Children)
        );
    }
    replica.apply(&secret("/p/s"));
    let told = [
        (1, NodeCreated, "/p/s"),
        (1, NodeChildrenChanged, "/p"),
        (2, NodeChildrenChanged, "/p"),
    ];
    assert_eq!(
        replica.events,
        told.map(|(conn, kind, path)| (conn, kind, path.to_owned()))
    );
    assert_eq!(replica.watches.count(), 0);
}
