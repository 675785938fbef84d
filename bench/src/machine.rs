//! What the machine does to a program that needs little of it: the share of a tail that no server
//! can avoid.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::args::MachineArgs;
use crate::report::{print, rounded};

/// Prints one JSON line: for threads that sleep and work in turn like the generator and a server
/// under a paced load, and for syncs one after the other, how long something that comes at any
/// moment waits for the end of the turn or sync, in µs.
pub(crate) fn measure(args: &MachineArgs) -> Result<()> {
    let length = Duration::from_secs_f64(args.seconds);
    let threads: Vec<_> = (0..THREADS)
        .map(|_| thread::spawn(move || turns(length)))
        .collect();
    let mut waits = Vec::new();
    for thread in threads {
        let Ok(turns) = thread.join() else {
            bail!("a thread has panicked");
        };
        waits.push(Waits::of(turns));
    }
    // A request needs both, so the worse one counts.
    let turn = waits.into_iter().fold(Waits::default(), Waits::worse);
    let sync = Waits::of(syncs(args, length)?);
    print(&json!({
        "turn_p999_us": rounded(turn.p999_us, 1),
        "turn_max_us": rounded(turn.max_us, 1),
        "sync_p999_us": rounded(sync.p999_us, 1),
        "sync_max_us": rounded(sync.max_us, 1),
    }))
}

/// Seconds from the end of each turn to the end of the next.
fn turns(length: Duration) -> Vec<f64> {
    let mut taken = Vec::new();
    let begin = Instant::now();
    let mut last = begin;
    while last - begin < length {
        thread::sleep(PAUSE);
        let working = Instant::now();
        while working.elapsed() < WORK {
            std::hint::spin_loop();
        }
        let now = Instant::now();
        taken.push((now - last).as_secs_f64());
        last = now;
    }
    taken
}

/// Seconds that each of many in-place writes takes with its sync.
fn syncs(args: &MachineArgs, length: Duration) -> Result<Vec<f64>> {
    let path = args.dir.join("machine-probe");
    let about = || format!("writing {}", path.display());
    let file = File::create(&path).with_context(about)?;
    let mut taken = Vec::new();
    let done = (|| {
        file.write_all_at(&vec![0; SYNC_PLACES * SYNC_BYTES], 0)?;
        file.sync_all()?;
        let begin = Instant::now();
        let mut last = begin;
        while last - begin < length {
            let place = taken.len() % SYNC_PLACES;
            file.write_all_at(&[1; SYNC_BYTES], (place * SYNC_BYTES) as u64)?;
            file.sync_data()?;
            let now = Instant::now();
            taken.push((now - last).as_secs_f64());
            last = now;
        }
        Ok::<_, std::io::Error>(())
    })();
    std::fs::remove_file(&path).with_context(about)?;
    done.with_context(about)?;
    Ok(taken)
}

#[derive(Clone, Copy, Debug, Default)]
struct Waits {
    p999_us: f64,
    max_us: f64,
}

impl Waits {
    fn of(mut taken: Vec<f64>) -> Self {
        taken.sort_by(|a, b| b.total_cmp(a));
        Self {
            p999_us: wait(&taken, 0.001) * 1e6,
            max_us: taken.first().copied().unwrap_or_default() * 1e6,
        }
    }

    fn worse(self, other: Self) -> Self {
        Self {
            p999_us: self.p999_us.max(other.p999_us),
            max_us: self.max_us.max(other.max_us),
        }
    }
}

/// The wait for the end of an interval that this share of all moments exceeds; the intervals are
/// sorted, longest first. An interval of length `d` has `d - x` of moments that wait longer than `x`.
fn wait(intervals: &[f64], share: f64) -> f64 {
    let beyond = share * intervals.iter().sum::<f64>();
    let mut sum = 0.0;
    for (index, interval) in intervals.iter().enumerate() {
        sum += interval;
        let wait = (sum - beyond) / (index + 1) as f64;
        if wait >= intervals.get(index + 1).copied().unwrap_or_default() {
            return wait.max(0.0);
        }
    }
    0.0
}

const THREADS: usize = 2;
const PAUSE: Duration = Duration::from_micros(200);
const WORK: Duration = Duration::from_micros(150);
const SYNC_BYTES: usize = 512;
const SYNC_PLACES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_waits_for_the_end_of_its_interval() {
        // All moments in intervals of 1: the wait is spread evenly over 0 to 1.
        assert!((wait(&[1.0; 100], 0.25) - 0.75).abs() < 1e-9);
        // One interval of 10 in 100 s has 0.1 % of all moments wait longer than 9.9.
        let mut one_long = vec![1.0; 91];
        one_long[0] = 10.0;
        assert!((wait(&one_long, 0.001) - 9.9).abs() < 1e-9);
        // Half of the moments: 10 - x and 90 times 1 - x are 50.
        assert!((wait(&one_long, 0.5) - 50.0 / 91.0).abs() < 1e-9);
        assert_eq!(wait(&[], 0.001), 0.0);
    }
}
