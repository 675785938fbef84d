//! A distribution that costs three relaxed additions to record.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Count, sum and quantiles of a quantity. Quantiles cover what was recorded
/// in about the last minute, as with the reference's Prometheus provider.
pub(crate) struct Summary {
    count: AtomicU64,
    sum: AtomicU64,
    min: AtomicU64,
    max: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
    /// Where the bucket counts stood at the start of the window before this
    /// one and of this one.
    windows: Mutex<Windows>,
}

struct Windows {
    since: Instant,
    older: [u64; BUCKETS],
    newer: [u64; BUCKETS],
}

/// What a summary shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shown {
    pub(crate) count: u64,
    /// In the unit that was recorded.
    pub(crate) sum: u64,
    /// 0 before the first value.
    pub(crate) min: u64,
    pub(crate) max: u64,
    /// By [`QUANTILES`]; NaN where nothing was recorded lately.
    pub(crate) quantiles: [f64; QUANTILES.len()],
    /// By [`Shown::PERCENTILES`], likewise.
    pub(crate) percentiles: [f64; Self::PERCENTILES.len()],
}

impl Shown {
    /// What the reference's default provider shows beside the average.
    pub(crate) const PERCENTILES: [&str; 4] = ["p50", "p95", "p99", "p999"];
}

/// The quantiles of the reference's Prometheus provider.
pub(crate) const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

impl Summary {
    /// Records `times` occurrences of `value`.
    pub(crate) fn record(&self, value: u64, times: u64) {
        self.count.fetch_add(times, Ordering::Relaxed);
        self.sum
            .fetch_add(value.saturating_mul(times), Ordering::Relaxed);
        self.buckets[bucket(value)].fetch_add(times, Ordering::Relaxed);
        // A load is cheaper than a read-modify-write, and rarely are they due.
        if value < self.min.load(Ordering::Relaxed) {
            self.min.fetch_min(value, Ordering::Relaxed);
        }
        if value > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(value, Ordering::Relaxed);
        }
    }

    /// Records a duration in µs.
    pub(crate) fn record_time(&self, elapsed: Duration, times: u64) {
        self.record(
            u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
            times,
        );
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }

    pub(crate) fn show(&self) -> Shown {
        let now: [u64; BUCKETS] = std::array::from_fn(|i| self.buckets[i].load(Ordering::Relaxed));
        let mut windows = self.windows.lock();
        if windows.since.elapsed() >= WINDOW {
            windows.older = windows.newer;
            windows.newer = now;
            windows.since = Instant::now();
        }
        let lately: [u64; BUCKETS] =
            std::array::from_fn(|i| now[i].saturating_sub(windows.older[i]));
        let min = self.min.load(Ordering::Relaxed);
        Shown {
            count: self.count(),
            sum: self.sum(),
            min: if min == u64::MAX { 0 } else { min },
            max: self.max.load(Ordering::Relaxed),
            quantiles: QUANTILES.map(|quantile| value_at(&lately, quantile)),
            percentiles: PERCENTILES.map(|quantile| value_at(&lately, quantile)),
        }
    }

    /// Forgets everything.
    pub(crate) fn reset(&self) {
        let mut windows = self.windows.lock();
        for number in [&self.count, &self.sum, &self.max] {
            number.store(0, Ordering::Relaxed);
        }
        self.min.store(u64::MAX, Ordering::Relaxed);
        for bucket in &self.buckets {
            bucket.store(0, Ordering::Relaxed);
        }
        (windows.older, windows.newer) = ([0; BUCKETS], [0; BUCKETS]);
    }
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            count: AtomicU64::default(),
            sum: AtomicU64::default(),
            min: AtomicU64::new(u64::MAX),
            max: AtomicU64::default(),
            buckets: std::array::from_fn(|_| AtomicU64::default()),
            windows: Mutex::new(Windows {
                since: Instant::now(),
                older: [0; BUCKETS],
                newer: [0; BUCKETS],
            }),
        }
    }
}

/// Four buckets for each doubling.
const fn bucket(value: u64) -> usize {
    if value < 4 {
        return value as usize;
    }
    let log = value.ilog2() as usize;
    let quarter = (value >> (log - 2)) as usize & 3;
    let index = (log - 1) * 4 + quarter;
    if index < BUCKETS { index } else { BUCKETS - 1 }
}

/// Middle of a bucket's range.
fn middle(index: usize) -> f64 {
    if index < 4 {
        return index as f64;
    }
    let (log, quarter) = (index / 4 + 1, index % 4);
    let width = (1_u64 << (log - 2)) as f64;
    (4 + quarter) as f64 * width + width / 2.0
}

fn value_at(buckets: &[u64; BUCKETS], quantile: f64) -> f64 {
    let total: u64 = buckets.iter().sum();
    if total == 0 {
        return f64::NAN;
    }
    let rank = (quantile * total as f64).ceil() as u64;
    let mut seen = 0;
    for (index, count) in buckets.iter().enumerate() {
        seen += count;
        if seen >= rank {
            return middle(index);
        }
    }
    middle(BUCKETS - 1)
}

/// What the names of [`Shown::PERCENTILES`] mean.
const PERCENTILES: [f64; Shown::PERCENTILES.len()] = [0.5, 0.95, 0.99, 0.999];
/// Values up to 2^40: twelve days in µs.
const BUCKETS: usize = 160;
/// Quantiles cover one to two of these.
const WINDOW: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_grow_with_their_values_and_hold_them() {
        for value in (0..10_000).chain([1 << 20, 1 << 39, u64::MAX]) {
            assert!(bucket(value) >= bucket(value.saturating_sub(1)), "{value}");
            if value < 1 << 39 {
                let error = (middle(bucket(value)) - value as f64).abs();
                assert!(error <= value as f64 / 4.0, "{value}: {error}");
            }
        }
    }

    #[test]
    fn quantiles_are_near() {
        let summary = Summary::default();
        assert!(summary.show().quantiles[0].is_nan());
        for value in 1..=1000 {
            summary.record(value, 2);
        }
        let shown = summary.show();
        assert_eq!((shown.count, shown.sum), (2000, 1_001_000));
        assert_eq!((shown.min, shown.max), (1, 1000));
        for (got, want) in shown.quantiles.iter().zip([500.0, 900.0, 990.0]) {
            assert!((got - want).abs() < want * 0.15, "{got} for {want}");
        }
        summary.reset();
        summary.record(7, 1);
        let shown = summary.show();
        assert_eq!((shown.count, shown.sum, shown.min, shown.max), (1, 7, 7, 7));
        assert!((shown.quantiles[0] - 7.0).abs() < 2.0);
    }
}
