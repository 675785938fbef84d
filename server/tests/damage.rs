//! A small data directory with every truncation of its files and ten thousand
//! flipped bits: a start finds a tree that once was, by a clean cut of the
//! log's end, or refuses with the file's name. Never another tree.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use zk_core::request::replay;
use zk_core::tree::Tree;
use zk_core::{LogEntry, Recovered};
use zk_proto::Zxid;
use zk_store::{Compression, Disk, MemDisk, Store, StoreConfig};

/// A captured directory on a disk in memory.
struct Directory {
    disk: MemDisk,
    /// The digest of the tree at each zxid.
    digests: BTreeMap<Zxid, u64>,
    last: Zxid,
}

fn path(name: &str) -> PathBuf {
    Path::new("/data/version-2").join(name)
}

fn config() -> StoreConfig {
    StoreConfig {
        pre_alloc_kib: 0,
        ..StoreConfig::at(Path::new("/data"))
    }
}

impl Directory {
    fn load(name: &str) -> Self {
        let captured = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("proto/testdata/store")
            .join(name);
        let disk = MemDisk::default();
        for entry in fs::read_dir(captured).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if !name.contains(".txt") {
                disk.plant(&path(&name), fs::read(entry.path()).unwrap());
            }
        }
        let mut directory = Self {
            disk,
            digests: BTreeMap::new(),
            last: Zxid::ZERO,
        };
        let mut tree = Tree::new();
        directory.digests.insert(Zxid::ZERO, tree.digest());
        let mut store = Store::open(directory.disk.clone(), config()).unwrap();
        for (zxid, data) in store.recover(10_000).unwrap().tail {
            replay(&mut tree, &data).unwrap();
            directory.digests.insert(zxid, tree.digest());
            directory.last = zxid;
        }
        assert!(directory.digests.len() > 6);
        directory
    }

    /// Where a start would begin, or what it says.
    fn start(&self) -> Result<Recovered, String> {
        let mut store = Store::open(self.disk.clone(), config()).map_err(|e| e.to_string())?;
        let loaded = store.recover(500).map_err(|e| e.to_string())?;
        let entry = |(zxid, data)| LogEntry { zxid, data };
        Recovered::rebuild(
            loaded.snapshot.map(|it| (it.zxid, it.image)),
            loaded.entries.into_iter().map(entry),
            loaded.tail.into_iter().map(entry).collect(),
            loaded.accepted_epoch,
            loaded.current_epoch,
        )
        .map_err(|e| e.to_string())
    }

    /// Starts with other bytes in a file. Returns the last zxid, if it starts.
    fn start_with(&self, name: &str, bytes: Vec<u8>, context: &str) -> Option<Zxid> {
        let before: Vec<_> = self.content();
        self.disk.plant(&path(name), bytes);
        let started = self.start();
        for file in self.disk.list(Path::new("/data/version-2")).unwrap() {
            self.disk.remove(&path(&file)).unwrap();
        }
        for (file, bytes) in before {
            self.disk.plant(&path(&file), bytes);
        }
        match started {
            Ok(recovered) => {
                let zxid = recovered.last_zxid;
                assert_eq!(
                    self.digests.get(&zxid),
                    Some(&recovered.tree.digest()),
                    "{context}: another tree at {zxid}"
                );
                Some(zxid)
            }
            Err(said) => {
                let names_it = said.contains("/data/version-2");
                assert!(names_it && said.len() > 40, "{context}: {said:?}");
                None
            }
        }
    }

    fn content(&self) -> Vec<(String, Vec<u8>)> {
        let names = self.disk.list(Path::new("/data/version-2")).unwrap();
        let read = |name: String| (name.clone(), self.disk.read(&path(&name)).unwrap());
        names.into_iter().map(read).collect()
    }

    /// The same history with only the snapshot of zxid 0 to start from, or
    /// with the newest snapshot compressed.
    fn reduced(&self, compression: Option<Compression>) {
        let mut store = Store::open(self.disk.clone(), config()).unwrap();
        let newest = store.recover(0).unwrap().snapshot.unwrap();
        for (name, _) in self.content() {
            let is_newest = name == format!("snapshot.{:x}", newest.zxid.0);
            if is_newest && newest.zxid > Zxid::ZERO {
                self.disk.remove(&path(&name)).unwrap();
            }
        }
        if let Some(snapshot_compression) = compression {
            let store = Store::open(
                self.disk.clone(),
                StoreConfig {
                    snapshot_compression,
                    ..config()
                },
            );
            let digest = newest.digest.unwrap().1;
            let snapshots = store.unwrap().snapshots();
            snapshots.write(newest.zxid, &newest.image, digest).unwrap();
        }
    }
}

