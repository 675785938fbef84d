//! Linear hashing: buckets that are split and joined one at a time.

/// The bucket of a hash when there are this many.
pub(super) const fn address(hash: u64, buckets: usize) -> usize {
    let rounded = buckets.next_power_of_two();
    let bucket = hash as usize & (rounded - 1);
    if bucket < buckets {
        bucket
    } else {
        bucket - rounded / 2
    }
}

/// The bucket with which the newest one, of this number, shares its records.
pub(super) const fn partner(newest: usize) -> usize {
    newest - (1 << newest.ilog2())
}
