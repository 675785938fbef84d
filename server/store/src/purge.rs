//! Removes what no restart needs any more (reference: `PurgeTxnLog`).

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zk_proto::Zxid;

use crate::layout::{LogName, logs, snapshots};
use crate::snapshot::is_whole;
use crate::{Disk, StoreError};

/// Fewest snapshots to keep, as in the reference.
const RETAIN_MIN: usize = 3;

/// Purges beside a [`crate::Store`], from another thread if need be: it reads
/// old snapshots as a whole, which may take long. Not to be used across a call
/// of [`crate::Store::truncate`] or [`crate::Store::install_snapshot`].
#[derive(Clone, Debug)]
pub struct Purger<D> {
    disk: D,
    data: PathBuf,
    log: PathBuf,
}

impl<D: Disk> Purger<D> {
    pub(crate) fn new(disk: D, data: &Path, log: &Path) -> Self {
        Self {
            disk,
            data: data.to_owned(),
            log: log.to_owned(),
        }
    }

    /// Keeps the newest `retain` snapshots (at least 3) that can be loaded, and
    /// the logs that the oldest of them needs. Removes nothing if there are
    /// fewer, and nothing more once `is_stopped`. Returns how many files were
    /// removed.
    pub fn purge(
        &self,
        retain: usize,
        is_stopped: &(dyn Fn() -> bool + Sync),
    ) -> Result<usize, StoreError> {
        let Self { disk, data, log } = self;
        let all = snapshots(disk, data)?;
        let mut left = retain.max(RETAIN_MIN);
        let mut oldest = None;
        for name in &all {
            if left == 0 || is_stopped() {
                break;
            }
            let path = name.path(data);
            let file = disk.reader(&path).map_err(StoreError::io("read", &path))?;
            if is_whole(name, Stoppable { file, is_stopped }) {
                left -= 1;
                oldest = Some(name.zxid);
            }
        }
        let Some(oldest) = oldest.filter(|_| left == 0) else {
            return Ok(0);
        };
        let old = all.iter().filter(|name| name.zxid < oldest);
        let mut unneeded: Vec<_> = old.map(|name| name.path(data)).collect();
        let logs = logs(disk, log)?;
        unneeded.extend(before(&logs, oldest).iter().map(|name| name.path(log)));
        let mut removed = 0;
        for path in unneeded {
            if is_stopped() {
                break;
            }
            match disk.remove(&path) {
                Ok(()) => removed += 1,
                // Another form of a snapshot goes when a new one is written.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io("remove", &path)(error)),
            }
        }
        Ok(removed)
    }
}

/// A file that cannot be read on once the purge is stopped.
struct Stoppable<'a> {
    file: Box<dyn Read + Send>,
    is_stopped: &'a (dyn Fn() -> bool + Sync),
}

impl Read for Stoppable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if (self.is_stopped)() {
            return Err(io::Error::other("the purge is stopped"));
        }
        self.file.read(buffer)
    }
}

/// All before the newest log that begins at or before the snapshot: it may go
/// on after it.
fn before(logs: &[LogName], snapshot: Zxid) -> &[LogName] {
    let begun = logs.partition_point(|log| log.first <= snapshot);
    let newest = logs[..begun].last().map(|log| log.first);
    // It may stand there under two names.
    &logs[..logs.partition_point(|log| Some(log.first) < newest)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemDisk;

    #[test]
    fn the_log_that_a_snapshot_lies_in_is_kept() {
        let (disk, dir) = (MemDisk::default(), Path::new("/d"));
        for name in ["log.1", "log.a", "log.14"] {
            disk.plant(&dir.join(name), Vec::new());
        }
        let logs = logs(&disk, dir).unwrap();
        for (snapshot, kept) in [(0, 3), (5, 3), (9, 3), (10, 2), (19, 2), (20, 1), (99, 1)] {
            let removed = before(&logs, Zxid(snapshot)).len();
            assert_eq!(logs.len() - removed, kept, "snapshot {snapshot}");
        }
        assert!(before(&[], Zxid(5)).is_empty());
    }
}
