//! Transactions that are missing where a new epoch begins, so that the zxids
//! alone do not show it, and healthy directories that look much the same.

use std::path::{Path, PathBuf};

use zk_proto::{Epoch, Zxid};
use zk_store::{Disk, EpochName, Loaded, MemDisk, Store, StoreConfig, StoreError};

const EMPTY_IMAGE: [u8; 13] = *b"\0\0\0\0\0\0\0\0\0\0\0\x01/";

fn config() -> StoreConfig {
    StoreConfig {
        pre_alloc_kib: 0,
        ..StoreConfig::at(Path::new("/data"))
    }
}

fn path(name: &str) -> PathBuf {
    Path::new("/data/version-2").join(name)
}

fn zxid(epoch: i64, counter: i64) -> Zxid {
    Zxid((epoch << 32) + counter)
}

fn data(zxid: Zxid) -> Vec<u8> {
    let mut data = vec![7; 50];
    data[12..20].copy_from_slice(&zxid.0.to_be_bytes());
    data
}

fn append(store: &mut Store<MemDisk>, epoch: i64, counters: std::ops::RangeInclusive<i64>) {
    for counter in counters {
        let zxid = zxid(epoch, counter);
        store.append([(zxid, &data(zxid)[..])]).unwrap();
    }
    store.sync().unwrap();
}

fn install(store: &mut Store<MemDisk>, zxid: Zxid) {
    let mut block = Some(EMPTY_IMAGE);
    store
        .install_snapshot(zxid, 0, false, |out| {
            block.take().map(|it| out.extend_from_slice(&it)).is_some()
        })
        .unwrap();
}

fn open(disk: &MemDisk) -> Store<MemDisk> {
    let mut store = Store::open(disk.clone(), config()).unwrap();
    store.recover(0).unwrap();
    store
}

fn fresh() -> (MemDisk, Store<MemDisk>) {
    let disk = MemDisk::default();
    let mut store = open(&disk);
    store.save_snapshot(Zxid(0), &EMPTY_IMAGE, 0).unwrap();
    (disk, store)
}

fn recover(disk: &MemDisk) -> Result<Loaded, StoreError> {
    Store::open(disk.clone(), config())?.recover(1000)
}

/// Is the start refused, or left to the digests of the transactions, which
/// have to agree?
fn is_refused_without_proof(disk: &MemDisk) -> bool {
    recover(disk).map_or(true, |loaded| {
        loaded.seams.iter().any(|seam| seam.needs_proof)
    })
}

/// What a start from the disk says, which has to be that it is refused.
fn refusal(disk: &MemDisk, what: &str) -> StoreError {
    match recover(disk) {
        Ok(loaded) => panic!("{what}: starts at {}", loaded.last_zxid()),
        Err(error) => error,
    }
}

/// Makes all logs such as the reference writes: they do not say what they
/// follow.
fn forget_what_logs_follow(disk: &MemDisk) {
    for name in disk.list(Path::new("/data/version-2")).unwrap() {
        if name.starts_with("log.") {
            let mut content = disk.read(&path(&name)).unwrap();
            content[8..16].fill(0);
            disk.plant(&path(&name), content);
        }
    }
}

/// A member with epoch 1 up to counter 3 that gets a snapshot of the leader
/// and goes on in epoch 2.
fn copied_from_a_leader(snapshot: Zxid, restarts: bool) -> MemDisk {
    let (disk, mut store) = fresh();
    append(&mut store, 1, 1..=3);
    install(&mut store, snapshot);
    store.save_epoch(EpochName::Accepted, Epoch(2)).unwrap();
    store.save_epoch(EpochName::Current, Epoch(2)).unwrap();
    if restarts {
        store = open(&disk);
    }
    append(&mut store, 2, 1..=2);
    disk
}

type Damage = fn(&MemDisk, &Path);

