//! All proposals of a run and which of them were committed.

use std::collections::{BTreeMap, BTreeSet};

use zk_proto::{Epoch, Zxid};

/// All proposals of a run. Each has one predecessor, the end of the log of the
/// leader that made it, so that they form a tree, and every log is a path.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    proposals: BTreeMap<Zxid, Proposal>,
    /// With what log the leader of an epoch was established.
    starts: BTreeMap<Epoch, Zxid>,
    committed: BTreeSet<Zxid>,
    tip: Zxid,
}

/// A transaction as its leader made it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proposal {
    /// The one before it.
    pub(super) parent: Zxid,
    /// Of its bytes.
    pub(super) digest: u64,
}

impl Ledger {
    pub(super) fn proposal(&self, zxid: Zxid) -> Option<Proposal> {
        self.proposals.get(&zxid).copied()
    }

    pub(super) fn propose(&mut self, zxid: Zxid, proposal: Proposal) {
        self.proposals.insert(zxid, proposal);
    }

    pub(super) fn start(&mut self, epoch: Epoch, tip: Zxid) {
        self.starts.insert(epoch, tip);
    }

    /// A tree may stand at the start of an epoch; this is its last transaction.
    pub(super) fn transaction(&self, zxid: Zxid) -> Zxid {
        if zxid.counter() != 0 {
            return zxid;
        }
        self.starts.get(&zxid.epoch()).copied().unwrap_or_default()
    }

    pub(super) fn is_committed(&self, zxid: Zxid) -> bool {
        zxid == Zxid::ZERO || self.committed.contains(&zxid)
    }

    pub(super) fn commit(&mut self, path: &[Zxid]) {
        self.committed.extend(path);
        self.tip = path.iter().copied().fold(self.tip, Zxid::max);
    }

    /// The newest committed one.
    pub(super) const fn tip(&self) -> Zxid {
        self.tip
    }

    /// The newest committed one of earlier epochs.
    pub(super) fn tip_before(&self, epoch: Epoch) -> Zxid {
        let earlier = self.committed.range(..Zxid::new(epoch, 0));
        earlier.last().copied().unwrap_or_default()
    }

    pub(super) fn committed(&self) -> usize {
        self.committed.len()
    }
}

/// FNV-1a.
pub(super) fn digest(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}
