//! Why a server ends, and the exit code that says so.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::config::ConfigError;

/// A port of a server, by who connects to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// The client port.
    Clients,
    /// The admin port.
    Admin,
    /// The metrics port.
    Metrics,
    /// The quorum port.
    Learners,
    /// The election port.
    Votes,
}

impl Port {
    /// What gives its address.
    const fn key(self) -> &'static str {
        match self {
            Self::Clients => "clientPortAddress",
            Self::Admin => "admin.serverAddress",
            Self::Metrics => "metricsProvider.httpHost",
            Self::Learners | Self::Votes => "this server's line",
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clients => "clients",
            Self::Admin => "admin",
            Self::Metrics => "metrics",
            Self::Learners => "learners",
            Self::Votes => "votes",
        })
    }
}

/// Why a server cannot start or go on. The exit codes are the reference's
/// where it has one for the case (`ExitCode`, 3.9).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Failure {
    /// A task that the server cannot do without has panicked.
    #[error("a critical task has panicked: {0}")]
    Panic(String),
    /// The configuration is not usable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The command line is not usable.
    #[error("{0}")]
    Usage(String),
    /// It is not clear which member of the ensemble this pod is.
    #[error("this pod cannot tell which member it is")]
    Member(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The data directory is not usable, or what it holds contradicts itself.
    #[error("cannot load the data directory")]
    Load(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another server uses a data directory.
    #[error(
        "another server uses the directory {}; stop it, or give this one a dataDir of its own",
        .dir.display()
    )]
    InUse {
        /// `dataDir` or `dataLogDir`.
        dir: PathBuf,
    },
    /// Another process has a file of the data directory open for writing.
    #[error(
        "process {pid} ({program}) writes to {}: stop it, or give this server a dataDir of its own",
        .file.display()
    )]
    Written {
        /// The process.
        pid: u32,
        /// Name of its program.
        program: String,
        /// The file.
        file: PathBuf,
    },
    /// A port for clients, probes or metrics cannot be bound.
    #[error("cannot listen for {what} on port {port}{}", hint(*.what, .source))]
    Bind {
        /// For whom.
        what: Port,
        /// Where.
        port: u16,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The host of a port for clients, probes or metrics has no address.
    #[error(
        "cannot listen for {what}: the name {host} cannot be resolved: {why}; correct the name, or give an address in its place"
    )]
    Name {
        /// For whom.
        what: Port,
        /// The name as it was given.
        host: String,
        /// What the look-up said.
        why: String,
    },
    /// The quorum or election port cannot be bound.
    #[error("cannot listen for {what} on port {port}{}", hint(*.what, .source))]
    BindPeer {
        /// For what.
        what: Port,
        /// Where.
        port: u16,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Nobody knows what reached the disk.
    #[error("the disk has failed")]
    Disk(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The state in memory can no longer be trusted.
    #[error("the replica has halted: {0}")]
    Halt(&'static str),
    /// The system gives no more threads.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

impl Failure {
    /// Exit code of a process that ends for this reason.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Panic(_) | Self::Thread(_) => 1,
            Self::Config(_) | Self::Usage(_) | Self::Member(_) => 2,
            Self::Load(_) => 3,
            Self::Bind { .. } | Self::Name { .. } | Self::InUse { .. } | Self::Written { .. } => 4,
            Self::Disk(_) => 10,
            Self::Halt(_) => 13,
            Self::BindPeer { .. } => 14,
        }
    }
}

/// What to do about a port that cannot be bound, where that is known.
fn hint(what: Port, source: &io::Error) -> String {
    let key = what.key();
    match source.kind() {
        io::ErrorKind::AddrInUse => ", which is in use; choose another port".to_owned(),
        io::ErrorKind::AddrNotAvailable => {
            format!(", because the address in {key} is not one of this machine's")
        }
        _ => String::new(),
    }
}
