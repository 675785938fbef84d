//! Why a configuration is not usable.

use std::path::PathBuf;

use thiserror::Error;

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
    #[error("{file}:{line}: {reason}", file = .file.display())]
    Syntax {
        /// Of which file.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// What is allowed.
        reason: &'static str,
    },
    /// A value is not allowed.
    #[error("{file}:{line}: {key}={value} {reason}", file = .file.display())]
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
    #[error("{file}: {key} is missing: {reason}", file = .file.display())]
    Missing {
        /// From which file.
        file: PathBuf,
        /// Which key.
        key: &'static str,
        /// When it is needed.
        reason: &'static str,
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
