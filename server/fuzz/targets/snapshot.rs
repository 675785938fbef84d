//! A snapshot: any bytes as a file of each form, or any image under a right
//! checksum.

#![no_main]

use libfuzzer_sys::fuzz_target;
use zk_fuzz::{config, path, start};
use zk_proto::Zxid;
use zk_store::{Compression, MemDisk, Store, StoreConfig, read_snapshot};

fuzz_target!(|input: &[u8]| {
    let Some((form, bytes)) = input.split_first() else {
        return;
    };
    let compression = match form % 3 {
        0 => Compression::None,
        1 => Compression::Gzip,
        _ => Compression::Snappy,
    };
    let disk = MemDisk::default();
    if form & 4 == 0 {
        let end = compression.method();
        let dot = if end.is_empty() { "" } else { "." };
        disk.plant(&path(&format!("snapshot.5{dot}{end}")), bytes.to_vec());
        let _ = read_snapshot(compression, bytes, &mut |_| {});
    } else {
        let config = StoreConfig {
            snapshot_compression: compression,
            ..config()
        };
        let store = Store::open(disk.clone(), config).expect("an empty disk");
        store
            .snapshots()
            .write(Zxid(5), bytes, 0)
            .expect("a disk that works");
    }
    start(&disk);
});
