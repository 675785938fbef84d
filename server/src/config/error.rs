//! Why a configuration is not usable.

use std::path::{Path, PathBuf};

use thiserror::Error;
use zk_proto::Sid;

/// Why a server cannot start with its configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {file}", file = .file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line is no property.
    #[error("{}: {reason}", place(.file, .line))]
    Syntax {
        /// Of which file.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// What is allowed.
        reason: &'static str,
    },
    /// A value is not allowed.
    #[error("{}: {key}={value} {reason}", place(.file, .line))]
    Value {
        /// Of which file.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// Which key.
        key: String,
        /// As written.
        value: String,
        /// What is allowed.
        reason: String,
    },
    /// A key is missing.
    #[error("{}: {key} is missing: {reason}", name(.file))]
    Missing {
        /// From which file.
        file: PathBuf,
        /// Which key.
        key: &'static str,
        /// When it is needed.
        reason: &'static str,
    },
    /// This server is none of those in the file.
    #[error(
        "{}: no server.{sid} line for this server, whose id is {sid}: add the line, or correct the id (that of a pod \
         is the ordinal in POD_NAME plus one)",
        name(.file)
    )]
    NotListed {
        /// Which file.
        file: PathBuf,
        /// The id of this server.
        sid: Sid,
    },
    /// The myid file does not name this server.
    #[error("{file}: {reason}", file = .file.display())]
    MyId {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Stands for the file of a configuration that the command line makes up, which
/// no user can open. What is wrong in it was given with `--set`.
pub const EMBEDDED: &str = "embedded zoo.cfg";

/// Where a line is, in words that its user knows.
fn place(file: &Path, line: &usize) -> String {
    match is_embedded(file) {
        true => SET.to_owned(),
        false => format!("{}:{line}", file.display()),
    }
}

fn name(file: &Path) -> String {
    match is_embedded(file) {
        true => SET.to_owned(),
        false => file.display().to_string(),
    }
}

fn is_embedded(file: &Path) -> bool {
    file == Path::new(EMBEDDED)
}

const SET: &str = "--set";
