//! Takes entries off the end of the log (reference: `FileTxnLog.truncate`,
//! which keeps one entry too many when the wanted zxid is not in the log).

use std::io;
use std::path::Path;

use zk_proto::Zxid;

use super::stream::{LogItem, LogStream};
use crate::layout::logs;
use crate::{Disk, DiskFile, StoreError};

/// Drops every entry after `last`, newest first, so that a crash on the way
/// leaves a shorter log without a gap. Durable when it returns if `sync`.
pub(crate) fn drop_after<D: Disk>(
    disk: &D,
    dir: &Path,
    last: Zxid,
    sync: bool,
) -> Result<(), StoreError> {
    let mut cut_at = None;
    for log in logs(disk, dir)?.into_iter().rev() {
        let path = log.path(dir);
        if log.first > last {
            remove(disk, dir, &path, sync)?;
            continue;
        }
        // A log may stand there under two names.
        if cut_at.is_some_and(|first| first != log.first) {
            break;
        }
        cut_at = Some(log.first);
        let end = end_up_to(disk, &path, last).map_err(StoreError::io("read", &path))?;
        // Cut even if only padding follows: stale bytes are worth nothing.
        cut(disk, dir, &path, end, sync)?;
    }
    Ok(())
}

/// Where the entries up to `last` end, in bytes; 0 if there is none.
fn end_up_to<D: Disk>(disk: &D, path: &Path, last: Zxid) -> io::Result<u64> {
    let mut stream = LogStream::new(disk.reader(path)?);
    let mut any = false;
    loop {
        match stream.read()? {
            LogItem::Entry { zxid, .. } if zxid <= last => any = true,
            LogItem::Entry { offset, .. } | LogItem::End { offset, .. } => {
                return Ok(if any { offset } else { 0 });
            }
        }
    }
}

/// Cuts a log after its first `bytes` bytes, or removes it if none are to stay.
pub(crate) fn cut<D: Disk>(
    disk: &D,
    dir: &Path,
    path: &Path,
    bytes: u64,
    sync: bool,
) -> Result<(), StoreError> {
    if bytes == 0 {
        return remove(disk, dir, path, sync);
    }
    let shorten = || {
        let mut file = disk.open(path)?;
        file.set_len(bytes)?;
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
