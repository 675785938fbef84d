//! Directories written by Apache ZooKeeper 3.9.4: read, and written again
//! byte for byte.

use std::fs;
use std::path::{Path, PathBuf};

use zk_proto::{Epoch, Zxid};
use zk_store::{Disk, MemDisk, Store, StoreConfig};

fn captured(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../proto/testdata/store")
        .join(name)
}

/// The captured directory on a disk in memory, under `/data`.
fn load(name: &str) -> MemDisk {
    let disk = MemDisk::default();
    for entry in fs::read_dir(captured(name)).unwrap() {
        let entry = entry.unwrap();
        let file = entry.file_name();
        if Path::new(&file)
            .extension()
            .is_none_or(|extension| extension != "txt")
        {
            let to = Path::new("/data/version-2").join(file);
            disk.plant(&to, fs::read(entry.path()).unwrap());
        }
    }
    disk
}

fn config() -> StoreConfig {
    StoreConfig {
        pre_alloc_kib: 0,
        ..StoreConfig::at(Path::new("/data"))
    }
}

/// File and zxid of every log entry, as `entries.txt` lists them.
fn listed(name: &str) -> Vec<(String, Zxid)> {
    let text = fs::read_to_string(captured(name).join("entries.txt")).unwrap();
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        let file = words.next()?.to_owned();
        let zxid = words.next()?.strip_prefix("zxid=0x")?;
        Some((file, Zxid(i64::from_str_radix(zxid, 16).ok()?)))
    };
    text.lines().filter_map(entry).collect()
}

#[test]
fn all_entries_and_the_newest_snapshot_are_read() {
    for (name, snapshot, epoch) in [
        ("standalone", 0x14, None),
        ("ensemble", 0x1_0000_0012, Some(Epoch(2))),
        ("extended", 0x6, None),
    ] {
        let mut store = Store::open(load(name), config()).unwrap();
        let loaded = store.recover(1000).unwrap();
        let listed: Vec<_> = listed(name).into_iter().map(|(_, zxid)| zxid).collect();
        assert!(!listed.is_empty());
        let from_snapshot = loaded.snapshot.as_ref().unwrap();
        assert_eq!(from_snapshot.zxid, Zxid(snapshot), "{name}");
        assert_eq!(from_snapshot.digest.unwrap().0, Zxid(snapshot), "{name}");
        let tail: Vec<_> = loaded.tail.iter().map(|(zxid, _)| *zxid).collect();
        assert_eq!(tail, listed, "{name}");
        let after = listed.iter().filter(|zxid| zxid.0 > snapshot).count();
        assert_eq!(loaded.entries.len(), after, "{name}");
        assert_eq!(
            (loaded.accepted_epoch, loaded.current_epoch),
            (epoch, epoch),
            "{name}"
        );
        assert_eq!(loaded.last_zxid(), *listed.last().unwrap(), "{name}");
    }
}

/// Where logs are synced, a mark follows the first transaction of a batch.
#[test]
fn logs_are_written_byte_for_byte() {
    let unmarked = StoreConfig {
        force_sync: false,
        ..config()
    };
    for name in ["standalone", "ensemble", "extended"] {
        let mut store = Store::open(load(name), config()).unwrap();
        let entries = store.recover(1000).unwrap().tail;
        let disk = MemDisk::default();
        let mut store = Store::open(disk.clone(), unmarked.clone()).unwrap();
        store.recover(0).unwrap();
        let files = listed(name);
        for ((zxid, data), (file, _)) in entries.iter().zip(&files) {
            if file.ends_with(&format!(".{:x}", zxid.0)) {
                store.roll().unwrap();
            }
            store.append([(*zxid, &data[..])]).unwrap();
        }
        for (file, _) in &files {
            let mut ours = disk.read(&Path::new("/data/version-2").join(file)).unwrap();
            // What the file follows, where the reference writes 0 and never looks.
            assert_ne!(ours[8..16], [0; 8], "{name}/{file}");
            ours[8..16].fill(0);
            assert_eq!(
                ours,
                fs::read(captured(name).join(file)).unwrap(),
                "{name}/{file}"
            );
        }
    }
}

