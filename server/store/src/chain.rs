//! The transactions of all logs in order: which may follow which, and what is
//! proved about it.
//!
//! Within an epoch a missing transaction shows in the zxids. A new epoch begins
//! with counter 1 whatever came before, so there something else has to tell
//! that nothing is missing:
//!
//! * A log of this server says what it follows, and within one every
//!   transaction follows the one before it.
//! * The reference copies a leader's tree in between without a trace in the
//!   log. There the first digest of the new epoch tells, which needs the tree:
//!   such a place is handed on as a [`Seam`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use zk_proto::Zxid;

use crate::layout::logs;
use crate::txn_log::{LogEntry, LogFile, LogItem, LogStream, is_error};
use crate::{Disk, StoreError};

/// Two transactions that stand one after the other in the log and are of two
/// epochs, where the files do not prove that nothing was between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seam {
    /// The log that holds `after`.
    pub path: PathBuf,
    /// Zxid of the last transaction before the new epoch, or of the snapshot.
    pub before: Zxid,
    /// Zxid of the first transaction of the new epoch.
    pub after: Zxid,
    /// Something else says that there may have been more: a snapshot that
    /// cannot be read or the torn end of a log. Without a digest that agrees
    /// the start is refused then.
    pub needs_proof: bool,
}

impl Seam {
    /// What a start says if transactions are missing here.
    #[must_use]
    pub fn gap(self) -> StoreError {
        StoreError::Gap {
            path: self.path,
            before: self.before,
            after: self.after,
        }
    }
}

/// How a transaction of the log stands to the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It has the next zxid of the same epoch.
    Next,
    /// It has a zxid that was there before, or an older one.
    Repeat,
    /// It is the first one of a newer epoch.
    NewEpoch(Proof),
    /// Transactions are missing between the two.
    Gap,
}

/// Whether the log itself proves that nothing is missing before a new epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It does.
    Given,
    /// It does not, as a log of the reference.
    None,
    /// It does not, and a tree was copied from a leader there.
    Needed,
}

impl Step {
    /// From `last` to `zxid`, which came right after `predecessor` when it was
    /// written, if the file says so. Within an epoch zxids have no gaps, and
    /// each epoch begins with 1.
    #[must_use]
    pub fn between(last: Zxid, zxid: Zxid, predecessor: Option<Zxid>) -> Self {
        if zxid <= last {
            return Self::Repeat;
        }
        if zxid == last.next() {
            return Self::Next;
        }
        if zxid.epoch() == last.epoch() || zxid.counter() != 1 {
            return Self::Gap;
        }
        match predecessor {
            None => Self::NewEpoch(Proof::None),
            Some(predecessor) if predecessor == last => Self::NewEpoch(Proof::Given),
            Some(predecessor) if predecessor.next() == zxid => Self::NewEpoch(Proof::Needed),
            // A snapshot of an epoch that had no transaction yet: the log knows
            // only of transactions.
            Some(predecessor) if last.counter() == 0 && predecessor < last => {
                Self::NewEpoch(Proof::None)
            }
            Some(_) => Self::Gap,
        }
    }
}

/// Is this what the reference writes for a request that it cannot decode, with
/// the last zxid again, which was that of no transaction? It changes nothing.
#[must_use]
pub fn is_nothing(zxid: Zxid, data: &[u8]) -> bool {
    zxid.counter() == 0 && is_error(data)
}

/// The log after `last` in parts: the first transaction of each part but the
/// first one, oldest first. Within a part the log itself proves that nothing is
/// missing; before each there may have been a leader's tree.
pub(crate) fn parts_after<D: Disk>(
    disk: &D,
    dir: &Path,
    last: Zxid,
) -> Result<Vec<Zxid>, StoreError> {
    let logs = logs(disk, dir)?;
    let needed = logs.partition_point(|log| log.first <= last);
    let (mut before, mut parts) = (last, Vec::new());
    for log in &logs[needed.saturating_sub(1)..] {
        let path = log.path(dir);
        let refused = |source| StoreError::io("read", &path)(source);
        let mut stream = LogStream::new(disk.reader(&path).map_err(refused)?);
        while let LogItem::Entry {
            zxid,
            predecessor,
            data,
            ..
        } = stream.read().map_err(refused)?
        {
            if is_nothing(zxid, data) {
                continue;
            }
            match Step::between(before, zxid, predecessor) {
                Step::Repeat => continue,
                Step::Next | Step::NewEpoch(Proof::Given) => {}
                Step::NewEpoch(Proof::None | Proof::Needed) | Step::Gap => parts.push(zxid),
            }
            before = zxid;
        }
    }
    Ok(parts)
}

