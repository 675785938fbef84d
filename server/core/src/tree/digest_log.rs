//! Digests of the tree at some of its zxids, for operators who compare servers
//! (reference: `DataTree.logZxidDigest`).

use std::collections::VecDeque;

use zk_proto::Zxid;

/// The newest digests, one for every zxid that divides by [`DigestLog::INTERVAL`].
#[derive(Debug, Default)]
pub struct DigestLog(VecDeque<(Zxid, u64)>);

impl DigestLog {
    /// Every zxid that divides by this has an entry.
    pub const INTERVAL: i64 = 128;
    /// Most entries that are kept.
    pub const ENTRIES_MAX: usize = 1024;

    /// The tree has this digest after the transaction with this zxid.
    pub fn note(&mut self, zxid: Zxid, digest: u64) {
        if zxid.0 % Self::INTERVAL != 0 {
            return;
        }
        if self.0.len() == Self::ENTRIES_MAX {
            self.0.pop_front();
        }
        self.0.push_back((zxid, digest));
    }

    /// Zxids with their digests, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (Zxid, u64)> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_round_zxids_are_kept() {
        let mut log = DigestLog::default();
        let end = 128 * (DigestLog::ENTRIES_MAX as i64 + 2);
        for zxid in 1..=end {
            log.note(Zxid(zxid), zxid as u64 + 1);
        }
        let kept: Vec<_> = log.iter().collect();
        assert_eq!(kept.len(), DigestLog::ENTRIES_MAX);
        assert_eq!(kept[0], (Zxid(128 * 3), 128 * 3 + 1));
        assert_eq!(kept[1023].0, Zxid(end));
    }
}
