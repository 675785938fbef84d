//! The packed tree against a plain map, and cuts of it against the tree as it
//! was at their zxid.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use support::{check_sums, create_txn, entry, grant, set_acl, set_data};
use zk_core::request::replay;
use zk_core::tree::{Tree, TreeCut, TreeLoader, path};
use zk_proto::client::{Acl, perms};
use zk_proto::txn::{CreateTxn, Txn};
use zk_proto::{SessionId, Zxid};

/// What a znode must have, by path.
type Model = BTreeMap<String, (Vec<u8>, Vec<Acl>, Vec<String>)>;

#[derive(Clone, Debug)]
enum Op {
    Create(String, usize, Option<u8>),
    Delete(String),
    SetData(String, usize),
    SetAcl(String, u8),
}

/// Deep and wide, and enough of them for several chunks.
fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..40_u8).prop_map(|name| format!("/{name}")),
        (0..3_u8, 0..90_u8).prop_map(|(parent, name)| format!("/{parent}/z{name}")),
        (0..3_u8, 0..3_u8, 0..3_u8).prop_map(|(a, b, c)| format!("/{a}/z{b}/y{c}")),
    ]
}

/// Bytes of data, small and beyond what is kept beside its neighbours.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..200_usize, 1 => 500..1500_usize]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (path(), length(), prop::option::of(0..4_u8)).prop_map(|(path, length, acl)| Op::Create(path, length, acl)),
        2 => path().prop_map(Op::Delete),
        3 => (path(), length()).prop_map(|(path, length)| Op::SetData(path, length)),
        1 => (path(), 0..4_u8).prop_map(|(path, acl)| Op::SetAcl(path, acl)),
    ]
}

fn acl(number: u8) -> Vec<Acl> {
    vec![grant(perms::ALL, &format!("10.0.0.{number}"))]
}

fn apply(tree: &mut Tree, op: &Op) {
    let data = |length: &usize| vec![*length as u8; *length];
    let txn_data;
    let txn = match op {
        Op::Create(path, length, number) => {
            txn_data = data(length);
            let plain = create_txn(path);
            Txn::Create(CreateTxn {
                data: Some(&txn_data),
                acl: number.map_or(plain.acl, acl),
                ..create_txn(path)
            })
        }
        Op::Delete(path) => Txn::Delete(path.into()),
        Op::SetData(path, length) => {
            txn_data = data(length);
            set_data(path, Some(&txn_data), 1)
        }
        Op::SetAcl(path, number) => set_acl(path, acl(*number), 1),
    };
    let zxid = tree.last_zxid().next();
    replay(tree, &entry(zxid, SessionId(1), &txn, None)).unwrap();
}

fn apply_to_model(model: &mut Model, op: &Op) {
    match op {
        Op::Create(path, length, number) => {
            let above = path::parent(path);
            let list = number.map_or_else(|| vec![Acl::open()], acl);
            if !model.contains_key(above) {
            } else if let Some((_, acl, _)) = model.get_mut(path) {
                *acl = list;
            } else {
                let name = path::name(path).to_owned();
                model.get_mut(above).unwrap().2.push(name);
                let data = vec![*length as u8; *length];
                model.insert(path.clone(), (data, list, Vec::new()));
            }
        }
        Op::Delete(path) => {
            if model.contains_key(path) {
                let below = format!("{path}/");
                model.retain(|other, _| other != path && !other.starts_with(&below));
                let (_, _, children) = model.get_mut(path::parent(path)).unwrap();
                children.retain(|child| child != path::name(path));
            }
        }
        Op::SetData(path, length) => {
            if let Some((data, ..)) = model.get_mut(path) {
                *data = vec![*length as u8; *length];
            }
        }
        Op::SetAcl(path, number) => {
            if let Some((_, list, _)) = model.get_mut(path) {
                *list = acl(*number);
            }
        }
    }
}