/// Remembers what the first transaction of an epoch came after.
fn note_predecessor(predecessors: &mut BTreeMap<Zxid, Zxid>, entry: &LogEntry) {
    if let Some(predecessor) = entry.predecessor.filter(|_| entry.zxid.counter() == 1) {
        predecessors.insert(entry.zxid, predecessor);
    }
}

/// The transactions of the needed logs, checked for gaps.
#[derive(Debug)]
pub(crate) struct Chain {
    /// Zxid of the snapshot.
    start: Zxid,
    limit: Option<Zxid>,
    /// Up to `start`: for the tail only, not checked.
    before: Vec<(Zxid, Bytes)>,
    /// After `start` and up to `limit`.
    pub(crate) entries: Vec<(Zxid, Bytes)>,
    /// For the first transaction of an epoch, the one that it came after.
    predecessors: BTreeMap<Zxid, Zxid>,
    pub(crate) seams: Vec<Seam>,
    /// A log that is not the newest ends in an unfinished write. The
    /// reference leaves such a tail and goes on in another file, with the very
    /// next zxid or with a new epoch.
    torn: Option<StoreError>,
}

impl Chain {
    pub(crate) const fn new(start: Zxid, limit: Option<Zxid>) -> Self {
        Self {
            start,
            limit,
            before: Vec::new(),
            entries: Vec::new(),
            predecessors: BTreeMap::new(),
            seams: Vec::new(),
            torn: None,
        }
    }

    pub(crate) const fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// All is there that was asked for, whatever the rest of the log holds.
    pub(crate) fn has_reached_limit(&self) -> bool {
        self.limit == Some(self.last_zxid())
    }

    /// Adds the entries of the next log.
    pub(crate) fn read(&mut self, path: &Path, log: &LogFile) -> Result<(), StoreError> {
        for entry in &log.entries {
            let is_beyond = self.limit.is_some_and(|limit| entry.zxid > limit);
            if is_beyond || is_nothing(entry.zxid, &entry.data) {
                continue;
            }
            if entry.zxid <= self.start {
                self.push_before(entry);
            } else {
                self.push(path, entry)?;
            }
        }
        Ok(())
    }

    /// The log that was read last ends like this, and is not the newest.
    pub(crate) fn ends_torn(&mut self, torn: StoreError) {
        self.torn = Some(torn);
    }

    fn push_before(&mut self, entry: &LogEntry) {
        let zxid = entry.zxid;
        let last = self.before.last().map(|(zxid, _)| *zxid);
        if last.is_some_and(|last| zxid <= last) {
            return;
        }
        if self.torn.take().is_some() && last.map(Zxid::next) != Some(zxid) {
            // Damage before the snapshot costs nothing but the tail.
            self.before.clear();
        }
        note_predecessor(&mut self.predecessors, entry);
        self.before.push((zxid, entry.data.clone()));
    }

    fn push(&mut self, path: &Path, entry: &LogEntry) -> Result<(), StoreError> {
        let (last, zxid) = (self.last_zxid(), entry.zxid);
        let step = Step::between(last, zxid, entry.predecessor);
        let seam = |needs_proof| Seam {
            path: path.to_owned(),
            before: last,
            after: zxid,
            needs_proof,
        };
        match step {
            Step::Repeat => return self.repeated(path, entry),
            Step::Next => {}
            Step::Gap => return Err(self.torn.take().unwrap_or_else(|| seam(true).gap())),
            Step::NewEpoch(proof) => {
                match proof {
                    Proof::Given => {}
                    Proof::None => self.seams.push(seam(self.torn.is_some())),
                    Proof::Needed => self.seams.push(seam(true)),
                }
                self.predecessors.insert(zxid, last);
            }
        }
        self.torn = None;
        self.entries.push((zxid, entry.data.clone()));
        Ok(())
    }

