//! Requests against the tree and what is outstanding: which error wins, what
//! a batch leaves behind, and that the digest promised in each transaction is
//! the digest of the tree that it makes.

mod leader;

use std::sync::Arc;

use leader::{
    Leader, SESSION, create, create_ttl, create_with, delete, multi, path_only, set, set_acl,
};
use zk_core::LogEntry;
use zk_core::config::ZnodeConfig;
use zk_core::request::{Prep, apply};
use zk_core::watch::WatchTable;
use zk_proto::client::{Acl, ErrorCode, Id, OpCode};
use zk_proto::txn::{CreateTxn, Txn, TxnHeader, decode_txn, encode_txn};
use zk_proto::{Epoch, Xid, Zxid};

#[test]
fn the_error_that_the_reference_checks_first_wins() {
    let bob = Acl {
        perms: 31,
        id: Id {
            scheme: "sasl".into(),
            id: "bob".into(),
        },
    };
    let read_only = Acl {
        perms: 1,
        id: Id::anyone(),
    };
    let mut leader = Leader::new();
    for (path, flags) in [("/a", 0), ("/a/b", 0), ("/e", 1)] {
        assert_eq!(leader.error(OpCode::Create, create(path, flags)), 0);
    }
    for path in ["/r", "/r/c"] {
        assert_eq!(leader.error(OpCode::Create, create(path, 0)), 0);
    }
    let list = set_acl("/r", Some(vec![read_only]), -1);
    assert_eq!(leader.error(OpCode::SetAcl, list), 0);
    let cases: &[(OpCode, Vec<u8>, ErrorCode)] = &[
        (OpCode::Create, create("/a", 9), ErrorCode::BadArguments),
        (OpCode::Create, create("a", 0), ErrorCode::BadArguments),
        (
            OpCode::Create,
            create_with("/no/x", 0, Some(vec![])),
            ErrorCode::InvalidAcl,
        ),
        (
            OpCode::Create,
            create_with("/x", 0, None),
            ErrorCode::InvalidAcl,
        ),
        (
            OpCode::Create,
            create_with("/x", 0, Some(vec![bob])),
            ErrorCode::InvalidAcl,
        ),
        (OpCode::Create, create("/no/x", 0), ErrorCode::NoNode),
        (OpCode::Create, create("/a//b", 0), ErrorCode::NoNode),
        (OpCode::Create, create("/r/x", 0), ErrorCode::NoAuth),
        (
            OpCode::Create,
            create("/a/\u{1}", 0),
            ErrorCode::BadArguments,
        ),
        (OpCode::Create, create("/a/", 0), ErrorCode::BadArguments),
        (OpCode::Create, create("/a/b", 0), ErrorCode::NodeExists),
        (OpCode::Create, create("/", 0), ErrorCode::NodeExists),
        (
            OpCode::Create,
            create("/e/x", 0),
            ErrorCode::NoChildrenForEphemerals,
        ),
        (
            OpCode::Create,
            vec![0, 0, 0, 9],
            ErrorCode::MarshallingError,
        ),
        (
            OpCode::Delete,
            delete("/zookeeper", -1),
            ErrorCode::BadArguments,
        ),
        (OpCode::Delete, delete("a", -1), ErrorCode::BadArguments),
        (OpCode::Delete, delete("/a//b", -1), ErrorCode::NoNode),
        (OpCode::Delete, delete("/no", -1), ErrorCode::NoNode),
        (OpCode::Delete, delete("/no/x", -1), ErrorCode::NoNode),
        (OpCode::Delete, delete("/r/no", -1), ErrorCode::NoAuth),
        (OpCode::Delete, delete("/r/c", 7), ErrorCode::NoAuth),
        (OpCode::Delete, delete("/a", 7), ErrorCode::BadVersion),
        (OpCode::Delete, delete("/a", 0), ErrorCode::NotEmpty),
        (OpCode::SetData, set("a", None, -1), ErrorCode::BadArguments),
        (OpCode::SetData, set("/no", None, 3), ErrorCode::NoNode),
        (OpCode::SetData, set("/r", None, 3), ErrorCode::NoAuth),
        (OpCode::SetData, set("/a", None, 3), ErrorCode::BadVersion),
        (OpCode::Create, create("/a", 5), ErrorCode::BadArguments),
        (
            OpCode::CreateContainer,
            create("/no/x", 4),
            ErrorCode::NoNode,
        ),
        (
            OpCode::CreateContainer,
            create("/x", 6),
            ErrorCode::BadArguments,
        ),
        (
            OpCode::CreateContainer,
            create("/e/x", 4),
            ErrorCode::NoChildrenForEphemerals,
        ),
        (
            OpCode::CreateTtl,
            create_ttl("/no/x", 0, 5),
            ErrorCode::BadArguments,
        ),
        (
            OpCode::CreateTtl,
            create_ttl("/no/x", 0, -1),
            ErrorCode::BadArguments,
        ),
        (
            OpCode::CreateTtl,
            create_ttl("/no/x", 5, 0),
            ErrorCode::BadArguments,
        ),
        (
            OpCode::CreateTtl,
            create_ttl("/no/x", 5, 1 << 40),
            ErrorCode::BadArguments,
        ),
        (
            OpCode::CreateTtl,
            create_ttl("/no/x", 5, (1 << 40) - 1),
            ErrorCode::NoNode,
        ),
        (
            OpCode::CreateTtl,
            create("/x", 5),
            ErrorCode::MarshallingError,
        ),
        (
            OpCode::SetAcl,
            set_acl("no", None, 3),
            ErrorCode::BadArguments,
        ),
        (
            OpCode::SetAcl,
            set_acl("/no", Some(vec![]), 3),
            ErrorCode::InvalidAcl,
        ),
        (
            OpCode::SetAcl,
            set_acl("/no", Some(vec![Acl::open()]), 3),
            ErrorCode::NoNode,
        ),
        (
            OpCode::SetAcl,
            set_acl("/r", Some(vec![Acl::open()]), 3),
            ErrorCode::NoAuth,
        ),
        (
            OpCode::SetAcl,
            set_acl("/a", Some(vec![Acl::open()]), 3),
            ErrorCode::BadVersion,
        ),
        (
            OpCode::DeleteContainer,
            path_only("/zookeeper/quota"),
            ErrorCode::BadArguments,
        ),
        (
            OpCode::DeleteContainer,
            path_only("no"),
            ErrorCode::BadArguments,
        ),
        (OpCode::DeleteContainer, path_only("/no"), ErrorCode::NoNode),
        (
            OpCode::DeleteContainer,
            path_only("/no/x"),
            ErrorCode::NoNode,
        ),
        (
            OpCode::DeleteContainer,
            path_only("/a"),
            ErrorCode::NotEmpty,
        ),
        (
            OpCode::DeleteContainer,
            path_only("/e"),
            ErrorCode::BadVersion,
        ),
        (
            OpCode::DeleteContainer,
            path_only("/r/c"),
            ErrorCode::NoAuth,
        ),
        (
            OpCode::Reconfig,
            vec![0xff; 12],
            ErrorCode::MarshallingError,
        ),
        (
            OpCode::Reconfig,
            vec![0xff; 20],
            ErrorCode::ReconfigDisabled,
        ),
    ];
    for apply_first in [false, true] {
        if apply_first {
            leader.apply_all();
        }
        for (op, body, want) in cases {
            let error = leader.error(*op, body.clone());
            assert_eq!(
                error,
                want.code(),
                "{op:?} {:?}",
                String::from_utf8_lossy(body)
            );
        }
    }
    let refused = leader.propose_as(
        Err(ErrorCode::SessionExpired),
        OpCode::SetData,
        set("/no", None, 3),
    );
    assert_eq!(
        decode_txn(&refused.data).unwrap().1,
        Txn::Error(ErrorCode::SessionExpired.code())
    );
    leader.apply_all();
}

