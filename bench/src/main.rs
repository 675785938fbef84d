//! `zk-bench`: a lean load generator for servers that speak the ZooKeeper client protocol.
//!
//! `load` is one thread around one epoll: every connection keeps a fixed number of requests
//! outstanding, or requests leave at a fixed rate. `fill`, `watch` and `hold` bring a server into
//! a state whose memory or start is to be measured. It shares the machine with the servers it loads,
//! so it counts its own CPU too; `machine` says what the machine does to the tails by itself.
//!
//! It has a codec of its own and must never use the server's (`zk-proto`): a mistake shared by
//! both sides would agree with itself and go unseen.

mod args;
mod bulk;
mod codec;
mod connection;
mod cpu;
mod generator;
mod load;
mod machine;
mod report;
mod session;
mod warm_up;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Command, LoadArgs};

/// Prints one JSON line and exits with 0, or with 1 when a reply carried an error code or the
/// run could not be finished.
fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Load(args) => return load(&args),
        Command::Fill(args) => bulk::fill(&args),
        Command::Watch(args) => bulk::watch(&args),
        Command::Hold(args) => bulk::hold(&args),
        Command::Large(args) => bulk::large(&args),
        Command::Machine(args) => machine::measure(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zk-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn load(args: &LoadArgs) -> ExitCode {
    match generator::run(args) {
        Ok(report) => {
            if let Err(error) = report::print(&report.figures()) {
                eprintln!("zk-bench: {error:#}");
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
