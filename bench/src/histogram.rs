//! Latency histogram with a bounded relative error and no allocation while recording.

/// Counts of durations in nanoseconds: exact below [`SUB_BUCKETS`], above that in
/// [`SUB_BUCKETS`] / 2 equal steps for every power of two, so a value read back is less than
/// 0.8 % off.
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max_ns: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self {
            counts: vec![0; bucket_of(u64::MAX) + 1],
            total: 0,
            max_ns: 0,
        }
    }

    pub(crate) fn record(&mut self, value_ns: u64) {
        self.counts[bucket_of(value_ns)] += 1;
        self.total += 1;
        self.max_ns = self.max_ns.max(value_ns);
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The smallest recorded value that `share` (0 to 1) of all values do not exceed, in
    /// nanoseconds; 0 when nothing was recorded.
    pub(crate) fn quantile_ns(&self, share: f64) -> u64 {
        let wanted = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return middle_of(bucket).min(self.max_ns);
            }
        }
        self.max_ns
    }
}

fn bucket_of(value: u64) -> usize {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(SUB_BITS);
    (shift as usize) * (SUB_BUCKETS / 2) + (value >> shift) as usize
}

fn middle_of(bucket: usize) -> u64 {
    if bucket < SUB_BUCKETS {
        return bucket as u64;
    }
    let shift = bucket / (SUB_BUCKETS / 2) - 1;
    let step = (bucket - shift * (SUB_BUCKETS / 2)) as u64;
    (step << shift) + (1u64 << shift) / 2
}

const SUB_BITS: u32 = 7;
const SUB_BUCKETS: usize = 1 << SUB_BITS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_a_known_distribution_are_right_to_one_percent() {
        let mut histogram = Histogram::new();
        for value in 1..=100_000u64 {
            histogram.record(value * 1_000);
        }
        for (share, expected) in [(0.5, 50_000_000), (0.99, 99_000_000), (0.999, 99_900_000)] {
            let got = histogram.quantile_ns(share);
            let off = got.abs_diff(expected) as f64 / expected as f64;
            assert!(off < 0.01, "{share}: {got}");
        }
        assert_eq!(histogram.total(), 100_000);
        assert_eq!(histogram.max_ns(), 100_000_000);
        assert_eq!(histogram.quantile_ns(1.0), 100_000_000);
    }

    #[test]
    fn every_value_falls_near_the_middle_of_its_bucket() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1u64 << shift) | ((1u64 << shift) >> 1)] {
                let middle = middle_of(bucket_of(value));
                assert!(middle.abs_diff(value) <= value / 127, "{value} -> {middle}");
            }
        }
        assert_eq!(Histogram::new().quantile_ns(0.5), 0);
    }
}
