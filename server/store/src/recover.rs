//! Newest readable snapshot and the log after it: what a server starts from
//! (reference: `FileTxnSnapLog.restore`, `QuorumPeer.loadDataBase`).

use std::path::Path;

use bytes::Bytes;
use zk_proto::{Epoch, Zxid};

use crate::epochs::{self, EpochName};
use crate::layout::{log_path, logs};
use crate::snapshot::{Choice, ImageSink, LoadedSnapshot, choose};
use crate::txn_log::{LogScan, Tail, cut, read_log, scan};
use crate::{Disk, DiskFile, StoreConfig, StoreError};

/// What a disk holds. Everything in it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded<I = Bytes> {
    /// `None` on a fresh disk: the caller saves an empty tree at zxid 0 before
    /// anything else.
    pub snapshot: Option<LoadedSnapshot<I>>,
    /// The transactions after the snapshot, without gaps.
    pub entries: Vec<(Zxid, Bytes)>,
    /// The newest transactions, which may reach back before the snapshot:
    /// without gaps, ending at the last one.
    pub tail: Vec<(Zxid, Bytes)>,
    /// Number in `acceptedEpoch`.
    pub accepted_epoch: Option<Epoch>,
    /// Number in `currentEpoch`, or what it was to become when the server
    /// stopped between log and epoch file.
    pub current_epoch: Option<Epoch>,
}

impl<I> Loaded<I> {
    /// Zxid of the newest transaction, or of the snapshot.
    #[must_use]
    pub fn last_zxid(&self) -> Zxid {
        let snapshot = self
            .snapshot
            .as_ref()
            .map_or(Zxid::ZERO, |snapshot| snapshot.zxid);
        self.entries.last().map_or(snapshot, |(zxid, _)| *zxid)
    }
}

/// The two `version-2` directories.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dirs<'a, D> {
    pub(crate) disk: &'a D,
    pub(crate) data: &'a Path,
    pub(crate) log: &'a Path,
    pub(crate) config: &'a StoreConfig,
}

