//! What the fuzz targets share: a start from a data directory, by the code
//! that a server starts with.

use std::path::{Path, PathBuf};

use zk_core::{LogEntry, Recovered};
use zk_store::{MemDisk, Store, StoreConfig};

/// A path in the data directory.
pub fn path(name: &str) -> PathBuf {
    Path::new("/data/version-2").join(name)
}

/// Everything in `/data`.
pub fn config() -> StoreConfig {
    StoreConfig {
        pre_alloc_kib: 0,
        ..StoreConfig::at(Path::new("/data"))
    }
}

/// Starts from the disk. Twice, because the first start may cut a log: the
/// second must then find the very same tree.
pub fn start(disk: &MemDisk) {
    let Some(first) = recover(disk) else { return };
    let again = recover(disk).expect("what was loaded once is loaded again");
    assert_eq!(first.last_zxid, again.last_zxid);
    assert_eq!(first.tree.digest(), again.tree.digest());
}

fn recover(disk: &MemDisk) -> Option<Recovered> {
    let mut store = Store::open(disk.clone(), config()).ok()?;
    let loaded = store.recover(500).ok()?;
    let entry = |(zxid, data)| LogEntry { zxid, data };
    Recovered::rebuild(
        loaded.snapshot.map(|it| (it.zxid, it.image)),
        loaded.entries.into_iter().map(entry),
        loaded.tail.into_iter().map(entry).collect(),
        loaded.accepted_epoch,
        loaded.current_epoch,
    )
    .ok()
}
