//! Writes snapshots and chooses the one to load.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use zk_proto::Zxid;

use super::Compression;
use super::pieces::{Pieces, SnapshotDefect};
use super::sink::{Collect, ImageSink};
use super::writer::{SnapshotWriter, unfinished_path};
use crate::layout::{SnapshotName, snapshot_name, snapshots};
use crate::{Disk, RealDisk, StoreError};

/// A tree that was read from a snapshot file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedSnapshot<I = Bytes> {
    /// From the file's name. A fuzzy snapshot of the reference may hold
    /// effects of later transactions; replay starts after this one all the same.
    pub zxid: Zxid,
    /// What an [`ImageSink`] has made of sessions, ACL table, znodes and end
    /// mark; those bytes themselves where nobody asked for another thing.
    pub image: I,
    /// The digest of the tree and the zxid at which it had it.
    pub digest: Option<(Zxid, u64)>,
}

/// The snapshot files of a store. A clone may write them from another thread,
/// while the store appends to the log.
#[derive(Clone, Debug)]
pub struct Snapshots<D> {
    disk: D,
    dir: PathBuf,
    compression: Compression,
    force_sync: bool,
}

impl<D: Disk> Snapshots<D> {
    pub(crate) fn new(disk: D, dir: &Path, compression: Compression, force_sync: bool) -> Self {
        Self {
            disk,
            dir: dir.to_owned(),
            compression,
            force_sync,
        }
    }

    /// Begins to write the image of the tree at `zxid`, block by block.
    pub fn begin(&self, zxid: Zxid) -> Result<SnapshotWriter<D>, StoreError> {
        let name = SnapshotName::new(zxid, self.compression);
        SnapshotWriter::create(&self.disk, &self.dir, name, self.force_sync)
    }

    /// Writes the image of the tree at `zxid`. `next_block` appends the next
    /// block of it to an empty buffer, or returns false at its end; with an
    /// error, such as [`StoreError::Stopped`], it ends the work early. Returns
    /// how many bytes the image has. What was written of it is removed after
    /// an error, so that it takes no space.
    pub fn write_blocks(
        &self,
        zxid: Zxid,
        digest: u64,
        next_block: impl FnMut(&mut Vec<u8>) -> Result<bool, StoreError>,
    ) -> Result<u64, StoreError> {
        let written = self.try_write_blocks(zxid, digest, next_block);
        if written.is_err() {
            // The next start removes it, too.
            let _ = self.disk.remove(&unfinished_path(&self.dir, zxid));
        }
        written
    }

    fn try_write_blocks(
        &self,
        zxid: Zxid,
        digest: u64,
        mut next_block: impl FnMut(&mut Vec<u8>) -> Result<bool, StoreError>,
    ) -> Result<u64, StoreError> {
        let mut writer = self.begin(zxid)?;
        let (mut block, mut bytes) = (Vec::new(), 0);
        while next_block(&mut block)? {
            writer.write(&block)?;
            bytes += block.len() as u64;
            block.clear();
        }
        writer.finish(digest)?;
        Ok(bytes)
    }

    /// Writes the image of the tree at `zxid`. Blocks for as long as the disk
    /// takes.
    pub fn write(&self, zxid: Zxid, image: &[u8], digest: u64) -> Result<(), StoreError> {
        let mut writer = self.begin(zxid)?;
        writer.write(image)?;
        writer.finish(digest)
    }
}

/// Result of [`choose`].
#[derive(Debug)]
pub(crate) struct Choice<I> {
    /// The newest that can be read.
    pub(crate) snapshot: Option<LoadedSnapshot<I>>,
    /// Newer ones that cannot be read. The log has to hold all that each of
    /// them held, or it is lost.
    pub(crate) unreadable: Vec<Zxid>,
    /// Was one of them written whole, so that it was damaged later?
    pub(crate) is_damaged: bool,
    /// Zxid in the name of the newest file of all.
    pub(crate) newest: Option<Zxid>,
}

/// Loads the newest readable snapshot that is not after `limit`. Looks at the
/// newest [`CANDIDATES_MAX`] that pass the quick test, like the reference. Its
/// image goes to `sink`, perhaps after others that turn out to be damaged.
pub(crate) fn choose<D: Disk, S: ImageSink>(
    disk: &D,
    dir: &Path,
    limit: Option<Zxid>,
    sink: &mut S,
) -> Result<Choice<S::Image>, StoreError> {
    let mut choice = Choice {
        snapshot: None,
        unreadable: Vec::new(),
        is_damaged: false,
        newest: None,
    };
    let mut candidates = 0;
    let names = snapshots(disk, dir)?.into_iter();
    for name in names.filter(|name| limit.is_none_or(|limit| name.zxid <= limit)) {
        if candidates == CANDIDATES_MAX {
            break;
        }
        if !name.has_foreign_end() {
            choice.newest.get_or_insert(name.zxid);
        }
        let content = content(disk, dir, &name, sink)?;
        let path = name.path(dir);
        let path = path.display();
        let digest = match content {
            Content::Whole(digest) => digest,
            Content::Unfinished | Content::Damaged(_) if name.has_foreign_end() => {
                tracing::warn!(%path, "not a snapshot, and no server names one so; it is skipped");
                continue;
            }
            Content::Unfinished => {
                tracing::warn!(%path, "snapshot was not written to its end, it is skipped");
                choice.unreadable.push(name.zxid);
                continue;
            }
            Content::Damaged((offset, what)) => {
                choice.is_damaged = true;
                tracing::error!(%path, offset, what, "snapshot is damaged, it is skipped");
                choice.unreadable.push(name.zxid);
                candidates += 1;
                continue;
            }
        };
        candidates += 1;
        // The reference serializes while it applies, up to this zxid.
        if digest.is_some_and(|(end, _)| limit.is_some_and(|limit| end > limit)) {
            continue;
        }
        choice.snapshot = Some(LoadedSnapshot {
            zxid: name.zxid,
            image: sink.end(),
            digest,
        });
        break;
    }
    Ok(choice)
}

