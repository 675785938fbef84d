//! The pure replica: ZAB, the data tree, sessions and watches as one state
//! machine without clock, socket, disk, thread or entropy.
//!
//! [`Replica`] takes [`Input`]s and yields [`Output`]s. The same code runs
//! under the server's tokio shell and under the simulator. What must never
//! happen here: an output that promises durability before the disk has
//! confirmed it, a decision that depends on anything but the inputs, or a
//! panic caused by what a peer or a client sent.
#![warn(missing_docs)]
#![cfg_attr(not(test), deny(clippy::unwrap_used))]

pub mod auth;
pub mod config;
mod ensemble;
mod frames;
mod input;
mod output;
mod recover;
mod replica;
pub mod request;
pub mod session;
mod time;
pub mod tree;
pub mod watch;
pub mod zab;

pub use ensemble::{Ensemble, EnsembleId, Member};
pub use frames::Frames;
pub use input::{ClientWrite, Input, LogEntry, Origin, Recovered};
pub use output::{CloseReason, Output, Role, ToClient};
pub use recover::{RebuildError, Seam, SeamCheck};
pub use replica::{Applied, Replica, Status};
pub use time::{Millis, Now};
pub use tree::TreeCut;

/// A client connection of this process; the shell numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// A connection on a quorum port. The shell numbers those that peers open
/// from 1; the core numbers those it asks for from [`LinkId::DIALED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

impl LinkId {
    /// First number of the links that the core asks for.
    pub const DIALED: u64 = 1 << 63;
}

/// Which of the two epoch files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochFile {
    /// `acceptedEpoch`: the newest epoch this server has promised to follow.
    Accepted,
    /// `currentEpoch`: the epoch whose history this server holds.
    Current,
}