fn directories() -> Vec<(String, Directory)> {
    let mut all = Vec::new();
    for name in ["standalone", "ensemble", "extended"] {
        all.push((name.to_owned(), Directory::load(name)));
        for compression in [None, Some(Compression::Gzip), Some(Compression::Snappy)] {
            let directory = Directory::load(name);
            directory.reduced(compression);
            all.push((format!("{name} {compression:?}"), directory));
        }
    }
    all
}

#[test]
fn every_truncation_is_a_clean_cut_or_refused() {
    let (mut cuts, mut refused) = (0, 0);
    let small = |name: &str| name.starts_with("extended") || name == "ensemble None";
    for (directory_name, directory) in directories().into_iter().filter(|(name, _)| small(name)) {
        for (name, whole) in directory.content() {
            let is_newest_log = directory
                .content()
                .iter()
                .filter(|(other, _)| other.starts_with("log."))
                .all(|(other, _)| (other.len(), other) <= (name.len(), &name));
            let mut least = Zxid::ZERO;
            for cut in 0..whole.len() {
                let context = format!("{directory_name}/{name} cut to {cut}");
                let zxid = directory.start_with(&name, whole[..cut].to_vec(), &context);
                if name.starts_with("snapshot.") {
                    // The log makes up for it, or it was the only one.
                    assert!(zxid.is_none_or(|zxid| zxid == directory.last), "{context}");
                } else if name.starts_with("log.") && is_newest_log {
                    let zxid = zxid.unwrap_or_else(|| panic!("{context}: refused"));
                    assert!(zxid >= least, "{context}");
                    least = zxid;
                    cuts += usize::from(zxid < directory.last);
                }
                refused += usize::from(zxid.is_none());
            }
        }
    }
    assert!(
        cuts > 1000 && refused > 100,
        "{cuts} cuts, {refused} refused"
    );
}

#[test]
fn ten_thousand_flipped_bits_never_make_another_tree() {
    const FLIPS: usize = 10_000;
    let directories = directories();
    let files: Vec<_> = directories
        .iter()
        .flat_map(|(name, directory)| {
            directory
                .content()
                .into_iter()
                .map(move |(file, bytes)| (name, directory, file, bytes))
        })
        .filter(|(_, _, file, _)| file.starts_with("log.") || file.starts_with("snapshot."))
        .collect();
    let mut seed = 11_u64;
    let (mut refused, mut unharmed) = (0, 0);
    for n in 0..FLIPS {
        let (directory_name, directory, file, whole) = &files[n % files.len()];
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let bit = (seed >> 20) as usize % (whole.len() * 8);
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let context = format!("{directory_name}/{file} bit {bit}");
        match directory.start_with(file, bytes, &context) {
            // A bit that nothing reads, or a snapshot that the log makes up for.
            Some(zxid) => {
                assert_eq!(zxid, directory.last, "{context}: transactions are gone");
                unharmed += 1;
            }
            None => refused += 1,
        }
    }
    assert!(
        refused > 3000 && unharmed > 1000,
        "{refused} refused, {unharmed} unharmed"
    );
}
