//! Lines about a fault that lasts.

use std::sync::atomic::{AtomicU64, Ordering};

use zk_core::Millis;

/// Lets one line pass in a minute.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    next: AtomicU64,
}

impl Seldom {
    /// May the line be written?
    pub(super) fn pass(&self, now: Millis) -> bool {
        let next = self.next.load(Ordering::Relaxed);
        now.0 >= next
            && self
                .next
                .compare_exchange(next, now.0 + PAUSE_MS, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

/// Between two lines.
const PAUSE_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_that_lasts_is_a_line_in_a_minute() {
        let seldom = Seldom::default();
        let passed = (0..180).filter(|second| seldom.pass(Millis(second * 1000)));
        assert_eq!(passed.collect::<Vec<_>>(), [0, 60, 120]);
    }
}
