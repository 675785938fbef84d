//! `zk-shadow`: sends the same operations to Apache ZooKeeper and to another server of its
//! protocol, and compares every reply, event and Stat.
//!
//! One global order of requests makes both systems deterministic: a request is sent when the one
//! before it has been answered and, in an ensemble, when the server that gets it has caught up.
//! Then nothing may differ but times, session ids and epochs.
//!
//! It has a codec of its own and must never use the server's (`zk-proto`): a mistake shared by
//! both sides would agree with itself and go unseen.

mod check;
mod connection;
mod coverage;
mod generate;
mod jute;
mod pool;
mod request;
mod rng;
mod shrink;
mod step;
mod system;
mod tree;
mod view;

use std::fs;
use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

use crate::check::{Check, Difference};
use crate::coverage::EXPECTED;
use crate::generate::{Families, Family, scenario};
use crate::step::Scenario;

/// Compares two systems, each a server alone or an ensemble.
#[derive(Debug, Parser)]
#[command(name = "zk-shadow", version)]
struct Args {
    /// Client addresses of the reference, comma separated, the leader first.
    #[arg(long, required = true, value_delimiter = ',')]
    reference: Vec<SocketAddr>,

    /// Client addresses of the system to check, in the same order.
    #[arg(long, required = true, value_delimiter = ',')]
    subject: Vec<SocketAddr>,

    /// Random operations to send after the named cases.
    #[arg(long, default_value_t = 100_000)]
    operations: usize,

    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Runs this one random scenario and no other.
    #[arg(long)]
    scenario: Option<u64>,

    /// Files of named cases, and directories of these.
    #[arg(long)]
    cases: Vec<PathBuf>,

    /// Groups of operations to leave out.
    #[arg(long, value_delimiter = ',')]
    without: Vec<Family>,

    /// Stops after so many scenarios that differ.
    #[arg(long, default_value_t = 3)]
    differences: usize,
}

/// Exits with 0 when nothing differed, 1 when something did, 2 when the run could not be finished.
fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("zk-shadow: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<bool> {
    let begin = Instant::now();
    let families: Vec<_> = Family::value_variants()
        .iter()
        .copied()
        .filter(|family| !args.without.contains(family))
        .collect();
    let whole = args.without.is_empty() && args.scenario.is_none();
    let acl = families.contains(&Family::Acl);
    let families = Families(families);
    let mut check = Check::new(&args.reference, &args.subject, acl)?;
    let cases = named_cases(&args.cases)?;
    say(&format!("seed {}, {} named cases", args.seed, cases.len()))?;
    let mut found = 0;
    for difference in check.run(cases)? {
        found += 1;
        say(&difference.text())?;
    }
    let mut next = args.scenario.unwrap_or(0);
    while found < args.differences && check.coverage.total() < args.operations {
        let count = if args.scenario.is_some() { 1 } else { BATCH };
        let batch = (next..next + count).map(|number| scenario(args.seed, number, &families));
        next += count;
        for difference in check.run(batch.collect())? {
            found += 1;
            if found <= args.differences {
                report(&mut check, difference, args)?;
            }
        }
        if args.scenario.is_some() {
            break;
        }
    }
    say(&format!(
        "answers of the reference:\n{}",
        check.coverage.table()
    ))?;
    let missing = check.coverage.missing(&EXPECTED);
    let complete = !whole || args.operations < OPERATIONS_TO_REACH_ALL || missing.is_empty();
    if !complete && found == 0 {
        say(&format!("never reached: {}", missing.join("; ")))?;
    }
    say(&format!(
        "{} operations answered, {} met a closed connection, {next} scenarios, {found} differ, {:.0} s",
        check.coverage.total(),
        check.unanswered,
        begin.elapsed().as_secs_f64()
    ))?;
    Ok(found == 0 && complete)
}

fn report(check: &mut Check, difference: Difference, args: &Args) -> Result<()> {
    let name = difference.scenario.name.clone();
    let short = check.shrink(difference)?;
    say(&short.text())?;
    let number = name.rsplit(' ').next().unwrap_or_default();
    say(&format!(
        "again: e2e/shadow/run --seed {} --scenario {number}",
        args.seed
    ))
}

fn named_cases(paths: &[PathBuf]) -> Result<Vec<Scenario>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            for entry in fs::read_dir(path)? {
                let file = entry?.path();
                if file.extension().is_some_and(|it| it == "steps") {
                    files.push(file);
                }
            }
        } else {
            files.push(path.clone());
        }
    }
    files.sort();
    files
        .iter()
        .map(|file| {
            let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
            let name = file.file_stem().unwrap_or_default().to_string_lossy();
            Scenario::parse(&format!("case {name}"), &text)
        })
        .collect()
}

fn say(text: &str) -> Result<()> {
    Ok(writeln!(stdout().lock(), "{text}")?)
}

/// Scenarios that each system runs before they are compared.
const BATCH: u64 = 16;
/// A shorter run need not reach every error code.
const OPERATIONS_TO_REACH_ALL: usize = 50_000;
