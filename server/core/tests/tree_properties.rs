//! What holds after any transactions.

mod support;

use proptest::collection::vec;
use proptest::prelude::*;
use support::{Replica, check_sums, create_txn, entry, grant, set_acl, set_data};
use zk_core::request::replay;
use zk_core::tree::Tree;
use zk_proto::client::perms;
use zk_proto::txn::{CreateTxn, Txn};
use zk_proto::{SessionId, Zxid};

#[derive(Clone, Debug)]
enum Op {
    Create {
        path: String,
        ephemeral: bool,
        acl: Option<u8>,
        data: Option<Vec<u8>>,
        parent_cversion: i32,
    },
    CreateContainer(String),
    CreateTtl(String, i64),
    Delete(String),
    SetData(String, Option<Vec<u8>>, i32),
    SetAcl(String, u8, i32),
    OpenSession,
    CloseSession(Option<Vec<String>>),
    Multi(Vec<Self>),
    Error,
}

/// Few names, so that transactions meet.
fn path() -> impl Strategy<Value = String> {
    vec(prop::sample::select(vec!["a", "b", "č"]), 1..4)
        .prop_map(|names| format!("/{}", names.join("/")))
}

fn data() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop::option::of(vec(any::<u8>(), 0..4))
}

fn single() -> impl Strategy<Value = Op> {
    let create = (
        path(),
        any::<bool>(),
        prop::option::of(0..4_u8),
        data(),
        -1..6,
    )
        .prop_map(|(path, ephemeral, acl, data, parent_cversion)| Op::Create {
            path,
            ephemeral,
            acl,
            data,
            parent_cversion,
        });
    prop_oneof![
        6 => create,
        1 => path().prop_map(Op::CreateContainer),
        1 => (path(), any::<i64>()).prop_map(|(path, ttl)| Op::CreateTtl(path, ttl)),
        3 => path().prop_map(Op::Delete),
        2 => (path(), data(), any::<i32>()).prop_map(|(path, data, version)| Op::SetData(path, data, version)),
        2 => (path(), 0..4_u8, any::<i32>()).prop_map(|(path, acl, version)| Op::SetAcl(path, acl, version)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => single(),
        1 => Just(Op::OpenSession),
        1 => prop::option::of(vec(path(), 0..3)).prop_map(Op::CloseSession),
        2 => vec(prop_oneof![9 => single(), 1 => Just(Op::Error)], 0..4).prop_map(Op::Multi),
        1 => Just(Op::Error),
    ]
}

fn txn(op: &Op) -> Txn<'_> {
    let acl = |number: u8| vec![grant(perms::ALL, &format!("10.0.0.{number}"))];
    match op {
        Op::Create {
            path,
            ephemeral,
            acl: number,
            data,
            parent_cversion,
        } => {
            let start = create_txn(path);
            Txn::Create(CreateTxn {
                data: data.as_deref(),
                ephemeral: *ephemeral,
                acl: number.map_or(start.acl, acl),
                parent_cversion: *parent_cversion,
                ..create_txn(path)
            })
        }
        Op::CreateContainer(path) => Txn::CreateContainer(create_txn(path)),
        Op::CreateTtl(path, ttl) => Txn::CreateTtl(create_txn(path), *ttl),
        Op::Delete(path) => Txn::Delete(path.into()),
        Op::SetData(path, data, version) => set_data(path, data.as_deref(), *version),
        Op::SetAcl(path, number, version) => set_acl(path, acl(*number), *version),
        Op::OpenSession => Txn::CreateSession(30_000),
        Op::CloseSession(paths) => Txn::CloseSession(
            paths
                .as_ref()
                .map(|paths| paths.iter().map(Into::into).collect()),
        ),
        Op::Multi(ops) => Txn::Multi(ops.iter().map(txn).collect()),
        Op::Error => Txn::Error(-101),
    }
}

fn entries(ops: &[(i64, Op)]) -> Vec<Vec<u8>> {
    let number = |(zxid, (session, op)): (i64, &(i64, Op))| {
        entry(Zxid(zxid), SessionId(*session), &txn(op), None)
    };
    (1..).zip(ops).map(number).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn digest_image_and_replay_agree(ops in vec((1..4_i64, op()), 0..60)) {
        let entries = entries(&ops);
        let mut replica = Replica::new();
        let mut replayed = Tree::new();
        for entry in &entries {
            replica.apply_entry(entry);
            replay(&mut replayed, entry).unwrap();
        }
        let tree = replica.tree;
        check_sums(&tree);
        let image = tree.image();
        prop_assert_eq!(&image, &replayed.image());

        let loaded = Tree::from_image(&image, tree.last_zxid()).unwrap();
        check_sums(&loaded);
        prop_assert_eq!(loaded.image(), image);
        prop_assert_eq!(loaded.digest(), tree.digest());
        prop_assert_eq!(loaded.last_zxid(), tree.last_zxid());
        prop_assert_eq!(loaded.sessions(), tree.sessions());
        prop_assert_eq!(loaded.approximate_data_size(), tree.approximate_data_size());
        for session in (1..4).map(SessionId) {
            prop_assert!(loaded.ephemerals(session).eq(tree.ephemerals(session)));
        }
    }

    #[test]
    fn a_tree_loaded_half_way_catches_up(ops in vec((1..4_i64, op()), 0..60), half in 0..60_usize) {
        let entries = entries(&ops);
        let (before, after) = entries.split_at(half.min(entries.len()));
        let mut whole = Replica::new();
        let mut first = Replica::new();
        for entry in before {
            whole.apply_entry(entry);
            first.apply_entry(entry);
        }
        let mut loaded = Replica::new();
        loaded.tree = Tree::from_image(&first.tree.image(), first.tree.last_zxid()).unwrap();
        for entry in after {
            let expected = whole.apply_entry(entry);
            prop_assert_eq!(loaded.apply_entry(entry), expected);
            prop_assert_eq!(loaded.tree.digest(), whole.tree.digest());
        }
        prop_assert_eq!(loaded.tree.image(), whole.tree.image());
    }
}
