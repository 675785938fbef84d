//! Command line arguments.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser};

use crate::load::Workload;
use crate::warm_up::Rule;

/// Loads servers that speak the ZooKeeper client protocol; prints one JSON line.
#[derive(Debug, Parser)]
#[command(name = "zk-bench", version)]
pub(crate) enum Command {
    /// One workload on the given servers; prints its figures.
    Load(LoadArgs),
    /// Creates znodes of 100 bytes, 1000 in each parent.
    Fill(BulkArgs),
    /// Sets one data watch on each of the znodes that `fill` made, then waits for the end of its
    /// standard input.
    Watch(BulkArgs),
    /// Opens sessions, one connection each, then waits for the end of its standard input.
    Hold(BulkArgs),
    /// Writes and reads back one znode of so many bytes.
    Large(BulkArgs),
    /// Without a server: how long the machine keeps threads and syncs waiting by itself.
    Machine(MachineArgs),
}

/// What of the machine to look at.
#[derive(Debug, Args)]
pub(crate) struct MachineArgs {
    /// Directory on the file system whose syncs are timed.
    #[arg(long)]
    pub(crate) dir: PathBuf,

    /// For how long each.
    #[arg(long, default_value_t = 8.0, value_parser = positive_seconds)]
    pub(crate) seconds: f64,
}

/// What to bring a server to.
#[derive(Debug, Args)]
pub(crate) struct BulkArgs {
    /// Client address.
    #[arg(long)]
    pub(crate) server: SocketAddr,

    /// How many znodes, watches, sessions or bytes.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=9_999_999))]
    pub(crate) count: u32,

    /// Connections that share the work of `fill` and `watch`, threads that open sessions for
    /// `hold`.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) threads: u32,
}

/// The workload and how it is measured.
#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// What to send.
    #[arg(value_enum)]
    pub(crate) workload: Workload,

    /// Client addresses, comma separated; connections are spread over them in turn.
    #[arg(long, required = true, value_delimiter = ',')]
    pub(crate) servers: Vec<SocketAddr>,

    /// Process ids of the servers, comma separated: their CPU time is counted.
    #[arg(long, value_delimiter = ',')]
    pub(crate) pids: Vec<u32>,

    /// Connections; 30, but 1 for `single`.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    connections: Option<u16>,

    /// Requests outstanding on each connection; 16, but 1 for `single`.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    outstanding: Option<u16>,

    /// Znodes that reads and writes are spread over.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=999_999))]
    pub(crate) znodes: u32,

    /// Bytes of data in every znode.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(7..=65_536))]
    pub(crate) data_bytes: u32,

    /// Requests per second in all, sent whether replies have come or not; without it every reply
    /// makes room for the next request.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,

    /// Length of the measured window in seconds.
    #[arg(long, default_value_t = 15.0, value_parser = positive_seconds)]
    seconds: f64,

    /// Shortest warm-up in seconds.
    #[arg(long, default_value_t = 15.0, value_parser = positive_seconds)]
    warm_up_min: f64,

    /// Longest warm-up in seconds.
    #[arg(long, default_value_t = 40.0, value_parser = positive_seconds)]
    warm_up_max: f64,

    /// Length of one warm-up window in seconds.
    #[arg(long, default_value_t = 3.0, value_parser = positive_seconds)]
    warm_up_window: f64,

    /// The warm-up ends with a window less than this share above the one before.
    #[arg(long, default_value_t = 0.03)]
    warm_up_rise: f64,
}

impl LoadArgs {
    pub(crate) fn connections(&self) -> usize {
        usize::from(self.connections.unwrap_or(match self.workload {
            Workload::Single => 1,
            _ => CONNECTIONS,
        }))
    }

    pub(crate) fn outstanding(&self) -> usize {
        usize::from(self.outstanding.unwrap_or(match self.workload {
            Workload::Single => 1,
            _ => OUTSTANDING,
        }))
    }

    pub(crate) fn measured(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    pub(crate) fn warm_up(&self) -> Rule {
        Rule {
            min: Duration::from_secs_f64(self.warm_up_min),
            max: Duration::from_secs_f64(self.warm_up_max),
            window: Duration::from_secs_f64(self.warm_up_window),
            rise: self.warm_up_rise,
        }
    }
}

fn positive_seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= SECONDS_MAX => Ok(seconds),
        _ => Err(format!("expected seconds above 0 and up to {SECONDS_MAX}")),
    }
}

const CONNECTIONS: u16 = 30;
const OUTSTANDING: u16 = 16;
const SECONDS_MAX: f64 = 3600.0;
