//! What goes into [`Zab`](super::Zab) and what comes out of it.

use std::collections::VecDeque;

use zk_proto::quorum::{Notification, QuorumPacket};
use zk_proto::{Epoch, Sid, Zxid};

use super::reigns::Reigns;
use crate::{EpochFile, LinkId, LogEntry, Origin, Output};

/// What a server knew at its start: what its disk held.
#[derive(Clone, Debug, Default)]
pub struct ZabState {
    /// End of the log, or the snapshot's zxid if that is newer.
    pub last_zxid: Zxid,
    /// Value of the `acceptedEpoch` file.
    pub accepted_epoch: Epoch,
    /// Value of the `currentEpoch` file.
    pub current_epoch: Epoch,
    /// The newest log entries in order. Of use for DIFF only if the last one
    /// is at `last_zxid`.
    pub tail: Vec<LogEntry>,
    /// The epochs of what was loaded.
    pub reigns: Reigns,
    /// Last zxid in the tree; equal to `last_zxid`, because recovery applies
    /// whatever is in the log, as the reference does.
    pub applied: Zxid,
    /// Digest of that tree; `None` if it is not known.
    pub digest: Option<u64>,
}

/// Something that happened. The meaning of each is that of the
/// [`Input`](crate::Input) of the same name.
#[derive(Clone, Debug)]
pub enum ZabInput {
    /// Time has moved.
    Tick,
    /// A vote.
    Notification {
        /// Whose connection.
        from: Sid,
        /// Where that connection comes from.
        origin: Origin,
        /// The vote.
        notification: Notification,
    },
    /// A peer has connected to our quorum port.
    LinkAccepted(LinkId, Origin),
    /// The connection that was asked for stands.
    LinkConnected(LinkId),
    /// A link is gone.
    LinkClosed(LinkId),
    /// Bytes of a long packet have moved on this link, in either direction,
    /// though none was completed: keeps a large SNAP from looking like silence.
    LinkActive(LinkId),
    /// A packet, never SNAP.
    Packet {
        /// On which link.
        link: LinkId,
        /// The packet.
        packet: QuorumPacket,
    },
    /// A whole SNAP was received; the replica keeps the tree until
    /// [`ZabEvent::InstallTree`] asks for it or drops it when that event does
    /// not follow from this input.
    Snap {
        /// On which link.
        link: LinkId,
        /// Zxid of the tree.
        zxid: Zxid,
    },
    /// Log entries up to and including this zxid are durable.
    Appended(Zxid),
    /// An epoch file is durable.
    EpochSaved(EpochFile, Epoch),
    /// The log was cut, or could not be, and the tree was loaded anew from what
    /// it holds, so the tree stands at `last_zxid`.
    Truncated {
        /// End of what is left.
        last_zxid: Zxid,
        /// The newest of what is left.
        tail: Vec<LogEntry>,
    },
    /// The tree of [`ZabEvent::InstallTree`] is what a restart would load.
    SnapshotInstalled(Zxid),
    /// Give up the role on purpose, for good.
    Shutdown,
}

/// Something the replica has to act on, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZabEvent {
    /// A committed transaction, in zxid order, each exactly once.
    Deliver(LogEntry),
    /// Replace the tree by the one that came with the SNAP of this zxid and
    /// emit [`Output::InstallSnapshot`].
    InstallTree {
        /// Zxid of the tree.
        zxid: Zxid,
        /// Nothing proves that it has all that this server had.
        keeps_old: bool,
    },
    /// The leader is established: a quorum has its history. The tree's zxid
    /// becomes `epoch << 32`, the next proposal is the one after.
    LeadingStarted {
        /// The new epoch.
        epoch: Epoch,
    },
    /// Synchronized with the leader; all that is committed was delivered.
    FollowingStarted {
        /// The leader's epoch.
        epoch: Epoch,
    },
    /// Back to an election: close every client, forget pending requests.
    ServingStopped,
    /// Leader: REQUEST, REVALIDATE or PING with touched sessions.
    LearnerPacket {
        /// On which link.
        link: LinkId,
        /// Of which server.
        sid: Sid,
        /// The packet.
        packet: QuorumPacket,
    },
    /// Follower: answer to REVALIDATE, or SYNC.
    LeaderPacket {
        /// The packet.
        packet: QuorumPacket,
    },
    /// Leader: a learner that had synchronized is gone.
    LearnerGone {
        /// Its link.
        link: LinkId,
    },
    /// Follower: to be answered by a PING with the same zxid and the sessions
    /// touched since the last one.
    PingFromLeader {
        /// The packet.
        packet: QuorumPacket,
    },
    /// All that was outstanding at [`Zab::sync_request`](super::Zab::sync_request)
    /// has been delivered.
    SyncReady(SyncToken),
}

/// Who waits for a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncToken {
    /// A client of this server; answered by [`ZabEvent::SyncReady`].
    Local(u64),
    /// A learner; answered by a SYNC packet, without an event.
    Learner(LinkId),
}

/// Collects what a step asks for.
#[derive(Debug, Default)]
pub struct Effects {
    /// Of the kinds `Connect`, `Close`, `Send`, `SendSnap`, `Notify`,
    /// `Append`, `SaveEpoch`, `Truncate`, `RoleChanged` and `Halt`.
    pub outputs: Vec<Output>,
    /// For the replica.
    pub events: VecDeque<ZabEvent>,
}
