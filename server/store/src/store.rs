//! The one owner of a server's files.

use std::path::{Path, PathBuf};

use zk_proto::{Epoch, Zxid};

use crate::chain::parts_after;
use crate::epochs::{self, EpochName};
use crate::layout::{SnapshotName, TEMPORARY, VERSION_DIR, logs, snapshots};
use crate::purge::Purger;
use crate::recover::{Dirs, Loaded};
use crate::replaced::Replaced;
use crate::snapshot::{Collect, Compression, Discard, ImageSink, Snapshots};
use crate::txn_log::{LogWriter, drop_after};
use crate::{Disk, StoreError};

/// Where and how to store.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// `dataDir`: snapshots and epoch files, below `version-2`.
    pub data_dir: PathBuf,
    /// `dataLogDir`: logs, below `version-2`. May be the same.
    pub log_dir: PathBuf,
    /// `preAllocSize`: logs grow by this much, in KiB; 0 to let each write extend them.
    pub pre_alloc_kib: u64,
    /// `forceSync`: if false, nothing is synced and a power cut loses data.
    pub force_sync: bool,
    /// `snapshot.trust.empty`: replay logs without a snapshot.
    pub trust_empty_snapshot: bool,
    /// `snapshot.compression.method`: how snapshots are written. Every form is read.
    pub snapshot_compression: Compression,
    /// `datadir.autocreate`: make missing directories.
    pub create_dirs: bool,
    /// `db.autocreate`: an empty directory is an empty tree even without the
    /// `initialize` marker in `dataLogDir`.
    pub create_database: bool,
    /// `txnLogSizeLimitInKb`, bytes: a log that is longer is continued in a new file.
    pub log_bytes_max: Option<u64>,
}

impl StoreConfig {
    /// The reference's defaults, everything in one directory.
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        Self {
            data_dir: dir.to_owned(),
            log_dir: dir.to_owned(),
            pre_alloc_kib: PRE_ALLOC_KIB,
            force_sync: true,
            trust_empty_snapshot: false,
            snapshot_compression: Compression::None,
            create_dirs: true,
            create_database: true,
            log_bytes_max: None,
        }
    }
}

/// File in `dataLogDir` that `zkServer-initialize.sh` leaves (`FileTxnSnapLog.restore`).
const INITIALIZE: &str = "initialize";

/// The reference's `preAllocSize`.
const PRE_ALLOC_KIB: u64 = 65_536;

/// The files of one server. Every call blocks until it is done; after one has
/// failed all later ones do, since nobody knows what reached the disk.
///
/// Logs are continued in a new file after every start.
#[derive(Debug)]
pub struct Store<D: Disk> {
    disk: D,
    config: StoreConfig,
    data: PathBuf,
    log: PathBuf,
    writer: LogWriter<D>,
    last: Zxid,
    /// The marker by which an operator says that there is to be no data, if it
    /// is there. It goes with the first start that finds data or makes some.
    marker: Option<PathBuf>,
    has_failed: bool,
}

impl<D: Disk> Store<D> {
    /// Makes the directories if they are missing and removes unfinished
    /// files. Call [`Self::recover`] next.
    pub fn open(disk: D, config: StoreConfig) -> Result<Self, StoreError> {
        let data = config.data_dir.join(VERSION_DIR);
        let log = config.log_dir.join(VERSION_DIR);
        for dir in [&data, &log] {
            if config.create_dirs {
                disk.create_dir(dir)
                    .map_err(StoreError::io("create", dir))?;
            } else if disk.list(dir).is_err() {
                return Err(StoreError::NoDirectory { dir: dir.clone() });
            }
        }
        if config.force_sync {
            for dir in [&config.data_dir, &config.log_dir] {
                disk.sync_dir(dir).map_err(StoreError::io("sync", dir))?;
            }
        }
        if data != log {
            check_places(&disk, &data, &log)?;
        }
        let marker = config.log_dir.join(INITIALIZE);
        let marker = disk.read(&marker).is_ok().then_some(marker);
        for name in disk.list(&data).map_err(StoreError::io("list", &data))? {
            if name.starts_with(TEMPORARY) {
                let path = data.join(name);
                disk.remove(&path)
                    .map_err(StoreError::io("remove", &path))?;
            }
        }
        let writer = LogWriter::new(disk.clone(), &log, &config);
        Ok(Self {
            disk,
            config,
            data,
            log,
            writer,
            last: Zxid::ZERO,
            marker,
            has_failed: false,
        })
    }