    /// A transaction that is there already changes nothing. The reference logs
    /// some again after it has reconnected to a leader, perhaps without their
    /// digests, reads copies of a log, and repeats the last zxid for an error.
    fn repeated(&self, path: &Path, entry: &LogEntry) -> Result<(), StoreError> {
        let LogEntry {
            offset, zxid, data, ..
        } = entry;
        let found = self.entries.binary_search_by_key(zxid, |(zxid, _)| *zxid);
        let is_same = found.is_ok_and(|at| {
            let known = &self.entries[at].1;
            known.starts_with(data) || data.starts_with(known)
        });
        if is_same || (is_error(data) && found.is_ok()) {
            tracing::warn!(%zxid, path = %path.display(), "a zxid stands in the log twice");
            return Ok(());
        }
        Err(StoreError::Damaged {
            path: path.to_owned(),
            offset: *offset,
            what: format!("zxids go back from {} to {zxid}", self.last_zxid()),
        })
    }

    /// All logs were read: a torn one that nothing followed is damaged.
    pub(crate) fn finish(&mut self) -> Result<(), StoreError> {
        let torn = self.torn.take();
        torn.filter(|_| !self.has_reached_limit())
            .map_or(Ok(()), Err)
    }

    /// Zxid of the newest transaction, or of the snapshot.
    pub(crate) fn last_zxid(&self) -> Zxid {
        self.entries.last().map_or(self.start, |(zxid, _)| *zxid)
    }

    /// Does the log hold all that a snapshot at this zxid held? Where digests
    /// have to tell, they must.
    pub(crate) fn makes_up_for(&mut self, snapshot: Zxid) -> bool {
        let after = self.entries.partition_point(|(zxid, _)| *zxid < snapshot);
        let Some((next, _)) = self.entries.get(after) else {
            return snapshot <= self.start;
        };
        if *next == snapshot {
            return true;
        }
        // The tree at the start of an epoch is that at the end of the one
        // before, if nothing is missing in between.
        let seam = self.seams.iter_mut().find(|seam| seam.after == *next);
        if let Some(seam) = seam {
            seam.needs_proof = true;
        }
        snapshot.counter() == 0
    }

    /// The newest transactions, which may reach back before the snapshot.
    pub(crate) fn tail(&mut self, transactions_max: usize) -> HistoryTail {
        let mut tail = HistoryTail {
            start: self.start,
            transactions_max,
            newest_first: Vec::new(),
            predecessors: std::mem::take(&mut self.predecessors),
            has_ended: false,
        };
        let known = self.entries.iter().rev().chain(self.before.iter().rev());
        for (zxid, data) in known {
            tail.take(*zxid, data);
        }
        tail
    }
}

/// The last transactions, collected from the newest on. Those before the
/// snapshot count only if the log leads to the snapshot without a gap: after a
/// SNAP from a leader, older logs may hold what was never committed.
#[derive(Debug)]
pub(crate) struct HistoryTail {
    start: Zxid,
    transactions_max: usize,
    newest_first: Vec<(Zxid, Bytes)>,
    predecessors: BTreeMap<Zxid, Zxid>,
    has_ended: bool,
}

impl HistoryTail {
    /// No older transaction can be added.
    pub(crate) const fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Adds the entries of a log that is older than all so far.
    pub(crate) fn take_log(&mut self, log: &LogFile) {
        for entry in log.entries.iter().rev() {
            note_predecessor(&mut self.predecessors, entry);
            self.take(entry.zxid, &entry.data);
            if self.has_ended {
                return;
            }
        }
    }

    fn take(&mut self, zxid: Zxid, data: &Bytes) {
        let next = self.newest_first.last_mut();
        if let Some((next, newer)) = next
            && *next == zxid
            && is_error(newer)
        {
            // It only repeated the zxid of this one.
            newer.clone_from(data);
            return;
        }
        let next = self.newest_first.last().map(|(zxid, _)| *zxid);
        // The newest one before the snapshot is the snapshot's own.
        let is_newest_before = zxid <= self.start && next.is_none_or(|next| next > self.start);
        let fits = next
            .is_none_or(|next| next == zxid.next() || self.predecessors.get(&next) == Some(&zxid));
        if !fits
            || (is_newest_before && zxid != self.start)
            || self.newest_first.len() >= self.transactions_max
        {
            self.has_ended = true;
        }
        if !self.has_ended {
            self.newest_first.push((zxid, data.clone()));
        }
    }

    /// In the order of the log.
    pub(crate) fn finish(mut self) -> Vec<(Zxid, Bytes)> {
        // An error at the old end may only repeat the zxid of another.
        while self
            .newest_first
            .pop_if(|(_, data)| is_error(data))
            .is_some()
        {}
        self.newest_first.reverse();
        self.newest_first
    }
}