/// What can happen to a file.
const DAMAGES: [(&str, Damage); 5] = [
    ("its last bytes are zeros", |disk, path| {
        let mut content = disk.read(path).unwrap();
        let end = content.len() - 9;
        content[end..].fill(0);
        disk.plant(path, content);
    }),
    ("it has no bytes", |disk, path| disk.plant(path, Vec::new())),
    ("it is cut off", |disk, path| {
        let mut content = disk.read(path).unwrap();
        content.truncate(content.len() / 2);
        disk.plant(path, content);
    }),
    ("a bit was flipped", |disk, path| {
        let mut content = disk.read(path).unwrap();
        content[20] ^= 1;
        disk.plant(path, content);
    }),
    ("it is gone", |disk, path| disk.remove(path).unwrap()),
];

#[test]
fn a_leaders_snapshot_that_is_lost_is_missed_at_the_start_of_an_epoch() {
    for snapshot in [zxid(1, 600), zxid(2, 0)] {
        for restarts in [false, true] {
            let disk = copied_from_a_leader(snapshot, restarts);
            assert_eq!(recover(&disk).unwrap().last_zxid(), zxid(2, 2));
        }
        for restarts in [false, true] {
            for (what, damage) in DAMAGES {
                let disk = copied_from_a_leader(snapshot, restarts);
                damage(&disk, &path(&format!("snapshot.{:x}", snapshot.0)));
                if snapshot.counter() == 0 {
                    assert!(is_refused_without_proof(&disk), "{what}");
                    continue;
                }
                let error = refusal(&disk, what).to_string();
                assert!(error.contains("/data/version-2"), "{what}: {error}");
            }
        }
    }
}

#[test]
fn a_leaders_snapshot_in_logs_of_the_reference_is_missed_where_its_name_is_left() {
    for (what, damage) in DAMAGES.iter().filter(|(what, _)| *what != "it is gone") {
        let disk = copied_from_a_leader(zxid(1, 600), false);
        forget_what_logs_follow(&disk);
        damage(&disk, &path("snapshot.100000258"));
        refusal(&disk, what);
    }
}

#[test]
fn a_lost_log_is_missed_at_the_start_of_an_epoch() {
    let logs = |disk: &MemDisk| {
        let mut store = open(disk);
        append(&mut store, 1, 1..=3);
        store.roll().unwrap();
        append(&mut store, 1, 4..=6);
        store.roll().unwrap();
        append(&mut store, 2, 1..=3);
        store.roll().unwrap();
        append(&mut store, 4, 1..=3);
    };
    for lost in ["log.100000001", "log.100000004", "log.200000001"] {
        let (disk, store) = fresh();
        drop(store);
        logs(&disk);
        assert_eq!(recover(&disk).unwrap().entries.len(), 12);
        disk.remove(&path(lost)).unwrap();
        let error = refusal(&disk, lost);
        assert!(matches!(error, StoreError::Gap { .. }), "{lost}: {error}");
    }
}

#[test]
fn an_epoch_that_goes_on_in_the_same_log_is_no_gap() {
    let (disk, mut store) = fresh();
    append(&mut store, 1, 1..=3);
    append(&mut store, 2, 1..=3);
    append(&mut store, 5, 1..=1);
    drop(store);
    let loaded = recover(&disk).unwrap();
    assert_eq!((loaded.entries.len(), loaded.tail.len()), (7, 7));
    assert!(loaded.seams.is_empty(), "{:?}", loaded.seams);
    // A snapshot in the middle of it does not matter.
    let snapshots = open(&disk).snapshots();
    snapshots.write(zxid(1, 3), &EMPTY_IMAGE, 0).unwrap();
    let loaded = recover(&disk).unwrap();
    assert_eq!((loaded.entries.len(), loaded.tail.len()), (4, 7));
    assert!(loaded.seams.is_empty(), "{:?}", loaded.seams);
}

