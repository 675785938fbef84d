//! Names in `version-2` (reference: `Util.getZxidFromName`, `FileTxnSnapLog`).
//!
//! | name | content |
//! |---|---|
//! | `log.<hex zxid of the first entry>` | transactions |
//! | `snapshot.<hex zxid>` | a tree; with `.gz` or `.snappy` compressed |
//! | `acceptedEpoch`, `currentEpoch` | decimal numbers |
//! | `tmp.*` | ours: unfinished snapshots, removed at start |

use std::path::{Path, PathBuf};

use zk_proto::Zxid;

use crate::{Compression, Disk, StoreError};

/// Directory below dataDir and dataLogDir.
pub(crate) const VERSION_DIR: &str = "version-2";

/// Start of the names of unfinished files; the reference ignores them.
pub(crate) const TEMPORARY: &str = "tmp.";

/// A snapshot file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotName {
    pub(crate) zxid: Zxid,
    pub(crate) compression: Compression,
}

impl SnapshotName {
    pub(crate) fn path(self, dir: &Path) -> PathBuf {
        let Self { zxid, compression } = self;
        let end = compression.method();
        let dot = if end.is_empty() { "" } else { "." };
        dir.join(format!("snapshot.{:x}{dot}{end}", zxid.0))
    }
}

/// The file whose first entry has this zxid.
pub(crate) fn log_path(dir: &Path, first: Zxid) -> PathBuf {
    dir.join(format!("log.{:x}", first.0))
}

/// First zxids of the logs in the directory, oldest first.
pub(crate) fn logs<D: Disk>(disk: &D, dir: &Path) -> Result<Vec<Zxid>, StoreError> {
    let names = disk.list(dir).map_err(StoreError::io("list", dir))?;
    let mut logs: Vec<_> = names.iter().filter_map(|name| log_name(name)).collect();
    logs.sort_unstable();
    Ok(logs)
}

/// Snapshots in the directory, newest first.
pub(crate) fn snapshots<D: Disk>(disk: &D, dir: &Path) -> Result<Vec<SnapshotName>, StoreError> {
    let names = disk.list(dir).map_err(StoreError::io("list", dir))?;
    let mut snapshots: Vec<_> = names
        .iter()
        .filter_map(|name| snapshot_name(name))
        .collect();
    snapshots.sort_unstable_by_key(|name| (std::cmp::Reverse(name.zxid), name.compression));
    Ok(snapshots)
}

fn log_name(name: &str) -> Option<Zxid> {
    hex(name.strip_prefix("log.")?)
}

pub(crate) fn snapshot_name(name: &str) -> Option<SnapshotName> {
    let rest = name.strip_prefix("snapshot.")?;
    let (number, compression) = match rest.split_once('.') {
        None => (rest, Compression::None),
        Some((_, "")) => return None,
        Some((number, end)) => (number, Compression::from_method(end)?),
    };
    Some(SnapshotName {
        zxid: hex(number)?,
        compression,
    })
}

fn hex(text: &str) -> Option<Zxid> {
    let number = i64::from_str_radix(text, 16).ok()?;
    (number >= 0 && !text.starts_with('+')).then_some(Zxid(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_the_reference_writes_them() {
        assert_eq!(log_name("log.100000001"), Some(Zxid(0x1_0000_0001)));
        for other in [
            "log",
            "log.",
            "log.x",
            "log.-1",
            "log.1.2",
            "tmp.log.1",
            "logs.1",
        ] {
            assert_eq!(log_name(other), None, "{other}");
        }
        let name = |zxid, compression| {
            Some(SnapshotName {
                zxid: Zxid(zxid),
                compression,
            })
        };
        assert_eq!(snapshot_name("snapshot.0"), name(0, Compression::None));
        assert_eq!(
            snapshot_name("snapshot.1f.gz"),
            name(0x1f, Compression::Gzip)
        );
        assert_eq!(
            snapshot_name("snapshot.1f.snappy"),
            name(0x1f, Compression::Snappy)
        );
        for other in [
            "snapshot.1.tmp",
            "tmp.snapshot.1",
            "snapshot",
            "snapshot.+1",
        ] {
            assert_eq!(snapshot_name(other), None, "{other}");
        }
        let dir = Path::new("d");
        assert_eq!(
            name(0x1f, Compression::Gzip).unwrap().path(dir),
            dir.join("snapshot.1f.gz")
        );
        assert_eq!(
            log_path(dir, Zxid(0x1_0000_000a)),
            dir.join("log.10000000a")
        );
    }
}
