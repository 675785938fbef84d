//! A disk writes the sectors of an append in any order. After a power cut the
//! last batch may have holes, what was synced before it has none.

mod random;

use std::path::Path;

use random::Random;
use zk_proto::client::OpCode;
use zk_proto::txn::{SetDataTxn, TXN_HEADER_BYTES, Txn, TxnDigest, TxnHeader, encode_txn};
use zk_proto::{SessionId, Xid, Zxid};
use zk_store::{Disk, DiskFile, Loaded, MemDisk, Store, StoreConfig, StoreError};

const LOG: &str = "/data/version-2/log.1";
const SECTOR_BYTES: usize = 512;

fn header(zxid: i64, op: OpCode) -> TxnHeader {
    TxnHeader {
        session: SessionId(7),
        cxid: Xid(1),
        zxid: Zxid(zxid),
        time_ms: 0,
        kind: op.code(),
    }
}

fn transaction(zxid: i64, data: &[u8], has_digest: bool) -> Vec<u8> {
    let txn = Txn::SetData(SetDataTxn {
        path: "/a".into(),
        data: Some(data),
        version: 1,
    });
    let digest = TxnDigest {
        version: TxnDigest::VERSION,
        tree_digest: zxid as u64,
    };
    let mut out = Vec::new();
    let header = header(zxid, OpCode::SetData);
    encode_txn(&mut out, &header, &txn, has_digest.then_some(&digest));
    out
}

fn open(disk: &MemDisk) -> Result<(Store<MemDisk>, Loaded), StoreError> {
    let config = StoreConfig {
        pre_alloc_kib: 4,
        trust_empty_snapshot: true,
        ..StoreConfig::at(Path::new("/data"))
    };
    let mut store = Store::open(disk.clone(), config)?;
    let loaded = store.recover(0)?;
    Ok((store, loaded))
}

/// Appends so many transactions of any length as one batch.
fn batch(store: &mut Store<MemDisk>, history: &mut Vec<Vec<u8>>, n: u64, random: &mut Random) {
    let from = history.len();
    for _ in 0..n {
        let data = vec![0x5a; random.below(1500) as usize];
        let zxid = history.len() as i64 + 1;
        history.push(transaction(zxid, &data, random.below(4) > 0));
    }
    let numbered = (from as i64 + 1..).map(Zxid).zip(&history[from..]);
    store
        .append(numbered.map(|(zxid, data)| (zxid, &data[..])))
        .unwrap();
}

fn assert_is_start_of(loaded: &Loaded, history: &[Vec<u8>], context: &str) {
    for ((zxid, data), (n, want)) in loaded.entries.iter().zip((1..).zip(history)) {
        assert_eq!(*zxid, Zxid(n), "{context}");
        assert_eq!(data[..], want[..], "{context}: zxid {n}");
    }
    assert!(loaded.entries.len() <= history.len(), "{context}");
}

#[test]
fn a_power_cut_takes_only_what_was_not_synced_in_any_order_of_sectors() {
    let mut holes = 0;
    for seed in 0..400 {
        let mut random = Random(seed);
        let disk = MemDisk::default();
        let (mut store, _) = open(&disk).unwrap();
        let mut history = Vec::new();
        for _ in 0..random.below(4) {
            let n = 1 + random.below(5);
            batch(&mut store, &mut history, n, &mut random);
            store.sync().unwrap();
        }
        let synced = history.len();
        for _ in 0..1 + random.below(3) {
            let n = 1 + random.below(9);
            batch(&mut store, &mut history, n, &mut random);
        }
        drop(store);
        disk.power_cut_reordered(&mut |n| random.below(n));
        let written = disk.read(Path::new(LOG)).unwrap_or_default();
        let (_, loaded) = open(&disk).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let context = format!("seed {seed}");
        assert_is_start_of(&loaded, &history, &context);
        assert!(
            loaded.entries.len() >= synced,
            "{context}: {synced} were synced"
        );
        let left = disk.length(Path::new(LOG)).unwrap_or(0);
        holes += u64::from(written.iter().skip(left as usize).any(|byte| *byte != 0));
    }
    assert!(
        holes > 100,
        "only {holes} cuts left something behind a hole"
    );
}

#[test]
fn a_sector_lost_before_a_later_batch_is_damage() {
    let mut random = Random(1);
    let disk = MemDisk::default();
    let (mut store, _) = open(&disk).unwrap();
    let mut history = Vec::new();
    for _ in 0..4 {
        batch(&mut store, &mut history, 4, &mut random);
        store.sync().unwrap();
    }
    let last_batch: usize = history[12..].iter().map(Vec::len).sum();
    drop(store);
    let whole = disk.read(Path::new(LOG)).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let (mut damaged, mut torn) = (0, 0);
    // The header is no part of any batch.
    for sector in 1..=end / SECTOR_BYTES {
        let copy = disk.copy();
        let mut file = copy.open(Path::new(LOG)).unwrap();
        file.write_at((sector * SECTOR_BYTES) as u64, &[0; SECTOR_BYTES])
            .unwrap();
        match open(&copy) {
            Err(StoreError::Damaged { what, .. }) => {
                assert!(what.contains("sector of zeros"), "sector {sector}: {what}");
                damaged += 1;
            }
            Err(error) => panic!("sector {sector}: {error}"),
            Ok((_, loaded)) => {
                assert_is_start_of(&loaded, &history, "sector");
                assert!(loaded.entries.len() >= 12, "sector {sector}");
                torn += 1;
            }
        }
    }
    assert!(
        torn <= last_batch / SECTOR_BYTES + 2,
        "{torn} of {last_batch} bytes"
    );
    assert!(damaged >= 3 * torn / 2, "{damaged} and {torn}");
}