/// A leader takes a snapshot in an epoch that has no transaction yet. The log
/// that follows goes on from the last transaction there was.
#[test]
fn a_snapshot_of_an_epoch_without_transactions_is_no_gap() {
    let (disk, mut store) = fresh();
    append(&mut store, 1, 1..=3);
    store.roll().unwrap();
    let snapshots = store.snapshots();
    snapshots.write(zxid(2, 0), &EMPTY_IMAGE, 0).unwrap();
    append(&mut store, 3, 1..=2);
    drop(store);
    let loaded = recover(&disk).unwrap();
    assert_eq!(
        loaded.snapshot.map(|snapshot| snapshot.zxid),
        Some(zxid(2, 0))
    );
    assert_eq!(loaded.entries.len(), 2);
    let [seam] = &loaded.seams[..] else {
        panic!("{:?}", loaded.seams)
    };
    assert_eq!((seam.before, seam.after), (zxid(2, 0), zxid(3, 1)));
    // The log knows of transactions that the snapshot does not have.
    let (disk, mut store) = fresh();
    append(&mut store, 1, 1..=3);
    store.roll().unwrap();
    let snapshots = store.snapshots();
    snapshots.write(zxid(2, 0), &EMPTY_IMAGE, 0).unwrap();
    append(&mut store, 2, 1..=3);
    store.roll().unwrap();
    append(&mut store, 3, 1..=2);
    drop(store);
    disk.remove(&path("log.200000001")).unwrap();
    assert!(matches!(
        refusal(&disk, "a lost log"),
        StoreError::Gap { .. }
    ));
}

#[test]
fn the_reference_may_stop_in_the_middle_of_its_newest_snapshot() {
    for (name, content) in [
        ("snapshot.100000002", &b"ZKSN\0\0\0\x02"[..]),
        ("snapshot.100000002", b""),
        ("snapshot.100000003.gz", b"\x1f\x8b\x08\0\0"),
        // It was being copied from the leader of an epoch that this server
        // has not followed yet.
        ("snapshot.200000000", b"ZKSN\0\0\0\x02"),
        ("snapshot.200000009", b""),
    ] {
        let (disk, mut store) = fresh();
        append(&mut store, 1, 1..=3);
        store.save_epoch(EpochName::Current, Epoch(1)).unwrap();
        forget_what_logs_follow(&disk);
        disk.plant(&path(name), content.to_vec());
        assert_eq!(recover(&disk).unwrap().entries.len(), 3, "{name}");
    }
}

#[test]
fn an_unfinished_snapshot_that_the_log_does_not_reach_is_refused() {
    for name in ["snapshot.100000004", "snapshot.100000258"] {
        let (disk, mut store) = fresh();
        append(&mut store, 1, 1..=3);
        store.save_epoch(EpochName::Current, Epoch(1)).unwrap();
        disk.plant(&path(name), b"ZKSN\0\0\0\x02".to_vec());
        let error = refusal(&disk, name);
        assert!(
            matches!(error, StoreError::NoReadableSnapshot { .. }),
            "{error}"
        );
    }
}

/// Only the digests of the transactions can tell: see the loader's tests.
#[test]
fn a_new_epoch_in_logs_of_the_reference_is_a_seam() {
    let (disk, mut store) = fresh();
    append(&mut store, 1, 1..=3);
    append(&mut store, 2, 1..=3);
    store.roll().unwrap();
    append(&mut store, 3, 1..=1);
    drop(store);
    forget_what_logs_follow(&disk);
    let seams = |disk: &MemDisk| {
        let seams = recover(disk).unwrap().seams.into_iter();
        seams
            .map(|seam| (seam.before, seam.after, seam.needs_proof))
            .collect::<Vec<_>>()
    };
    let all = [
        (zxid(0, 0), zxid(1, 1), false),
        (zxid(1, 3), zxid(2, 1), false),
        (zxid(2, 3), zxid(3, 1), false),
    ];
    assert_eq!(seams(&disk), all);
    // The tree at the start of epoch 2 was being written, or it was copied
    // from a leader that knew more: one has to prove which.
    disk.plant(&path("snapshot.200000000"), Vec::new());
    assert_eq!(seams(&disk), [all[0], (all[1].0, all[1].1, true), all[2]]);
}

/// A power cut of the reference leaves a torn end, and the entry that was
/// torn may never have been committed.
#[test]
fn a_torn_end_before_a_new_epoch_needs_a_proof() {
    let (disk, mut store) = fresh();
    append(&mut store, 1, 1..=3);
    store.roll().unwrap();
    append(&mut store, 2, 1..=3);
    drop(store);
    forget_what_logs_follow(&disk);
    let mut content = disk.read(&path("log.100000001")).unwrap();
    content.truncate(content.len() - 5);
    disk.plant(&path("log.100000001"), content);
    let loaded = recover(&disk).unwrap();
    assert_eq!(loaded.entries.len(), 5);
    let [_, seam] = &loaded.seams[..] else {
        panic!("{:?}", loaded.seams)
    };
    assert!(seam.needs_proof);
    assert_eq!((seam.before, seam.after), (zxid(1, 2), zxid(2, 1)));
}

