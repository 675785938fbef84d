//! Runs seeds of the simulator.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;
use zk_sim::{Broken, Report, SimConfig, Violation, World};

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
    /// Servers in the ensemble.
    #[arg(long, default_value_t = 3)]
    servers: usize,
    /// Runs each seed twice and compares the traces.
    #[arg(long)]
    check_determinism: bool,
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
    let mut config = SimConfig {
        servers: arguments.servers,
        broken: arguments.broken,
        trace: arguments.seed.is_some() || arguments.check_determinism,
        ..SimConfig::seed(seed)
    };
    if let Some(steps) = arguments.steps {
        config.events_max = steps;
    }
    let (outcome, trace) = once(&config);
    if arguments.check_determinism && once(&config).1 != trace {
        let detail = "two runs of the same seed differ".to_owned();
        return Err(Violation {
            property: "determinism",
            detail,
        });
    }
    if arguments.seed.is_some() {
        eprint!("{trace}");
    }
    outcome
}

/// A panic in the code under test is a failed seed like any other.
fn once(config: &SimConfig) -> (Result<Report, Violation>, String) {
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
    (outcome, world.take_trace())
}

fn replay(arguments: &Arguments, seed: u64) -> String {
    let mut command = format!("cargo run --release -p zk-sim -- --seed {seed}");
    if arguments.servers != 3 {
        command += &format!(" --servers {}", arguments.servers);
    }
    if let Some(broken) = arguments.broken {
        command += &format!(" --break {}", broken.name());
    }
    command
}