impl<D: Disk> Dirs<'_, D> {
    /// Loads everything, cuts a torn tail and makes durable what was read:
    /// after a mere crash of the process it might not be.
    pub(crate) fn recover<S: ImageSink>(
        &self,
        tail_max: usize,
        sink: &mut S,
    ) -> Result<Loaded<S::Image>, StoreError> {
        let mut loaded = self.history(None, tail_max, sink)?;
        self.load_epochs(&mut loaded)?;
        if self.config.force_sync {
            for dir in [self.data, self.log] {
                let synced = self.disk.sync_dir(dir);
                synced.map_err(StoreError::io("sync", dir))?;
            }
        }
        Ok(loaded)
    }

    /// Snapshot and log up to and including `limit`. Only without a limit is
    /// anything changed on the disk.
    pub(crate) fn history<S: ImageSink>(
        &self,
        limit: Option<Zxid>,
        tail_max: usize,
        sink: &mut S,
    ) -> Result<Loaded<S::Image>, StoreError> {
        let choice = choose(self.disk, self.data, limit, sink)?;
        let mut logs = logs(self.disk, self.log)?;
        let mut newest = match limit {
            None => self.mend_newest(&mut logs)?,
            Some(_) => None,
        };
        self.check_start(&choice, &logs, limit)?;
        let start = choice
            .snapshot
            .as_ref()
            .map_or(Zxid::ZERO, |snapshot| snapshot.zxid);
        // Java names a log by its first entry, which may be before the snapshot.
        let needed = logs
            .partition_point(|first| *first <= start.next())
            .saturating_sub(1);
        let mut chain = Chain::new(start, limit);
        for (n, first) in logs.iter().enumerate().skip(needed) {
            let is_newest = n + 1 == logs.len();
            let log = match newest.take_if(|_| is_newest) {
                Some(log) => log,
                None => self.log(*first)?,
            };
            self.read_log(*first, log, is_newest, &mut chain)?;
        }
        chain.check_end()?;
        if let Some(missing) = choice.unreadable.iter().find(|zxid| !chain.passes(**zxid)) {
            tracing::error!(zxid = %missing, "the log does not make up for a damaged snapshot");
            return Err(StoreError::NoReadableSnapshot {
                dir: self.data.to_owned(),
                newest: missing.0,
            });
        }
        let tail = self.tail(&chain, &logs[..needed.min(logs.len())], tail_max);
        Ok(Loaded {
            snapshot: choice.snapshot,
            entries: chain.entries,
            tail,
            accepted_epoch: None,
            current_epoch: None,
        })
    }

    /// Cuts what a crash left of an unfinished write at the end of the newest
    /// log, and removes newest logs that hold no entry at all. Returns the
    /// newest that is left.
    fn mend_newest(&self, logs: &mut Vec<Zxid>) -> Result<Option<Log>, StoreError> {
        while let Some(first) = logs.last() {
            let path = log_path(self.log, *first);
            let mut log = self.log(*first)?;
            let scan = &mut log.scan;
            let keep = if scan.entries.is_empty() { 0 } else { scan.end };
            match scan.tail {
                Tail::Clean if keep > 0 => return Ok(Some(log)),
                Tail::Clean => {}
                Tail::Torn(what) => {
                    let path = path.display();
                    tracing::warn!(%path, offset = keep, what, "log ends in an unfinished write, it is cut");
                }
                Tail::Damaged(what) => return Err(damaged(&path, scan.end, what)),
            }
            cut(self.disk, self.log, &path, keep, self.config.force_sync)?;
            if keep > 0 {
                scan.tail = Tail::Clean;
                return Ok(Some(log));
            }
            logs.pop();
        }
        Ok(None)
    }

    fn log(&self, first: Zxid) -> Result<Log, StoreError> {
        let path = log_path(self.log, first);
        let bytes = read_log(self.disk, &path).map_err(StoreError::io("read", &path))?;
        let scan = scan(&bytes);
        Ok(Log { bytes, scan })
    }

    fn check_start<I>(
        &self,
        choice: &Choice<I>,
        logs: &[Zxid],
        limit: Option<Zxid>,
    ) -> Result<(), StoreError> {
        if choice.snapshot.is_some() {
            return Ok(());
        }
        let dir = self.data.to_owned();
        match choice.newest {
            _ if limit.is_some() => Err(StoreError::CannotTruncate {
                to: limit.unwrap_or_default(),
            }),
            // A server may stop while it writes its very first snapshot.
            Some(newest) if newest > Zxid::ZERO || !choice.unreadable.is_empty() => {
                Err(StoreError::NoReadableSnapshot {
                    dir,
                    newest: newest.0,
                })
            }
            _ if logs.is_empty() || self.config.trust_empty_snapshot => Ok(()),
            _ => Err(StoreError::NoSnapshot {
                dir: self.log.to_owned(),
            }),
        }
    }

    fn read_log(
        &self,
        first: Zxid,
        log: Log,
        is_newest: bool,
        chain: &mut Chain,
    ) -> Result<(), StoreError> {
        let path = log_path(self.log, first);
        let Log { mut bytes, scan } = log;
        bytes.truncate(scan.end);
        bytes.shrink_to_fit();
        let bytes = Bytes::from(bytes);
        for (zxid, range) in scan.entries {
            chain.push(&path, range.start, zxid, bytes.slice(range))?;
        }
        match scan.tail {
            Tail::Clean => {}
            Tail::Torn(what) if !is_newest => chain.torn = Some(damaged(&path, scan.end, what)),
            // Was cut already, or nothing is to be changed.
            Tail::Torn(_) => {}
            Tail::Damaged(what) => return Err(damaged(&path, scan.end, what)),
        }
        if self.config.force_sync && chain.limit.is_none() {
            let synced = self.disk.open(&path).and_then(|mut file| file.sync_data());
            synced.map_err(StoreError::io("sync", &path))?;
        }
        Ok(())
    }

    /// The last `tail_max` transactions. Those before the snapshot count only
    /// if the log leads to the snapshot without a gap: after a SNAP from a
    /// leader, older logs may hold what was never committed.
    fn tail(&self, chain: &Chain, older: &[Zxid], tail_max: usize) -> Vec<(Zxid, Bytes)> {
        let mut tail: Vec<(Zxid, Bytes)> = Vec::new();
        let mut next = None;
        let mut take = |zxid: Zxid, data: &[u8]| {
            // The newest one before the snapshot is the snapshot's own.
            let is_newest_before =
                zxid <= chain.start && next.is_none_or(|next| next > chain.start);
            let fits = next.is_none_or(|next| follows(zxid, next))
                && (!is_newest_before || zxid == chain.start);
            if fits && tail.len() < tail_max {
                next = Some(zxid);
                tail.push((zxid, Bytes::copy_from_slice(data)));
                return true;
            }
            false
        };
        let known = chain.entries.iter().rev().chain(chain.before.iter().rev());
        let mut goes_on = known.into_iter().all(|(zxid, data)| take(*zxid, data));
        for first in older.iter().rev() {
            if !goes_on {
                break;
            }
            let Ok(Log { bytes, scan }) = self.log(*first) else {
                break;
            };
            let mut entries = scan.entries.into_iter().rev();
            goes_on =
                scan.tail == Tail::Clean && entries.all(|(zxid, range)| take(zxid, &bytes[range]));
        }
        tail.reverse();
        tail
    }

    fn load_epochs<I>(&self, loaded: &mut Loaded<I>) -> Result<(), StoreError> {
        let accepted = epochs::load(self.disk, self.data, EpochName::Accepted)?;
        let mut current = epochs::load(self.disk, self.data, EpochName::Current)?;
        let of_data = loaded.last_zxid().epoch();
        if loaded.snapshot.is_none()
            && loaded.entries.is_empty()
            && [accepted, current]
                .iter()
                .flatten()
                .any(|epoch| *epoch > Epoch(0))
        {
            // With a promise but no data it would outvote servers that have some.
            return Err(StoreError::DataGone {
                dir: self.data.to_owned(),
            });
        }
        if let Some(written) = current.filter(|written| *written < of_data) {
            // Data of an epoch means that a quorum had it as current, and that
            // this is the start of its history; only the file lags behind.
            let aside = epochs::load_aside(self.disk, self.data, EpochName::Current);
            let epoch = aside.filter(|aside| *aside >= of_data).unwrap_or(of_data);
            tracing::warn!(%written, %epoch, "currentEpoch was not written before the server stopped");
            current = Some(epoch);
        }
        if let (Some(accepted), Some(current)) = (accepted, current)
            && accepted < current
        {
            return Err(StoreError::EpochOrder { accepted, current });
        }
        loaded.accepted_epoch = accepted;
        loaded.current_epoch = current;
        Ok(())
    }
}

