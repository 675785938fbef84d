//! How the operator asks servers about themselves. Only public ZooKeeper commands are used, so it can manage
//! and be tested against any server that speaks them.

mod admin_port;
mod report;

use std::future::Future;
use std::io;
use std::net::SocketAddr;

pub use admin_port::AdminPort;

use crate::ensemble::Answer;

/// Asks servers for their role and progress.
pub trait QuorumAdmin: Send + Sync + 'static {
    /// What the server at `server` (its admin port) says of itself. Ends within a bounded time.
    fn ask(&self, server: SocketAddr) -> impl Future<Output = Result<Answer, AskError>> + Send;
}

/// Why a server gave no usable answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// No connection, or it broke.
    #[error("talking to the server")]
    Io(#[from] io::Error),
    /// An answer that is no HTTP, or a connection that broke in the middle of it.
    #[error("talking HTTP to the server")]
    Http(#[from] hyper::Error),
    /// No complete answer in time.
    #[error("no answer within {0} ms")]
    Timeout(u128),
    /// An answer longer than any that a server gives.
    #[error("answer exceeds {0} bytes")]
    TooLong(usize),
    /// An answer without an expected field, or with one that cannot be read.
    #[error("{command}: no usable {field:?} in the answer")]
    Malformed {
        /// The command that was sent.
        command: &'static str,
        /// The field that was looked for.
        field: &'static str,
    },
}
