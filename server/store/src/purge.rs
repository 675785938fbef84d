//! Removes what no restart needs any more (reference: `PurgeTxnLog`).

use zk_proto::Zxid;

use crate::layout::{log_path, logs, snapshots};
use crate::recover::Dirs;
use crate::snapshot::is_whole;
use crate::{Disk, StoreError};

/// Fewest snapshots to keep, as in the reference.
const RETAIN_MIN: usize = 3;

/// Keeps the newest `retain` snapshots (at least 3) that can be loaded, and
/// the logs that the oldest of them needs. Removes nothing if there are fewer.
/// Returns how many files were removed.
pub(crate) fn purge<D: Disk>(dirs: &Dirs<'_, D>, retain: usize) -> Result<usize, StoreError> {
    let Dirs {
        disk, data, log, ..
    } = dirs;
    let all = snapshots(*disk, data)?;
    let mut left = retain.max(RETAIN_MIN);
    let mut oldest = None;
    for name in &all {
        if left > 0 && is_whole(*disk, data, *name)? {
            left -= 1;
            oldest = Some(name.zxid);
        }
    }
    let Some(oldest) = oldest.filter(|_| left == 0) else {
        return Ok(0);
    };
    let mut removed = 0;
    for name in all.iter().filter(|name| name.zxid < oldest) {
        let path = name.path(data);
        disk.remove(&path)
            .map_err(StoreError::io("remove", &path))?;
        removed += 1;
    }
    for first in unneeded(&logs(*disk, log)?, oldest) {
        let path = log_path(log, *first);
        disk.remove(&path)
            .map_err(StoreError::io("remove", &path))?;
        removed += 1;
    }
    Ok(removed)
}

/// All before the newest log that begins at or before the snapshot: it may go
/// on after it.
fn unneeded(logs: &[Zxid], snapshot: Zxid) -> &[Zxid] {
    let begun = logs.partition_point(|first| *first <= snapshot);
    &logs[..begun.saturating_sub(1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_that_a_snapshot_lies_in_is_kept() {
        let logs = [1, 10, 20].map(Zxid);
        for (snapshot, kept) in [(0, 3), (5, 3), (9, 3), (10, 2), (19, 2), (20, 1), (99, 1)] {
            let removed = unneeded(&logs, Zxid(snapshot)).len();
            assert_eq!(logs.len() - removed, kept, "snapshot {snapshot}");
        }
        assert!(unneeded(&[], Zxid(5)).is_empty());
    }
}
