//! Everything a replica can be told.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use zk_proto::client::{ConnectRequest, Id};
use zk_proto::quorum::{Notification, QuorumPacket};
use zk_proto::{Epoch, SessionId, Sid, Xid, Zxid};

use crate::tree::Tree;
use crate::zab::Reigns;
use crate::{ConnId, EpochFile, LinkId, Millis};

/// One transaction as it stands in PROPOSAL packets and in the log: header,
/// body, digest. The bytes are shared, never copied, on their way to the log,
/// to each learner and into the committed log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The zxid in the header of `data`.
    pub zxid: Zxid,
    /// Header, body and digest.
    pub data: Bytes,
}

/// A write, or another request that takes its turn among the writes, as a
/// client sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientWrite {
    /// The client's number.
    pub xid: Xid,
    /// The operation code, checked by the shell to be one of `request::is_write`.
    pub op: i32,
    /// The bytes after the request header.
    pub body: Bytes,
}

/// Where a connection comes from that another server has opened, or that this
/// server has opened to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The address of its other end. One of IPv4 is not written as one of IPv6.
    pub address: IpAddr,
    /// Is this an address of the host that the configuration lists for the
    /// server in whose name the other end speaks?
    pub is_listed: bool,
}

/// What a disk held at start or after a truncation.
#[derive(Debug)]
pub struct Recovered {
    /// Tree and sessions after replay.
    pub tree: Tree,
    /// Zxid of the newest transaction in the log or of the snapshot, if newer.
    pub last_zxid: Zxid,
    /// The newest transactions of the log in order, at most `commitLogCount`.
    pub tail: Vec<LogEntry>,
    /// The epochs of the transactions after the snapshot and of `tail`.
    pub reigns: Reigns,
    /// The file's number, or the epoch of `last_zxid` where there is no file.
    pub accepted_epoch: Epoch,
    /// The same for the other file.
    pub current_epoch: Epoch,
}

/// Something that happened. Disk completions come in the order in which the
/// outputs asked for them.
#[derive(Debug)]
pub enum Input {
    /// Time has moved; sent when `Replica::next_deadline` is reached. When
    /// `Replica::next_expiry` is reached, `Touched` with all that was heard of
    /// up to then comes first. While this server leads, some input comes every
    /// half tick; a longer gap is taken for time in which it did not run.
    Tick,

    /// A vote from the election connection of this peer.
    Notification {
        /// Whose connection.
        from: Sid,
        /// Where that connection comes from.
        origin: Origin,
        /// The vote.
        notification: Notification,
    },

    /// A peer has connected to our quorum port from there.
    LinkAccepted(LinkId, Origin),
    /// The connection asked for by `Output::Connect` stands.
    LinkConnected(LinkId),
    /// A link is gone, or the connection could not be made. Not sent for
    /// links that `Output::Close` closed.
    LinkClosed(LinkId),
    /// Bytes of a long packet or of a SNAP have moved on this link, in either
    /// direction, though none was completed: a long transfer is not silence.
    /// Sent five times a second at most.
    LinkActive(LinkId),
    /// A packet. SNAP is not delivered this way but as `Snap`.
    Packet {
        /// On which link.
        link: LinkId,
        /// The packet.
        packet: QuorumPacket,
    },
    /// A SNAP packet and the whole stream after it, as the tree that it is.
    Snap {
        /// On which link.
        link: LinkId,
        /// With the zxid of the packet.
        tree: Box<Tree>,
    },

    /// Log entries up to and including this zxid are durable.
    Appended(Zxid),
    /// An epoch file is durable.
    EpochSaved(EpochFile, Epoch),
    /// The log was cut as asked, or could not be, and this is what it holds.
    Truncated(Box<Recovered>),
    /// The tree of `Output::InstallSnapshot` is durable and is what a restart
    /// would load.
    SnapshotInstalled(Zxid),
    /// The tree of `Output::SaveSnapshot` is on disk.
    SnapshotSaved(Zxid),

    /// A client's first frame.
    ClientConnect {
        /// Its connection.
        conn: ConnId,
        /// The frame.
        request: ConnectRequest,
        /// What the connection proves by itself, e.g. its `ip`.
        ids: Arc<[Id]>,
    },
    /// A connection has proved to be more than before: the ids of all writes
    /// that come after this.
    ClientIds {
        /// Its connection.
        conn: ConnId,
        /// All that it has now.
        ids: Arc<[Id]>,
    },
    /// A run of writes of one connection, in order.
    ClientWrites {
        /// Its connection; its session was opened.
        conn: ConnId,
        /// At least one.
        writes: Vec<ClientWrite>,
    },
    /// A client's connection is gone.
    ClientClosed(ConnId),
    /// Sessions that were heard of and when. Drained by the shell at least
    /// every half tick and before a PING of the leader is handed in.
    Touched(Vec<(SessionId, Millis)>),

    /// Stop: refuse new work and give up the role.
    Shutdown,
}
