//! From what a disk held to the state a replica starts with.

use bytes::Bytes;
use zk_proto::{DecodeError, Epoch, Zxid};

use crate::request::replay;
use crate::tree::{Tree, TreeError};
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
        Self::replay(tree, entries, tail, accepted, current)
    }

    /// The same for a snapshot that was loaded into a tree, or for a new tree.
    pub fn replay(
        mut tree: Tree,
        entries: impl IntoIterator<Item = LogEntry>,
        tail: Vec<LogEntry>,
        accepted: Option<Epoch>,
        current: Option<Epoch>,
    ) -> Result<Self, RebuildError> {
        for entry in entries {
            replay(&mut tree, &entry.data)
                .map_err(|error| RebuildError::Entry(entry.zxid, error))?;
        }
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
            accepted_epoch,
            current_epoch,
        })
    }
}
