//! Runs seeds of the simulator.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;
use zk_sim::{Broken, FaultKind, Report, SimConfig, Violation, World};

/// Simulates an ensemble under faults and checks what must always hold.
#[derive(Debug, Parser)]
#[command(name = "zk-sim")]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Replays this one with a trace.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Gives up after this many events in a run.
    #[arg(long)]
    steps: Option<u64>,
    /// Servers in the ensemble, other than the seed says.
    #[arg(long)]
    servers: Option<usize>,
    /// Ends the replay after this many simulated ms.
    #[arg(long, value_name = "MS", requires = "seed")]
    until: Option<u64>,
    /// At the end of the replay prints the state of this server.
    #[arg(long, value_name = "SERVER", requires = "seed")]
    show: Option<usize>,
    /// Runs each seed twice and compares the traces.
    #[arg(long)]
    check_determinism: bool,
    /// Adds a kind of fault that is left out otherwise; may be given more than once.
    #[arg(long, value_name = "KIND")]
    with: Vec<FaultKind>,
    /// Leaves a kind of fault out; may be given more than once.
    #[arg(long, value_name = "KIND")]
    without: Vec<FaultKind>,
    /// A deliberately broken build.
    #[arg(long = "break", value_name = "NAME")]
    broken: Option<Broken>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (first, count) = match arguments.seed {
        Some(seed) => (seed, 1),
        None => (arguments.from, arguments.seeds),
    };
    let mut total = Report::default();
    let mut failed = 0;
    for seed in first..first + count {
        match run(&arguments, seed) {
            Ok(report) => {
                total.acked += report.acked;
                total.unknown += report.unknown;
                total.committed += report.committed;
                total.starts += report.starts;
                total.watch_events += report.watch_events;
                total.sessions_ended += report.sessions_ended;
                total.events += report.events;
                total.healed_ms = total.healed_ms.max(report.healed_ms);
            }
            Err(violation) => {
                failed += 1;
                eprintln!("seed {seed}: {violation}");
                eprintln!("replay: {}", replay(&arguments, seed));
            }
        }
    }
    eprintln!(
        "{count} seeds, {failed} failed: {} starts, {} transactions, {} acknowledged, {} unknown, \
         {} watch events, {} sessions expired, {} events, slowest to heal {} ms",
        total.starts,
        total.committed,
        total.acked,
        total.unknown,
        total.watch_events,
        total.sessions_ended,
        total.events,
        total.healed_ms
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn run(arguments: &Arguments, seed: u64) -> Result<Report, Violation> {
    let seeded = SimConfig::seed(seed);
    let mut without = [seeded.without.clone(), arguments.without.clone()].concat();
    without.retain(|kind| !arguments.with.contains(kind));
    let mut config = SimConfig {
        servers: arguments.servers.unwrap_or(seeded.servers),
        until_ms: arguments.until,
        without,
        broken: arguments.broken,
        trace: arguments.seed.is_some() || arguments.check_determinism,
        ..seeded
    };
    if let Some(steps) = arguments.steps {
        config.events_max = steps;
    }
    let (outcome, trace, state) = once(&config, arguments.show);
    if arguments.check_determinism && once(&config, None).1 != trace {
        let detail = "two runs of the same seed differ".to_owned();
        return Err(Violation {
            property: "determinism",
            detail,
        });
    }
    if arguments.seed.is_some() {
        eprint!("{trace}{state}");
    }
    outcome
}

/// The outcome, the trace, and the state of the server that is to be shown. A
/// panic in the code under test is a failed seed like any other.
fn once(config: &SimConfig, show: Option<usize>) -> (Result<Report, Violation>, String, String) {
    let mut world = World::new(config.clone());
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run()));
    let outcome = outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let detail = text.unwrap_or_default();
        Err(Violation {
            property: "no panic",
            detail,
        })
    });
    let state = show.map(|server| world.show(server));
    (outcome, world.take_trace(), state.unwrap_or_default())
}

fn replay(arguments: &Arguments, seed: u64) -> String {
    let mut command = format!("cargo run --release -p zk-sim -- --seed {seed}");
    if let Some(servers) = arguments.servers {
        command += &format!(" --servers {servers}");
    }
    for kind in &arguments.with {
        command += &format!(" --with {}", kind.name());
    }
    for kind in &arguments.without {
        command += &format!(" --without {}", kind.name());
    }
    if let Some(broken) = arguments.broken {
        command += &format!(" --break {}", broken.name());
    }
    command
}
