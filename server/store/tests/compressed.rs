//! Compressed snapshots: written, read, cut off and damaged.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use zk_proto::Zxid;
use zk_proto::client::StatPersisted;
use zk_proto::snapshot::{NodeRecord, OPEN_ACL_REF, write_acl_table, write_end, write_sessions};
use zk_store::{Compression, Disk, MemDisk, Store, StoreConfig};

const METHODS: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Snappy];

fn config(snapshot_compression: Compression) -> StoreConfig {
    StoreConfig {
        pre_alloc_kib: 0,
        snapshot_compression,
        ..StoreConfig::at(Path::new("/data"))
    }
}

fn path(name: &str) -> PathBuf {
    Path::new("/data/version-2").join(name)
}

fn image(znodes: i64) -> Vec<u8> {
    let mut out = Vec::new();
    write_sessions(&mut out, [].into_iter());
    write_acl_table(&mut out, [].into_iter());
    for n in 0..znodes {
        let path = if n == 0 {
            String::new()
        } else {
            format!("/{n}")
        };
        NodeRecord {
            path: path.into(),
            data: Some(b"some data"),
            acl_ref: OPEN_ACL_REF,
            stat: StatPersisted::default(),
        }
        .write(&mut out);
    }
    write_end(&mut out);
    out
}

fn entry(zxid: i64) -> Bytes {
    let mut data = vec![7; 40];
    data[12..20].copy_from_slice(&zxid.to_be_bytes());
    data.into()
}

/// snapshot.0, a log of two entries and a snapshot of the second.
fn written(method: Compression) -> MemDisk {
    let disk = MemDisk::default();
    let mut store = Store::open(disk.clone(), config(method)).unwrap();
    store.recover(0).unwrap();
    store.save_snapshot(Zxid(0), &image(1), 0).unwrap();
    for zxid in [1, 2] {
        store.append([(Zxid(zxid), &entry(zxid)[..])]).unwrap();
    }
    store.save_snapshot(Zxid(2), &image(500), 22).unwrap();
    disk
}

fn newest(method: Compression) -> PathBuf {
    match method {
        Compression::None => path("snapshot.2"),
        other => path(&format!("snapshot.2.{}", other.method())),
    }
}

#[test]
fn each_form_is_written_under_its_name_and_read_whatever_is_configured() {
    for written_as in METHODS {
        for read_as in METHODS {
            let disk = written(written_as);
            let bytes = disk.read(&newest(written_as)).unwrap();
            let is_smaller = bytes.len() < image(500).len() / 4;
            assert_eq!(is_smaller, written_as != Compression::None);
            let mut store = Store::open(disk.clone(), config(read_as)).unwrap();
            let snapshot = store.recover(0).unwrap().snapshot.unwrap();
            assert_eq!(snapshot.zxid, Zxid(2));
            assert_eq!(snapshot.digest, Some((Zxid(2), 22)));
            assert_eq!(snapshot.image, image(500));
            store.save_snapshot(Zxid(2), &image(500), 22).unwrap();
            let names = disk.list(Path::new("/data/version-2")).unwrap();
            let of_two = names.iter().filter(|name| name.starts_with("snapshot.2"));
            assert_eq!(of_two.count(), 1, "{names:?}");
            disk.read(&newest(read_as)).unwrap();
        }
    }
}

#[test]
fn blocks_of_any_size_make_the_same_file() {
    let image = image(300);
    for method in METHODS {
        let disk = written(method);
        let store = Store::open(disk.clone(), config(method)).unwrap();
        store.snapshots().write(Zxid(2), &image, 9).unwrap();
        let at_once = disk.read(&newest(method)).unwrap();
        let mut writer = store.snapshots().begin(Zxid(2)).unwrap();
        for block in image.chunks(77) {
            writer.write(block).unwrap();
        }
        writer.finish(9).unwrap();
        assert_eq!(disk.read(&newest(method)).unwrap(), at_once, "{method:?}");
    }
}

/// The older snapshot and the log hold the same history.
fn assert_same_history(disk: &MemDisk, context: &str) -> bool {
    let mut store = Store::open(disk.clone(), config(Compression::None)).unwrap();
    let loaded = store
        .recover(0)
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    let snapshot = loaded.snapshot.as_ref().unwrap();
    assert_eq!(loaded.last_zxid(), Zxid(2), "{context}");
    if snapshot.zxid == Zxid(2) {
        assert_eq!(snapshot.image, image(500), "{context}");
        return true;
    }
    assert_eq!(snapshot.zxid, Zxid(0), "{context}");
    assert_eq!(loaded.entries.len(), 2, "{context}");
    false
}

