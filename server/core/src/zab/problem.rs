//! Why a server does not serve although it runs, for operators.

use std::fmt::{Display, Formatter, Result};

use zk_proto::{Epoch, Sid, Zxid};

/// What keeps a server out of its ensemble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It has accepted a newer epoch than that of the leader, and may not
    /// follow an older one. Ends with the next election.
    NewerPromise {
        /// The leader.
        leader: Sid,
        /// The leader's epoch.
        epoch: Epoch,
        /// The epoch that this server has accepted.
        accepted: Epoch,
    },
    /// Its history belongs to a newer epoch than that of a leader that serves:
    /// the majority behind that leader has lost or replaced its data.
    NewerHistory {
        /// The leader.
        leader: Sid,
        /// The leader's epoch.
        epoch: Epoch,
        /// The epoch of this server's history.
        current: Epoch,
    },
    /// It and the leader have different transactions under one zxid.
    HistoriesPart {
        /// The leader.
        leader: Sid,
        /// That zxid.
        zxid: Zxid,
    },
    /// After a transaction its tree was not what the leader's is.
    DigestDiffers {
        /// Zxid of the transaction.
        zxid: Zxid,
        /// The leader is one of ours. One of the reference may be wrong.
        is_exact: bool,
    },
    /// Its accepted epoch is the last one that exists.
    EpochsUsedUp,
}

impl Problem {
    /// Is the server out until somebody has mended it and started it again?
    #[must_use]
    pub const fn is_final(&self) -> bool {
        match self {
            Self::NewerPromise { .. } => false,
            Self::NewerHistory { .. }
            | Self::HistoriesPart { .. }
            | Self::DigestDiffers { .. }
            | Self::EpochsUsedUp => true,
        }
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::NewerPromise {
                leader,
                epoch,
                accepted,
            } => write!(
                f,
                "this server has accepted epoch {accepted} and may not follow server {leader}, which leads in epoch \
                 {epoch}; it joins at the next election"
            ),
            Self::NewerHistory {
                leader,
                epoch,
                current,
            } => write!(
                f,
                "this server's data is of epoch {current}, but a majority serves under server {leader} in epoch {epoch}: \
                 members of that majority have lost or replaced their data; {DECIDE}"
            ),
            Self::HistoriesPart { leader, zxid } => write!(
                f,
                "this server and server {leader}, which leads, have different transactions under zxid {zxid}: their \
                 data does not come from the same ensemble, or members have lost data; {DECIDE}"
            ),
            Self::DigestDiffers {
                zxid,
                is_exact: true,
            } => write!(
                f,
                "after transaction {zxid} the digest of this server's znodes differs from the leader's; {DECIDE}"
            ),
            Self::DigestDiffers {
                zxid,
                is_exact: false,
            } => write!(
                f,
                "up to transaction {zxid} the leader's digests have differed from this server's znodes; the leader is \
                 an Apache ZooKeeper server and may be wrong itself, so delete nothing; to let this server follow \
                 again, restart it; then compare the znodes of both, see \"A member whose data differs\" in \
                 docs/operations.md"
            ),
            Self::EpochsUsedUp => write!(
                f,
                "acceptedEpoch is the last epoch that exists; see \"Epochs near their end\" in docs/operations.md"
            ),
        }
    }
}

/// What to do about data that is not that of the others.
const DECIDE: &str = "to keep the leader's data, stop this server, move its version-2 directories away and start it \
                      again; to keep this server's data, see \"A member whose data differs\" in docs/operations.md";
