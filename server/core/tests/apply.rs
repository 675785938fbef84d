//! One test per rule of applying transactions.

mod support;

use support::{
    Replica, SESSION, check_sums, create, create_txn, entry, ephemeral, grant, set_acl, set_data,
};
use zk_core::request::Reply;
use zk_core::tree::{CONFIG_PATH, Owner, Tree};
use zk_proto::client::{ErrorCode, MultiResult, Stat, perms};
use zk_proto::txn::{CreateTxn, SetDataTxn, TREE_DIGEST_EMPTY, Txn};
use zk_proto::{SessionId, Zxid};

fn stat(tree: &Tree, path: &str) -> Stat {
    tree.znode(path)
        .unwrap_or_else(|| panic!("{path} is missing"))
        .stat()
}

fn err(error: ErrorCode) -> MultiResult {
    MultiResult::Error(error.code())
}

#[test]
fn a_new_tree_is_the_reference_s() {
    let tree = Tree::new();
    assert_eq!(tree.digest(), TREE_DIGEST_EMPTY);
    assert_eq!(tree.znode_count(), 4);
    assert_eq!(tree.znode("").unwrap().path(), "/");
    assert_eq!(
        stat(&tree, "/"),
        Stat {
            cversion: -1,
            num_children: 1,
            ..Stat::default()
        }
    );
    let config = tree.znode(CONFIG_PATH).unwrap();
    assert_eq!(
        (config.stat().aversion, config.acl()[0].perms),
        (-1, perms::READ)
    );
    check_sums(&tree);
}

#[test]
fn the_config_shows_its_version_as_mzxid() {
    let mut tree = Tree::new();
    tree.set_config(
        "server.1=a:2888:3888:participant\nversion=0",
        Zxid(0x1_0000_0000),
        77,
    );
    let config = tree.znode(CONFIG_PATH).unwrap();
    let Stat {
        version,
        mzxid,
        mtime,
        aversion,
        ..
    } = config.stat();
    assert_eq!(
        (version, mzxid, mtime, aversion),
        (-1, Zxid(0x1_0000_0000), 77, -1)
    );
    assert_eq!(tree.digest(), TREE_DIGEST_EMPTY);
    check_sums(&tree);
}

#[test]
fn create_sets_both_stats() {
    let mut replica = Replica::new();
    replica.apply(&create("/a"));
    let applied = replica.apply(&Txn::Create2(create_txn("/a/b")));
    let zxid = Zxid(2);
    let child = Stat {
        czxid: zxid,
        mzxid: zxid,
        pzxid: zxid,
        ctime: 2000,
        mtime: 2000,
        data_length: 1,
        ..Stat::default()
    };
    assert_eq!(
        (applied.err, applied.reply),
        (0, Reply::PathStat("/a/b".into(), child))
    );
    assert_eq!(stat(&replica.tree, "/a/b"), child);
    let parent = stat(&replica.tree, "/a");
    assert_eq!(
        (
            parent.pzxid,
            parent.cversion,
            parent.num_children,
            parent.mzxid
        ),
        (zxid, 1, 1, Zxid(1))
    );
    assert_eq!(replica.tree.last_zxid(), zxid);
}

#[test]
fn cversion_counts_creations_and_deletions() {
    let mut replica = Replica::new();
    for txn in [
        create("/p"),
        create("/p/a"),
        create("/p/b"),
        Txn::Delete("/p/a".into()),
    ] {
        assert_eq!(replica.apply(&txn).err, 0);
    }
    let parent = replica.tree.znode("/p").unwrap();
    let Stat {
        cversion,
        num_children,
        pzxid,
        ..
    } = parent.stat();
    assert_eq!((cversion, num_children, pzxid), (3, 1, Zxid(4)));
    assert_eq!(parent.stat_persisted().cversion, 2);
}

#[test]
fn the_parent_s_cversion_only_rises() {
    let mut replica = Replica::new();
    replica.apply(&create("/p"));
    for (path, parent_cversion, want_cversion, want_pzxid) in [
        ("/p/a", 5, 5, 2),
        // Replay over a fuzzy snapshot: the parent has seen later changes.
        ("/p/b", 3, 5, 2),
        ("/p/c", -1, 6, 4),
    ] {
        replica.apply(&Txn::Create(CreateTxn {
            parent_cversion,
            ..create_txn(path)
        }));
        let parent = *replica.tree.znode("/p").unwrap().stat_persisted();
        assert_eq!(
            (parent.cversion, parent.pzxid),
            (want_cversion, Zxid(want_pzxid)),
            "{path}"
        );
    }
}

