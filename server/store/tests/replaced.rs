//! What a leader's tree takes the place of is kept under other names.

use std::path::{Path, PathBuf};

use zk_proto::Zxid;
use zk_store::{Disk, MemDisk, Store, StoreConfig};

const EMPTY_IMAGE: [u8; 13] = *b"\0\0\0\0\0\0\0\0\0\0\0\x01/";

const fn zxid(epoch: i64, counter: i64) -> Zxid {
    Zxid((epoch << 32) + counter)
}

fn dir() -> PathBuf {
    Path::new("/data/version-2").to_owned()
}

fn open(disk: &MemDisk) -> Store<MemDisk> {
    let config = StoreConfig {
        pre_alloc_kib: 0,
        ..StoreConfig::at(Path::new("/data"))
    };
    Store::open(disk.clone(), config).unwrap()
}

fn append(store: &mut Store<MemDisk>, epoch: i64, counters: std::ops::RangeInclusive<i64>) {
    for counter in counters {
        let zxid = zxid(epoch, counter);
        let mut data = [7; 50];
        data[12..20].copy_from_slice(&zxid.0.to_be_bytes());
        store.append([(zxid, &data[..])]).unwrap();
    }
    store.sync().unwrap();
}

/// Logs of epochs 1 and 2 and the snapshots 0, 1.3 and 2.2; ends at 2.6.
fn written() -> (MemDisk, Store<MemDisk>) {
    let disk = MemDisk::default();
    let mut store = open(&disk);
    store.recover(0).unwrap();
    store.save_snapshot(Zxid(0), &EMPTY_IMAGE, 0).unwrap();
    append(&mut store, 1, 1..=3);
    store.save_snapshot(zxid(1, 3), &EMPTY_IMAGE, 0).unwrap();
    append(&mut store, 2, 1..=2);
    store.save_snapshot(zxid(2, 2), &EMPTY_IMAGE, 0).unwrap();
    append(&mut store, 2, 3..=4);
    store.roll().unwrap();
    append(&mut store, 2, 5..=6);
    (disk, store)
}

fn install(store: &mut Store<MemDisk>, zxid: Zxid, keeps_old: bool) {
    let mut block = Some(EMPTY_IMAGE);
    let next = |out: &mut Vec<u8>| block.take().map(|it| out.extend_from_slice(&it)).is_some();
    store.install_snapshot(zxid, 0, keeps_old, next).unwrap();
}

fn kept(disk: &MemDisk) -> Vec<String> {
    let mut names = disk.list(&dir()).unwrap();
    names.retain(|name| name.starts_with("replaced."));
    names.sort();
    names
}

/// What a server loads from the kept files, once they have their names again.
fn from_kept(disk: &MemDisk) -> (Option<Zxid>, Vec<Zxid>) {
    let other = MemDisk::default();
    for name in kept(disk) {
        let content = disk.read(&dir().join(&name)).unwrap();
        other.plant(&dir().join(&name["replaced.".len()..]), content);
    }
    let loaded = open(&other).recover(0).unwrap();
    let entries = loaded.entries.iter().map(|(zxid, _)| *zxid);
    (loaded.snapshot.map(|it| it.zxid), entries.collect())
}

#[test]
fn what_a_start_would_have_loaded_can_be_loaded_again() {
    let old = (Some(zxid(2, 2)), [3, 4, 5, 6].map(|n| zxid(2, n)).to_vec());
    // Behind the old end and before it, within a log, between two, and where a snapshot was.
    for to in [
        zxid(2, 9),
        zxid(3, 0),
        zxid(2, 6),
        zxid(2, 5),
        zxid(2, 4),
        zxid(2, 3),
        zxid(2, 2),
        zxid(1, 9),
        zxid(1, 3),
        zxid(1, 1),
    ] {
        let (disk, mut store) = written();
        install(&mut store, to, true);
        assert_eq!(from_kept(&disk), old, "{to}");
        let loaded = open(&disk).recover(100).unwrap();
        assert_eq!(loaded.snapshot.unwrap().zxid, to);
        assert!(loaded.entries.is_empty(), "{to}");
    }
}

#[test]
fn one_copy_is_kept_and_only_where_it_is_asked_for() {
    let (disk, mut store) = written();
    install(&mut store, zxid(3, 2), false);
    assert!(kept(&disk).is_empty());
    append(&mut store, 3, 3..=4);
    install(&mut store, zxid(4, 2), true);
    let first = ["replaced.log.300000003", "replaced.snapshot.300000002"];
    assert_eq!(kept(&disk), first);
    // Neither a purge nor a start takes it away.
    append(&mut store, 4, 3..=4);
    for counter in 5..=9 {
        append(&mut store, 4, counter..=counter);
        store
            .save_snapshot(zxid(4, counter), &EMPTY_IMAGE, 0)
            .unwrap();
    }
    assert!(store.purge(3).unwrap() > 0);
    drop(store);
    let mut store = open(&disk);
    store.recover(0).unwrap();
    assert_eq!(kept(&disk), first);
    install(&mut store, zxid(5, 2), false);
    assert_eq!(kept(&disk), first);
    install(&mut store, zxid(6, 2), true);
    let second = ["replaced.log.400000009", "replaced.snapshot.500000002"];
    assert_eq!(kept(&disk), second);
}
