//! The operator's binary: `run` reconciles until it is told to stop, `crd` prints the custom resource definition.

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;
use zk_operator::controller::{self, Clients, Context};
use zk_operator::http;
use zk_operator::looks::Looks;
use zk_operator::metrics::Metrics;
use zk_operator::quorum_client::AdminPort;

/// Operator for ZooKeeper ensembles.
#[derive(Debug, Parser)]
#[command(name = "quorate-operator", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reconcile ensembles until stopped by a signal.
    Run(RunArguments),
    /// Print the custom resource definition as YAML.
    Crd,
}

#[derive(Debug, Args)]
struct RunArguments {
    /// Server image of ensembles that name none. The chart sets it.
    #[arg(long, env = "QUORATE_IMAGE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    default_image: String,
    /// Namespace to watch; all namespaces when empty.
    #[arg(long, env = "WATCH_NAMESPACE", default_value = "")]
    namespace: String,
    /// Namespace in which the operator's pods run; empty outside the cluster.
    #[arg(long, env = "POD_NAMESPACE")]
    pod_namespace: Option<String>,
    /// Address of /metrics, /healthz and /livez; when absent, port 8080 on all IPv4 and IPv6 addresses.
    #[arg(long, env = "QUORATE_LISTEN")]
    listen: Option<SocketAddr>,
    /// Log filter: a level, or `target=level` pairs.
    #[arg(long, env = "QUORATE_LOG", default_value = "info")]
    log: String,
    /// Write log lines as JSON.
    #[arg(long, env = "QUORATE_LOG_JSON")]
    log_json: bool,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Crd => print_crd(),
        Command::Run(arguments) => run(arguments),
    }
}

fn print_crd() -> anyhow::Result<()> {
    let text = serde_saphyr::to_string(&zk_operator_api::ensemble_crd())
        .context("printing the definition")?;
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("writing to standard output")
}

#[tokio::main]
async fn run(arguments: RunArguments) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&arguments.log).context("reading the log filter")?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stdout().is_terminal());
    if arguments.log_json {
        logs.json().init();
    } else {
        logs.init();
    }
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider was installed before"))?;

    let clients = Clients::infer()
        .await
        .context("finding the Kubernetes API server")?;
    let listener = http::listen(arguments.listen)
        .await
        .context("listening for /metrics and the probes")?;
    let metrics = Metrics::new();
    let looks = Looks::new(Instant::now());
    let context = Context::new(
        clients.requests.clone(),
        AdminPort::default(),
        arguments.default_image,
        metrics.clone(),
        looks.clone(),
    )
    .with_operator_namespace(arguments.pod_namespace);
    let namespace = Some(arguments.namespace.as_str()).filter(|namespace| !namespace.is_empty());
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        namespace = namespace.unwrap_or("all"),
        listen = ?listener.local_addr().ok(),
        "operator started"
    );
    tokio::select! {
        () = controller::run(context, clients.watches, namespace) => {
            tracing::info!("operator stopped");
            Ok(())
        }
        () = http::serve(listener, metrics, looks) => Ok(()),
    }
}