#[test]
fn a_create_that_finds_its_znode_replaces_the_acl() {
    let again = |parent_cversion| CreateTxn {
        acl: vec![grant(perms::ALL, "10.0.0.1")],
        parent_cversion,
        ..create_txn("/p/a")
    };
    // Only the oldest kind raises the parent.
    for (txn, cversion) in [
        (Txn::Create(again(7)), 7),
        (Txn::Create2(again(7)), 1),
        (Txn::CreateContainer(again(7)), 1),
    ] {
        let mut replica = Replica::new();
        replica.apply(&create("/p"));
        replica.apply(&create("/p/a"));
        let applied = replica.apply(&txn);
        assert_eq!(
            (applied.err, applied.reply),
            (ErrorCode::NodeExists.code(), Reply::None)
        );
        assert_eq!(replica.tree.znode("/p/a").unwrap().acl(), again(7).acl);
        assert_eq!(
            replica.tree.znode("/p").unwrap().stat_persisted().cversion,
            cversion,
            "{txn:?}"
        );
        check_sums(&replica.tree);
    }
}

#[test]
fn paths_that_cannot_be_change_nothing() {
    let mut replica = Replica::new();
    for (txn, want) in [
        (create("/a/b"), ErrorCode::NoNode),
        (Txn::Create2(create_txn("/")), ErrorCode::NodeExists),
        (create("a"), ErrorCode::NoNode),
        (Txn::Create2(create_txn("")), ErrorCode::NodeExists),
        (Txn::Delete("/".into()), ErrorCode::NoNode),
        (Txn::Delete("".into()), ErrorCode::NoNode),
        (Txn::Delete("a".into()), ErrorCode::NoNode),
        (Txn::Delete("/a/b".into()), ErrorCode::NoNode),
        (set_data("/a", None, 1), ErrorCode::NoNode),
        (
            set_acl("/a", vec![grant(1, "10.0.0.1")], 1),
            ErrorCode::NoNode,
        ),
    ] {
        assert_eq!(replica.apply(&txn).err, want.code(), "{txn:?}");
        assert_eq!(replica.tree.digest(), TREE_DIGEST_EMPTY, "{txn:?}");
        check_sums(&replica.tree);
    }
}

#[test]
fn a_deletion_moves_the_parent_s_pzxid_even_if_the_znode_is_gone() {
    let mut replica = Replica::new();
    replica.apply(&create("/p"));
    assert_eq!(
        replica.apply(&Txn::Delete("/p/gone".into())).err,
        ErrorCode::NoNode.code()
    );
    assert_eq!(stat(&replica.tree, "/p").pzxid, Zxid(2));
    // Never down.
    replica.apply_entry(&entry(
        Zxid(1),
        SESSION,
        &Txn::Delete("/p/gone".into()),
        None,
    ));
    assert_eq!(stat(&replica.tree, "/p").pzxid, Zxid(2));
    assert_eq!(replica.tree.last_zxid(), Zxid(2));
}

#[test]
fn a_deletion_takes_along_what_a_fuzzy_snapshot_brought_too_early() {
    // In truth: create /a, delete /a, create /a, create /a/b, create /a/b/c;
    // the snapshot of the start was written after all of that.
    let mut replica = Replica::new();
    for txn in [
        create("/a"),
        ephemeral("/a/b"),
        create("/a/b/c"),
        Txn::Delete("/a".into()),
    ] {
        assert_eq!(replica.apply(&txn).err, 0);
    }
    check_sums(&replica.tree);
    assert_eq!(
        (replica.tree.znode_count(), replica.tree.ephemerals_count()),
        (4, 0)
    );
    for txn in [create("/a"), ephemeral("/a/b"), create("/a/b/c")] {
        assert_eq!(replica.apply(&txn).err, 0);
    }
    assert_eq!(
        replica
            .tree
            .znode("/a/b")
            .unwrap()
            .children()
            .collect::<Vec<_>>(),
        ["c"]
    );
    check_sums(&replica.tree);
}

