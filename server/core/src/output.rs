//! Everything a replica can ask for. Each output may be performed at once, in
//! order: whatever has to wait for the disk is not emitted before the disk's
//! completion has come in.

use std::sync::Arc;

use zk_proto::quorum::{Notification, QuorumPacket};
use zk_proto::{Epoch, SessionId, Sid, Zxid};

use crate::tree::{Tree, TreeCut};
use crate::{ConnId, EpochFile, Frames, LinkId, LogEntry};

/// What a server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// No leader is known.
    #[default]
    Looking,
    /// Leads, or is about to.
    Leading,
    /// Follows, or is about to.
    Following,
}

/// Frames for one client connection, in the order in which they must leave:
/// watch events before the replies that would show the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToClient {
    /// Whose.
    pub conn: ConnId,
    /// Replies and watch events.
    pub frames: Frames,
    /// How many of the connection's writes these frames answer.
    pub replies: u32,
    /// How many watch events are among the frames.
    pub events: u32,
    /// Close once the frames are sent.
    pub close: bool,
}

/// Why a client connection is closed without a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// This server serves nobody at the moment.
    NotServing,
    /// The client has seen a later zxid than this server.
    AheadOfServer,
    /// Its session was closed or expired.
    SessionClosed,
    /// Its session has come back on another connection.
    SessionMoved,
}

/// Something to do.
#[derive(Debug)]
pub enum Output {
    /// Dial the quorum port of this server; answer `LinkConnected` or `LinkClosed`.
    Connect {
        /// Number of the new link.
        link: LinkId,
        /// Whom.
        to: Sid,
        /// Give up after this long; until then try again every 100 ms.
        within_ms: u64,
    },
    /// Close a link.
    Close {
        /// Which.
        link: LinkId,
        /// For the log.
        reason: &'static str,
    },
    /// Send a packet.
    Send {
        /// On which link.
        link: LinkId,
        /// What.
        packet: QuorumPacket,
    },
    /// Send a SNAP packet, the image of this tree and the signature.
    SendSnap {
        /// On which link.
        link: LinkId,
        /// The tree as the learner is to have it.
        cut: Arc<TreeCut>,
    },
    /// Send a vote to this peer, dialing it when there is no connection. Only
    /// the newest vote for a peer is kept while it cannot be reached, and the
    /// newest is sent again on every new connection.
    Notify {
        /// To whom; never this server itself.
        to: Sid,
        /// The vote.
        notification: Notification,
    },

    /// Append to the log; answer `Appended` with the last zxid once durable.
    /// Several may be answered by one.
    Append(Vec<LogEntry>),
    /// Write an epoch file; answer `EpochSaved`.
    SaveEpoch(EpochFile, Epoch),
    /// Drop every log entry and snapshot after this zxid, load what is left,
    /// answer `Truncated`. If what would be left does not end at this zxid,
    /// drop nothing and load all there is.
    Truncate(Zxid),
    /// Make this tree, received from the leader, what a restart loads: drop
    /// later log entries and snapshots, write, sync. Answer `SnapshotInstalled`.
    InstallSnapshot {
        /// The tree.
        cut: Arc<TreeCut>,
        /// Nothing proves that the leader has all that this server had: keep
        /// what is replaced under other names.
        keeps_old: bool,
    },
    /// Write a periodic snapshot and roll the log; answer `SnapshotSaved`.
    SaveSnapshot(Arc<TreeCut>),
    /// Drop a tree that nobody needs any more. With many znodes that takes a
    /// while, so do it beside everything else.
    Discard(Box<Tree>),

    /// Frames for a client.
    ToClient(ToClient),
    /// A session stands: send the frame, then take requests from this connection.
    SessionOpened {
        /// On which connection.
        conn: ConnId,
        /// The session.
        session: SessionId,
        /// Negotiated.
        timeout_ms: i32,
        /// The framed connect response.
        frame: Vec<u8>,
    },
    /// Send the framed refusal, then close.
    SessionRefused {
        /// On which connection.
        conn: ConnId,
        /// The framed connect response.
        frame: Vec<u8>,
    },
    /// Close a client connection at once.
    CloseClient {
        /// Which.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },

    /// The role or its phase has changed.
    RoleChanged {
        /// The role.
        role: Role,
        /// Does this server take clients now?
        serving: bool,
        /// Epoch of the leader; the last one while looking.
        epoch: Epoch,
        /// The leader, if known.
        leader: Option<Sid>,
    },
    /// The state can no longer be trusted: end the process.
    Halt {
        /// For the log.
        reason: &'static str,
    },
}