#[test]
fn a_refused_request_takes_a_zxid_and_no_digest() {
    let mut leader = Leader::new();
    let entry = leader.propose(OpCode::Delete, delete("/no", -1));
    assert_eq!((entry.zxid, entry.data.len()), (Zxid(0x1_0000_0001), 36));
    assert_eq!(
        leader.propose(OpCode::Create, create("/a", 0)).zxid,
        Zxid(0x1_0000_0002)
    );
}

#[test]
fn sequence_numbers_follow_the_creations_and_overflow_as_in_java() {
    let path_of = |entry: &LogEntry| match decode_txn(&entry.data).unwrap().1 {
        Txn::Create(create) => create.path.into_owned(),
        other => panic!("{other:?}"),
    };
    let mut leader = Leader::new();
    leader.propose(OpCode::Create, create("/q", 0));
    assert_eq!(
        path_of(&leader.propose(OpCode::Create, create("/q/n-", 2))),
        "/q/n-0000000000"
    );
    leader.propose(OpCode::Create, create("/q/plain", 0));
    let failing = multi(&[
        (OpCode::Create, create("/q/n-", 2)),
        (OpCode::Delete, delete("/no", -1)),
    ]);
    leader.propose(OpCode::Multi, failing);
    assert_eq!(
        path_of(&leader.propose(OpCode::Create, create("/q/", 3))),
        "/q/0000000002"
    );
    leader.apply_all();
    let header = TxnHeader {
        session: SESSION,
        cxid: Xid(1),
        zxid: Zxid(0x1_0000_0100),
        time_ms: 0,
        kind: 1,
    };
    let last = CreateTxn {
        path: "/q/last".into(),
        data: None,
        acl: vec![Acl::open()],
        ephemeral: false,
        parent_cversion: i32::MAX,
    };
    let mut data = Vec::new();
    encode_txn(&mut data, &header, &Txn::Create(last), None);
    apply(
        &mut leader.tree,
        &mut WatchTable::default(),
        &data,
        &mut |_, _, _| {},
    )
    .unwrap();
    leader.prep = Prep::new(
        Epoch(2),
        leader.tree.digest(),
        Arc::default(),
        ZnodeConfig::default(),
    );
    for want in ["/q/2147483647", "/q/-2147483648", "/q/-2147483647"] {
        assert_eq!(
            path_of(&leader.propose(OpCode::Create, create("/q/", 2))),
            want
        );
    }
}