    /// Loads what the disk holds, with the last `tail_max` transactions for
    /// DIFFs. Cuts the unfinished end of the newest log.
    ///
    /// # Errors
    /// Whenever the files do not prove to be all that was ever made durable.
    pub fn recover(&mut self, tail_max: usize) -> Result<Loaded, StoreError> {
        self.recover_into(tail_max, &mut Collect::default())
    }

    /// The same, with the snapshot's image going to `sink` while it is read.
    ///
    /// # Errors
    /// As [`Self::recover`].
    pub fn recover_into<S: ImageSink>(
        &mut self,
        tail_max: usize,
        sink: &mut S,
    ) -> Result<Loaded<S::Image>, StoreError> {
        self.attempt(|store| {
            store.writer.roll()?;
            let loaded = store.dirs().recover(tail_max, sink)?;
            let is_empty = loaded.snapshot.is_none() && loaded.entries.is_empty();
            if is_empty && !store.config.create_database && store.marker.is_none() {
                return Err(StoreError::NotInitialized {
                    dir: store.config.log_dir.clone(),
                });
            }
            if !is_empty {
                store.remove_marker()?;
            }
            store.last = loaded.last_zxid();
            Ok(loaded)
        })
    }

    /// Zxid of the newest transaction that was loaded or appended.
    #[must_use]
    pub const fn last_zxid(&self) -> Zxid {
        self.last
    }

    /// Appends transactions (header, body, digest) by one write, without
    /// syncing. Their zxids must grow and be those of their headers.
    pub fn append<'a>(
        &mut self,
        entries: impl IntoIterator<Item = (Zxid, &'a [u8])>,
    ) -> Result<(), StoreError> {
        self.attempt(|store| {
            store.last = store.writer.append(store.last, entries)?;
            Ok(())
        })
    }

