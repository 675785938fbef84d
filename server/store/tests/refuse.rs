//! Directories that a server must not start from, and what is said about them.

use std::path::{Path, PathBuf};

use zk_proto::{Epoch, Zxid};
use zk_store::{Disk, EpochName, MemDisk, RealDisk, Store, StoreConfig, StoreError};

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

fn data(zxid: i64) -> Vec<u8> {
    let mut data = vec![7; 50];
    data[12..20].copy_from_slice(&zxid.to_be_bytes());
    data
}

/// snapshot.0 and the given logs.
fn written(logs: &[&[i64]]) -> MemDisk {
    let disk = MemDisk::default();
    let mut store = Store::open(disk.clone(), config()).unwrap();
    store.recover(0).unwrap();
    store.save_snapshot(Zxid(0), &EMPTY_IMAGE, 0).unwrap();
    for log in logs {
        for zxid in *log {
            store.append([(Zxid(*zxid), &data(*zxid)[..])]).unwrap();
        }
        store.roll().unwrap();
    }
    disk
}

fn recover(disk: &MemDisk) -> Result<Vec<i64>, StoreError> {
    let loaded = Store::open(disk.clone(), config())?.recover(0)?;
    Ok(loaded.entries.iter().map(|(zxid, _)| zxid.0).collect())
}

#[test]
fn gaps_are_refused_and_new_epochs_are_not() {
    let epoch = 1 << 32;
    let zxids = recover(&written(&[
        &[1, 2],
        &[epoch + 1, epoch + 2],
        &[4 * epoch + 1],
    ]))
    .unwrap();
    assert_eq!(zxids.len(), 5);
    for logs in [
        &[&[1_i64, 2][..], &[4]][..],
        &[&[2]],
        &[&[1, 2], &[epoch + 2]],
        &[&[1, 3]],
    ] {
        let error = recover(&written(logs)).unwrap_err();
        assert!(matches!(error, StoreError::Gap { .. }), "{logs:?}: {error}");
    }
}

#[test]
fn a_bad_end_of_a_log_counts_only_if_nothing_can_be_missing() {
    let torn = |disk: &MemDisk, name: &str, bytes: usize| {
        let mut content = disk.read(&path(name)).unwrap();
        content.truncate(content.len() - bytes);
        disk.plant(&path(name), content);
    };
    let disk = written(&[&[1, 2, 3], &[4]]);
    torn(&disk, "log.1", 5);
    let error = recover(&disk).unwrap_err();
    assert!(
        matches!(&error, StoreError::Damaged { offset, .. } if *offset == 16 + 2 * 63),
        "{error}"
    );
    // As the reference leaves it after a power cut: the torn entry came again.
    let disk = written(&[&[1, 2, 3], &[4]]);
    disk.remove(&path("log.4")).unwrap();
    torn(&disk, "log.1", 5);
    let other = written(&[&[1, 2], &[3, 4]]);
    disk.plant(&path("log.3"), other.read(&path("log.3")).unwrap());
    assert_eq!(recover(&disk).unwrap(), [1, 2, 3, 4]);
}

#[test]
fn missing_and_unreadable_snapshots_are_refused() {
    let disk = written(&[&[1]]);
    disk.remove(&path("snapshot.0")).unwrap();
    let error = recover(&disk).unwrap_err();
    assert!(matches!(error, StoreError::NoSnapshot { .. }), "{error}");
    let trusting = StoreConfig {
        trust_empty_snapshot: true,
        ..config()
    };
    let mut store = Store::open(disk.clone(), trusting).unwrap();
    assert_eq!(store.recover(0).unwrap().entries.len(), 1);

    disk.plant(&path("snapshot.5"), vec![0; 100]);
    let error = recover(&disk).unwrap_err();
    assert!(
        matches!(error, StoreError::NoReadableSnapshot { newest: 5, .. }),
        "{error}"
    );
}

#[test]
fn a_damaged_snapshot_needs_a_log_that_makes_up_for_it() {
    for (logs, is_enough) in [(&[1_i64, 2, 3][..], true), (&[1], false)] {
        let disk = written(&[logs]);
        let mut store = Store::open(disk.clone(), config()).unwrap();
        store.recover(0).unwrap();
        store.save_snapshot(Zxid(3), &EMPTY_IMAGE, 0).unwrap();
        let mut content = disk.read(&path("snapshot.3")).unwrap();
        content[20] ^= 1;
        disk.plant(&path("snapshot.3"), content);
        match recover(&disk) {
            Ok(zxids) => assert!(is_enough && zxids == logs),
            Err(error) => assert!(!is_enough, "{error}"),
        }
    }
}

