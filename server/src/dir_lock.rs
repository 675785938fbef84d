//! One server at a time in a directory.

use std::fs::{File, TryLockError};
use std::path::PathBuf;

use zk_store::{Disk as _, RealDisk, VERSION_DIR};

use crate::config::ServerConfig;
use crate::failure::Failure;
use crate::writers::{Writer, other_writer};

/// Keeps other servers out of the data directories until it is dropped or the
/// process ends, however it ends. It is an advisory lock on the directories
/// themselves, so that it leaves no file behind. Apache ZooKeeper takes none
/// and does not ask for it; that it runs is seen by the log that it writes.
#[derive(Debug)]
pub(crate) struct DirLock {
    _dirs: Vec<File>,
}

impl DirLock {
    /// Locks `dataDir` and `dataLogDir`. To be held before anything in them is
    /// read, because reading mends: it cuts the end that another server is
    /// just writing.
    ///
    /// # Errors
    /// [`Failure::InUse`] if another server holds one of them,
    /// [`Failure::Written`] if another process writes to their files.
    pub(crate) fn take(config: &ServerConfig) -> Result<Self, Failure> {
        let mut wanted = vec![&config.data_dir];
        if config.data_log_dir != config.data_dir {
            wanted.push(&config.data_log_dir);
        }
        let (mut dirs, mut written) = (Vec::new(), Vec::new());
        for dir in wanted {
            if config.storage.create_dirs {
                // What goes wrong here goes wrong in the store as well, which tells.
                let _ = RealDisk.create_dir(dir);
            }
            dirs.extend(lock(dir)?);
            written.push(dir.join(VERSION_DIR));
        }
        match other_writer(&written) {
            Some(Writer { pid, program, file }) => Err(Failure::Written { pid, program, file }),
            None => Ok(Self { _dirs: dirs }),
        }
    }
}

/// The locked directory; nothing where it is absent or its file system has no locks.
fn lock(dir: &PathBuf) -> Result<Option<File>, Failure> {
    let Ok(file) = File::open(dir) else {
        return Ok(None);
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(Failure::InUse { dir: dir.clone() }),
        Err(TryLockError::Error(error)) => {
            let dir = dir.display();
            tracing::warn!(%dir, %error, "cannot lock this directory: take care that no other server uses it");
            Ok(None)
        }
    }
}
