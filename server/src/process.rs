//! What all subcommands share: logging, runtimes, signals, exit codes.

use std::io::Write;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::thread::available_parallelism;

use anyhow::{Context, bail};
use clap::ValueEnum;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use zk_server::config::{EMBEDDED, Loaded, LoggingConfig, ServerConfig, Warning};
use zk_server::{Failure, LimitedLines};

/// How to log. An argument goes before the environment, that before zoo.cfg.
#[derive(clap::Args)]
pub(crate) struct Logging {
    /// Format of log lines [default: text]
    #[arg(
        long,
        global = true,
        value_enum,
        env = "QUORATE_LOG_FORMAT",
        hide_env_values = true
    )]
    log_format: Option<LogFormat>,
    /// Log filter: a level, or `target=level` pairs [default: info]
    #[arg(long, global = true, env = "QUORATE_LOG", hide_env_values = true)]
    log: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl Logging {
    /// Starts logging to standard error, panics included. No place of the code
    /// can flood it.
    pub(crate) fn start(&self, config: Option<&LoggingConfig>) -> anyhow::Result<()> {
        let filter = self.log.as_deref();
        let filter = filter.or_else(|| config.map(|config| &*config.filter));
        let filter = filter.filter(|filter| !filter.is_empty()).unwrap_or("info");
        let filter = levels(filter).map_err(|reason| {
            Failure::Usage(format!("{filter:?} is no list of levels: {reason}"))
        })?;
        let is_json = match self.log_format {
            Some(format) => matches!(format, LogFormat::Json),
            None => config.is_some_and(|config| config.is_json),
        };
        let lines = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            // It would say so on standard error, and panic.
            .log_internal_errors(false);
        if is_json {
            lines.json().map_event_format(LimitedLines::json).init();
        } else {
            lines
                .with_ansi(false)
                .map_event_format(LimitedLines::text)
                .init();
        }
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string);
            let backtrace = std::backtrace::Backtrace::capture();
            tracing::error!(place, message = panic.payload_as_str(), %backtrace, "panic");
        }));
        Ok(())
    }
}

/// A level, or `target=level` pairs, or one level and such pairs. Without this
/// check a misspelt level would be the name of a target, and nothing be logged.
fn levels(text: &str) -> Result<EnvFilter, String> {
    for part in text.split(',') {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        if level.is_empty() || level.parse::<LevelFilter>().is_err() {
            return Err(format!(
                "{level:?} is none of off, error, warn, info, debug, trace"
            ));
        }
    }
    EnvFilter::try_new(text).map_err(|error| error.to_string())
}

/// Names the keys that have no effect, or another one than was written, and
/// where they stand.
pub(crate) fn warn(loaded: &Loaded) {
    let file = &loaded.config.file;
    for Warning { line, key, reason } in &loaded.warnings {
        let (file, line) = match file == Path::new(EMBEDDED) {
            true => ("--set".to_owned(), None),
            false => (file.display().to_string(), Some(*line)),
        };
        tracing::warn!(
            file,
            line,
            key,
            reason,
            "a key of zoo.cfg has no effect or another one than written"
        );
    }
}

/// Has a server ended because one of its ports is in use?
pub(crate) fn is_port_in_use(error: &anyhow::Error) -> bool {
    let failure = error.downcast_ref::<Failure>();
    match failure {
        Some(Failure::Bind { source, .. } | Failure::BindPeer { source, .. }) => {
            source.kind() == std::io::ErrorKind::AddrInUse
        }
        Some(_) | None => false,
    }
}

/// Runs a server until a signal stops it. `announce` is told where clients
/// connect, once they can.
pub(crate) fn serve(config: ServerConfig, announce: fn(SocketAddr)) -> anyhow::Result<()> {
    raise_file_limit();
    serve_until(config, stop_signal, announce)
}

/// Runs a server on this thread and others until what `stop` gives is ready.
pub(crate) fn serve_until<S>(
    config: ServerConfig,
    stop: impl FnOnce() -> anyhow::Result<S> + Send + 'static,
    announce: impl FnOnce(SocketAddr) + Send + 'static,
) -> anyhow::Result<()>
where
    S: Future<Output = ()> + Send,
{
    let runtime = runtime(config.worker_threads)?;
    zk_server::block_on(runtime, |between_tasks| async move {
        let stop = stop()?;
        Ok(zk_server::run(config, between_tasks, stop, announce).await?)
    })?
}

/// Every connection is a file: asks for as many as the system allows.
pub(crate) fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// A line of zoo.cfg that holds a path, which may have what properties take
/// for an escape.
pub(crate) fn path_property(key: &str, path: &Path) -> anyhow::Result<String> {
    match path.to_str() {
        Some(path) => Ok(format!("{key}={}\n", path.replace('\\', "\\\\"))),
        None => bail!("{} is not text", path.display()),
    }
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

/// Prints the version on standard output.
pub(crate) fn print_version() -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{}", zk_server::VERSION).context("cannot print")
}

/// Says why the process ends and picks its exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if tracing::dispatcher::has_been_set() {
        tracing::error!("{error:#}");
    } else {
        complain(&format!("{error:#}"));
    }
    ExitCode::from(error.downcast_ref().map_or(1, Failure::exit_code))
}

/// Wrong usage ends in one line; help and version are no errors.
pub(crate) fn refuse_arguments(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind::{
        DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion,
    };
    match error.kind() {
        DisplayHelp | DisplayVersion => {
            // Nobody reads it if standard output is closed.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        DisplayHelpOnMissingArgumentOrSubcommand => {
            let text = error.to_string();
            complain(&format!(
                "a command is missing; see {} --help",
                command_of(&text)
            ));
        }
        _ => {
            let text = error.to_string();
            let lines = || text.lines().map(str::trim);
            let first: Vec<_> = lines().take_while(|line| !line.is_empty()).collect();
            let first = first.join(" ");
            let first = first.strip_prefix("error: ").unwrap_or(&first);
            let tip = lines().find_map(|line| line.strip_prefix("tip: "));
            let tip = tip.filter(|tip| tip.contains("similar"));
            let tip = tip.map(|tip| format!("; {tip}")).unwrap_or_default();
            complain(&format!("{first}{tip}; see {} --help", command_of(&text)));
        }
    }
    ExitCode::from(2)
}

/// The command that an error is about: the first words of its usage line.
fn command_of(text: &str) -> String {
    let usage = text.lines().find_map(|line| line.strip_prefix("Usage: "));
    let words = usage.unwrap_or("quorate").split(' ');
    let is_name = |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase());
    words.take_while(is_name).collect::<Vec<_>>().join(" ")
}

/// Ends with a line about the arguments.
pub(crate) fn refuse(text: &str) -> ExitCode {
    complain(text);
    ExitCode::from(2)
}

fn complain(text: &str) {
    // Nobody is left to tell if standard error is closed.
    let _ = writeln!(std::io::stderr(), "quorate: {text}");
}

/// Up to this many cores, one thread does it all.
const SINGLE_THREAD_CORES_MAX: usize = 2;
