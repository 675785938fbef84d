//! Newest readable snapshot and the log after it: what a server starts from
//! (reference: `FileTxnSnapLog.restore`, `QuorumPeer.loadDataBase`).

use std::path::Path;

use bytes::Bytes;
use zk_proto::{Epoch, Zxid};

use crate::chain::{Chain, Seam};
use crate::epochs::{self, EpochName};
use crate::layout::{LogName, logs};
use crate::snapshot::{Choice, ImageSink, LoadedSnapshot, choose};
use crate::txn_log::{LogEnd, LogFile, cut, read_log};
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
    /// Where only digests can tell whether something is missing in `entries`,
    /// oldest first. Empty if all logs are this server's own.
    pub seams: Vec<Seam>,
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

    /// Snapshot and log up to exactly `last`, and the epochs; `None` where the
    /// files do not prove to lead there. Changes nothing.
    pub(crate) fn load_through<S: ImageSink>(
        &self,
        last: Zxid,
        tail_max: usize,
        sink: &mut S,
    ) -> Result<Option<Loaded<S::Image>>, StoreError> {
        let left = self.history(Some(last), tail_max, sink);
        let loaded = match left.and_then(|mut left| self.load_epochs(&mut left).map(|()| left)) {
            Ok(loaded) => loaded,
            Err(error) if error.is_of_content() => {
                tracing::warn!(%last, %error, "the files do not lead to this zxid");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let is_proved = !loaded.seams.iter().any(|seam| seam.needs_proof);
        if loaded.last_zxid() != last || !is_proved {
            tracing::warn!(%last, found = %loaded.last_zxid(), "the files do not lead to this zxid");
            return Ok(None);
        }
        Ok(Some(loaded))
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
        logs.dedup_by(|log, kept| {
            let is_copy = log.first == kept.first;
            if is_copy {
                let (path, other) = (log.path(self.log), kept.path(self.log));
                tracing::warn!(path = %path.display(), other = %other.display(), "log has the zxid of another, it is not read");
            }
            is_copy
        });
        self.check_start(&choice, &logs, limit)?;
        let start = choice
            .snapshot
            .as_ref()
            .map_or(Zxid::ZERO, |snapshot| snapshot.zxid);
        // Java names a log by its first entry, which may be before the snapshot.
        let needed = logs
            .partition_point(|log| log.first <= start.next())
            .saturating_sub(1);
        let mut chain = Chain::new(start, limit);
        for (n, name) in logs.iter().enumerate().skip(needed) {
            let is_newest = n + 1 == logs.len();
            let log = match newest.take_if(|_| is_newest) {
                Some(log) => log,
                None => self.log(name)?,
            };
            self.read_log(name, &log, is_newest, &mut chain)?;
            if chain.has_reached_limit() {
                break;
            }
        }
        chain.finish()?;
        self.check_unreadable(&choice, &mut chain)?;
        let tail = self.tail(&mut chain, &logs[..needed.min(logs.len())], tail_max);
        Ok(Loaded {
            snapshot: choice.snapshot,
            entries: chain.entries,
            tail,
            seams: chain.seams,
            accepted_epoch: None,
            current_epoch: None,
        })
    }

    /// Cuts what a crash left of an unfinished write at the end of the newest
    /// log, and removes newest logs that hold no entry at all. Returns the
    /// newest that is left.
    fn mend_newest(&self, logs: &mut Vec<LogName>) -> Result<Option<LogFile>, StoreError> {
        // Of two names for one log the first counts.
        while let Some(newest) = logs.last() {
            let at = logs.partition_point(|log| log.first < newest.first);
            let path = logs[at].path(self.log);
            let mut log = self.log(&logs[at])?;
            let keep = if log.entries.is_empty() { 0 } else { log.end };
            match log.tail {
                LogEnd::Clean if keep > 0 => return Ok(Some(log)),
                LogEnd::Clean => {}
                LogEnd::Torn(what) => {
                    let path = path.display();
                    tracing::warn!(%path, offset = keep, what, "log ends in an unfinished write, it is cut");
                }
                LogEnd::Damaged(what) => return Err(damaged(&path, log.end, what)),
            }
            cut(self.disk, self.log, &path, keep, self.config.force_sync)?;
            if keep > 0 {
                log.tail = LogEnd::Clean;
                return Ok(Some(log));
            }
            logs.remove(at);
        }
        Ok(None)
    }

    fn log(&self, name: &LogName) -> Result<LogFile, StoreError> {
        let path = name.path(self.log);
        read_log(self.disk, &path).map_err(StoreError::io("read", &path))
    }

    /// A snapshot may be passed over only if the log holds all that it held,
    /// or if it never counted.
    fn check_unreadable<I>(&self, choice: &Choice<I>, chain: &mut Chain) -> Result<(), StoreError> {
        if choice.unreadable.is_empty() {
            return Ok(());
        }
        let current = epochs::load(self.disk, self.data, EpochName::Current)?;
        for snapshot in &choice.unreadable {
            // A leader's tree that this server was still copying: it had not
            // promised yet to have that epoch's history.
            let epoch = snapshot.epoch();
            let never_counted =
                current.is_some_and(|current| epoch > current) && epoch > chain.last_zxid().epoch();
            if !never_counted && !chain.makes_up_for(*snapshot) {
                tracing::error!(zxid = %snapshot, "the log does not make up for a snapshot that cannot be read");
                return Err(StoreError::NoReadableSnapshot {
                    dir: self.data.to_owned(),
                    newest: snapshot.0,
                });
            }
        }
        Ok(())
    }

    fn check_start<I>(
        &self,
        choice: &Choice<I>,
        logs: &[LogName],
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
            Some(newest) if newest > Zxid::ZERO || choice.is_damaged => {
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
        name: &LogName,
        log: &LogFile,
        is_newest: bool,
        chain: &mut Chain,
    ) -> Result<(), StoreError> {
        let path = name.path(self.log);
        chain.read(&path, log)?;
        match log.tail {
            LogEnd::Clean => {}
            LogEnd::Torn(what) if !is_newest => chain.ends_torn(damaged(&path, log.end, what)),
            // Was cut already, or nothing is to be changed.
            LogEnd::Torn(_) => {}
            // Behind the limit it is as good as cut.
            LogEnd::Damaged(_) if chain.has_reached_limit() => {}
            LogEnd::Damaged(what) => return Err(damaged(&path, log.end, what)),
        }
        if self.config.force_sync && !chain.is_limited() {
            let synced = self.disk.open(&path).and_then(|mut file| file.sync_data());
            synced.map_err(StoreError::io("sync", &path))?;
        }
        Ok(())
    }

    /// The last `tail_max` transactions.
    fn tail(&self, chain: &mut Chain, older: &[LogName], tail_max: usize) -> Vec<(Zxid, Bytes)> {
        let mut tail = chain.tail(tail_max);
        for name in older.iter().rev() {
            if tail.has_ended() {
                break;
            }
            match self.log(name) {
                Ok(log) if log.tail == LogEnd::Clean => tail.take_log(&log),
                Ok(_) | Err(_) => break,
            }
        }
        tail.finish()
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

fn damaged(path: &Path, offset: u64, what: &str) -> StoreError {
    StoreError::Damaged {
        path: path.to_owned(),
        offset,
        what: what.to_owned(),
    }
}
