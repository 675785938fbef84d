//! Shows that the simulator notices each fault of the core that
//! `server/sim/mutants/core/src/table.rs` lists.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use clap::Parser;
use zk_core::faults::{self, FAULTS};
use zk_sim_mutants::{SimConfig, World};

/// Runs seeds with each fault of the core switched on until one notices it.
#[derive(Debug, Parser)]
#[command(name = "zk-sim-mutants")]
struct Arguments {
    /// How many seeds to run at most with each.
    #[arg(long, default_value_t = 6000)]
    seeds: u64,
    /// Only faults whose name has this in it.
    #[arg(long, default_value = "")]
    fault: String,
    /// Replays this seed with a trace.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // What a seed finds is told below, panics among it.
    std::panic::set_hook(Box::new(|_| {}));
    let mut alive = 0;
    let chosen = FAULTS.iter().enumerate();
    for (number, fault) in chosen.filter(|(_, fault)| fault.name.contains(&arguments.fault)) {
        if let Some(seed) = arguments.seed {
            let (noticed, trace) = run(number, seed, true);
            eprint!("{trace}");
            eprintln!("{}: {}", fault.name, noticed.unwrap_or_default());
            continue;
        }
        match first_to_notice(number, arguments.seeds) {
            Some((seed, noticed)) => eprintln!("{}: seed {seed}: {noticed}", fault.name),
            None => {
                alive += 1;
                eprintln!("{}: NOT NOTICED in {} seeds", fault.name, arguments.seeds);
            }
        }
    }
    if alive == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The lowest seed that notices a fault, and by what.
fn first_to_notice(fault: usize, seeds: u64) -> Option<(u64, String)> {
    let (next, last) = (AtomicU64::new(1), AtomicU64::new(seeds));
    let worker = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > last.load(Ordering::Relaxed) {
                return None;
            }
            if let (Some(noticed), _) = run(fault, seed, false) {
                last.fetch_min(seed, Ordering::Relaxed);
                return Some((seed, noticed));
            }
        }
    };
    thread::scope(|scope| {
        let count = thread::available_parallelism().map_or(1, |count| count.get().min(4));
        let workers: Vec<_> = (0..count).map(|_| scope.spawn(worker)).collect();
        let found = workers.into_iter().filter_map(|worker| {
            let outcome = worker.join();
            outcome.expect("panics of a seed are caught")
        });
        found.min()
    })
}

/// What a seed with a fault notices, and the trace.
fn run(fault: usize, seed: u64, trace: bool) -> (Option<String>, String) {
    faults::switch(Some(fault));
    let mut world = World::new(SimConfig {
        trace,
        ..SimConfig::seed(seed)
    });
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run()));
    faults::switch(None);
    let noticed = match outcome {
        Ok(Ok(_)) => None,
        Ok(Err(violation)) => Some(violation.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
            Some(format!("panic: {}", text.unwrap_or_default()))
        }
    };
    (noticed, world.take_trace())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// That each is noticed is what the program itself shows, in a release build.
    #[test]
    fn every_fault_has_a_name_of_its_own() {
        let names: BTreeSet<_> = FAULTS.iter().map(|fault| fault.name).collect();
        assert!(names.len() >= 20 && names.len() == FAULTS.len());
    }
}
