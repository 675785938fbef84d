//! The binary `quorate`.

mod alone;
mod digest;
mod ensemble;
mod pod;
mod process;
mod settings;
mod status;
mod tool;
mod volume;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A server that speaks Apache ZooKeeper's protocols and disk formats.
#[derive(Parser)]
#[command(
    name = "quorate",
    version = zk_server::VERSION,
    after_help = "Exit codes: 0 stopped by a signal, 1 unexpected error, 2 wrong arguments or configuration,\n\
                  3 data that cannot be loaded, 4 client, admin or metrics port cannot be bound, 10 disk failure,\n\
                  13 inconsistent state, 14 quorum or election port cannot be bound.\n\
                  docs/configuration.md lists every key of zoo.cfg."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    logging: process::Logging,
}

#[derive(Subcommand)]
enum Command {
    /// Run one server, with or without a zoo.cfg.
    Server(alone::Server),
    /// Run a whole ensemble in this process, on loopback, to try things out.
    Ensemble(ensemble::Ensemble),
    /// Run the server of a pod; its id is the ordinal in the pod's name plus one.
    Pod(pod::Pod),
    /// Show the role, zxid, epoch, connections and latency of servers.
    Status(status::Status),
    /// Print USER:HASH for superDigest or an ACL; the password is read from standard input.
    Digest(digest::Digest),
    /// Print the version.
    Version,
    /// Show or check transaction logs.
    #[command(subcommand)]
    Txnlog(tool::TxnLog),
    /// Show or check snapshots.
    #[command(subcommand)]
    Snapshot(tool::Snapshot),
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if let Some(answer) = arguments.find_map(|it| zk_server::config::java_flag(it.to_str()?)) {
        return process::refuse(&answer);
    }
    let Arguments { command, logging } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return process::refuse_arguments(&error),
    };
    let outcome = match command {
        Command::Server(server) => server.run(&logging),
        Command::Ensemble(ensemble) => ensemble.run(&logging),
        Command::Pod(pod) => pod.run(&logging),
        Command::Status(status) => status.run(),
        Command::Digest(digest) => digest.run(),
        Command::Version => process::print_version(),
        Command::Txnlog(tool) => return tool.run(),
        Command::Snapshot(tool) => return tool.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => process::report(&error),
    }
}
