//! A server's disk thread: one work after the other, each at its own time, so
//! that a crash can fall between any two, between a write and its sync, and
//! inside of those that take several changes.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use zk_core::{EpochFile, Input, LogEntry, Recovered, TreeCut};
use zk_proto::{Epoch, Zxid};
use zk_store::{Collect, EpochName, Loaded, MemDisk, Store, StoreError};

use crate::Broken;
use crate::rng::Rng;

/// Something for the disk to do.
#[derive(Debug)]
pub(crate) enum DiskWork {
    Append(Vec<LogEntry>),
    SaveEpoch(EpochFile, Epoch),
    Truncate(Zxid),
    /// The tree, and whether what it replaces is kept.
    Install(Arc<TreeCut>, bool),
    SaveSnapshot(Arc<TreeCut>),
}

/// What a server's disk thread has to do.
#[derive(Debug, Default)]
pub(crate) struct DiskQueue {
    pub(crate) works: VecDeque<DiskWork>,
    /// Written, but not synced.
    syncing: Option<Zxid>,
    /// Is an event under way?
    pub(crate) is_busy: bool,
    /// Written beside the log.
    snapshot: Option<Arc<TreeCut>>,
    /// The disk has failed and does nothing any more.
    pub(crate) is_broken: bool,
}

impl DiskQueue {
    pub(crate) fn is_idle(&self) -> bool {
        self.works.is_empty() && self.syncing.is_none() || self.is_broken
    }

    /// Is there anything in it by which the server commits itself to a leader?
    pub(crate) fn has_promise(&self) -> bool {
        let is_promise =
            |work: &DiskWork| !matches!(work, DiskWork::Append(_) | DiskWork::SaveSnapshot(..));
        self.works.iter().any(is_promise)
    }

    /// Is there history to be made durable, and then the promise that it is?
    pub(crate) fn has_history_before_promise(&self) -> bool {
        let saves = |work: &DiskWork| matches!(work, DiskWork::SaveEpoch(EpochFile::Current, _));
        let front = self.works.front();
        let is_history =
            |work: &DiskWork| matches!(work, DiskWork::Append(_) | DiskWork::Install(..));
        (self.is_syncing() || front.is_some_and(is_history)) && self.works.iter().any(saves)
    }

    /// Does the next event finish an append?
    pub(crate) const fn is_syncing(&self) -> bool {
        self.syncing.is_some()
    }

    /// Takes a work. A build that writes the epoch before the log does so here.
    pub(crate) fn push(
        &mut self,
        work: DiskWork,
        store: &mut Store<MemDisk>,
        broken: Option<Broken>,
    ) -> Result<(), StoreError> {
        if let (DiskWork::SaveEpoch(file, epoch), Some(Broken::EpochBeforeLog)) = (&work, broken)
            && !self.is_broken
        {
            store.save_epoch(name(*file), *epoch)?;
        }
        self.works.push_back(work);
        Ok(())
    }

