//! Bytes that are no transaction or no tree, and digests that differ.

mod support;

use support::{Replica, SESSION, create, entry, grant};
use zk_core::Recovered;
use zk_core::auth::AuthConfig;
use zk_core::request::replay;
use zk_core::tree::{Tree, TreeError};
use zk_proto::client::perms;
use zk_proto::txn::{TREE_DIGEST_EMPTY, Txn};
use zk_proto::{Epoch, Zxid};

#[test]
fn a_foreign_digest_is_counted_and_tolerated() {
    let mut replica = Replica::new();
    replica.apply_entry(&entry(
        Zxid(1),
        SESSION,
        &Txn::CreateSession(1),
        Some(TREE_DIGEST_EMPTY),
    ));
    assert_eq!(replica.tree.digest_mismatches(), 0);
    replica.apply_entry(&entry(
        Zxid(2),
        SESSION,
        &create("/a"),
        Some(TREE_DIGEST_EMPTY),
    ));
    assert_eq!(replica.tree.digest_mismatches(), 1);
    assert!(replica.tree.znode("/a").is_some());
    replay(
        &mut replica.tree,
        &entry(Zxid(3), SESSION, &create("/b"), Some(0)),
    )
    .unwrap();
    assert_eq!(
        replica.tree.digest_mismatches(),
        1,
        "a log may be ahead of a fuzzy snapshot"
    );
}

#[test]
fn bytes_that_are_no_transaction_change_nothing() {
    let mut replica = Replica::new();
    let whole = entry(Zxid(1), SESSION, &create("/a"), None);
    let (tree, watches) = (&mut replica.tree, &mut replica.watches);
    for end in 0..whole.len() - 5 {
        zk_core::request::apply(tree, watches, &whole[..end], &mut |_, _, _| {}).unwrap_err();
        replay(tree, &whole[..end]).unwrap_err();
    }
    assert_eq!(
        (tree.digest(), tree.last_zxid()),
        (TREE_DIGEST_EMPTY, Zxid(0))
    );
}

#[test]
fn images_that_are_no_tree_are_refused() {
    let image = |paths: &[&str]| {
        let mut out = vec![0; 8];
        for path in paths {
            let stat = zk_proto::client::StatPersisted::default();
            zk_proto::snapshot::NodeRecord {
                path: (*path).into(),
                data: None,
                acl_ref: 3,
                stat,
            }
            .write(&mut out);
        }
        zk_proto::snapshot::write_end(&mut out);
        out
    };
    for (paths, want) in [
        (&[][..], TreeError::NoRoot),
        (&["", "/a/b"], TreeError::NoParent("/a/b".into())),
        (&["/a", ""], TreeError::NoParent("/a".into())),
        (&["", "/a", "/a"], TreeError::Path("/a".into())),
        (&["", "a"], TreeError::Path("a".into())),
    ] {
        assert_eq!(Tree::from_image(&image(paths), Zxid(1)).unwrap_err(), want);
    }
    let whole = image(&["", "/a"]);
    for end in 0..whole.len() {
        assert!(Tree::from_image(&whole[..end], Zxid(1)).is_err(), "{end}");
    }
    // A number that the table lacks: loaded, not to be read, also after a round trip.
    let tree = Tree::from_image(&whole, Zxid(1)).unwrap();
    let tree = Tree::from_image(&tree.image(), Zxid(1)).unwrap();
    let acl = tree.znode("/a").unwrap().acl();
    assert!(!AuthConfig::default().allows(acl, &[grant(0, "10.0.0.1").id], perms::ALL));
}

#[test]
fn an_epoch_beyond_the_last_one_is_refused_with_the_name_of_its_file() {
    let last = i64::from(i32::MAX);
    let load = |accepted, current| {
        let epochs = [accepted, current].map(|epoch| Some(Epoch(epoch)));
        let loaded = Recovered::rebuild(None, [], Vec::new(), epochs[0], epochs[1]);
        loaded.map_err(|error| error.to_string())
    };
    load(last, last).expect("the last epoch is one");
    for (accepted, current, name) in [
        (last + 1, 1, "acceptedEpoch"),
        (i64::MAX, 1, "acceptedEpoch"),
        (i64::MAX, last + 1, "acceptedEpoch"),
    ] {
        let error = load(accepted, current).expect_err("no such epoch");
        assert!(
            error.starts_with(&format!("{name} is {accepted}, ")),
            "{error}"
        );
        assert!(error.contains("docs/operations.md"), "{error}");
    }
}