/// A log in memory.
#[derive(Debug)]
struct Log {
    bytes: Vec<u8>,
    scan: LogScan,
}

/// The transactions of the needed logs, checked for gaps.
#[derive(Debug)]
struct Chain {
    /// Zxid of the snapshot.
    start: Zxid,
    limit: Option<Zxid>,
    /// Up to `start`: for the tail only, not checked.
    before: Vec<(Zxid, Bytes)>,
    /// After `start` and up to `limit`.
    entries: Vec<(Zxid, Bytes)>,
    /// A log that is not the newest ends in an unfinished write. The
    /// reference leaves such a tail and goes on in another file, which must
    /// then go on with the very next zxid.
    torn: Option<StoreError>,
}

impl Chain {
    const fn new(start: Zxid, limit: Option<Zxid>) -> Self {
        Self {
            start,
            limit,
            before: Vec::new(),
            entries: Vec::new(),
            torn: None,
        }
    }

    fn push(
        &mut self,
        path: &Path,
        offset: usize,
        zxid: Zxid,
        data: Bytes,
    ) -> Result<(), StoreError> {
        if self.limit.is_some_and(|limit| zxid > limit) {
            return Ok(());
        }
        let known = if zxid <= self.start {
            &mut self.before
        } else {
            &mut self.entries
        };
        let before = known.last().map(|(zxid, _)| *zxid);
        if zxid <= self.start {
            let torn = self
                .torn
                .take()
                .filter(|_| before.map(Zxid::next) != Some(zxid));
            if torn.is_some() {
                // Damage before the snapshot costs nothing but the tail.
                known.clear();
            }
            known.push((zxid, data));
            return Ok(());
        }
        let end = before.unwrap_or(self.start);
        if let Some(torn) = self.torn.take()
            && zxid != end.next()
        {
            return Err(torn);
        }
        if zxid <= end {
            if known
                .last()
                .is_some_and(|(last, known)| *last == zxid && *known == data)
            {
                tracing::warn!(%zxid, path = %path.display(), "transaction stands in the log twice");
                return Ok(());
            }
            return Err(damaged(path, offset, "zxids go back"));
        }
        if !follows(end, zxid) {
            return Err(StoreError::Gap {
                path: path.to_owned(),
                before: end,
                after: zxid,
            });
        }
        known.push((zxid, data));
        Ok(())
    }

    /// A torn file that no entry followed.
    fn check_end(&mut self) -> Result<(), StoreError> {
        self.torn.take().map_or(Ok(()), Err)
    }

    fn passes(&self, wanted: Zxid) -> bool {
        self.entries
            .binary_search_by_key(&wanted, |(zxid, _)| *zxid)
            .is_ok()
    }
}

/// May the transaction `next` come right after `zxid`? Within an epoch zxids have no gaps, and
/// each epoch begins with 1.
#[must_use]
pub fn follows(zxid: Zxid, next: Zxid) -> bool {
    next == zxid.next() || (next.epoch() > zxid.epoch() && next.counter() == 1)
}

fn damaged(path: &Path, offset: usize, what: &str) -> StoreError {
    StoreError::Damaged {
        path: path.to_owned(),
        offset: offset as u64,
        what: what.to_owned(),
    }
}
