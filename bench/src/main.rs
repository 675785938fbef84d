//! `zk-bench`: a lean load generator for servers that speak the ZooKeeper client protocol.
//!
//! One thread, one epoll, closed loop: every connection keeps a fixed number of requests
//! outstanding. It shares the machine with the servers it loads, so it counts its own CPU too.
//!
//! It has a codec of its own and must never use the server's (`zk-proto`): a mistake shared by
//! both sides would agree with itself and go unseen.

mod args;
mod codec;
mod connection;
mod cpu;
mod generator;
mod histogram;
mod load;
mod report;
mod session;
mod warm_up;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;

/// Prints one JSON line and exits with 0, or with 1 when a reply carried an error code or the
/// run could not be finished.
fn main() -> ExitCode {
    match generator::run(&Args::parse()) {
        Ok(report) => {
            if writeln!(std::io::stdout().lock(), "{}", report.to_json()).is_err() {
                return ExitCode::FAILURE;
            }
            if let Some(code) = report.first_error {
                eprintln!(
                    "zk-bench: {} replies carried an error code, the first was {code}",
                    report.errors
                );
                return ExitCode::FAILURE;
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("zk-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