/// Everything below the root, as the model has it. Goes by children and by
/// path, so both must lead to the same znodes.
fn rows(tree: &Tree) -> Model {
    let mut rows = Model::new();
    let mut open = vec!["/".to_owned()];
    while let Some(path) = open.pop() {
        let znode = tree.znode(&path).unwrap();
        assert_eq!(
            (znode.path(), znode.name()),
            (path.clone(), path::name(&path))
        );
        assert_eq!(znode.child_count(), znode.children().len());
        let children: Vec<_> = znode.children().map(str::to_owned).collect();
        let at = path.trim_end_matches('/');
        open.extend(children.iter().map(|name| format!("{at}/{name}")));
        let data = znode.data().unwrap().to_vec();
        rows.insert(path.clone(), (data, znode.acl().to_vec(), children));
    }
    rows
}

/// As a link hands it over, with something else behind it.
fn in_pieces(image: &[u8], piece: usize, zxid: Zxid) -> Tree {
    let mut stream = image.to_vec();
    stream.extend_from_slice(b"BenWasHere");
    let mut loader = TreeLoader::new(zxid);
    let (mut taken, mut have) = (0, 0);
    while !loader.is_complete() {
        assert!(have < stream.len(), "it ends");
        have = (have + piece).min(stream.len());
        taken += loader.load(&stream[taken..have]).unwrap();
    }
    assert_eq!(taken, image.len());
    loader.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn a_tree_is_what_a_plain_map_would_be(ops in vec(op(), 0..400), piece in 1..3_000_usize) {
        let mut tree = Tree::new();
        let mut model = rows(&tree);
        for op in &ops {
            apply(&mut tree, op);
            apply_to_model(&mut model, op);
        }
        check_sums(&tree);
        prop_assert_eq!(&rows(&tree), &model);
        let image = tree.image();
        let loaded = Tree::from_image(&image, tree.last_zxid()).unwrap();
        prop_assert_eq!(&rows(&loaded), &model);
        let loaded = in_pieces(&image, piece, tree.last_zxid());
        check_sums(&loaded);
        prop_assert_eq!(loaded.image(), image);
    }

    #[test]
    fn a_cut_stays_as_the_tree_was(ops in vec(op(), 1..500), each in 1..60_usize) {
        let mut tree = Tree::new();
        let mut cuts: Vec<(Arc<TreeCut>, Model, Vec<u8>)> = Vec::new();
        for (number, op) in ops.iter().enumerate() {
            if number % each == 0 {
                cuts.push((Arc::new(tree.cut()), rows(&tree), tree.image()));
            }
            apply(&mut tree, op);
        }
        check_sums(&tree);
        for (cut, model, image) in cuts {
            prop_assert_eq!(&cut.image(), &image);
            let loaded = Tree::from_image(&image, cut.zxid()).unwrap();
            check_sums(&loaded);
            prop_assert_eq!(loaded.digest(), cut.digest());
            prop_assert_eq!(rows(&loaded), model);
        }
    }
}

/// As many later changes as a busy server makes while a snapshot is written.
#[test]
fn a_cut_of_many_znodes_is_encoded_while_thousands_of_writes_go_on() {
    let mut tree = Tree::new();
    for number in 0..5_000 {
        apply(&mut tree, &Op::Create(format!("/n{number}"), 100, None));
    }
    let (cut, digest, before) = (Arc::new(tree.cut()), tree.digest(), tree.image());
    let mut blocks = cut.blocks();
    let mut image = Vec::new();
    let mut number = 0_usize;
    while blocks.append_next(&mut image) {
        for _ in 0..1_000 {
            number += 1;
            let path = format!("/n{}", number * 7919 % 6_000);
            apply(
                &mut tree,
                &match number % 3 {
                    0 => Op::SetData(path, number % 300),
                    1 => Op::Delete(path),
                    _ => Op::Create(path, number % 300, Some(3)),
                },
            );
        }
    }
    assert!(number > 5_000, "it came in many pieces");
    assert!(
        image == before,
        "the pieces are the image of the cut's moment"
    );
    let loaded = Tree::from_image(&image, cut.zxid()).unwrap();
    assert_eq!((loaded.digest(), loaded.last_zxid()), (digest, Zxid(5_000)));
    check_sums(&loaded);
    check_sums(&tree);
}
