//! The newest committed transactions, kept in memory so that learners that
//! were away for a short time get only what they missed (reference:
//! `ZKDatabase.committedLog`).

use std::collections::VecDeque;

use zk_proto::Zxid;

use crate::LogEntry;

/// Entries in zxid order without holes within an epoch.
#[derive(Debug)]
pub(super) struct CommittedLog {
    /// In chunks: a queue that grows by doubling leaves large pages behind.
    chunks: VecDeque<VecDeque<LogEntry>>,
    len: usize,
    bytes: usize,
    /// `commitLogCount`: as many are kept if they are of an ordinary size.
    count_min: usize,
}

impl CommittedLog {
    /// More than `commitLogCount` entries are kept as long as all together
    /// take no more than this.
    const BYTES_MAX: usize = 32 << 20;
    /// Fewer than `commitLogCount` entries are kept where those would take more
    /// than this: a client may write 500 times a megabyte.
    const COUNT_BYTES_MAX: usize = 128 << 20;
    /// What an entry costs beside its bytes.
    const ENTRY_BYTES: usize = 96;
    /// Entries in a chunk.
    const CHUNK: usize = 64;

    pub(super) const fn new(count_min: usize) -> Self {
        Self {
            chunks: VecDeque::new(),
            len: 0,
            bytes: 0,
            count_min,
        }
    }

    /// Starts anew from the end of a log that ends at `last_zxid`. Entries
    /// that do not reach up to there, or that have holes, are of no use: a
    /// learner would get a history with a hole.
    pub(super) fn reset(&mut self, tail: Vec<LogEntry>, last_zxid: Zxid) {
        self.chunks.clear();
        self.len = 0;
        self.bytes = 0;
        if tail.last().is_some_and(|entry| entry.zxid != last_zxid) {
            return;
        }
        let start = tail
            .windows(2)
            .rposition(|pair| !follows(pair[1].zxid, pair[0].zxid))
            .map_or(0, |hole| hole + 1);
        for entry in tail.into_iter().skip(start) {
            self.push(entry);
        }
    }

    pub(super) fn push(&mut self, entry: LogEntry) {
        let last = self.newest().map(|entry| entry.zxid);
        assert!(
            last.is_none_or(|last| follows(entry.zxid, last)),
            "{} was committed after {last:?}",
            entry.zxid
        );
        self.bytes += Self::cost(&entry);
        match self.chunks.back_mut() {
            Some(last) if last.len() < Self::CHUNK => last.push_back(entry),
            _ => {
                let mut chunk = VecDeque::with_capacity(Self::CHUNK);
                chunk.push_back(entry);
                self.chunks.push_back(chunk);
            }
        }
        self.len += 1;
        while self.len > 1 && self.bytes > self.bytes_max() {
            self.drop_oldest();
        }
    }

    /// So much may the entries take, as many as there are.
    const fn bytes_max(&self) -> usize {
        if self.len > self.count_min {
            Self::BYTES_MAX
        } else {
            Self::COUNT_BYTES_MAX
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &LogEntry> {
        self.chunks.iter().flatten()
    }

    fn newest(&self) -> Option<&LogEntry> {
        self.chunks.back().and_then(VecDeque::back)
    }

    fn drop_oldest(&mut self) {
        let Some(first) = self.chunks.front_mut() else {
            return;
        };
        if let Some(oldest) = first.pop_front() {
            self.bytes -= Self::cost(&oldest);
            self.len -= 1;
        }
        if first.is_empty() {
            self.chunks.pop_front();
        }
    }

    fn cost(entry: &LogEntry) -> usize {
        entry.data.len() + Self::ENTRY_BYTES
    }
}

/// May a history have `next` directly after `last`?
pub(super) fn follows(next: Zxid, last: Zxid) -> bool {
    next == last.next() || (next.epoch() > last.epoch() && next.counter() == 1)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use zk_proto::Epoch;

    use super::*;

    fn entry(epoch: i64, counter: u32, bytes: usize) -> LogEntry {
        LogEntry {
            zxid: Zxid::new(Epoch(epoch), counter),
            data: vec![0; bytes].into(),
        }
    }

    fn zxids(log: &CommittedLog) -> Vec<Zxid> {
        log.iter().map(|entry| entry.zxid).collect()
    }

    #[test]
    fn bytes_bound_it_but_never_below_the_configured_count() {
        let mut log = CommittedLog::new(3);
        let big = CommittedLog::BYTES_MAX / 2;
        for counter in 1..=10 {
            log.push(entry(1, counter, big));
        }
        assert_eq!(
            zxids(&log),
            [8, 9, 10].map(|counter| Zxid::new(Epoch(1), counter))
        );
        let mut small = CommittedLog::new(3);
        for counter in 1..=1000 {
            small.push(entry(1, counter, 10));
        }
        assert_eq!(zxids(&small).len(), 1000);
    }

    #[test]
    fn entries_of_the_largest_size_are_bounded_by_their_bytes() {
        let mut log = CommittedLog::new(500);
        let big = CommittedLog::COUNT_BYTES_MAX / 8;
        for counter in 1..=20 {
            log.push(entry(1, counter, big));
        }
        let last = 14..=20;
        let want: Vec<_> = last.map(|counter| Zxid::new(Epoch(1), counter)).collect();
        assert_eq!(
            zxids(&log),
            want,
            "with what entries cost beside their bytes"
        );
        // The newest one stays, however large it is.
        log.push(entry(1, 21, 2 * CommittedLog::COUNT_BYTES_MAX));
        assert_eq!(zxids(&log), [Zxid::new(Epoch(1), 21)]);
    }

    #[test]
    fn a_tail_with_a_hole_is_used_from_the_hole_on() {
        let mut log = CommittedLog::new(10);
        let tail = vec![entry(1, 1, 1), entry(1, 3, 1), entry(2, 1, 1)];
        log.reset(tail.clone(), Zxid::new(Epoch(2), 1));
        assert_eq!(zxids(&log), [tail[1].zxid, tail[2].zxid]);
        log.reset(tail, Zxid::new(Epoch(2), 2));
        assert!(zxids(&log).is_empty(), "it does not reach the end");
    }

    #[test]
    #[should_panic(expected = "was committed after")]
    fn a_hole_is_a_defect() {
        let mut log = CommittedLog::new(10);
        log.push(entry(1, 1, 0));
        log.push(LogEntry {
            zxid: Zxid::new(Epoch(1), 3),
            data: Bytes::new(),
        });
    }
}
