//! A process that has no descriptor left, as when very many connections are
//! open. A file of its own, because the limit is that of the whole process.

use std::fs::File;

use rustix::process::{Resource, getrlimit, setrlimit};
use zk_proto::{Epoch, Zxid};
use zk_store::{EpochName, RealDisk, Store, StoreConfig};

const EMPTY_IMAGE: [u8; 13] = *b"\0\0\0\0\0\0\0\0\0\0\0\x01/";

fn data(zxid: i64) -> Vec<u8> {
    let mut data = vec![7; 50];
    data[12..20].copy_from_slice(&zxid.to_be_bytes());
    data
}

#[test]
fn the_disk_goes_on_where_no_descriptor_is_left() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(128);
    setrlimit(Resource::Nofile, limit).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig {
        pre_alloc_kib: 0,
        ..StoreConfig::at(dir.path())
    };
    RealDisk::keep_reserve();
    let mut store = Store::open(RealDisk, config).unwrap();
    store.recover(0).unwrap();
    store.save_snapshot(Zxid(0), &EMPTY_IMAGE, 0).unwrap();
    let mut connections = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        connections.push(file);
    }
    assert!(connections.len() > 50);
    for zxid in 1..4 {
        store.append([(Zxid(zxid), &data(zxid)[..])]).unwrap();
        store.sync().unwrap();
        store.save_epoch(EpochName::Current, Epoch(zxid)).unwrap();
        store.save_snapshot(Zxid(zxid), &EMPTY_IMAGE, 0).unwrap();
    }
    drop(connections);
    assert_eq!(store.recover(0).unwrap().last_zxid(), Zxid(3));
}
