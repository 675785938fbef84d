//! From what a disk held to the state a replica starts with.

use bytes::Bytes;
use zk_proto::{DecodeError, Epoch, Zxid};

use crate::request::replay_compared;
use crate::tree::{Tree, TreeError};
use crate::zab::Reigns;
use crate::zab::epochs::EPOCH_LAST;
use crate::{LogEntry, Recovered};

/// Why a disk's contents make no state.
#[derive(Debug)]
pub enum RebuildError {
    /// The image is no tree.
    Snapshot(TreeError),
    /// An entry of the log is no transaction.
    Entry(Zxid, DecodeError),
    /// A file has an epoch that cannot be.
    EpochRange {
        /// Its name.
        file: &'static str,
        /// Its number.
        epoch: Epoch,
    },
    /// Transactions are missing between two epochs: the tree is not the one
    /// that the newer epoch began with, or nothing proves that it is.
    Gap {
        /// Zxid of the last transaction before the gap.
        before: Zxid,
        /// Zxid of the first one after it.
        after: Zxid,
    },
    /// The promise to follow is older than the history.
    Epochs {
        /// `acceptedEpoch`.
        accepted: Epoch,
        /// `currentEpoch`.
        current: Epoch,
        /// Epoch of the newest transaction.
        history: Epoch,
    },
}

impl std::fmt::Display for RebuildError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Snapshot(error) => write!(f, "the snapshot is not a tree: {error}"),
            Self::Entry(zxid, error) => write!(f, "log entry {zxid} is not a transaction: {error}"),
            Self::EpochRange { file, epoch } => write!(
                f,
                "{file} is {epoch}, but the last epoch that exists is {EPOCH_LAST}; \
                 see \"Epochs near their end\" in docs/operations.md"
            ),
            Self::Gap { before, after } => write!(
                f,
                "the log goes from zxid {before} to {after}, and the tree is not the one that {after} was made for: \
                 transactions are missing"
            ),
            Self::Epochs {
                accepted,
                current,
                history,
            } => write!(
                f,
                "acceptedEpoch {accepted}, currentEpoch {current} and the newest transaction's epoch {history} \
                 contradict each other; the data directory mixes files of different times"
            ),
        }
    }
}

impl std::error::Error for RebuildError {}

/// Two transactions of the log that are of two epochs, where the files do not
/// prove that nothing was between them. The zxids cannot, because an epoch
/// begins with counter 1 whatever came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seam {
    /// Zxid of the last transaction before the new epoch, or of the snapshot.
    pub before: Zxid,
    /// Zxid of the first transaction of the new epoch.
    pub after: Zxid,
    /// Something else says that there may have been more, so that the start
    /// is refused where no digest agrees.
    pub needs_proof: bool,
}

/// Compares the tree with the digests that the log's transactions carry, to
/// find out whether something is missing where a new epoch begins.
#[derive(Debug, Default)]
pub struct SeamCheck {
    /// The rest of them, newest first.
    seams: Vec<Seam>,
    /// Did the tree agree when it was last compared?
    agrees: bool,
    /// Was passed, and no digest was compared since. With what it was before.
    open: Option<(Seam, bool)>,
    /// The first transaction after the last seam that was not proved.
    unproved: Option<Zxid>,
}

impl SeamCheck {
    /// The seams in the order of the log. `agrees` if the snapshot's own digest
    /// proves that its tree is exactly the one at its zxid.
    #[must_use]
    pub fn new(mut seams: Vec<Seam>, agrees: bool) -> Self {
        seams.reverse();
        Self {
            seams,
            agrees,
            open: None,
            unproved: None,
        }
    }

    /// A transaction was replayed. `agrees` says whether the tree has the
    /// digest that it carries, if it carries one.
    fn passed(&mut self, zxid: Zxid, agrees: Option<bool>) -> Result<(), RebuildError> {
        if self.seams.last().is_some_and(|seam| seam.after == zxid) {
            self.close(None)?;
            self.open = self.seams.pop().map(|seam| (seam, self.agrees));
        }
        if let Some(agrees) = agrees {
            self.close(Some(agrees))?;
            self.agrees = agrees;
        }
        Ok(())
    }