#[test]
fn a_failed_multi_is_logged_and_leaves_nothing_behind() {
    let mut leader = Leader::new();
    leader.propose(OpCode::Create, create("/a", 0));
    let entry = leader.propose(
        OpCode::Multi,
        multi(&[
            (OpCode::Create, create("/a/b", 0)),
            (OpCode::SetData, set("/a/b", Some(b"x"), 0)),
            (OpCode::Check, delete("/a/b", 0)),
            (OpCode::Delete, delete("/a/b", -1)),
        ]),
    );
    let Txn::Multi(txns) = decode_txn(&entry.data).unwrap().1 else {
        panic!("no multi")
    };
    assert!(matches!(txns[0], Txn::Create(_)) && matches!(txns[1], Txn::SetData(_)));
    assert_eq!(txns[2..], [Txn::Error(-103), Txn::Error(-2)]);
    assert_eq!(
        leader.error(OpCode::Delete, delete("/a/b", -1)),
        ErrorCode::NoNode.code()
    );
    assert_eq!(
        leader.error(OpCode::Delete, delete("/a", 0)),
        0,
        "no child was left"
    );
    leader.apply_all();
    assert!(leader.tree.znode("/a").is_none());
    assert_eq!(
        leader.error(OpCode::Multi, multi(&[(OpCode::GetData, vec![])])),
        -5
    );
}

#[test]
fn closing_a_session_takes_its_outstanding_ephemerals_along() {
    let mut leader = Leader::new();
    leader.propose(OpCode::CreateSession, vec![0, 0, 0x10, 0]);
    leader.propose(OpCode::Create, create("/applied", 1));
    leader.propose(OpCode::Create, create("/gone", 1));
    leader.apply_all();
    leader.propose(OpCode::Delete, delete("/gone", -1));
    leader.propose(OpCode::Create, create("/outstanding", 1));
    let entry = leader.propose(OpCode::CloseSession, Vec::new());
    let closed = vec!["/applied".into(), "/outstanding".into()];
    assert_eq!(
        decode_txn(&entry.data).unwrap().1,
        Txn::CloseSession(Some(closed))
    );
    leader.apply_all();
    assert!(leader.tree.znode("/outstanding").is_none() && leader.tree.sessions().is_empty());
}

#[test]
fn digests_hold_however_far_application_lags() {
    for seed in 1..40_u64 {
        let mut rng = seed;
        let mut pick = |n: u64| {
            rng ^= rng << 13;
            rng ^= rng >> 7;
            rng ^= rng << 17;
            rng % n
        };
        let mut leader = Leader::new();
        leader.propose(OpCode::CreateSession, vec![0, 0, 0x10, 0]);
        for _ in 0..300 {
            let mut path = String::new();
            for _ in 0..=pick(2) {
                path.push('/');
                path.push(char::from(b'a' + u8::try_from(pick(4)).unwrap()));
            }
            let mut one = |path: &str| match pick(6) {
                0 | 1 => (
                    OpCode::Create,
                    create(path, i32::try_from(pick(4)).unwrap()),
                ),
                2 => (OpCode::Delete, delete(path, -1)),
                3 => (OpCode::SetData, set(path, None, -1)),
                _ => (OpCode::SetData, set(path, Some(path.as_bytes()), -1)),
            };
            let (op, body) = one(&path);
            let batch = multi(&[(op, body.clone()), one("/a"), one("/a/b")]);
            match pick(12) {
                0 => leader.propose(OpCode::CloseSession, Vec::new()),
                1..=3 => leader.propose(OpCode::Multi, batch),
                _ => leader.propose(op, body),
            };
            for _ in 0..pick(3) {
                if !leader.unapplied.is_empty() {
                    leader.apply_one();
                }
            }
        }
        leader.apply_all();
        assert_eq!(leader.prep.outstanding_changes(), 0, "seed {seed}");
    }
}
