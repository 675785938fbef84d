//! Names in `version-2` (reference: `Util.getZxidFromName`, `FileTxnSnapLog`).
//!
//! | name | content |
//! |---|---|
//! | `log.<hex zxid of the first entry>` | transactions |
//! | `snapshot.<hex zxid>` | a tree; with `.gz` or `.snappy` compressed |
//! | `acceptedEpoch`, `currentEpoch` | decimal numbers |
//! | `tmp.*` | ours: unfinished snapshots, removed at start |
//! | `replaced.*` | ours: what a leader's tree has replaced, never read |

use std::path::{Path, PathBuf};

use zk_proto::Zxid;

use crate::{Compression, Disk, StoreError};

/// Directory below dataDir and dataLogDir.
pub const VERSION_DIR: &str = "version-2";

/// Start of the names of unfinished files; the reference ignores them.
pub(crate) const TEMPORARY: &str = "tmp.";

/// Start of the names of files that are kept and that no server reads.
pub(crate) const REPLACED: &str = "replaced.";

/// A snapshot file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotName {
    pub(crate) zxid: Zxid,
    pub(crate) compression: Compression,
    file: String,
}

/// A log file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogName {
    /// Zxid of its first entry.
    pub(crate) first: Zxid,
    file: String,
}

impl SnapshotName {
    /// As a server names it.
    pub(crate) fn new(zxid: Zxid, compression: Compression) -> Self {
        let end = compression.method();
        let dot = if end.is_empty() { "" } else { "." };
        Self {
            zxid,
            compression,
            file: format!("snapshot.{:x}{dot}{end}", zxid.0),
        }
    }

    /// The very file that was found, however its name is spelled.
    pub(crate) fn path(&self, dir: &Path) -> PathBuf {
        dir.join(&self.file)
    }

    /// Does the name end as no server lets one end, such as `snapshot.1f.bak`?
    pub(crate) fn has_foreign_end(&self) -> bool {
        let end = self.file.split('.').nth(2).unwrap_or_default();
        !end.is_empty() && self.compression == Compression::None
    }
}

impl LogName {
    /// The very file that was found, however its name is spelled.
    pub(crate) fn path(&self, dir: &Path) -> PathBuf {
        dir.join(&self.file)
    }
}

/// The file whose first entry has this zxid, as a server names it.
pub(crate) fn log_path(dir: &Path, first: Zxid) -> PathBuf {
    dir.join(format!("log.{:x}", first.0))
}

/// All logs in the directory, oldest first. Of those with the same zxid the
/// one comes first that a server would name so.
pub(crate) fn logs<D: Disk>(disk: &D, dir: &Path) -> Result<Vec<LogName>, StoreError> {
    let names = disk.list(dir).map_err(StoreError::io("list", dir))?;
    let mut logs: Vec<_> = names.iter().filter_map(|name| log_name(name)).collect();
    logs.sort_unstable_by(|a, b| {
        let is_odd = |log: &LogName| log.file != format!("log.{:x}", log.first.0);
        let key = |log: &LogName| (log.first, is_odd(log));
        key(a).cmp(&key(b)).then_with(|| a.file.cmp(&b.file))
    });
    Ok(logs)
}

/// Snapshots in the directory, newest first.
pub(crate) fn snapshots<D: Disk>(disk: &D, dir: &Path) -> Result<Vec<SnapshotName>, StoreError> {
    let names = disk.list(dir).map_err(StoreError::io("list", dir))?;
    let mut snapshots: Vec<_> = names
        .iter()
        .filter_map(|name| snapshot_name(name))
        .collect();
    snapshots.sort_unstable_by(|a, b| {
        let is_odd = |name: &SnapshotName| *name != SnapshotName::new(name.zxid, name.compression);
        let key =
            |name: &SnapshotName| (std::cmp::Reverse(name.zxid), is_odd(name), name.compression);
        key(a).cmp(&key(b)).then_with(|| a.file.cmp(&b.file))
    });
    Ok(snapshots)
}

fn log_name(name: &str) -> Option<LogName> {
    Some(LogName {
        first: zxid_after("log", name)?,
        file: name.to_owned(),
    })
}

