//! A transaction log: any bytes as a file, or any transactions in a file whose
//! checksums are right.

#![no_main]

use libfuzzer_sys::fuzz_target;
use zk_core::tree::Tree;
use zk_fuzz::{config, path, start};
use zk_proto::Zxid;
use zk_store::{LogItem, LogStream, MemDisk, Store};

fuzz_target!(|input: &[u8]| {
    let Some((form, bytes)) = input.split_first() else {
        return;
    };
    let disk = MemDisk::default();
    let mut store = Store::open(disk.clone(), config()).expect("an empty disk");
    store.recover(0).expect("an empty disk");
    let tree = Tree::new();
    store
        .save_snapshot(Zxid::ZERO, &tree.image(), tree.digest())
        .expect("a disk that works");
    if form % 2 == 0 {
        disk.plant(&path("log.1"), bytes.to_vec());
        let mut stream = LogStream::new(bytes);
        while let LogItem::Entry { .. } = stream.read().expect("memory can be read") {}
    } else {
        for (txn, zxid) in transactions(bytes).zip(1..) {
            let mut txn = txn.to_vec();
            txn[12..20].copy_from_slice(&i64::to_be_bytes(zxid));
            store.append([(Zxid(zxid), &txn[..])]).expect("in order");
        }
        store.sync().expect("a disk that works");
    }
    start(&disk);
});

/// Pieces of at least a header, each behind its length.
fn transactions(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length))
            .max(32)
            .min(rest.len());
        let (txn, rest) = rest.split_at(length);
        bytes = rest;
        (txn.len() >= 32).then_some(txn)
    })
}