/// A server that does not sync promises nothing, so no batch says that another
/// was synced, and a hole may be anything.
#[test]
fn without_syncs_a_hole_is_damage() {
    let disk = MemDisk::default();
    let config = StoreConfig {
        force_sync: false,
        trust_empty_snapshot: true,
        ..StoreConfig::at(Path::new("/data"))
    };
    let mut store = Store::open(disk.clone(), config.clone()).unwrap();
    store.recover(0).unwrap();
    batch(&mut store, &mut Vec::new(), 20, &mut Random(1));
    drop(store);
    let mut file = disk.open(Path::new(LOG)).unwrap();
    file.write_at(2 * SECTOR_BYTES as u64, &[0; SECTOR_BYTES])
        .unwrap();
    let mut store = Store::open(disk, config).unwrap();
    let refused = store.recover(0).unwrap_err().to_string();
    assert!(refused.contains("power cut"), "{refused}");
}

/// What a client has been told of is lost before an entry that has no mark: a
/// closed session without a list, or a long one.
#[test]
fn an_entry_that_cannot_have_a_mark_vouches_for_what_is_before_it() {
    let close = {
        let mut out = Vec::new();
        let header = header(2, OpCode::CloseSession);
        let digest = TxnDigest {
            version: TxnDigest::VERSION,
            tree_digest: 7,
        };
        encode_txn(&mut out, &header, &Txn::CloseSession(None), Some(&digest));
        out
    };
    let long = transaction(2, &vec![0x5a; 80 << 10], true);
    for second in [close, long] {
        let disk = MemDisk::default();
        let (mut store, _) = open(&disk).unwrap();
        for (zxid, data) in [(1, transaction(1, &[0x5a; 3000], true)), (2, second)] {
            store.append([(Zxid(zxid), &data[..])]).unwrap();
            store.sync().unwrap();
        }
        drop(store);
        let mut file = disk.open(Path::new(LOG)).unwrap();
        file.write_at(2 * SECTOR_BYTES as u64, &[0; SECTOR_BYTES])
            .unwrap();
        let refused = open(&disk).err().map(|error| error.to_string());
        assert!(refused.is_some_and(|it| it.contains("sector of zeros")));
    }
}

/// The reference reads 2 MiB by default, and no byte more.
#[test]
fn no_mark_makes_a_long_transaction_longer() {
    let lengths = |bytes: usize| {
        let disk = MemDisk::default();
        let (mut store, _) = open(&disk).unwrap();
        let data = transaction(1, &vec![0x5a; bytes], true);
        store.append([(Zxid(1), &data[..])]).unwrap();
        store.sync().unwrap();
        let log = disk.read(Path::new(LOG)).unwrap();
        let stored = u32::from_be_bytes(*log[24..].first_chunk().unwrap());
        (data.len(), stored as usize)
    };
    for bytes in [(64 << 10) + 1, 1 << 20] {
        let (given, stored) = lengths(bytes);
        assert_eq!(stored, given);
    }
    let (given, stored) = lengths(1000);
    assert_eq!(stored, given + 16);
}

/// Zeros of a client look like a sector that was not written.
#[test]
fn a_flipped_bit_is_no_power_cut_whatever_the_data() {
    let disk = MemDisk::default();
    let (mut store, _) = open(&disk).unwrap();
    let batch: Vec<_> = (1..=4).map(|n| transaction(n, &[0; 2000], true)).collect();
    let numbered = (1..).map(Zxid).zip(&batch);
    store
        .append(numbered.map(|(zxid, data)| (zxid, &data[..])))
        .unwrap();
    store.sync().unwrap();
    drop(store);
    let whole = disk.read(Path::new(LOG)).unwrap();
    // In the head of the transaction, in its path, and in its zeros.
    for (at, bit) in [(30, 0), (30, 7), (66, 3), (700, 5), (2000, 1)] {
        let copy = disk.copy();
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << bit;
        copy.plant(Path::new(LOG), bytes);
        let refused = open(&copy).err().map(|error| error.to_string());
        let want = "an entry cannot be read";
        assert!(refused.is_some_and(|it| it.contains(want)), "{at} {bit}");
    }
}

/// The paths of a closed session end with what a client has chosen.
#[test]
fn bytes_of_a_client_are_no_mark() {
    let disk = MemDisk::default();
    let (mut store, _) = open(&disk).unwrap();
    let close = |zxid, paths| {
        let mut out = Vec::new();
        encode_txn(
            &mut out,
            &header(zxid, OpCode::CloseSession),
            &Txn::CloseSession(paths),
            None,
        );
        out
    };
    // The second is neither the first nor the last of its batch, which have marks.
    let offset = 16 + 13 + TXN_HEADER_BYTES as u8;
    let path = format!("/ZKSYNCED\0\0\0\0\0\0\0{}", char::from(offset));
    let history = [
        close(1, None),
        close(2, Some(vec![path.into()])),
        close(3, None),
    ];
    let numbered = (1..).map(Zxid).zip(&history);
    let numbered = numbered.map(|(zxid, data)| (zxid, &data[..]));
    store.append(numbered).unwrap();
    store.sync().unwrap();
    drop(store);
    let log = disk.read(Path::new(LOG)).unwrap();
    let stored = &log[usize::from(offset)..];
    assert!(
        stored[12..].starts_with(&history[1]),
        "it is not where it was meant to be"
    );
    let (_, loaded) = open(&disk).unwrap();
    assert_eq!(loaded.entries.len(), 3);
    assert_is_start_of(&loaded, &history, "closed sessions");
}