#[test]
fn snapshots_are_written_byte_for_byte() {
    for (name, zxid) in [
        ("standalone", 0x14_i64),
        ("standalone", 0),
        ("ensemble", 0x1_0000_0012),
        ("ensemble", 0),
        ("extended", 0),
        ("extended", 6),
    ] {
        let file = format!("snapshot.{zxid:x}");
        let java = fs::read(captured(name).join(&file)).unwrap();
        let path = Path::new("/data/version-2").join(&file);
        let disk = MemDisk::default();
        disk.plant(&path, java.clone());
        let mut store = Store::open(disk.clone(), config()).unwrap();
        let snapshot = store.recover(0).unwrap().snapshot.unwrap();
        disk.plant(&path, Vec::new());
        let digest = snapshot.digest.unwrap().1;
        store
            .save_snapshot(snapshot.zxid, &snapshot.image, digest)
            .unwrap();
        assert_eq!(disk.read(&path).unwrap(), java, "{name}/{file}");
    }
}

#[test]
fn every_shorter_log_is_read_up_to_its_last_whole_entry() {
    let path = Path::new("/data/version-2/log.100000001");
    let disk = load("ensemble");
    disk.remove(Path::new("/data/version-2/snapshot.100000012"))
        .unwrap();
    let whole = disk.read(path).unwrap();
    let mut store = Store::open(disk.clone(), config()).unwrap();
    let all = store.recover(0).unwrap();
    for padding in [0, 5000] {
        for cut in 0..whole.len() {
            let mut bytes = whole[..cut].to_vec();
            bytes.resize(cut + padding, 0);
            disk.plant(path, bytes);
            let mut store = Store::open(disk.clone(), config()).unwrap();
            let loaded = store.recover(0).unwrap();
            let n = loaded.entries.len();
            assert_eq!(loaded.entries, all.entries[..n], "{cut} bytes");
            let bytes: usize = loaded.entries.iter().map(|(_, data)| data.len() + 13).sum();
            let next = all
                .entries
                .get(n)
                .map_or(usize::MAX, |(_, data)| data.len() + 13);
            assert!(
                cut < 16 || (bytes + 16 <= cut && cut < bytes + 16 + next),
                "{cut} bytes"
            );
            assert_eq!(store.recover(0).unwrap(), loaded, "the cut is final");
        }
    }
}

#[test]
fn flipped_bits_never_change_what_is_read() {
    let dir = Path::new("/data/version-2");
    let disk = load("standalone");
    let mut store = Store::open(disk.clone(), config()).unwrap();
    let sound = store.recover(0).unwrap();
    let mut seed = 1_u64;
    let mut refused = 0;
    for name in ["log.1", "log.15", "snapshot.14", "snapshot.0"] {
        let bytes = disk.read(&dir.join(name)).unwrap();
        for _ in 0..1500 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let bit = (seed >> 20) as usize % (bytes.len() * 8);
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            disk.plant(&dir.join(name), flipped);
            let mut store = Store::open(disk.clone(), config()).unwrap();
            match store.recover(0) {
                Err(_) => refused += 1,
                // An older snapshot and the whole log are as good.
                Ok(loaded) if loaded.snapshot != sound.snapshot => {
                    assert_eq!(name, "snapshot.14", "bit {bit}");
                    assert_eq!(loaded.snapshot.as_ref().unwrap().zxid, Zxid::ZERO);
                    assert_eq!(loaded.last_zxid(), sound.last_zxid(), "bit {bit}");
                }
                Ok(loaded) => assert_eq!(loaded, sound, "{name} bit {bit}"),
            }
        }
        disk.plant(&dir.join(name), bytes);
    }
    assert!(refused > 1000, "{refused} refused");
}