#[test]
fn what_came_before_a_leaders_snapshot_is_never_sent_to_others() {
    for is_of_reference in [false, true] {
        let disk = copied_from_a_leader(zxid(1, 600), true);
        let snapshots = open(&disk).snapshots();
        snapshots.write(zxid(2, 2), &EMPTY_IMAGE, 0).unwrap();
        if is_of_reference {
            forget_what_logs_follow(&disk);
        }
        let tail = recover(&disk).unwrap().tail.into_iter();
        let tail: Vec<_> = tail.map(|(zxid, _)| zxid).collect();
        assert_eq!(tail, [zxid(2, 1), zxid(2, 2)]);
    }
}

/// A follower of the reference logs again what it had logged and not applied
/// when it lost its leader, and that is no other history.
#[test]
fn transactions_that_were_logged_twice_are_read_once() {
    let (disk, mut store) = fresh();
    append(&mut store, 1, 1..=4);
    store.roll().unwrap();
    append(&mut store, 1, 5..=6);
    drop(store);
    forget_what_logs_follow(&disk);
    // Entries 3 and 4 come again, and then 5.
    let first = disk.read(&path("log.100000001")).unwrap();
    let second = disk.read(&path("log.100000005")).unwrap();
    let again = &first[16 + 2 * 63..];
    let with_again = [&second[..16], again, &second[16..]].concat();
    disk.remove(&path("log.100000005")).unwrap();
    disk.plant(&path("log.100000003"), with_again.clone());
    let zxids = |disk: &MemDisk| {
        let loaded = recover(disk).unwrap();
        let zxids: Vec<_> = loaded.entries.iter().map(|(zxid, _)| *zxid).collect();
        (zxids, loaded.tail.len())
    };
    let all = (1..=6).map(|counter| zxid(1, counter)).collect::<Vec<_>>();
    assert_eq!(zxids(&disk), (all, 6));
    // Another transaction with the same zxid is another history.
    let mut other = with_again;
    let (mut entry, mut sum) = (data(zxid(1, 3)), (1_u32, 0_u32));
    entry[49] = 8;
    for byte in &entry {
        sum.0 = (sum.0 + u32::from(*byte)) % 65_521;
        sum.1 = (sum.1 + sum.0) % 65_521;
    }
    other[20..24].copy_from_slice(&(sum.1 << 16 | sum.0).to_be_bytes());
    other[28..78].copy_from_slice(&entry);
    disk.plant(&path("log.100000003"), other);
    let error = refusal(&disk, "two histories");
    assert!(error.to_string().contains("zxids go back"), "{error}");
}

#[test]
fn a_purged_or_truncated_directory_is_healthy() {
    let (disk, mut store) = fresh();
    for epoch in 1..=6 {
        append(&mut store, epoch, 1..=3);
        let at = zxid(epoch, 3);
        store.save_snapshot(at, &EMPTY_IMAGE, 0).unwrap();
    }
    append(&mut store, 6, 4..=6);
    store.purge(3).unwrap();
    assert_eq!(recover(&disk).unwrap().last_zxid(), zxid(6, 6));
    assert!(store.truncate(zxid(6, 4)).unwrap());
    append(&mut store, 7, 1..=2);
    let mut store = open(&disk);
    append(&mut store, 7, 3..=3);
    let loaded = recover(&disk).unwrap();
    assert_eq!(loaded.last_zxid(), zxid(7, 3));
    assert!(loaded.seams.is_empty(), "{:?}", loaded.seams);
    // The next older ones are as good.
    DAMAGES[0].1(&disk, &path("snapshot.600000003"));
    let loaded = recover(&disk).unwrap();
    assert_eq!(loaded.snapshot.unwrap().zxid, zxid(5, 3));
    assert_eq!(loaded.entries.len(), 4 + 3);
}
