//! Logs and snapshots of Apache ZooKeeper 3.9.4, applied one transaction at a
//! time: the digest in each must be the one of the tree afterwards.

use std::fs;
use std::path::{Path, PathBuf};

use zk_core::ConnId;
use zk_core::request::apply;
use zk_core::tree::{CONFIG_PATH, Tree};
use zk_core::watch::WatchTable;
use zk_proto::Zxid;
use zk_proto::client::{Acl, EventKind, Stat, StatPersisted};
use zk_proto::jute::Reader;
use zk_proto::txn::decode_txn;

/// A znode as it can be compared.
type Row = (String, Option<Vec<u8>>, StatPersisted, Vec<Acl>);

#[test]
fn every_digest_of_the_reference_is_ours() {
    for (directory, digests_min) in [("standalone", 18), ("ensemble", 10), ("extended", 5)] {
        let mut tree = Tree::new();
        let mut digests = 0;
        for entry in log_entries(directory) {
            let (header, txn, digest) = decode_txn(&entry).unwrap();
            apply_quietly(&mut tree, &entry);
            digests += usize::from(digest.is_some());
            assert_eq!(
                tree.digest_mismatches(),
                0,
                "{directory}: {header:?} {txn:?}"
            );
            assert_eq!(tree.last_zxid(), header.zxid);
        }
        assert!(
            digests >= digests_min,
            "{directory}: {digests} digests were compared"
        );
    }
}

#[test]
fn clients_see_what_they_saw_of_the_reference() {
    for (directory, rows_min) in [("standalone", 10), ("ensemble", 5)] {
        let mut tree = Tree::new();
        log_entries(directory)
            .iter()
            .for_each(|entry| apply_quietly(&mut tree, entry));
        let text = fs::read_to_string(testdata(directory).join("tree.txt")).unwrap();
        let mut rows = 0;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut fields = line.split(' ');
            let path = fields.next().unwrap();
            let data = fields.next().unwrap();
            let stat: Vec<i64> = fields.map(|field| field.parse().unwrap()).collect();
            let znode = tree
                .znode(path)
                .unwrap_or_else(|| panic!("{directory}: {path} is missing"));
            assert_eq!(
                znode.data().map_or_else(|| "-".into(), hex),
                data,
                "{directory}: {path}"
            );
            assert_eq!(
                stat_numbers(&znode.stat())[..],
                stat[..],
                "{directory}: {path}"
            );
            rows += 1;
        }
        assert!(rows >= rows_min);
        // The list leaves /zookeeper/config out.
        assert_eq!(tree.znode_count(), rows + 1, "{directory}");
    }
}

#[test]
fn a_snapshot_is_the_tree_at_its_zxid() {
    for (directory, zxid) in [
        ("standalone", 0),
        ("standalone", 0x14),
        ("ensemble", 0),
        ("ensemble", 0x1_0000_0012),
        ("extended", 0),
        ("extended", 6),
    ] {
        let name = format!("snapshot.{zxid:x}");
        let file = fs::read(testdata(directory).join(&name)).unwrap();
        let mut tree = Tree::new();
        for entry in log_entries(directory) {
            if decode_txn(&entry).unwrap().0.zxid <= Zxid(zxid) {
                apply_quietly(&mut tree, &entry);
            }
        }
        let loaded = Tree::from_image(&file[FILE_HEADER_BYTES..], Zxid(zxid)).unwrap();
        assert_eq!(rows(&loaded), rows(&tree), "{directory}/{name}");
        assert_eq!(loaded.sessions(), tree.sessions(), "{directory}/{name}");
        assert_eq!(loaded.digest(), tree.digest(), "{directory}/{name}");
        let again = Tree::from_image(&loaded.image(), Zxid(zxid)).unwrap();
        assert_eq!(again.image(), loaded.image(), "{directory}/{name}");
    }
}

fn apply_quietly(tree: &mut Tree, entry: &[u8]) {
    let on_event =
        &mut |conn: ConnId, _: EventKind, path: &str| panic!("{conn:?} was told of {path}");
    apply(tree, &mut WatchTable::default(), entry, on_event).unwrap();
}

/// All but `/zookeeper/config`, which each server sets by itself.
fn rows(tree: &Tree) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut open = vec!["/".to_owned()];
    while let Some(path) = open.pop() {
        let znode = tree.znode(&path).unwrap();
        open.extend(
            znode
                .children()
                .map(|name| format!("{}/{name}", path.trim_end_matches('/'))),
        );
        if path != CONFIG_PATH {
            rows.push((
                path,
                znode.data().map(<[u8]>::to_vec),
                *znode.stat_persisted(),
                znode.acl().to_vec(),
            ));
        }
    }
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows
}

/// The entries of all logs of a directory, oldest first (reference:
/// `FileTxnLog`).
fn log_entries(directory: &str) -> Vec<Vec<u8>> {
    let mut logs: Vec<(i64, PathBuf)> = fs::read_dir(testdata(directory))
        .unwrap()
        .filter_map(|file| {
            let path = file.unwrap().path();
            let zxid = path.file_name()?.to_str()?.strip_prefix("log.")?;
            Some((i64::from_str_radix(zxid, 16).unwrap(), path))
        })
        .collect();
    logs.sort();
    let mut entries = Vec::new();
    for (_, path) in logs {
        let bytes = fs::read(path).unwrap();
        let mut reader = Reader::new(&bytes[FILE_HEADER_BYTES..]);
        while !reader.rest().is_empty() {
            let _checksum = reader.i64().unwrap();
            entries.push(reader.buffer().unwrap().to_vec());
            assert_eq!(reader.u8().unwrap(), b'B', "end of an entry");
        }
    }
    assert!(!entries.is_empty());
    entries
}

fn testdata(directory: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../proto/testdata/store")
        .join(directory)
}

fn hex(data: &[u8]) -> String {
    data.iter()
        .fold("x".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

fn stat_numbers(stat: &Stat) -> [i64; 11] {
    let Stat {
        czxid,
        mzxid,
        ctime,
        mtime,
        version,
        cversion,
        aversion,
        ephemeral_owner,
        data_length,
        num_children,
        pzxid,
    } = *stat;
    [
        czxid.0,
        mzxid.0,
        ctime,
        mtime,
        version.into(),
        cversion.into(),
        aversion.into(),
        ephemeral_owner.0,
        data_length.into(),
        num_children.into(),
        pzxid.0,
    ]
}

/// Magic, version, database id.
const FILE_HEADER_BYTES: usize = 16;
