//! What all subcommands share: logging, runtimes, signals, exit codes.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::thread::available_parallelism;

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use zk_server::Failure;
use zk_server::config::ServerConfig;

/// Starts logging to standard error, panics included.
pub(crate) fn start_logging(filter: &str, json: bool) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).context("--log is not a list of levels")?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if json {
        lines.json().init();
    } else {
        lines.with_ansi(false).init();
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let backtrace = std::backtrace::Backtrace::capture();
        tracing::error!(place, message = panic.payload_as_str(), %backtrace, "panic");
    }));
    Ok(())
}

/// Loads a zoo.cfg and runs its server until a signal stops it.
pub(crate) fn serve(file: &Path) -> anyhow::Result<()> {
    let loaded = ServerConfig::load(file).map_err(Failure::from)?;
    for warning in &loaded.warnings {
        let (line, key, reason) = (warning.line, &warning.key, warning.reason);
        tracing::warn!(file = %file.display(), line, key, reason, "this key has no effect");
    }
    let runtime = runtime(loaded.config.worker_threads)?;
    let outcome = runtime.block_on(async {
        let stop = stop_signal()?;
        Ok(zk_server::run(loaded.config, stop).await?)
    });
    runtime.shutdown_background();
    outcome
}

/// A runtime with this many workers; 0 picks by the number of cores. With few
/// cores one thread is faster, because nothing is handed from one to another.
pub(crate) fn runtime(worker_threads: usize) -> anyhow::Result<Runtime> {
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = match worker_threads {
        0 if cores <= SINGLE_THREAD_CORES_MAX => 1,
        0 => cores,
        given => given,
    };
    let mut builder = if threads == 1 {
        Builder::new_current_thread()
    } else {
        Builder::new_multi_thread()
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    builder
        .enable_all()
        .build()
        .map_err(Failure::Thread)
        .map_err(Into::into)
}

/// Ready at SIGTERM or SIGINT.
pub(crate) fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        }
    })
}

/// Logs why the process ends and picks its exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    tracing::error!("{error:#}");
    ExitCode::from(error.downcast_ref().map_or(1, Failure::exit_code))
}

/// As [`report`], before there is a log.
pub(crate) fn refuse(error: &anyhow::Error) -> ExitCode {
    // Nobody is left to tell if standard error is closed.
    let _ = writeln!(std::io::stderr(), "quorate: {error:#}");
    ExitCode::from(2)
}

/// Up to this many cores, one thread does it all.
const SINGLE_THREAD_CORES_MAX: usize = 2;