/// Reference: `SnapStream.isValidSnapshot`, `getStreamMode`. Unlike it, this
/// passes over `snapshot.*.tmp`, a copy of a leader's tree that never counted.
pub(crate) fn snapshot_name(name: &str) -> Option<SnapshotName> {
    let zxid = zxid_after("snapshot", name)?;
    let end = name.trim_end_matches('.').rsplit('.').next()?;
    if end.eq_ignore_ascii_case("tmp") {
        return None;
    }
    let compression = Compression::from_method(&end.to_ascii_lowercase());
    Some(SnapshotName {
        zxid,
        compression: compression.unwrap_or_default(),
        file: name.to_owned(),
    })
}

/// The zxid in the name of a log or a snapshot, such as `log.1f`.
#[must_use]
pub fn zxid_in_name(name: &str) -> Option<Zxid> {
    zxid_after("log", name).or_else(|| zxid_after("snapshot", name))
}

/// Reference: `Util.getZxidFromName`. Capitals, leading zeros and further parts
/// of the name are all right.
fn zxid_after(prefix: &str, name: &str) -> Option<Zxid> {
    let mut parts = name.split('.');
    if parts.next() != Some(prefix) {
        return None;
    }
    let number = i64::from_str_radix(parts.next()?, 16).ok()?;
    (number >= 0).then_some(Zxid(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemDisk;

    #[test]
    fn names_are_read_as_the_reference_reads_them() {
        for (name, zxid) in [
            ("log.100000001", 0x1_0000_0001),
            ("log.00000001F", 0x1f),
            ("log.+1", 1),
            ("log.1.2", 1),
            ("log.1.bak", 1),
        ] {
            let log = log_name(name).unwrap();
            assert_eq!((log.first, &*log.file), (Zxid(zxid), name));
        }
        for other in [
            "log",
            "log.",
            "log.x",
            "log.-1",
            "tmp.log.1",
            "logs.1",
            "LOG.1",
        ] {
            assert_eq!(log_name(other), None, "{other}");
        }
        for (name, compression, is_foreign) in [
            ("snapshot.1f", Compression::None, false),
            ("snapshot.001F", Compression::None, false),
            ("snapshot.1f.gz", Compression::Gzip, false),
            ("snapshot.1F.GZ", Compression::Gzip, false),
            ("snapshot.1f.snappy", Compression::Snappy, false),
            ("snapshot.1f.", Compression::None, false),
            ("snapshot.1f.bak", Compression::None, true),
            ("snapshot.1f.gz.bak", Compression::None, true),
        ] {
            let read = snapshot_name(name).unwrap();
            assert_eq!((read.zxid, read.compression), (Zxid(0x1f), compression));
            assert_eq!(read.has_foreign_end(), is_foreign, "{name}");
            assert_eq!(read.path(Path::new("d")), Path::new("d").join(name));
        }
        for other in [
            "snapshot.1.tmp",
            "tmp.snapshot.1",
            "snapshot",
            "snapshot.-1",
        ] {
            assert_eq!(snapshot_name(other), None, "{other}");
        }
        let written = SnapshotName::new(Zxid(0x1f), Compression::Gzip);
        assert_eq!(written.file, "snapshot.1f.gz");
        assert_eq!(
            log_path(Path::new("d"), Zxid(0x1_0000_000a)),
            Path::new("d/log.10000000a")
        );
        for name in ["log.1F", "snapshot.01f.gz"] {
            assert_eq!(zxid_in_name(name), Some(Zxid(0x1f)), "{name}");
        }
    }

    #[test]
    fn a_name_that_a_server_writes_goes_before_other_spellings() {
        let disk = MemDisk::default();
        let dir = Path::new("/d");
        for name in [
            "log.00b",
            "log.B",
            "log.b",
            "log.1",
            "snapshot.0b",
            "snapshot.b.gz",
            "snapshot.b",
        ] {
            disk.plant(&dir.join(name), Vec::new());
        }
        let found: Vec<_> = logs(&disk, dir)
            .unwrap()
            .into_iter()
            .map(|it| it.file)
            .collect();
        assert_eq!(found, ["log.1", "log.b", "log.00b", "log.B"]);
        let found: Vec<_> = snapshots(&disk, dir)
            .unwrap()
            .into_iter()
            .map(|it| it.file)
            .collect();
        assert_eq!(found, ["snapshot.b", "snapshot.b.gz", "snapshot.0b"]);
    }
}
