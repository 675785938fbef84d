//! The operator's binary: `run` reconciles until it is told to stop, `crd` prints the custom resource definition.

use std::io::Write as _;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

/// Operator for ZooKeeper ensembles.
#[derive(Debug, Parser)]
#[command(name = "quorate-operator", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the custom resource definition as YAML.
    Crd,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Crd => print_crd(),
    }
}

fn print_crd() -> anyhow::Result<()> {
    let text = serde_saphyr::to_string(&zk_operator_api::ensemble_crd())
        .context("printing the definition")?;
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("writing to standard output")
}
