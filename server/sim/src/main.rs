//! Runs seeds of the simulator.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use zk_sim::{Broken, FaultKind, Report, SimConfig, Violation, World};

/// Simulates an ensemble under faults and checks what must always hold.
#[derive(Debug, Parser)]
#[command(name = "zk-sim")]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Replays this seed and prints what happens, line by line.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Gives up after this many events in a run.
    #[arg(long)]
    steps: Option<u64>,
    /// Servers in the ensemble; if not given, 3 or, with every tenth seed, 5.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=9))]
    servers: Option<u64>,
    /// Ends the replay after this many ms of simulated time. Whether the
    /// ensemble heals is not checked then.
    #[arg(long, value_name = "MS", requires = "seed")]
    until: Option<u64>,
    /// Prints the state of this server, which counts from 1, at the end of the
    /// replay, in place of what happened; may be given more than once.
    #[arg(long, value_name = "SERVER", requires = "seed")]
    show: Vec<usize>,
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
    if let Err(wrong) = arguments.check() {
        Arguments::command()
            .error(ErrorKind::ValueValidation, wrong)
            .exit();
    }
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
                if let Some(until) = arguments.until {
                    eprintln!("seed {seed}: nothing is wrong up to {until} ms");
                }
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

impl Arguments {
    /// Looks at what depends on more than one of them.
    fn check(&self) -> Result<(), String> {
        if self.seed.is_none() && self.from.checked_add(self.seeds).is_none() {
            let last = u64::MAX;
            return Err(format!(
                "--from and --seeds go beyond {last}, the last seed"
            ));
        }
        let servers = self.seed.map_or(0, |seed| self.config(seed).servers);
        match self.show.iter().find(|sid| !(1..=servers).contains(*sid)) {
            Some(sid) => Err(format!(
                "--show {sid}: there are servers 1 to {servers} with this seed"
            )),
            None => Ok(()),
        }
    }

    fn config(&self, seed: u64) -> SimConfig {
        let seeded = SimConfig::seed(seed);
        let mut without = [seeded.without.clone(), self.without.clone()].concat();
        without.retain(|kind| !self.with.contains(kind));
        let is_replay = self.seed.is_some() && self.show.is_empty();
        SimConfig {
            servers: self.servers.map_or(seeded.servers, |count| count as usize),
            events_max: self.steps.unwrap_or(seeded.events_max),
            until_ms: self.until,
            without,
            broken: self.broken,
            trace: is_replay || self.check_determinism,
            ..seeded
        }
    }
}

fn run(arguments: &Arguments, seed: u64) -> Result<Report, Violation> {
    let config = arguments.config(seed);
    let (outcome, trace, state) = once(&config, &arguments.show);
    if arguments.check_determinism && once(&config, &[]).1 != trace {
        let detail = "two runs of the same seed differ".to_owned();
        return Err(Violation {
            property: "determinism",
            detail,
        });
    }
    if arguments.seed.is_some() {
        let text = if arguments.show.is_empty() {
            trace
        } else {
            state
        };
        // Whoever reads it may have seen enough.
        let _ = io::stdout().write_all(text.as_bytes());
    }
    outcome
}

/// The outcome, the trace, and the state of the servers that are to be shown. A
/// panic in the code under test is a failed seed like any other.
fn once(config: &SimConfig, show: &[usize]) -> (Result<Report, Violation>, String, String) {
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
    let state = show.iter().map(|sid| world.show(*sid)).collect();
    (outcome, world.take_trace(), state)
}

fn replay(arguments: &Arguments, seed: u64) -> String {
    let mut command = format!("cargo run --release -p zk-sim -- --seed {seed}");
    if let Some(servers) = arguments.servers {
        command += &format!(" --servers {servers}");
    }
    if let Some(steps) = arguments.steps {
        command += &format!(" --steps {steps}");
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

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(line: &str) -> Option<String> {
        let words = ["zk-sim"].into_iter().chain(line.split_whitespace());
        match Arguments::try_parse_from(words) {
            Ok(arguments) => arguments.check().err(),
            Err(error) => Some(error.to_string()),
        }
    }

    #[test]
    fn wrong_arguments_are_refused_before_anything_runs() {
        for (line, what) in [
            ("--seeds 0", "0 is not in 1.."),
            ("--servers 0", "0 is not in 1..=9"),
            ("--servers 10", "10 is not in 1..=9"),
            ("--seed 7 --show 4", "servers 1 to 3 with this seed"),
            ("--seed 7 --show 0", "servers 1 to 3 with this seed"),
            (
                "--seed 5 --show 1 --show 6",
                "servers 1 to 5 with this seed",
            ),
            (
                "--seed 7 --servers 2 --show 3",
                "servers 1 to 2 with this seed",
            ),
            ("--show 1", "--seed <SEED>"),
            ("--until 5", "--seed <SEED>"),
            ("--seed 1 --from 2", "cannot be used with"),
            ("--from 18446744073709551615 --seeds 2", "the last seed"),
            ("--with everything", "one of xids-begin-again"),
            ("--break nothing", "one of ack-before-sync"),
        ] {
            let said = wrong(line).unwrap_or_else(|| panic!("{line} is taken"));
            assert!(said.contains(what), "{line}: {said}");
        }
    }

    #[test]
    fn a_state_is_shown_in_place_of_the_trace() {
        let words = [
            "zk-sim", "--seed", "7", "--until", "4000", "--show", "1", "--show", "2",
        ];
        let arguments = Arguments::parse_from(words);
        assert_eq!(arguments.check(), Ok(()));
        let (outcome, trace, state) = once(&arguments.config(7), &arguments.show);
        assert!(outcome.is_ok() && trace.is_empty(), "{outcome:?} {trace}");
        for line in [
            "server 1 at ",
            "server 2 at ",
            "file: acceptedEpoch",
            "tree at 0x",
        ] {
            assert!(state.contains(line), "{line} is missing in {state}");
        }
        assert!(wrong("--seed 5 --show 5").is_none(), "this one has five");
    }
}
