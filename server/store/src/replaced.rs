//! Keeps what a leader's tree takes the place of, where nothing proves that the
//! leader has all of it. It may be the last copy of acknowledged writes.
//!
//! What a start would have loaded stays in the same directories as
//! `replaced.snapshot.*` and `replaced.log.*`. No server reads such files, and a
//! purge leaves them alone. A copy that is kept later takes the place of an
//! earlier one, so there is one at most.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zk_proto::Zxid;

use crate::layout::{REPLACED, logs, snapshots};
use crate::{Disk, DiskFile, StoreError};

/// The files that are to be kept, before and while the tree is installed.
pub(crate) struct Replaced<'a, D> {
    disk: &'a D,
    sync: bool,
    /// Get another name once the leader's tree is durable.
    left: Vec<PathBuf>,
}

impl<'a, D: Disk> Replaced<'a, D> {
    /// Chooses the files and removes those of an earlier time. What the
    /// installation of the tree at `zxid` is going to change is copied now:
    /// logs with later transactions, where this server's end at `last`, and a
    /// snapshot that is called as the new one, `new_snapshot`.
    pub(crate) fn begin(
        disk: &'a D,
        (data, log): (&Path, &Path),
        sync: bool,
        (last, zxid): (Zxid, Zxid),
        new_snapshot: &Path,
    ) -> Result<Self, StoreError> {
        for dir in [data, log] {
            remove_earlier(disk, dir)?;
        }
        let snapshot = snapshots(disk, data)?.into_iter().next();
        let start = snapshot.as_ref().map_or(Zxid::ZERO, |name| name.zxid);
        let all = logs(disk, log)?;
        let holding = |zxid: Zxid| {
            let begun = all.partition_point(|log| log.first <= zxid);
            begun.saturating_sub(1)
        };
        let first_changed = if last > zxid {
            holding(zxid.next())
        } else {
            all.len()
        };
        let mut replaced = Self {
            disk,
            sync,
            left: Vec::new(),
        };
        for (n, name) in all.iter().enumerate().skip(holding(start.next())) {
            replaced.keep(name.path(log), n >= first_changed)?;
        }
        if let Some(name) = snapshot {
            let path = name.path(data);
            let is_written_over = path == new_snapshot;
            replaced.keep(path, is_written_over)?;
        }
        Ok(replaced)
    }

    fn keep(&mut self, path: PathBuf, is_changed: bool) -> Result<(), StoreError> {
        if is_changed {
            let to = kept_path(&path);
            copy(self.disk, &path, &to, self.sync).map_err(StoreError::io("copy", &path))?;
        } else {
            self.left.push(path);
        }
        Ok(())
    }

    /// The leader's tree is durable: the rest gets its other names.
    pub(crate) fn finish(self, dirs: [&Path; 2]) -> Result<(), StoreError> {
        for path in &self.left {
            let renamed = self.disk.rename(path, &kept_path(path));
            renamed.map_err(StoreError::io("rename", path))?;
        }
        for dir in dirs {
            if self.sync {
                let synced = self.disk.sync_dir(dir);
                synced.map_err(StoreError::io("sync", dir))?;
            }
        }
        let [data, log] = dirs.map(Path::display);
        tracing::warn!(
            %data, %log,
            "the leader's tree has replaced this server's data, and nothing proves that the leader had all of it; \
             what was replaced is kept as replaced.snapshot.* and replaced.log.*, see \"Replaced data\" in docs/operations.md"
        );
        Ok(())
    }
}

fn remove_earlier<D: Disk>(disk: &D, dir: &Path) -> Result<(), StoreError> {
    for name in disk.list(dir).map_err(StoreError::io("list", dir))? {
        if name.starts_with(REPLACED) {
            let path = dir.join(name);
            disk.remove(&path)
                .map_err(StoreError::io("remove", &path))?;
        }
    }
    Ok(())
}

fn kept_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{REPLACED}{name}"))
}

fn copy<D: Disk>(disk: &D, from: &Path, to: &Path, sync: bool) -> io::Result<()> {
    let mut reader = disk.reader(from)?;
    let mut file = disk.create(to)?;
    let mut block = vec![0; COPY_BYTES];
    let mut at = 0;
    loop {
        let read = reader.read(&mut block)?;
        if read == 0 {
            break;
        }
        file.write_at(at, &block[..read])?;
        at += read as u64;
    }
    if sync { file.sync_data() } else { Ok(()) }
}

const COPY_BYTES: usize = 256 * 1024;
