//! Where the znode of a path is.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::chunk::SlotId;

/// Numbers of znodes by the hash of their path, in many small tables: growth
/// of one is over in some µs, and never is the whole rehashed at once.
pub(super) struct PathIndex {
    shards: Box<[HashTable<SlotId>]>,
    len: usize,
}

impl PathIndex {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| HashTable::new()).collect(),
            len: 0,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn find(&self, hash: u32, is_it: impl FnMut(&SlotId) -> bool) -> Option<SlotId> {
        self.shards[shard(hash)].find(spread(hash), is_it).copied()
    }

    /// The caller has made sure that the path is new.
    pub(super) fn insert(&mut self, hash: u32, id: SlotId, hash_of: impl Fn(SlotId) -> u32) {
        let hash_of = |id: &SlotId| spread(hash_of(*id));
        self.shards[shard(hash)].insert_unique(spread(hash), id, hash_of);
        self.len += 1;
    }

    pub(super) fn remove(&mut self, hash: u32, id: SlotId) {
        let found = self.shards[shard(hash)].find_entry(spread(hash), |other| *other == id);
        found.expect("every znode is here").remove();
        self.len -= 1;
    }

    /// Makes room for so many at once, where that is known.
    pub(super) fn reserve(&mut self, total: usize, hash_of: impl Fn(SlotId) -> u32) {
        let each = total / SHARDS + 1;
        for shard in &mut self.shards {
            shard.reserve(each.saturating_sub(shard.len()), |id| spread(hash_of(*id)));
        }
    }
}

/// Hash of a full path, the root's being "".
pub(super) fn path_hash(path: &str) -> u32 {
    const STATE: FixedState = FixedState::with_seed(0x7a6b);
    (STATE.hash_one(path) >> 32) as u32
}

/// By the high bits.
const fn shard(hash: u32) -> usize {
    ((hash as u64 * SHARDS as u64) >> 32) as usize
}

/// A table looks at the low and at the highest bits.
const fn spread(hash: u32) -> u64 {
    (hash as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A million znodes are some 200 in each, six million some 1200.
const SHARDS: usize = 5120;
