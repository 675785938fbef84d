//! `quorate txnlog` and `quorate snapshot`: show and check the files of a data
//! directory (as the reference's `TxnLogToolkit` and `SnapshotFormatter`).
//!
//! Files are opened for reading only, and a running server may go on writing
//! them. Memory does not grow with the length of a file, except where a check
//! is asked to follow the tree. Data of znodes is never shown.

mod snapshot;
mod text;
mod txn_log;

use std::ffi::OsStr;
use std::io::{self, BufWriter, StdoutLock, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use zk_proto::Zxid;
use zk_store::Compression;

/// What can be done with transaction logs.
#[derive(Subcommand)]
pub(crate) enum TxnLog {
    /// Print one line for each transaction.
    Dump {
        /// Logs, such as version-2/log.100000001.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Check checksums, records and the order of transactions; exit code 1 if anything is wrong.
    Check {
        /// Also replay the logs on this snapshot and compare the digest of the tree after each
        /// transaction. Takes as much memory as the tree.
        #[arg(long, value_name = "FILE")]
        snapshot: Option<PathBuf>,
        /// Logs, such as version-2/log.100000001; they are checked in the order of their names.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

/// What can be done with snapshots.
#[derive(Subcommand)]
pub(crate) enum Snapshot {
    /// Print one line for each session, each ACL and each znode.
    Dump {
        /// Snapshots, such as version-2/snapshot.100000001 or one that ends in .gz or .snappy.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Check checksums, records and the digest of the tree; exit code 1 if anything is wrong.
    Check {
        /// Snapshots, such as version-2/snapshot.100000001 or one that ends in .gz or .snappy.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

impl TxnLog {
    /// Returns the exit code: 0, or 1 if anything is wrong with a file.
    pub(crate) fn run(self) -> ExitCode {
        let mut out = Output::new();
        let outcome = match self {
            Self::Dump { files } => txn_log::dump(&files, &mut out),
            Self::Check { files, snapshot } => txn_log::check(files, snapshot.as_deref(), &mut out),
        };
        out.exit_code(outcome)
    }
}

impl Snapshot {
    /// Returns the exit code: 0, or 1 if anything is wrong with a file.
    pub(crate) fn run(self) -> ExitCode {
        let mut out = Output::new();
        let outcome = match self {
            Self::Dump { files } => snapshot::dump(&files, &mut out),
            Self::Check { files } => snapshot::check(&files, &mut out),
        };
        out.exit_code(outcome)
    }
}

/// Lines for standard output, problems for standard error.
struct Output {
    lines: BufWriter<StdoutLock<'static>>,
    problems: usize,
}

impl Output {
    fn new() -> Self {
        Self {
            lines: BufWriter::new(io::stdout().lock()),
            problems: 0,
        }
    }

    /// Something that makes the exit code 1.
    fn problem(&mut self, file: &Path, what: impl std::fmt::Display) -> io::Result<()> {
        self.problems += 1;
        self.note(file, what)
    }

    /// Something that is worth a line among the problems and is none.
    fn note(&mut self, file: &Path, what: impl std::fmt::Display) -> io::Result<()> {
        // In order with the lines, should both go to one place.
        self.lines.flush()?;
        writeln!(io::stderr(), "{}: {what}", file.display())
    }

    fn exit_code(mut self, outcome: io::Result<()>) -> ExitCode {
        match outcome.and_then(|()| self.lines.flush()) {
            Ok(()) if self.problems == 0 => ExitCode::SUCCESS,
            // Whoever read the lines has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }
}

/// By the end of the name, as a server goes by it.
fn compression(file: &Path) -> Compression {
    let end = file.extension().and_then(OsStr::to_str).unwrap_or_default();
    Compression::from_method(&end.to_ascii_lowercase()).unwrap_or_default()
}

/// The zxid in a name such as `log.1f`, as a start reads it.
fn zxid_in_name(file: &Path) -> Option<Zxid> {
    zk_store::zxid_in_name(file.file_name()?.to_str()?)
}
