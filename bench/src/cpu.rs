//! CPU time of processes and of the whole machine, read from `/proc`.

use std::fs;

use anyhow::{Context, Result};

/// CPU seconds used up to one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Sum over the server processes.
    pub(crate) servers: f64,
    /// This process.
    pub(crate) generator: f64,
    /// Everything on the machine that was not idle, time stolen by the host included.
    pub(crate) busy: f64,
    /// All CPU time there was, idle included.
    pub(crate) machine: f64,
}

impl Sample {
    /// # Errors
    /// When a server process no longer exists.
    pub(crate) fn take(server_pids: &[u32]) -> Result<Self> {
        let mut servers = 0.0;
        for pid in server_pids {
            servers += process_seconds(&format!("/proc/{pid}/stat"))?;
        }
        let stat = fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
        let (busy, machine) = machine_seconds(&stat).context("/proc/stat has no cpu line")?;
        Ok(Self {
            servers,
            generator: process_seconds("/proc/self/stat")?,
            busy,
            machine,
        })
    }

    /// What was used since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            servers: self.servers - earlier.servers,
            generator: self.generator - earlier.generator,
            busy: self.busy - earlier.busy,
            machine: self.machine - earlier.machine,
        }
    }

    /// Share of the machine (0 to 1) that went to neither servers nor generator. High values
    /// mean that something else disturbed the run.
    pub(crate) fn others_share(self) -> f64 {
        ((self.busy - self.servers - self.generator) / self.machine).max(0.0)
    }
}

fn process_seconds(file: &str) -> Result<f64> {
    let stat = fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
    ticks_of_process(&stat)
        .map(seconds)
        .with_context(|| format!("{file} has no utime and stime"))
}

/// utime + stime: fields 14 and 15, counted after the command name, which may hold spaces.
fn ticks_of_process(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// Busy and total seconds of the first line: user nice system idle iowait irq softirq steal.
/// The guest columns after them are contained in user and nice.
fn machine_seconds(stat: &str) -> Option<(f64, f64)> {
    let columns: Vec<u64> = stat
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_ascii_whitespace()
        .take(8)
        .map_while(|column| column.parse().ok())
        .collect();
    let total: u64 = columns.iter().sum();
    let idle = columns.get(3)? + columns.get(4)?;
    Some((seconds(total - idle), seconds(total)))
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / USER_HZ
}

/// Unit of the times in `/proc`: 100 per second on every Linux architecture built for today.
const USER_HZ: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_a_name_with_spaces_and_brackets() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 10 0 0 0 123 45 6 7 20 0 1 0 99 1000 10";
        assert_eq!(ticks_of_process(stat), Some(168));
        assert_eq!(ticks_of_process("7 (x) S 1"), None);
    }

    #[test]
    fn idle_and_waiting_for_disks_are_not_busy() {
        let stat = "cpu  100 0 100 700 50 10 20 20 0 0\ncpu0 1 1 1 1\n";
        assert_eq!(machine_seconds(stat), Some((2.5, 10.0)));
    }

    #[test]
    fn own_cpu_time_is_counted() {
        let before = Sample::take(&[std::process::id()]).unwrap();
        let started = std::time::Instant::now();
        while started.elapsed().as_millis() < 200 {
            std::hint::black_box(started.elapsed());
        }
        let used = Sample::take(&[std::process::id()]).unwrap().since(before);
        assert!(used.generator > 0.0 && used.servers > 0.0);
        assert!(used.machine >= used.generator);
    }
}
