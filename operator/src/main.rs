//! The operator's binary: `run` reconciles until it is told to stop, `crd` prints the custom resource definition.

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
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

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Crd => print_crd(),
        Command::Run(arguments) => run(arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line with every cause; a backtrace tells a user nothing.
            eprintln!("quorate-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print_crd() -> anyhow::Result<()> {
    let text = serde_saphyr::to_string(&zk_operator_api::ensemble_crd())
        .context("printing the definition")?;
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("writing to standard output")
}

fn run(arguments: RunArguments) -> anyhow::Result<()> {
    let runtime = Runtime::new().context("starting threads")?;
    let outcome = runtime.block_on(run_until_stopped(arguments));
    // A name that is being resolved in a thread of its own must not hold up the end.
    runtime.shutdown_background();
    outcome
}

async fn run_until_stopped(arguments: RunArguments) -> anyhow::Result<()> {
    let filter = log_filter(&arguments.log)?;
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
        api_server = %clients.api_server,
        listen = ?listener.local_addr().ok(),
        "operator started"
    );
    let stop = stop_signal()?;
    tokio::select! {
        () = controller::run(context, clients.watches, namespace) => {
            tracing::info!("operator stopped");
        }
        () = http::serve(listener, metrics, looks) => {}
        () = async { stop.await; tokio::time::sleep(STOP_MAX).await } => {
            tracing::warn!("operator stopped in the middle of a look: it took too long");
        }
    }
    Ok(())
}

/// Ready when the process is asked to stop.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let catch = |kind| signal(kind).context("catching signals");
    let mut terminate = catch(SignalKind::terminate())?;
    let mut interrupt = catch(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Levels, or `target=level` pairs. A single word that is no level would be taken for the name of a target, and then
/// nothing but its lines were written.
fn log_filter(text: &str) -> anyhow::Result<EnvFilter> {
    for part in text.split(',').map(str::trim) {
        let is_pair = part.contains(['=', '[', ':']);
        let is_level = !part.is_empty() && part.parse::<LevelFilter>().is_ok();
        anyhow::ensure!(
            is_pair || is_level,
            "--log {text:?}: {part:?} is no level; the levels are off, error, warn, info, debug and trace, and one for a part of the program is target=level"
        );
    }
    EnvFilter::try_new(format!("{LIBRARY_FILTER},{text}"))
        .with_context(|| format!("--log {text:?}"))
}

/// The Kubernetes library puts a span around each look, which would stand before every line and say what the line says
/// itself, and it writes a dump of each refused watch, which the operator tells in its own words. A filter that names
/// `kube_runtime` brings them back.
const LIBRARY_FILTER: &str = "kube_runtime=error";

/// Time for what is under way when the process is asked to stop. Nothing is lost if it does not end: the next
/// operator looks first.
const STOP_MAX: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_with_a_slip_is_refused() {
        for text in [
            "info",
            "INFO",
            "warn,kube=debug",
            "off",
            "zk_operator::looks=trace",
        ] {
            assert!(log_filter(text).is_ok(), "{text}");
        }
        for text in ["inof", "info,debgu", "", "kube=loud"] {
            let error = format!("{:#}", log_filter(text).unwrap_err());
            assert!(error.contains("--log"), "{error}");
        }
    }
}
