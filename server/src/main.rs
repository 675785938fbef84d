//! The binary `quorate`.

mod ensemble;
mod pod;
mod process;
mod tool;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// A server that speaks Apache ZooKeeper's protocols and disk formats.
#[derive(Parser)]
#[command(name = "quorate", version, long_version = zk_server::VERSION)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// How log lines look.
    #[arg(long, global = true, value_enum, default_value = "text")]
    log_format: LogFormat,
    /// What is logged: a level, or `target=level` pairs.
    #[arg(long, global = true, env = "QUORATE_LOG", default_value = "info")]
    log: String,
}

#[derive(Subcommand)]
enum Command {
    /// Run one server.
    Server {
        /// Its zoo.cfg.
        #[arg(long, default_value = "zoo.cfg")]
        config: PathBuf,
    },
    /// Run a whole ensemble on loopback in this process.
    Ensemble(ensemble::Ensemble),
    /// Run the server of a pod: its id is the pod's ordinal plus one.
    Pod {
        /// Its zoo.cfg.
        #[arg(long, env = "QUORATE_CONFIG", default_value = "/etc/quorate/zoo.cfg")]
        config: PathBuf,
    },
    /// Show or check transaction logs.
    #[command(subcommand)]
    Txnlog(tool::TxnLog),
    /// Show or check snapshots.
    #[command(subcommand)]
    Snapshot(tool::Snapshot),
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = process::start_logging(
        &arguments.log,
        matches!(arguments.log_format, LogFormat::Json),
    ) {
        return process::refuse(&error);
    }
    let outcome = match arguments.command {
        Command::Server { config } => process::serve(&config),
        Command::Ensemble(ensemble) => ensemble.run(),
        Command::Pod { config } => pod::serve(&config),
        Command::Txnlog(tool) => return tool.run(),
        Command::Snapshot(tool) => return tool.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => process::report(&error),
    }
}