    /// Does the next part of the work; returns what there is to tell.
    pub(crate) fn advance(
        &mut self,
        store: &mut Store<MemDisk>,
        tail_max: usize,
        broken: Option<Broken>,
    ) -> Result<Vec<Input>, StoreError> {
        let tells_early = broken == Some(Broken::AckBeforeSync);
        let mut told = Vec::new();
        if let Some(last) = self.syncing.take() {
            store.sync()?;
            told.extend((!tells_early).then_some(Input::Appended(last)));
            return Ok(told);
        }
        match self.works.pop_front() {
            None => {}
            Some(DiskWork::Append(mut entries)) => {
                // What has queued becomes one write and one sync.
                while let Some(DiskWork::Append(more)) = self.works.front_mut() {
                    entries.append(more);
                    self.works.pop_front();
                }
                store.append(entries.iter().map(|entry| (entry.zxid, &entry.data[..])))?;
                self.syncing = entries.last().map(|entry| entry.zxid);
                told.extend(self.syncing.filter(|_| tells_early).map(Input::Appended));
            }
            Some(DiskWork::SaveEpoch(file, epoch)) => {
                if !matches!(broken, Some(Broken::EpochBeforeLog | Broken::EpochNotSaved)) {
                    store.save_epoch(name(file), epoch)?;
                }
                told.push(Input::EpochSaved(file, epoch));
            }
            Some(DiskWork::Truncate(zxid)) => {
                told.extend(self.give_up_snapshot());
                // As the shell does it: what will be left is loaded first.
                let left = store.load_through(zxid, tail_max, &mut Collect::default())?;
                let loaded = match left {
                    Some(left) if store.truncate(zxid)? => left,
                    Some(_) | None => store.recover(tail_max)?,
                };
                told.push(Input::Truncated(Box::new(rebuild(&loaded))));
            }
            Some(DiskWork::Install(cut, keeps_old)) => {
                told.extend(self.give_up_snapshot());
                let mut blocks = cut.blocks();
                let digest = cut.digest();
                store.install_snapshot(cut.zxid(), digest, keeps_old, |out| {
                    blocks.append_next(out)
                })?;
                told.push(Input::SnapshotInstalled(cut.zxid()));
            }
            Some(DiskWork::SaveSnapshot(cut)) => {
                store.roll()?;
                self.snapshot = Some(cut);
            }
        }
        Ok(told)
    }

    /// The snapshot that is written beside the log is not tried any more, or it
    /// is done.
    pub(crate) fn give_up_snapshot(&mut self) -> Option<Input> {
        let cut = self.snapshot.take()?;
        Some(Input::SnapshotSaved(cut.zxid()))
    }

    /// The snapshot that is written beside the log is done.
    pub(crate) fn finish_snapshot(
        &mut self,
        store: &Store<MemDisk>,
    ) -> Result<Option<Input>, StoreError> {
        let Some(cut) = &self.snapshot else {
            return Ok(None);
        };
        // Encoded only now, when the tree may have gone on for long.
        let mut blocks = cut.blocks();
        let snapshots = store.snapshots();
        snapshots.write_blocks(cut.zxid(), cut.digest(), |out| Ok(blocks.append_next(out)))?;
        Ok(self.give_up_snapshot())
    }

    /// Is a snapshot being written beside the log?
    pub(crate) const fn has_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }
}

/// As few as a server may keep.
pub(crate) const SNAPSHOTS_KEPT: usize = 3;

/// How long the next part of the work takes, in µs.
pub(crate) fn duration_us(
    rng: &mut Rng,
    queue: &DiskQueue,
    is_slow: bool,
    broken: Option<Broken>,
) -> u64 {
    // What a broken build has promised too early it does at leisure.
    let is_late = match broken {
        Some(Broken::AckBeforeSync) => queue.is_syncing(),
        Some(Broken::EpochBeforeLog) => queue.has_history_before_promise(),
        _ => false,
    };
    let scale = if is_slow { 60 } else { 1 };
    if is_late {
        rng.within(20_000, 300_000)
    } else if rng.percent(4) {
        rng.within(5_000, 60_000) * scale.min(4)
    } else {
        rng.within(50, 3_000) * scale
    }
}

/// The state that the loaded files stand for.
pub(crate) fn rebuild(loaded: &Loaded) -> Recovered {
    let entry = |(zxid, data): &(Zxid, Bytes)| LogEntry {
        zxid: *zxid,
        data: data.clone(),
    };
    let snapshot = loaded.snapshot.as_ref();
    let recovered = Recovered::rebuild(
        snapshot.map(|snapshot| (snapshot.zxid, snapshot.image.clone())),
        loaded.entries.iter().map(entry),
        loaded.tail.iter().map(entry).collect(),
        loaded.accepted_epoch,
        loaded.current_epoch,
    );
    recovered.expect("the store loads what the core has written")
}

const fn name(file: EpochFile) -> EpochName {
    match file {
        EpochFile::Accepted => EpochName::Accepted,
        EpochFile::Current => EpochName::Current,
    }
}
