//! What the store needs of a file system.

use std::fmt::Debug;
use std::io;
use std::path::Path;

/// A file system. A clone is another handle to the same files.
pub trait Disk: Clone {
    /// A file open for writing.
    type File: DiskFile + Debug;

    /// Makes the directory and its parents if they are missing.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Names of the files in the directory, in no particular order.
    /// Directories in it are left out.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// The whole file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Length of the file in bytes.
    fn length(&self, path: &Path) -> io::Result<u64>;

    /// The file from its start on, to be read piece by piece.
    fn reader(&self, path: &Path) -> io::Result<Box<dyn io::Read + Send>>;

    /// Makes an empty file, dropping the content of one that is there.
    fn create(&self, path: &Path) -> io::Result<Self::File>;

    /// Opens an existing file for writing.
    fn open(&self, path: &Path) -> io::Result<Self::File>;

    /// Gives the file another name in the same directory, replacing what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes the file's name.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes creations, renames and removals in this directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// A file open for writing.
pub trait DiskFile {
    /// Writes all the bytes from this offset on.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file, or extends it by zeros.
    fn set_len(&mut self, bytes: u64) -> io::Result<()>;

    /// Extends the file by zeros up to this length, so that later writes
    /// within it change as little besides the data as can be arranged.
    fn preallocate(&mut self, bytes: u64) -> io::Result<()>;

    /// Makes content and length durable (`fdatasync`).
    fn sync_data(&mut self) -> io::Result<()>;
}