    /// Does it matter whether this transaction's digest agrees?
    fn needs_answer(&self, zxid: Zxid) -> bool {
        self.open.is_some() || self.seams.last().is_some_and(|seam| seam.after == zxid)
    }

    fn close(&mut self, agrees: Option<bool>) -> Result<(), RebuildError> {
        let Some((seam, agreed_before)) = self.open.take() else {
            return Ok(());
        };
        let Seam {
            before,
            after,
            needs_proof,
        } = seam;
        let is_gap = match agrees {
            Some(true) => false,
            // A tree that differed before may differ for another reason.
            Some(false) => agreed_before || needs_proof,
            None => needs_proof,
        };
        if is_gap {
            return Err(RebuildError::Gap { before, after });
        }
        if agrees != Some(true) {
            self.unproved = Some(after);
        }
        Ok(())
    }

    /// All was replayed. Returns the first transaction from which on the log
    /// is known to be whole, if that is not all of it.
    fn finish(mut self) -> Result<Option<Zxid>, RebuildError> {
        self.close(None)?;
        Ok(self.unproved)
    }
}

impl Recovered {
    /// Loads a snapshot image, replays the entries after it and settles the
    /// epochs (reference: `FileTxnSnapLog.restore`, `QuorumPeer.loadDataBase`).
    /// Entries that were logged but perhaps never committed are replayed too:
    /// election and synchronization deal with them.
    ///
    /// `tail` is the newest part of the log, whether before or after the
    /// snapshot; epochs are `None` where there is no file.
    pub fn rebuild(
        snapshot: Option<(Zxid, Bytes)>,
        entries: impl IntoIterator<Item = LogEntry>,
        tail: Vec<LogEntry>,
        accepted: Option<Epoch>,
        current: Option<Epoch>,
    ) -> Result<Self, RebuildError> {
        let tree = match snapshot {
            Some((zxid, image)) => {
                Tree::from_image(&image, zxid).map_err(RebuildError::Snapshot)?
            }
            None => Tree::new(),
        };
        let seams = SeamCheck::default();
        Self::replay(tree, seams, entries, tail, accepted, current)
    }

    /// The same for a snapshot that was loaded into a tree, or for a new tree.
    /// The tail is cut where a gap cannot be ruled out: it is sent to others.
    pub fn replay(
        mut tree: Tree,
        mut seams: SeamCheck,
        entries: impl IntoIterator<Item = LogEntry>,
        mut tail: Vec<LogEntry>,
        accepted: Option<Epoch>,
        current: Option<Epoch>,
    ) -> Result<Self, RebuildError> {
        let mut reigns = Reigns::default();
        for entry in entries {
            reigns.note(&entry);
            let (_, above) = replay_compared(&mut tree, &entry.data)
                .map_err(|error| RebuildError::Entry(entry.zxid, error))?;
            let needs_answer = seams.needs_answer(entry.zxid);
            let agrees = above.map(|by| by == 0 || needs_answer && tree.follow_charset(by));
            seams.passed(entry.zxid, agrees)?;
        }
        if let Some(first) = seams.finish()? {
            tail.retain(|entry| entry.zxid >= first);
        }
        tail.iter().for_each(|entry| reigns.note(entry));
        tree.forget_charset();
        let last_zxid = tree.last_zxid();
        let history = last_zxid.epoch();
        let current_epoch = current.unwrap_or(history);
        let accepted_epoch = accepted.unwrap_or(current_epoch);
        for (file, epoch) in [
            ("acceptedEpoch", accepted_epoch),
            ("currentEpoch", current_epoch),
        ] {
            if epoch > EPOCH_LAST {
                return Err(RebuildError::EpochRange { file, epoch });
            }
        }
        if history > current_epoch || accepted_epoch < current_epoch {
            return Err(RebuildError::Epochs {
                accepted: accepted_epoch,
                current: current_epoch,
                history,
            });
        }
        Ok(Self {
            tree,
            last_zxid,
            tail,
            reigns,
            accepted_epoch,
            current_epoch,
        })
    }
}
