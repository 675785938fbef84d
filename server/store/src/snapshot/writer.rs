//! Writes one snapshot file, block by block.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use zk_proto::Zxid;

use super::compression::Encoder;
use super::{Compression, format};
use crate::checksum::Adler;
use crate::layout::{SnapshotName, TEMPORARY, snapshots};
use crate::{Disk, DiskFile, StoreError};

/// A snapshot file that is being written. The image comes in blocks of any
/// size; only [`Self::finish`] makes it a snapshot. One that is dropped leaves
/// an unfinished file that the next start removes.
#[derive(Debug)]
pub struct SnapshotWriter<D: Disk> {
    disk: D,
    dir: PathBuf,
    force_sync: bool,
    name: SnapshotName,
    aside: PathBuf,
    checksum: Adler,
    out: Encoder<BufWriter<Positioned<D::File>>>,
}

impl<D: Disk> SnapshotWriter<D> {
    pub(super) fn create(
        disk: &D,
        dir: &Path,
        name: SnapshotName,
        force_sync: bool,
    ) -> Result<Self, StoreError> {
        let aside = unfinished_path(dir, name.zxid);
        let create = || {
            let file = disk.create(&aside)?;
            // Large blocks pass the buffer by.
            let file = Positioned {
                file,
                at: 0,
                synced: if force_sync { 0 } else { u64::MAX },
            };
            let file = BufWriter::with_capacity(BUFFER_BYTES, file);
            Encoder::new(name.compression, file)
        };
        let out = create().map_err(StoreError::io("write", &aside))?;
        let mut writer = Self {
            disk: disk.clone(),
            dir: dir.to_owned(),
            force_sync,
            name,
            aside,
            checksum: Adler::default(),
            out,
        };
        writer.write(&format::HEADER)?;
        Ok(writer)
    }

    /// Appends a block of the image.
    pub fn write(&mut self, block: &[u8]) -> Result<(), StoreError> {
        self.checksum.write(block);
        let written = self.out.write_all(block);
        written.map_err(StoreError::io("write", &self.aside))
    }

    /// Seals the image, whose tree has this digest; syncs the file, gives it
    /// its name and syncs the directory: a file by the final name is whole.
    /// (The reference writes periodic snapshots in place.)
    pub fn finish(self, digest: u64) -> Result<(), StoreError> {
        let (zxid, compression) = (self.name.zxid, self.name.compression);
        let (disk, dir) = (self.disk.clone(), self.dir.clone());
        let path = self.name.path(&dir);
        self.publish(&path, digest)
            .map_err(StoreError::io("write", &path))?;
        remove_other_forms(&disk, &dir, zxid, compression)
    }

    fn publish(self, path: &Path, digest: u64) -> io::Result<()> {
        let Self {
            disk,
            dir,
            force_sync,
            name,
            aside,
            checksum,
            mut out,
        } = self;
        out.write_all(&format::trailer(checksum, name.zxid, digest))?;
        let mut file = out.finish()?.into_inner()?.file;
        if force_sync {
            file.sync_data()?;
        }
        disk.rename(&aside, path)?;
        if force_sync {
            disk.sync_dir(&dir)?;
        }
        Ok(())
    }
}

/// Where a snapshot is written until it is whole.
pub(super) fn unfinished_path(dir: &Path, zxid: Zxid) -> PathBuf {
    dir.join(format!("{TEMPORARY}snapshot.{:x}", zxid.0))
}

/// Removes what stood for the same tree in another compression.
fn remove_other_forms<D: Disk>(
    disk: &D,
    dir: &Path,
    zxid: Zxid,
    kept: Compression,
) -> Result<(), StoreError> {
    for name in snapshots(disk, dir)? {
        if name.zxid == zxid && name.compression != kept {
            let path = name.path(dir);
            disk.remove(&path)
                .map_err(StoreError::io("remove", &path))?;
        }
    }
    Ok(())
}

/// A file that is written from its start to its end.
#[derive(Debug)]
struct Positioned<F> {
    file: F,
    at: u64,
    /// Synced up to here; beyond all bytes where nothing is to be synced.
    synced: u64,
}

impl<F: DiskFile> Write for Positioned<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(self.at, bytes)?;
        self.at += bytes.len() as u64;
        if self.at.saturating_sub(self.synced) >= SYNC_BYTES {
            self.file.sync_data()?;
            self.synced = self.at;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A snapshot is synced in parts of this size: the log's next sync may have to
/// wait for one part, and never for all of it.
const SYNC_BYTES: u64 = 4 << 20;
/// Small blocks are gathered up to this size.
const BUFFER_BYTES: usize = 128 * 1024;
