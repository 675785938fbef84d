//! Why a store cannot go on.

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use zk_proto::{Epoch, Zxid};

/// Why a store cannot be opened, read or written. None of them but
/// [`Self::Stopped`] is to be retried: the process ends and an operator reads
/// the message.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system refused.
    #[error("cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A directory is missing that may not be made.
    #[error("{dir} is missing, and datadir.autocreate=false forbids to make it")]
    NoDirectory {
        /// The directory.
        dir: PathBuf,
    },
    /// There is no data, and nobody has said that this is right.
    #[error(
        "there is no data, and db.autocreate=false; if this server is to begin with an empty tree, \
         make an empty file {dir}/initialize and start it again"
    )]
    NotInitialized {
        /// `dataLogDir`.
        dir: PathBuf,
    },
    /// Bytes that were once written are not what is read.
    #[error("{path} is damaged at byte {offset}: {what}; {REMEDY}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Distance in bytes from the start of the file.
        offset: u64,
        /// What was found.
        what: String,
    },
    /// The log skips transactions.
    #[error("{path} goes from zxid {before} to {after}, so transactions are missing; {REMEDY}")]
    Gap {
        /// File that holds `after`.
        path: PathBuf,
        /// Zxid up to which the history is whole.
        before: Zxid,
        /// The one that was found next.
        after: Zxid,
    },
    /// There are logs but no snapshot (reference: `FileTxnSnapLog.restore`).
    #[error(
        "{dir} has transaction logs but no snapshot; if that is right (data of a server before 3.5), \
         set snapshot.trust.empty=true once, else: {REMEDY}"
    )]
    NoSnapshot {
        /// The log directory.
        dir: PathBuf,
    },
    /// Snapshots are there, but none can be used.
    #[error("{dir} has no snapshot that can be read, the newest is snapshot.{newest:x}; {REMEDY}")]
    NoReadableSnapshot {
        /// The snapshot directory.
        dir: PathBuf,
        /// Zxid in the name of the newest.
        newest: i64,
    },
    /// Epoch files without the data they speak of.
    #[error("{dir} has epoch files but neither snapshot nor log; {REMEDY}")]
    DataGone {
        /// The snapshot directory.
        dir: PathBuf,
    },
    /// An epoch file that holds no number.
    #[error("{path} holds {text:?} instead of an epoch; {REMEDY}")]
    EpochText {
        /// Which file.
        path: PathBuf,
        /// Its content.
        text: String,
    },
    /// The two epoch files, or a file and the data, contradict each other.
    #[error("accepted epoch {accepted} is older than current epoch {current}; {REMEDY}")]
    EpochOrder {
        /// In `acceptedEpoch`.
        accepted: Epoch,
        /// In `currentEpoch`, or of the last zxid.
        current: Epoch,
    },
    /// Logs in the snapshot directory or snapshots in the log directory.
    #[error("{path} is in the wrong one of dataDir and dataLogDir; move it")]
    Misplaced {
        /// Which file.
        path: PathBuf,
    },
    /// An entry that may not follow what is in the log.
    #[error("entry {entry} may not follow {last} in the log")]
    Order {
        /// End of the log.
        last: Zxid,
        /// What was to be appended.
        entry: Zxid,
    },
    /// The log does not reach back to where it was to be cut.
    #[error("no snapshot at or before {to}, so the log cannot be cut there")]
    CannotTruncate {
        /// Zxid of the last entry that was to stay.
        to: Zxid,
    },
    /// Whoever asked for a snapshot does not want it any more.
    #[error("the snapshot was given up before its end")]
    Stopped,
    /// An earlier write or sync failed, and nobody knows what reached the disk.
    #[error("an earlier write to the disk failed")]
    Failed,
}

impl StoreError {
    /// Is it the content of snapshots and logs that is wrong, so that another
    /// server's tree would make it good?
    pub(crate) const fn is_of_content(&self) -> bool {
        matches!(
            self,
            Self::Damaged { .. }
                | Self::Gap { .. }
                | Self::NoReadableSnapshot { .. }
                | Self::CannotTruncate { .. }
        )
    }

    /// For `map_err` on a disk operation.
    pub(crate) fn io(what: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            what,
            path: path.to_owned(),
            source,
        }
    }
}

const REMEDY: &str = "keep a copy of the data directory; only if the other servers serve as a quorum and have lost \
                      nothing, move this server's version-2 directories away and start it again, so that it copies \
                      the data from the leader; otherwise that loses data, see docs/operations.md";
