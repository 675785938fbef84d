//! Which reigns a history is made of. It tells whether two servers have the same
//! transactions long after those have left their memory.

use std::collections::BTreeMap;

use bytes::Bytes;
use zk_proto::Zxid;

use super::past::header_of;
use crate::LogEntry;

/// The first transaction of each epoch of a history.
///
/// The transactions of an epoch are proposed by one leader, in order and without
/// holes. So two histories with the same first transaction of an epoch have the
/// same ones after it, as far as each of them goes. Where members have lost their
/// disks and an epoch was begun anew, the first transactions differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reigns(BTreeMap<Zxid, Reign>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Reign {
    /// Header of its first transaction.
    first: Bytes,
    /// Zxid of its last transaction in this history.
    last: Zxid,
}

impl Reigns {
    /// Epochs that are remembered.
    const MAX: usize = 1024;

    /// A transaction is part of the history.
    pub(crate) fn note(&mut self, entry: &LogEntry) {
        let start = start_of(entry.zxid);
        if let Some(reign) = self.0.get_mut(&start) {
            reign.last = reign.last.max(entry.zxid);
        } else if entry.zxid == start {
            // A slice would keep the whole transaction.
            let first = Bytes::copy_from_slice(header_of(entry));
            self.0.insert(
                start,
                Reign {
                    first,
                    last: entry.zxid,
                },
            );
            if self.0.len() > Self::MAX {
                self.0.pop_first();
            }
        }
    }

    /// Header of the transaction with this zxid, if it is the first of its epoch.
    pub(super) fn header(&self, zxid: Zxid) -> Option<&[u8]> {
        self.0.get(&zxid).map(|reign| &reign.first[..])
    }

    /// For a history that ends at `end`: header of the first transaction of the
    /// newest epoch that it can have in common with this one, and how far both go.
    pub(super) fn common(&self, end: Zxid) -> Option<(&[u8], Zxid)> {
        let (_, reign) = self.0.range(..=end).next_back()?;
        Some((&reign.first, reign.last.min(end)))
    }

    /// The history ends at this zxid now.
    pub(super) fn cut_after(&mut self, end: Zxid) {
        self.0.retain(|start, _| *start <= end);
        for reign in self.0.values_mut() {
            reign.last = reign.last.min(end);
        }
    }
}

/// Zxid of the first transaction of the same epoch.
const fn start_of(zxid: Zxid) -> Zxid {
    Zxid::new(zxid.epoch(), 1)
}

#[cfg(test)]
mod tests {
    use zk_proto::Epoch;

    use super::super::tests::entry;
    use super::*;

    const fn z(epoch: i64, counter: u32) -> Zxid {
        Zxid::new(Epoch(epoch), counter)
    }

    fn reigns(zxids: impl IntoIterator<Item = Zxid>) -> Reigns {
        let mut reigns = Reigns::default();
        zxids.into_iter().for_each(|zxid| reigns.note(&entry(zxid)));
        reigns
    }

    #[test]
    fn what_is_common_ends_where_either_history_ends() {
        let known = reigns([z(1, 7), z(1, 8), z(2, 1), z(2, 2), z(2, 3), z(4, 1)]);
        let common = |end| known.common(end).map(|(_, through)| through);
        // Its first transaction is not known.
        assert_eq!(common(z(1, 8)), None);
        assert_eq!(common(z(2, 0)), None);
        for (end, through) in [
            (z(2, 1), z(2, 1)),
            (z(2, 2), z(2, 2)),
            (z(2, 9), z(2, 3)),
            (z(3, 5), z(2, 3)),
            (z(4, 0), z(2, 3)),
            (z(4, 9), z(4, 1)),
        ] {
            assert_eq!(common(end), Some(through), "{end}");
        }
        let first = entry(z(2, 1));
        assert_eq!(known.header(z(2, 1)), Some(header_of(&first)));
        assert_eq!(known.common(z(2, 3)).unwrap().0, header_of(&first));
        assert_eq!(known.header(z(2, 2)), None);
    }

    #[test]
    fn what_is_cut_off_is_forgotten() {
        let mut known = reigns([z(1, 1), z(1, 2), z(1, 3), z(2, 1)]);
        known.cut_after(z(1, 2));
        assert_eq!(known, reigns([z(1, 1), z(1, 2)]));
    }

    #[test]
    fn only_the_newest_epochs_are_kept() {
        let epochs = Reigns::MAX as i64 + 2;
        let known = reigns((1..=epochs).map(|epoch| z(epoch, 1)));
        assert_eq!(known.0.len(), Reigns::MAX);
        assert!(known.header(z(2, 1)).is_none() && known.header(z(3, 1)).is_some());
    }
}
