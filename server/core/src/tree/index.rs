//! Where the znode of a path is.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

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

    /// Adds many, table by table: each is then in a core's own cache and
    /// grows once.
    ///
    /// # Errors
    /// With one that is the same as another.
    pub(super) fn extend(
        &mut self,
        new: impl ExactSizeIterator<Item = SlotId> + Clone,
        hash_of: impl Fn(SlotId) -> u32,
        is_same: impl Fn(SlotId, SlotId) -> bool,
    ) -> Result<(), SlotId> {
        let rehash = |id: &SlotId| spread(hash_of(*id));
        let mut add = |table: &mut HashTable<SlotId>, hash: u32, id: SlotId| {
            match table.entry(spread(hash), |other| is_same(*other, id), rehash) {
                Entry::Vacant(place) => place.insert(id),
                Entry::Occupied(_) => return Err(id),
            };
            self.len += 1;
            Ok(())
        };
        if new.len() < SHARDS {
            for id in new {
                let hash = hash_of(id);
                add(&mut self.shards[shard(hash)], hash, id)?;
            }
            return Ok(());
        }
        // Where the entries of each table end; first their number.
        let mut ends = vec![0; SHARDS];
        for id in new.clone() {
            ends[shard(hash_of(id))] += 1;
        }
        let mut total = 0;
        for end in &mut ends {
            total += *end;
            *end = total;
        }
        let mut sorted = vec![(0, SlotId::NONE); total];
        let mut places = ends.clone();
        for id in new {
            let hash = hash_of(id);
            let place = &mut places[shard(hash)];
            *place -= 1;
            sorted[*place] = (hash, id);
        }
        let mut start = 0;
        for (table, end) in self.shards.iter_mut().zip(ends) {
            table.reserve(end - start, rehash);
            for (hash, id) in &sorted[start..end] {
                add(table, *hash, *id)?;
            }
            start = end;
        }
        Ok(())
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
