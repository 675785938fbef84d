//! The sound build holds under many seeds, and the broken ones do not.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use zk_proto::client::OpCode;
use zk_sim::{Broken, Report, SimConfig, Violation, World};

fn run(seed: u64, broken: Option<Broken>) -> Result<Report, Violation> {
    let config = SimConfig {
        broken,
        ..SimConfig::seed(seed)
    };
    World::new(config).run()
}

/// Runs seeds from 1 until one fails; at most `seeds`.
fn first_failure(seeds: u64, broken: Option<Broken>) -> Option<(u64, Violation)> {
    let next = AtomicU64::new(1);
    let failures = thread::scope(|scope| {
        let workers = thread::available_parallelism().map_or(1, |n| n.get().min(4));
        let worker = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed > seeds {
                    return None;
                }
                if let Err(violation) = run(seed, broken) {
                    next.store(seeds + 1, Ordering::Relaxed);
                    return Some((seed, violation));
                }
            }
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        let found = workers
            .into_iter()
            .filter_map(|worker| worker.join().unwrap());
        found.collect::<Vec<_>>()
    });
    failures.into_iter().min_by_key(|(seed, _)| *seed)
}

/// The binary, compiled with optimization, runs the many.
#[test]
fn two_hundred_seeds_hold() {
    if let Some((seed, violation)) = first_failure(200, None) {
        panic!("seed {seed}: {violation}\nreplay: cargo run --release -p zk-sim -- --seed {seed}");
    }
}

#[test]
fn the_workload_reaches_every_operation() {
    let mut succeeded = BTreeMap::new();
    let (mut watch_events, mut sessions_ended) = (0, 0);
    for seed in 1..=50 {
        let report = run(seed, None).unwrap();
        watch_events += report.watch_events;
        sessions_ended += report.sessions_ended;
        for (op, count) in report.succeeded {
            *succeeded.entry(op).or_insert(0) += count;
        }
    }
    let missing: Vec<_> = OPERATIONS
        .iter()
        .filter(|op| !succeeded.contains_key(&op.code()))
        .collect();
    assert!(missing.is_empty(), "{missing:?} of {succeeded:?}");
    assert!(watch_events > 100, "{watch_events} watch events");
    assert!(sessions_ended > 5, "{sessions_ended} sessions ended");
}

#[test]
fn every_broken_build_is_caught() {
    for (name, broken) in Broken::ALL {
        let (_, violation) =
            first_failure(400, Some(broken)).unwrap_or_else(|| panic!("{name} goes unnoticed"));
        let expected: &[&str] = match broken {
            Broken::AckBeforeSync => &["promises are durable"],
            Broken::EpochBeforeLog | Broken::CommitWithoutQuorum => &[
                "leader completeness",
                "total order",
                "what is durable outlives a crash",
                "the store does what it is asked for",
            ],
            Broken::EpochNotSaved => &["epochs never fall"],
            Broken::LateEvents => &["watch event before the read"],
        };
        assert!(
            expected.contains(&violation.property),
            "{name}: {violation}"
        );
    }
}

#[test]
fn a_seed_replays_the_same_run() {
    for seed in [3, 77, 1234] {
        let trace = || {
            let config = SimConfig {
                trace: true,
                ..SimConfig::seed(seed)
            };
            let mut world = World::new(config);
            let report = world.run().unwrap();
            (report, world.take_trace())
        };
        let (report, text) = trace();
        assert!(
            report.acked > 0 && text.lines().count() > 1000,
            "seed {seed}: {report:?}"
        );
        assert!(trace() == (report, text), "seed {seed} differs from itself");
    }
}

/// What clients can ask for and the simulated ones do.
const OPERATIONS: [OpCode; 22] = [
    OpCode::Create,
    OpCode::Create2,
    OpCode::CreateContainer,
    OpCode::CreateTtl,
    OpCode::Delete,
    OpCode::SetData,
    OpCode::SetAcl,
    OpCode::Multi,
    OpCode::Sync,
    OpCode::CloseSession,
    OpCode::Exists,
    OpCode::GetData,
    OpCode::GetChildren2,
    OpCode::GetAcl,
    OpCode::GetEphemerals,
    OpCode::GetAllChildrenNumber,
    OpCode::MultiRead,
    OpCode::WhoAmI,
    OpCode::AddWatch,
    OpCode::CheckWatches,
    OpCode::RemoveWatches,
    OpCode::SetWatches2,
];