#[test]
fn every_shorter_file_is_skipped() {
    for method in METHODS {
        let disk = written(method);
        let whole = disk.read(&newest(method)).unwrap();
        for cut in (0..whole.len())
            .rev()
            .step_by(if whole.len() > 5000 { 97 } else { 1 })
        {
            disk.plant(&newest(method), whole[..cut].to_vec());
            let context = format!("{method:?} cut to {cut}");
            if assert_same_history(&disk, &context) {
                // Only what follows the seal may be missing.
                assert!(whole.len() - cut <= 54, "{context}");
            }
        }
    }
}

#[test]
fn no_flipped_bit_gets_into_a_tree() {
    for method in METHODS {
        let disk = written(method);
        let whole = disk.read(&newest(method)).unwrap();
        let mut skipped = 0;
        let mut seed = 5_u64;
        for _ in 0..600 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let bit = (seed >> 20) as usize % (whole.len() * 8);
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            disk.plant(&newest(method), flipped);
            if !assert_same_history(&disk, &format!("{method:?} bit {bit}")) {
                skipped += 1;
            }
        }
        assert!(skipped > 500, "{method:?}: {skipped} skipped");
    }
}

#[test]
fn a_hundred_damaged_snapshots_are_tried_and_no_more() {
    for (damaged, loads) in [(99, true), (100, false)] {
        let disk = MemDisk::default();
        let mut store = Store::open(disk.clone(), config(Compression::None)).unwrap();
        store.recover(0).unwrap();
        for zxid in 0..=damaged {
            if zxid > 0 {
                store.append([(Zxid(zxid), &entry(zxid)[..])]).unwrap();
            }
            store.snapshots().write(Zxid(zxid), &image(1), 0).unwrap();
        }
        store.sync().unwrap();
        for zxid in 1..=damaged {
            let path = path(&format!("snapshot.{zxid:x}"));
            let mut bytes = disk.read(&path).unwrap();
            bytes[30] ^= 1;
            disk.plant(&path, bytes);
        }
        let mut store = Store::open(disk, config(Compression::None)).unwrap();
        match store.recover(0) {
            Ok(loaded) => assert!(loads && loaded.entries.len() == 99),
            Err(error) => assert!(
                !loads && error.to_string().contains("snapshot.64"),
                "{error}"
            ),
        }
    }
}

#[test]
fn missing_directories_are_made_unless_that_is_forbidden() {
    let forbidden = StoreConfig {
        create_dirs: false,
        ..config(Compression::None)
    };
    let disk = MemDisk::default();
    let error = Store::open(disk.clone(), forbidden.clone()).unwrap_err();
    assert!(error.to_string().contains("datadir.autocreate"), "{error}");
    Store::open(disk.clone(), config(Compression::None)).unwrap();
    Store::open(disk, forbidden).unwrap();
}

#[test]
fn an_empty_directory_needs_a_word_where_it_is_not_to_be_taken_for_a_tree() {
    let careful = StoreConfig {
        create_database: false,
        ..config(Compression::None)
    };
    let disk = MemDisk::default();
    let recover = || Store::open(disk.clone(), careful.clone())?.recover(0);
    let error = recover().unwrap_err();
    assert!(error.to_string().contains("/data/initialize"), "{error}");
    disk.plant(Path::new("/data/initialize"), Vec::new());
    assert!(recover().unwrap().snapshot.is_none());
    // That start ended before there was anything; the next one does not refuse.
    let mut store = Store::open(disk.clone(), careful.clone()).unwrap();
    assert!(store.recover(0).unwrap().snapshot.is_none());
    store.save_snapshot(Zxid(0), &image(1), 0).unwrap();
    disk.remove(&path("snapshot.0")).unwrap();
    recover().expect_err("the marker is for one empty tree");

    // A directory with data needs no marker, and one that is left there says
    // nothing of a later loss.
    let disk = written(Compression::None);
    let marker = Path::new("/data/initialize");
    disk.plant(marker, Vec::new());
    let open = || Store::open(disk.clone(), careful.clone()).unwrap();
    let epoch = path("acceptedEpoch");
    disk.plant(&epoch, b"x".to_vec());
    open().recover(0).expect_err("that is no epoch");
    assert!(disk.read(marker).is_ok(), "that start did not succeed");
    disk.remove(&epoch).unwrap();
    open().recover(0).unwrap();
    assert!(disk.read(marker).is_err());
}
