//! Images of many znodes, in the order of the reference and in others.

mod support;

use std::collections::BTreeMap;

use support::{check_sums, create, entry};
use zk_core::request::replay;
use zk_core::tree::{Tree, TreeError, path};
use zk_proto::jute::Reader;
use zk_proto::snapshot::{NodeRecord, write_end};
use zk_proto::txn::Txn;
use zk_proto::{SessionId, Zxid};

/// More than are told to the index one by one.
const ZNODES: i64 = 30_000;
/// No sessions, no lists.
const HEAD: [u8; 8] = [0; 8];

fn apply(tree: &mut Tree, txn: &Txn<'_>) {
    let zxid = tree.last_zxid().next();
    replay(tree, &entry(zxid, SessionId(1), txn, None)).unwrap();
}

/// Wide in places, deep in others.
fn grown() -> Tree {
    let mut tree = Tree::new();
    let mut deep = String::new();
    for number in 0..ZNODES {
        let path = match number % 100 {
            0 => format!("/p{number}"),
            1 => {
                deep.push_str("/d");
                if deep.len() > 200 {
                    deep = format!("/deep{number}");
                }
                deep.clone()
            }
            _ => format!("/p{}/n{number}", number / 700 * 700),
        };
        apply(&mut tree, &create(&path));
    }
    assert!(tree.znode_count() > ZNODES as usize);
    tree
}

fn children(tree: &Tree) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    let mut open = vec!["/".to_owned()];
    while let Some(path) = open.pop() {
        let znode = tree.znode(&path).unwrap();
        let names: Vec<_> = znode.children().map(str::to_owned).collect();
        assert_eq!(names.len(), znode.child_count());
        let at = path.trim_end_matches('/');
        open.extend(names.iter().map(|name| format!("{at}/{name}")));
        found.insert(path, names);
    }
    assert_eq!(found.len(), tree.znode_count());
    found
}

/// Loads the records of the image in the order of `place`.
fn load_by<K: Ord>(image: &[u8], place: impl Fn(&str) -> K) -> Result<Tree, TreeError> {
    let mut reader = Reader::new(image);
    assert_eq!(reader.i32().unwrap(), 0, "no sessions");
    // The list of /zookeeper/config; it counts for nothing here.
    let lists = reader.i32().unwrap();
    assert_eq!(lists, 1);
    zk_proto::snapshot::skip_acl_record(&mut reader).unwrap();
    let mut records = Vec::new();
    while let Some(record) = NodeRecord::read(&mut reader).unwrap() {
        records.push(record);
    }
    records.sort_by_key(|record| place(&record.path));
    let mut out = HEAD.to_vec();
    records.iter().for_each(|record| record.write(&mut out));
    write_end(&mut out);
    Tree::from_image(&out, Zxid(5))
}

#[test]
fn any_order_with_parents_first_gives_the_same_tree() {
    let tree = grown();
    let (image, want) = (tree.image(), children(&tree));
    let depth = |path: &str| path.matches('/').count();
    let in_order = load_by(&image, |_| 0).unwrap();
    let by_depth = load_by(&image, depth).unwrap();
    let by_name = load_by(&image, |path| (depth(path), path::name(path).to_owned())).unwrap();
    for loaded in [&in_order, &by_depth, &by_name] {
        assert_eq!(loaded.digest(), tree.digest());
        check_sums(loaded);
    }
    assert_eq!(children(&in_order), want);
    assert_eq!(children(&by_depth), want);
    let mut sorted = want;
    sorted.values_mut().for_each(|names| names.sort());
    assert_eq!(children(&by_name), sorted);
}

#[test]
fn a_loaded_tree_changes_as_one_that_has_grown() {
    let mut grown = grown();
    let mut loaded = Tree::from_image(&grown.image(), grown.last_zxid()).unwrap();
    let paths: Vec<_> = children(&grown).into_keys().collect();
    for (number, path) in paths.iter().enumerate() {
        for tree in [&mut grown, &mut loaded] {
            let is_plain = tree.znode(path).unwrap().child_count() == 0;
            let is_own = !path.starts_with("/zookeeper");
            if number % 3 == 0 && is_plain && is_own {
                apply(tree, &Txn::Delete(path.into()));
            } else if number % 7 == 0 && is_own {
                let path = format!("{}/later", path.trim_end_matches('/'));
                apply(tree, &create(&path));
            }
        }
    }
    assert_eq!(loaded.digest(), grown.digest());
    assert_eq!(children(&loaded), children(&grown));
    assert!(loaded.image() == grown.image(), "the images differ");
}

#[test]
fn a_path_that_comes_twice_is_found_however_far_apart() {
    let (image, deep) = (grown().image(), "/p700/n703");
    for twice in ["/p700", deep] {
        let mut bytes = image[..image.len() - 5].to_vec();
        NodeRecord {
            path: twice.into(),
            data: None,
            acl_ref: -1,
            stat: zk_proto::client::StatPersisted::default(),
        }
        .write(&mut bytes);
        write_end(&mut bytes);
        let refused = Tree::from_image(&bytes, Zxid(1)).unwrap_err();
        assert_eq!(refused, TreeError::Path(twice.into()));
    }
    let missing = load_by(&image, |path| usize::MAX - path.len()).unwrap_err();
    assert!(matches!(missing, TreeError::NoParent(_)), "{missing:?}");
}