/// Can this snapshot be loaded? Does not hold it in memory.
pub(crate) fn is_whole(name: &SnapshotName, file: impl Read + Send) -> bool {
    let read = Pieces::new(name.compression, file).and_then(|mut it| it.read(&mut |_| Ok(())));
    read.is_ok()
}

/// Loads one snapshot from the system's disk, for tools.
///
/// # Errors
/// When it is not whole, or not named as a snapshot.
pub fn load_snapshot(path: &Path) -> Result<LoadedSnapshot, StoreError> {
    let damaged = |offset, what| StoreError::Damaged {
        path: path.to_owned(),
        offset,
        what,
    };
    let name = path
        .file_name()
        .and_then(OsStr::to_str)
        .and_then(snapshot_name);
    let name = name.ok_or_else(|| damaged(0, "its name is not that of a snapshot".into()))?;
    let dir = path.parent().unwrap_or_else(|| Path::new(""));
    let mut sink = Collect::default();
    match content(&RealDisk, dir, &name, &mut sink)? {
        Content::Whole(digest) => Ok(LoadedSnapshot {
            zxid: name.zxid,
            image: sink.end(),
            digest,
        }),
        Content::Unfinished => Err(damaged(0, "it was not written to its end".into())),
        Content::Damaged((offset, what)) => Err(damaged(offset, what)),
    }
}

/// What a snapshot file turned out to hold.
enum Content {
    /// All that it was to hold; with the digest and its zxid, if it has them.
    Whole(Option<(Zxid, u64)>),
    /// As a crash during the writing leaves it.
    Unfinished,
    /// It was whole once. Where in the uncompressed content, and what it is.
    Damaged((u64, String)),
}

fn content<D: Disk>(
    disk: &D,
    dir: &Path,
    name: &SnapshotName,
    sink: &mut impl ImageSink,
) -> Result<Content, StoreError> {
    let path = name.path(dir);
    let refused = |source| StoreError::io("read", &path)(source);
    // A compressed one is in memory as a whole, so that what fails later is
    // its form and not the disk.
    let (compressed, bytes);
    let file: Box<dyn Read + Send + '_> = if name.compression == Compression::None {
        bytes = disk.length(&path).map_err(refused)?;
        disk.reader(&path).map_err(refused)?
    } else {
        bytes = 0;
        compressed = disk.read(&path).map_err(refused)?;
        Box::new(&compressed[..])
    };
    sink.begin(name.zxid, bytes);
    let mut pieces = match Pieces::new(name.compression, file) {
        Ok(pieces) => pieces,
        Err(defect) => return unreadable(defect, refused),
    };
    let defect = match pieces.read(&mut |piece| {
        sink.take(piece);
        Ok(())
    }) {
        Ok(end) => return Ok(Content::Whole(end.digest)),
        Err(defect) => defect,
    };
    if let SnapshotDefect::Damaged { .. } = defect {
        match pieces.ends_whole() {
            Ok(true) => {}
            Ok(false) => return Ok(Content::Unfinished),
            Err(defect) => return unreadable(defect, refused),
        }
    }
    unreadable(defect, refused)
}

fn unreadable(
    defect: SnapshotDefect,
    refused: impl Fn(io::Error) -> StoreError,
) -> Result<Content, StoreError> {
    match defect {
        SnapshotDefect::Damaged { offset, what, .. } => Ok(Content::Damaged((offset, what))),
        SnapshotDefect::Read {
            compression: Compression::None,
            source,
            ..
        } => Err(refused(source)),
        // The reference compresses in place, so that a crash cuts the stream.
        SnapshotDefect::Read { source, .. } if source.kind() == io::ErrorKind::UnexpectedEof => {
            Ok(Content::Unfinished)
        }
        SnapshotDefect::Read { source, .. } => Ok(Content::Damaged((0, source.to_string()))),
    }
}

/// How many snapshots are tried before a server gives up (`FileSnap`).
const CANDIDATES_MAX: usize = 100;
