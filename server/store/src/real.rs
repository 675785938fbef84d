//! The operating system's file system.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Disk, DiskFile};

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

/// A file of the operating system.
#[derive(Debug)]
pub struct RealFile(File);

/// Descriptors of the process that only [`RealDisk`] gives up: so many
/// connections can be open that there is none left, and the log must go on.
static RESERVE: Mutex<Vec<File>> = Mutex::new(Vec::new());

impl RealDisk {
    /// Keeps a few descriptors in reserve from now on, for logs, snapshots and
    /// epoch files of this process.
    pub fn keep_reserve() {
        refill(&mut reserve());
    }
}

fn reserve() -> MutexGuard<'static, Vec<File>> {
    RESERVE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refill(reserve: &mut Vec<File>) {
    while reserve.len() < RESERVE_MAX {
        // When there is none now, there is one later.
        let Ok(spare) = File::open("/dev/null") else {
            return;
        };
        reserve.push(spare);
    }
}

/// Opens a file, at the cost of the reserve if the process has no descriptor
/// left.
fn open_at_any_cost(open: impl Fn() -> io::Result<File>) -> io::Result<File> {
    let mut outcome = open();
    if outcome.as_ref().is_err_and(is_out_of_descriptors) {
        let mut reserve = reserve();
        while outcome.as_ref().is_err_and(is_out_of_descriptors) && reserve.pop().is_some() {
            outcome = open();
        }
        return outcome;
    }
    let mut reserve = reserve();
    if !reserve.is_empty() {
        refill(&mut reserve);
    }
    outcome
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

impl Disk for RealDisk {
    type File = RealFile;

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(DIR_MODE).create(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let leads_to_dir = || fs::metadata(entry.path()).is_ok_and(|target| target.is_dir());
            let is_dir = kind.is_dir() || (kind.is_symlink() && leads_to_dir());
            if !is_dir {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(names)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn reader(&self, path: &Path) -> io::Result<Box<dyn io::Read + Send>> {
        Ok(Box::new(File::open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<RealFile> {
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(FILE_MODE);
        open_at_any_cost(|| options.open(path)).map(RealFile)
    }

    fn open(&self, path: &Path) -> io::Result<RealFile> {
        open_at_any_cost(|| OpenOptions::new().write(true).open(path)).map(RealFile)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        open_at_any_cost(|| File::open(dir))?.sync_all()
    }
}

impl DiskFile for RealFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    /// Sparse, as in the reference (`FilePadding`): only the length changes.
    fn preallocate(&mut self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// The owner writes and the group reads: data of znodes and password hashes are
/// nobody else's. The reference leaves that to the umask.
const FILE_MODE: u32 = 0o640;
/// The same for directories.
const DIR_MODE: u32 = 0o750;
/// A log with its directory and a snapshot with its directory, twice.
const RESERVE_MAX: usize = 8;
/// The process has no descriptor left.
const EMFILE: i32 = 24;
/// The system has none left.
const ENFILE: i32 = 23;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn others_can_read_nothing() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/b");
        RealDisk.create_dir(&dir).unwrap();
        let file = dir.join("f");
        RealDisk.create(&file).unwrap().write_at(0, b"x").unwrap();
        for path in [root.path().join("a"), dir, file] {
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o007, 0, "{}: {mode:o}", path.display());
            assert_eq!(mode & 0o600, 0o600, "{}: {mode:o}", path.display());
        }
    }
}
