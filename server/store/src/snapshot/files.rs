//! Writes snapshots and chooses the one to load.

use std::io;
use std::path::{Path, PathBuf};

use adler2::Adler32;
use bytes::Bytes;
use zk_proto::Zxid;

use super::format;
use crate::layout::{SnapshotName, TEMPORARY, snapshots};
use crate::{Disk, DiskFile, StoreError};

/// A tree that was read from a snapshot file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedSnapshot {
    /// From the file's name. A fuzzy snapshot of the reference may hold
    /// effects of later transactions; replay starts after this one all the same.
    pub zxid: Zxid,
    /// Sessions, ACL table, znodes, end mark.
    pub image: Bytes,
    /// The digest of the tree and the zxid at which it had it.
    pub digest: Option<(Zxid, u64)>,
}

/// The snapshot files of a store. A clone may write them from another thread,
/// while the store appends to the log.
#[derive(Clone, Debug)]
pub struct Snapshots<D> {
    disk: D,
    dir: PathBuf,
    force_sync: bool,
}

impl<D: Disk> Snapshots<D> {
    pub(crate) fn new(disk: D, dir: &Path, force_sync: bool) -> Self {
        Self {
            disk,
            dir: dir.to_owned(),
            force_sync,
        }
    }

    /// Writes the image of the tree at `zxid` under a temporary name, syncs
    /// it, gives it its name and syncs the directory: a file by the final name
    /// is whole. (The reference writes periodic snapshots in place.) Blocks
    /// for as long as the disk takes.
    pub fn write(&self, zxid: Zxid, image: &[u8], digest: u64) -> Result<(), StoreError> {
        let name = SnapshotName {
            zxid,
            compression: "",
        };
        let path = name.path(&self.dir);
        let aside = self.dir.join(format!("{TEMPORARY}snapshot.{:x}", zxid.0));
        self.publish(&aside, &path, image, zxid, digest)
            .map_err(StoreError::io("write", &path))
    }

    fn publish(
        &self,
        aside: &Path,
        path: &Path,
        image: &[u8],
        zxid: Zxid,
        digest: u64,
    ) -> io::Result<()> {
        let mut checksum = Adler32::new();
        checksum.write_slice(&format::HEADER);
        checksum.write_slice(image);
        let image_at = format::HEADER.len() as u64;
        let mut file = self.disk.create(aside)?;
        file.write_at(0, &format::HEADER)?;
        file.write_at(image_at, image)?;
        let trailer = format::trailer(checksum, zxid, digest);
        file.write_at(image_at + image.len() as u64, &trailer)?;
        if self.force_sync {
            file.sync_data()?;
        }
        self.disk.rename(aside, path)?;
        if self.force_sync {
            self.disk.sync_dir(&self.dir)?;
        }
        Ok(())
    }
}

/// Result of [`choose`].
#[derive(Debug)]
pub(crate) struct Choice {
    /// The newest that can be read.
    pub(crate) snapshot: Option<LoadedSnapshot>,
    /// Newer ones that were written whole and cannot be read now. The log has
    /// to hold the transaction of each, or what they held is lost.
    pub(crate) unreadable: Vec<Zxid>,
    /// Zxid in the name of the newest file of all.
    pub(crate) newest: Option<Zxid>,
}

/// Loads the newest readable snapshot that is not after `limit`.
pub(crate) fn choose<D: Disk>(
    disk: &D,
    dir: &Path,
    limit: Option<Zxid>,
) -> Result<Choice, StoreError> {
    let mut choice = Choice {
        snapshot: None,
        unreadable: Vec::new(),
        newest: None,
    };
    let names = snapshots(disk, dir)?.into_iter();
    for name in names.filter(|name| limit.is_none_or(|limit| name.zxid <= limit)) {
        choice.newest.get_or_insert(name.zxid);
        let path = name.path(dir);
        if !name.compression.is_empty() {
            let path = path.display();
            tracing::error!(%path, "compressed snapshots cannot be read yet, it is skipped");
            choice.unreadable.push(name.zxid);
            continue;
        }
        let bytes = disk.read(&path).map_err(StoreError::io("read", &path))?;
        let path = path.display();
        if !format::looks_whole(&bytes) {
            tracing::warn!(%path, "snapshot was not written to its end, it is skipped");
            continue;
        }
        match format::read(&bytes) {
            // The reference serializes while it applies, up to this zxid.
            Ok(format::Parts {
                digest: Some((end, _)),
                ..
            }) if limit.is_some_and(|limit| end > limit) => {}
            Ok(format::Parts { image, digest }) => {
                choice.snapshot = Some(LoadedSnapshot {
                    zxid: name.zxid,
                    image: Bytes::from(bytes).slice(image),
                    digest,
                });
                break;
            }
            Err((offset, what)) => {
                tracing::error!(%path, offset, what, "snapshot is damaged, it is skipped");
                choice.unreadable.push(name.zxid);
            }
        }
    }
    Ok(choice)
}

/// Can this snapshot be loaded?
pub(crate) fn is_whole<D: Disk>(
    disk: &D,
    dir: &Path,
    name: SnapshotName,
) -> Result<bool, StoreError> {
    let path = name.path(dir);
    let bytes = disk.read(&path).map_err(StoreError::io("read", &path))?;
    Ok(name.compression.is_empty() && format::looks_whole(&bytes) && format::read(&bytes).is_ok())
}