#[test]
fn set_data_and_set_acl_take_the_given_versions() {
    let mut replica = Replica::new();
    replica.apply(&create("/a"));
    let Reply::Stat(set) = replica.apply(&set_data("/a", None, 9)).reply else {
        panic!("no stat")
    };
    assert_eq!(
        (
            set.version,
            set.mzxid,
            set.mtime,
            set.data_length,
            set.pzxid
        ),
        (9, Zxid(2), 2000, 0, Zxid(1))
    );
    assert_eq!(replica.tree.znode("/a").unwrap().data(), None);
    let acl = vec![grant(perms::READ, "10.0.0.0/8")];
    let Reply::Stat(set) = replica.apply(&set_acl("/a", acl.clone(), 4)).reply else {
        panic!("no stat")
    };
    assert_eq!((set.aversion, set.mzxid, set.version), (4, Zxid(2), 9));
    assert_eq!(replica.tree.znode("/a").unwrap().acl(), acl);
    replica.apply(&Txn::Reconfig(SetDataTxn {
        path: CONFIG_PATH.into(),
        data: Some(b"version=4"),
        version: -1,
    }));
    assert_eq!(
        (
            stat(&replica.tree, CONFIG_PATH).mzxid,
            stat(&replica.tree, CONFIG_PATH).version
        ),
        (Zxid(4), -1)
    );
    check_sums(&replica.tree);
}

#[test]
fn kinds_of_owners() {
    let mut replica = Replica::new();
    for (txn, owner, shown) in [
        (create("/p"), Owner::Persistent, 0),
        (ephemeral("/e"), Owner::Session(SESSION), SESSION.0),
        (Txn::CreateContainer(create_txn("/c")), Owner::Container, 0),
        (Txn::CreateTtl(create_txn("/t"), 5000), Owner::Ttl(5000), 0),
    ] {
        assert_eq!(replica.apply(&txn).err, 0);
        let (Txn::Create(create) | Txn::CreateContainer(create) | Txn::CreateTtl(create, _)) = txn
        else {
            unreachable!("the list has no other kind")
        };
        let znode = replica.tree.znode(&create.path).unwrap();
        assert_eq!(
            (znode.owner(), znode.stat().ephemeral_owner),
            (owner, SessionId(shown))
        );
    }
    assert_eq!(replica.tree.ephemerals(SESSION).collect::<Vec<_>>(), ["/e"]);
    replica.apply(&Txn::DeleteContainer("/c".into()));
    replica.apply(&Txn::Delete("/e".into()));
    assert_eq!(
        (replica.tree.ephemerals_count(), replica.tree.znode_count()),
        (0, 6)
    );
}

#[test]
fn a_batch_shares_its_zxid_and_sees_itself() {
    let mut replica = Replica::new();
    let applied = replica.apply(&Txn::Multi(vec![
        create("/a"),
        Txn::Check("/a".into(), 1),
        Txn::Create2(create_txn("/a/b")),
        set_data("/a", Some(b"xy"), 1),
        Txn::Delete("/a/b".into()),
    ]));
    let a = stat(&replica.tree, "/a");
    assert_eq!(
        (a.czxid, a.mzxid, a.pzxid, a.version, a.cversion),
        (Zxid(1), Zxid(1), Zxid(1), 1, 2)
    );
    let Reply::Multi(results) = applied.reply else {
        panic!("no results")
    };
    let [
        MultiResult::Create(path),
        MultiResult::Check,
        MultiResult::Create2(child, _),
        MultiResult::SetData(set),
        MultiResult::Delete,
    ] = &results[..]
    else {
        panic!("{results:?}")
    };
    assert_eq!((&**path, &**child, set.num_children), ("/a", "/a/b", 1));
}

#[test]
fn of_a_failed_batch_nothing_is_done() {
    let mut replica = Replica::new();
    let txn = Txn::Multi(vec![
        create("/a"),
        create("/b"),
        Txn::Error(-101),
        Txn::Error(-2),
        create("/c"),
    ]);
    let applied = replica.apply(&txn);
    let inconsistent = err(ErrorCode::RuntimeInconsistency);
    let results = vec![
        err(ErrorCode::Ok),
        err(ErrorCode::Ok),
        err(ErrorCode::NoNode),
        inconsistent.clone(),
        inconsistent,
    ];
    assert_eq!((applied.err, applied.reply), (0, Reply::Multi(results)));
    assert_eq!(
        (replica.tree.znode_count(), replica.tree.last_zxid()),
        (4, Zxid(1))
    );
    let moved = replica.apply(&Txn::Multi(vec![Txn::Error(
        ErrorCode::SessionMoved.code(),
    )]));
    assert_eq!(moved.err, ErrorCode::SessionMoved.code());
}