#[test]
fn epoch_files_are_checked() {
    let save = |disk: &MemDisk, accepted: i64, current: i64| {
        let mut store = Store::open(disk.clone(), config()).unwrap();
        store
            .save_epoch(EpochName::Accepted, Epoch(accepted))
            .unwrap();
        store
            .save_epoch(EpochName::Current, Epoch(current))
            .unwrap();
    };
    let epoch = 1_i64 << 32;
    let disk = written(&[&[epoch + 1]]);
    save(&disk, 1, 2);
    let error = recover(&disk).unwrap_err();
    assert!(matches!(error, StoreError::EpochOrder { .. }), "{error}");
    // Stopped between log and epoch file: the log tells the epoch.
    save(&disk, 2, 0);
    let loaded = Store::open(disk.clone(), config())
        .unwrap()
        .recover(0)
        .unwrap();
    assert_eq!(loaded.current_epoch, Some(Epoch(1)));
    disk.plant(&path("currentEpoch.tmp"), b"2".to_vec());
    let loaded = Store::open(disk.clone(), config())
        .unwrap()
        .recover(0)
        .unwrap();
    assert_eq!(loaded.current_epoch, Some(Epoch(2)));

    let disk = MemDisk::default();
    save(&disk, 3, 3);
    let error = recover(&disk).unwrap_err();
    assert!(matches!(error, StoreError::DataGone { .. }), "{error}");
    disk.plant(&path("currentEpoch"), b"three".to_vec());
    let error = recover(&disk).unwrap_err();
    assert!(
        error.to_string().contains("\"three\" instead of an epoch"),
        "{error}"
    );
}

#[test]
fn a_log_cannot_be_cut_before_its_first_snapshot() {
    let disk = written(&[&[1, 2]]);
    let mut store = Store::open(disk.clone(), config()).unwrap();
    store.recover(0).unwrap();
    store
        .install_snapshot(Zxid(9), 0, false, whole(&EMPTY_IMAGE))
        .unwrap();
    disk.remove(&path("snapshot.0")).unwrap();
    assert!(!store.truncate(Zxid(5)).unwrap());
    assert!(
        disk.list(Path::new("/data/version-2"))
            .unwrap()
            .contains(&"snapshot.9".to_owned())
    );
}

#[test]
fn old_transactions_of_another_history_are_no_tail() {
    let disk = written(&[&[1, 2, 3]]);
    let mut store = Store::open(disk, config()).unwrap();
    store.recover(0).unwrap();
    let zxid = Zxid(2 << 32);
    store
        .install_snapshot(zxid, 0, true, whole(&EMPTY_IMAGE))
        .unwrap();
    let next = zxid.next();
    store.append([(next, &data(next.0)[..])]).unwrap();
    store.sync().unwrap();
    let tail = store.recover(10).unwrap().tail;
    assert_eq!(
        tail.iter().map(|(zxid, _)| *zxid).collect::<Vec<_>>(),
        [next]
    );
}

#[test]
fn misplaced_files_are_refused() {
    let disk = written(&[&[1]]);
    let apart = StoreConfig {
        log_dir: "/log".into(),
        ..config()
    };
    let error = Store::open(disk, apart).unwrap_err();
    assert!(
        error.to_string().contains("log.1 is in the wrong one"),
        "{error}"
    );
}

#[test]
fn purging_counts_only_snapshots_that_can_be_loaded() {
    let disk = written(&[&[1, 2], &[3, 4], &[5, 6], &[7, 8]]);
    let store = Store::open(disk.clone(), config()).unwrap();
    for zxid in [2, 4, 6] {
        store
            .snapshots()
            .write(Zxid(zxid), &EMPTY_IMAGE, 0)
            .unwrap();
    }
    let mut content = disk.read(&path("snapshot.6")).unwrap();
    content[30] ^= 1;
    disk.plant(&path("snapshot.6"), content);
    assert_eq!(store.purge(3).unwrap(), 0);
    store.snapshots().write(Zxid(8), &EMPTY_IMAGE, 0).unwrap();
    assert_eq!(store.purge(1).unwrap(), 1, "snapshot.0 is not needed");
    let mut names = disk.list(Path::new("/data/version-2")).unwrap();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "log.1",
            "log.3",
            "log.5",
            "log.7",
            "snapshot.2",
            "snapshot.4",
            "snapshot.6",
            "snapshot.8"
        ]
    );
}

