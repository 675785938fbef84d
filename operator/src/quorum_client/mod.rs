//! How the operator asks servers about themselves. Only public ZooKeeper commands are used, so it can manage
//! and be tested against any server that speaks them.

mod admin_port;
mod picked;
mod report;

use std::future::Future;
use std::io;
use std::net::SocketAddr;

pub use admin_port::AdminPort;

use crate::ensemble::Answer;

/// Asks servers for their role and progress.
pub trait QuorumAdmin: Send + Sync + 'static {
    /// What the server at `server` (its admin port) says of itself. Ends within a bounded time.
    fn ask(&self, server: SocketAddr) -> impl Future<Output = Result<Report, AskError>> + Send;
}

/// What a server says of itself, with its own words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What the planner may look at.
    pub answer: Answer,
    /// Why it keeps itself out of the ensemble, if it does.
    pub problem: Option<String>,
    /// Servers that it does not reach, each with the cause; empty while it serves.
    pub unreachable: Vec<String>,
}

impl From<Answer> for Report {
    fn from(answer: Answer) -> Self {
        Self {
            answer,
            problem: None,
            unreachable: Vec::new(),
        }
    }
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
    #[error(
        "its admin port answers {path} with {size} bytes, and the operator reads at most {max}"
    )]
    TooLong {
        /// What was asked for.
        path: &'static str,
        /// Length of the answer in bytes, as far as it is known.
        size: u64,
        /// Bytes that are read of such an answer.
        max: u64,
    },
    /// An answer of HTTP that none of the server's commands gives.
    #[error("its admin port answers HTTP {status} to {path}")]
    Refused {
        /// What was asked for.
        path: &'static str,
        /// Status code of the answer.
        status: u16,
    },
    /// An answer without an expected field, or with one that cannot be read.
    #[error("its admin port answers {command} without a usable {field:?}")]
    Malformed {
        /// The command that was sent.
        command: &'static str,
        /// The field that was looked for.
        field: &'static str,
    },
}

impl AskError {
    /// The port is reached, and what answers there is not what was expected.
    pub fn answers(&self) -> bool {
        match self {
            Self::Io(_) | Self::Http(_) | Self::Timeout(_) => false,
            Self::TooLong { .. } | Self::Refused { .. } | Self::Malformed { .. } => true,
        }
    }
}