    /// Makes everything appended so far durable, by one `fdatasync`.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.attempt(|store| store.writer.sync())
    }

    /// Replaces the number in an epoch file, durably.
    pub fn save_epoch(&mut self, name: EpochName, epoch: Epoch) -> Result<(), StoreError> {
        let sync = self.config.force_sync;
        self.attempt(|store| epochs::save(&store.disk, &store.data, name, epoch, sync))
    }

    /// Loads what a truncation to `last` would leave, without changing
    /// anything; `None` if the files do not lead to exactly that zxid.
    ///
    /// # Errors
    /// When the disk refuses to be read.
    pub fn load_through<S: ImageSink>(
        &mut self,
        last: Zxid,
        tail_max: usize,
        sink: &mut S,
    ) -> Result<Option<Loaded<S::Image>>, StoreError> {
        self.attempt(|store| {
            store.writer.roll()?;
            store.dirs().load_through(last, tail_max, sink)
        })
    }

    /// Drops every transaction and every snapshot after `last`, durably. Call
    /// [`Self::recover`] for what is left. A crash on the way leaves a shorter
    /// part of the history, which a start takes as whole. Returns false, and
    /// has changed nothing, if what would be left does not lead to exactly
    /// `last`: more would be dropped than is to be dropped, and this server
    /// may have acknowledged it.
    pub fn truncate(&mut self, last: Zxid) -> Result<bool, StoreError> {
        self.attempt(|store| {
            store.writer.roll()?;
            let Some(left) = store.dirs().load_through(last, 0, &mut Discard)? else {
                return Ok(false);
            };
            let sync = store.config.force_sync;
            // Each part of the log goes before the snapshot that it builds on,
            // and after the snapshots that it leads to: the log makes up for
            // those, and those of the reference may need it.
            let parts = parts_after(&store.disk, &store.log, last)?;
            for begun in parts.into_iter().rev() {
                let before = Zxid(begun.0 - 1);
                store.drop_snapshots_after(before)?;
                drop_after(&store.disk, &store.log, before, sync)?;
            }
            let start = left.snapshot.map_or(last, |snapshot| snapshot.zxid);
            store.drop_snapshots_after(start)?;
            drop_after(&store.disk, &store.log, last, sync)?;
            store.last = last;
            Ok(true)
        })
    }

    /// Makes a leader's tree at `zxid` what a restart loads, durably; later
    /// transactions and snapshots are dropped. A crash on the way leaves the
    /// old history or a shorter part of it. With `keeps_old` a copy of the old
    /// history stays under names that no start reads, `replaced.*`.
    pub fn install_snapshot(
        &mut self,
        zxid: Zxid,
        digest: u64,
        keeps_old: bool,
        mut next_block: impl FnMut(&mut Vec<u8>) -> bool,
    ) -> Result<u64, StoreError> {
        self.attempt(|store| {
            store.writer.roll()?;
            let (disk, sync) = (store.disk.clone(), store.config.force_sync);
            let dirs = [&*store.data, &*store.log];
            let new = SnapshotName::new(zxid, store.config.snapshot_compression);
            let begin = || {
                let ends = (store.last, zxid);
                Replaced::begin(&disk, dirs.into(), sync, ends, &new.path(&store.data))
            };
            let replaced = keeps_old.then(begin).transpose()?;
            drop_after(&store.disk, &store.log, zxid, store.config.force_sync)?;
            let snapshots = store.snapshots();
            let bytes = snapshots.write_blocks(zxid, digest, |out| Ok(next_block(out)))?;
            if let Some(replaced) = replaced {
                replaced.finish(dirs)?;
            }
            store.drop_snapshots_after(zxid)?;
            store.last = zxid;
            Ok(bytes)
        })
    }

    /// Writes a periodic snapshot and lets the log go on in a new file.
    pub fn save_snapshot(
        &mut self,
        zxid: Zxid,
        image: &[u8],
        digest: u64,
    ) -> Result<(), StoreError> {
        self.attempt(|store| {
            store.writer.roll()?;
            store.snapshots().write(zxid, image, digest)?;
            store.last = store.last.max(zxid);
            store.remove_marker()
        })
    }

    /// Lets the log go on in a new file; its end so far is made durable.
    pub fn roll(&mut self) -> Result<(), StoreError> {
        self.attempt(|store| store.writer.roll())
    }

    /// A handle that writes snapshots beside this store, from another thread
    /// if need be; [`Self::roll`] is then up to the caller. Not to be used
    /// across a call of [`Self::truncate`] or [`Self::install_snapshot`].
    #[must_use]
    pub fn snapshots(&self) -> Snapshots<D> {
        let StoreConfig {
            snapshot_compression,
            force_sync,
            ..
        } = self.config;
        Snapshots::new(
            self.disk.clone(),
            &self.data,
            snapshot_compression,
            force_sync,
        )
    }

    /// Keeps the newest `retain` snapshots (at least 3) that can be loaded and
    /// the logs they need. Returns how many files were removed.
    pub fn purge(&self, retain: usize) -> Result<usize, StoreError> {
        self.purger().purge(retain, &|| false)
    }

    /// A handle that purges beside this store, from another thread if need be.
    #[must_use]
    pub fn purger(&self) -> Purger<D> {
        Purger::new(self.disk.clone(), &self.data, &self.log)
    }

    fn drop_snapshots_after(&self, last: Zxid) -> Result<(), StoreError> {
        let later = snapshots(&self.disk, &self.data)?.into_iter();
        for name in later.take_while(|name| name.zxid > last) {
            let path = name.path(&self.data);
            self.disk
                .remove(&path)
                .map_err(StoreError::io("remove", &path))?;
            if self.config.force_sync {
                let synced = self.disk.sync_dir(&self.data);
                synced.map_err(StoreError::io("sync", &self.data))?;
            }
        }
        Ok(())
    }

    /// There is data from now on: without it, the next start is to refuse.
    fn remove_marker(&mut self) -> Result<(), StoreError> {
        let Some(marker) = self.marker.take() else {
            return Ok(());
        };
        let removed = self.disk.remove(&marker);
        removed.map_err(StoreError::io("remove", &marker))
    }

    fn dirs(&self) -> Dirs<'_, D> {
        Dirs {
            disk: &self.disk,
            data: &self.data,
            log: &self.log,
            config: &self.config,
        }
    }

    fn attempt<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.has_failed {
            return Err(StoreError::Failed);
        }
        let outcome = work(self);
        self.has_failed = outcome.is_err();
        outcome
    }
}

/// Reference: `FileTxnSnapLog.checkLogDir`, `checkSnapDir`.
fn check_places<D: Disk>(disk: &D, data: &Path, log: &Path) -> Result<(), StoreError> {
    let log_in_data = logs(disk, data)?.first().map(|log| log.path(data));
    let snapshot_in_log = snapshots(disk, log)?.first().map(|name| name.path(log));
    match log_in_data.or(snapshot_in_log) {
        Some(path) => Err(StoreError::Misplaced { path }),
        None => Ok(()),
    }
}