#[test]
fn the_real_disk_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig::at(dir.path());
    let mut store = Store::open(RealDisk, config.clone()).unwrap();
    assert!(store.recover(0).unwrap().snapshot.is_none());
    store.save_snapshot(Zxid(0), &EMPTY_IMAGE, 5).unwrap();
    store.save_epoch(EpochName::Accepted, Epoch(1)).unwrap();
    let zxids = [(1_i64 << 32) + 1, (1 << 32) + 2, (1 << 32) + 3];
    for zxid in zxids {
        store.append([(Zxid(zxid), &data(zxid)[..])]).unwrap();
    }
    store.sync().unwrap();
    let log = dir.path().join("version-2/log.100000001");
    assert_eq!(
        log.metadata().unwrap().len(),
        67_108_880,
        "as a fresh file of the reference"
    );
    assert!(store.truncate(Zxid(zxids[1])).unwrap());
    assert_eq!(log.metadata().unwrap().len(), 16 + 2 * 63);
    let mut store = Store::open(RealDisk, config).unwrap();
    let loaded = store.recover(10).unwrap();
    assert_eq!(loaded.tail, loaded.entries);
    assert_eq!(loaded.last_zxid(), Zxid(zxids[1]));
    assert_eq!(
        (loaded.accepted_epoch, loaded.current_epoch),
        (Some(Epoch(1)), None)
    );
    store
        .append([(Zxid(zxids[2]), &data(zxids[2])[..])])
        .unwrap();
    store.sync().unwrap();
    assert!(
        dir.path().join("version-2/log.100000003").exists(),
        "goes on in a new file"
    );
}

/// As the reference: `Long.parseLong` of the name's second part.
#[test]
fn odd_names_are_opened_as_they_are_and_directories_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig {
        pre_alloc_kib: 0,
        ..StoreConfig::at(dir.path())
    };
    let inside = |name: &str| dir.path().join("version-2").join(name);
    let mut store = Store::open(RealDisk, config.clone()).unwrap();
    store.recover(0).unwrap();
    store.save_snapshot(Zxid(0), &EMPTY_IMAGE, 0).unwrap();
    for zxid in 0x1d..0x1f {
        store.append([(Zxid(zxid), &data(zxid)[..])]).unwrap();
    }
    store
        .snapshots()
        .write(Zxid(0x1d), &EMPTY_IMAGE, 0)
        .unwrap();
    store.roll().unwrap();
    drop(store);
    std::fs::rename(inside("log.1d"), inside("log.0000001D")).unwrap();
    std::fs::rename(inside("snapshot.1d"), inside("snapshot.01D")).unwrap();
    std::fs::create_dir(inside("snapshot.fffffffff")).unwrap();
    std::fs::create_dir(inside("log.fff")).unwrap();
    std::fs::create_dir(inside("tmp.old")).unwrap();
    std::fs::write(inside("log.FFFFFFFFF"), b"").unwrap();
    let mut store = Store::open(RealDisk, config.clone()).unwrap();
    let loaded = store.recover(10).unwrap();
    assert_eq!(loaded.snapshot.as_ref().unwrap().zxid, Zxid(0x1d));
    assert_eq!(loaded.last_zxid(), Zxid(0x1e));
    assert!(!inside("log.FFFFFFFFF").exists(), "it held nothing");
    assert!(store.truncate(Zxid(0x1d)).unwrap());
    assert_eq!(store.recover(10).unwrap().last_zxid(), Zxid(0x1d));
    assert!(inside("log.0000001D").exists());
    store
        .snapshots()
        .write(Zxid(0x20), &EMPTY_IMAGE, 0)
        .unwrap();
    store
        .snapshots()
        .write(Zxid(0x21), &EMPTY_IMAGE, 0)
        .unwrap();
    store
        .snapshots()
        .write(Zxid(0x22), &EMPTY_IMAGE, 0)
        .unwrap();
    assert_eq!(store.purge(3).unwrap(), 2, "snapshot.0 and snapshot.01D");
    assert!(!inside("snapshot.01D").exists());
}

/// The image as a single block.
fn whole(image: &[u8]) -> impl FnMut(&mut Vec<u8>) -> bool {
    let mut block = Some(image);
    move |out| {
        block
            .take()
            .map(|block| out.extend_from_slice(block))
            .is_some()
    }
}
