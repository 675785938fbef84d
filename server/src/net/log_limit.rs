//! Lines of the log that strangers bring about, a few for each second.

use std::sync::atomic::{AtomicU64, Ordering};

use zk_core::Millis;

/// Lets a few lines of one kind pass in each second, and counts the others.
#[derive(Debug, Default)]
pub(crate) struct LogLimit {
    /// The second, from 1, and the lines that have passed in it.
    passed: AtomicU64,
    withheld: AtomicU64,
}

impl LogLimit {
    /// May a line be written? If so, with the number of lines that were
    /// withheld before it. Two threads may pass one line too many.
    pub(crate) fn pass(&self, now: Millis) -> Option<u64> {
        let second = (now.0 / 1000 + 1) << COUNT_BITS;
        let passed = self.passed.load(Ordering::Relaxed);
        if passed < second {
            self.passed.store(second + 1, Ordering::Relaxed);
            return Some(self.withheld.swap(0, Ordering::Relaxed));
        }
        if passed - second >= LINES_MAX {
            self.withheld.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.passed.fetch_add(1, Ordering::Relaxed);
        Some(0)
    }
}

/// Lines in a second.
const LINES_MAX: u64 = 5;
/// Room for their count below the second.
const COUNT_BITS: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_lines_and_a_number() {
        let limit = LogLimit::default();
        let pass = |ms| {
            (0..1000)
                .filter_map(|_| limit.pass(Millis(ms)))
                .collect::<Vec<_>>()
        };
        assert_eq!(pass(0), [0; 5]);
        assert!(pass(999).is_empty());
        assert_eq!(pass(1000), [1995, 0, 0, 0, 0]);
        assert_eq!(limit.pass(Millis(9000)), Some(995));
    }
}
