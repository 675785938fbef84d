//! Takes entries off the end of the log (reference: `FileTxnLog.truncate`,
//! which keeps one entry too many when the wanted zxid is not in the log).

use std::path::Path;

use zk_proto::Zxid;

use super::{read_log, scan};
use crate::layout::{log_path, logs};
use crate::{Disk, DiskFile, StoreError};

/// Drops every entry after `last`, newest first, so that a crash on the way
/// leaves a shorter log without a gap. Durable when it returns if `sync`.
pub(crate) fn drop_after<D: Disk>(
    disk: &D,
    dir: &Path,
    last: Zxid,
    sync: bool,
) -> Result<(), StoreError> {
    for first in logs(disk, dir)?.into_iter().rev() {
        let path = log_path(dir, first);
        if first > last {
            remove(disk, dir, &path, sync)?;
            continue;
        }
        let bytes = read_log(disk, &path).map_err(StoreError::io("read", &path))?;
        let scan = scan(&bytes);
        let kept = scan.entries.iter().take_while(|(zxid, _)| *zxid <= last);
        let end = kept.last().map(|(_, data)| data.end + 1);
        // Cut even if only padding follows: stale bytes are worth nothing.
        cut(disk, dir, &path, end.unwrap_or(0), sync)?;
        break;
    }
    Ok(())
}

/// Cuts a log after its first `bytes` bytes, or removes it if none are to stay.
pub(crate) fn cut<D: Disk>(
    disk: &D,
    dir: &Path,
    path: &Path,
    bytes: usize,
    sync: bool,
) -> Result<(), StoreError> {
    if bytes == 0 {
        return remove(disk, dir, path, sync);
    }
    let shorten = || {
        let mut file = disk.open(path)?;
        file.set_len(bytes as u64)?;
        if sync { file.sync_data() } else { Ok(()) }
    };
    shorten().map_err(StoreError::io("cut", path))
}

fn remove<D: Disk>(disk: &D, dir: &Path, path: &Path, sync: bool) -> Result<(), StoreError> {
    disk.remove(path).map_err(StoreError::io("remove", path))?;
    if sync {
        disk.sync_dir(dir).map_err(StoreError::io("sync", dir))?;
    }
    Ok(())
}
