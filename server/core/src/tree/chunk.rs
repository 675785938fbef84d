//! Some dozens of znodes that are copied together.

use std::sync::Arc;

use zk_proto::client::StatPersisted;

use super::record::{Base, Data, INLINE_BYTES_MAX, Record};

/// Where a znode is kept; a number below 2^32 that is used again after the
/// znode has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SlotId(pub(super) u32);

impl SlotId {
    /// Of no znode.
    pub(super) const NONE: Self = Self(u32::MAX);
}

/// What all znodes have, and have in the same size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// Where the record starts.
    at: u32,
    pub(super) parent: SlotId,
    /// The next child of the same parent.
    pub(super) next: SlotId,
    /// The child before; before the first comes the last.
    pub(super) prev: SlotId,
    /// Of the full path.
    pub(super) hash: u32,
    /// What `node_digest` says.
    pub(super) digest: u32,
}

/// The children of one znode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    pub(super) first: SlotId,
    pub(super) count: u32,
}

/// Slots and the records that belong to them.
#[derive(Clone)]
pub(super) struct Chunk {
    slots: [Slot; CHUNK_SLOTS],
    /// Of those that have children, by slot.
    families: Vec<(u32, Family)>,
    base: Base,
    /// Records, and gaps where records were.
    heap: Vec<u8>,
    gaps: usize,
    /// Data that is in no record, by slot.
    large: Vec<(u32, Arc<[u8]>)>,
}

/// With these the slots of a chunk and what is beside them fill 2 KiB.
pub(super) const CHUNK_SLOTS: usize = 80;

impl Family {
    pub(super) const NONE: Self = Self {
        first: SlotId::NONE,
        count: 0,
    };
}

impl Slot {
    pub(super) const VACANT: Self = Self {
        at: u32::MAX,
        parent: SlotId::NONE,
        next: SlotId::NONE,
        prev: SlotId::NONE,
        hash: 0,
        digest: 0,
    };
}

impl Chunk {
    /// For records of so many bytes in all.
    pub(super) fn with_room(heap_bytes: usize) -> Self {
        Self {
            slots: [Slot::VACANT; CHUNK_SLOTS],
            families: Vec::new(),
            base: Base {
                zxid: 0,
                time_ms: 0,
            },
            heap: Vec::with_capacity(allocation(heap_bytes)),
            gaps: 0,
            large: Vec::new(),
        }
    }

    pub(super) const fn slot(&self, at: usize) -> &Slot {
        &self.slots[at]
    }

    /// The caller leaves the record's place alone.
    pub(super) const fn slot_mut(&mut self, at: usize) -> &mut Slot {
        &mut self.slots[at]
    }

    pub(super) fn family(&self, at: usize) -> Family {
        self.family_at(at)
            .map_or(Family::NONE, |found| self.families[found].1)
    }

    pub(super) fn set_family(&mut self, at: usize, family: Family) {
        match self.family_at(at) {
            Ok(found) if family.count == 0 => drop(self.families.remove(found)),
            Ok(found) => self.families[found].1 = family,
            Err(_) if family.count == 0 => {}
            Err(before) => self.families.insert(before, (at as u32, family)),
        }
    }

    /// Gives back what the records do not need. Returns how long they are.
    pub(super) fn trim(&mut self) -> usize {
        if self.heap.capacity() > allocation(self.heap.len()) {
            self.heap.shrink_to(allocation(self.heap.len()));
        }
        self.heap.len()
    }

    /// What records are written relative to; that of an empty chunk is chosen
    /// for this first one.
    pub(super) fn base_for(&mut self, stat: &StatPersisted) -> Base {
        if self.heap.is_empty() {
            self.base = Base {
                zxid: stat.czxid.0,
                time_ms: stat.ctime,
            };
        }
        self.base
    }

    pub(super) const fn base(&self) -> Base {
        self.base
    }

    pub(super) fn record(&self, at: usize) -> Record<'_> {
        Record::read(self.record_bytes(at), self.base)
    }

    pub(super) fn name(&self, at: usize) -> &[u8] {
        Record::name(self.record_bytes(at))
    }

    /// The data of `record`, which is that of slot `at`.
    pub(super) fn data<'a>(&'a self, at: usize, record: &Record<'a>) -> Option<&'a [u8]> {
        match record.data {
            Data::Null => None,
            Data::Inline(data) => Some(data),
            Data::Large => {
                let found = self.large_at(at).expect("the record says it is here");
                Some(&self.large[found].1)
            }
        }
    }

    /// Replaces the record of a slot, if it has one.
    pub(super) fn put(&mut self, at: usize, record: &[u8]) {
        let old = self.slots[at].at as usize;
        if old != VACANT {
            let length = self.record(at).length;
            if record.len() <= length {
                self.heap[old..old + record.len()].copy_from_slice(record);
                self.gaps += length - record.len();
                return;
            }
            self.gaps += length;
            self.slots[at].at = Slot::VACANT.at;
        }
        self.make_room(record.len());
        let start = u32::try_from(self.heap.len()).expect("some dozens of short records");
        self.slots[at].at = start;
        self.heap.extend_from_slice(record);
    }

    /// Keeps data that is too long for a record, and forgets what the slot
    /// had before.
    pub(super) fn put_large(&mut self, at: usize, data: Option<&[u8]>) {
        let found = self.large_at(at);
        match (found, data.filter(|data| data.len() > INLINE_BYTES_MAX)) {
            (Ok(found), Some(data)) => self.large[found].1 = data.into(),
            (Ok(found), None) => drop(self.large.remove(found)),
            (Err(before), Some(data)) => self.large.insert(before, (at as u32, data.into())),
            (Err(_), None) => {}
        }
    }

    /// Forgets a znode.
    pub(super) fn clear(&mut self, at: usize) {
        self.gaps += self.record(at).length;
        self.put_large(at, None);
        self.set_family(at, Family::NONE);
        self.slots[at] = Slot::VACANT;
        if self.gaps == self.heap.len() {
            self.heap = Vec::new();
            self.gaps = 0;
        } else if self.gaps * 2 > self.heap.len() {
            self.rebuild(0);
        }
    }

    fn record_bytes(&self, at: usize) -> &[u8] {
        &self.heap[self.slots[at].at as usize..]
    }

    fn large_at(&self, at: usize) -> Result<usize, usize> {
        self.large
            .binary_search_by_key(&(at as u32), |(slot, _)| *slot)
    }

    fn family_at(&self, at: usize) -> Result<usize, usize> {
        self.families
            .binary_search_by_key(&(at as u32), |(slot, _)| *slot)
    }

    /// Grows by steps as the allocator has them anyway, or closes the gaps.
    fn make_room(&mut self, bytes: usize) {
        if self.heap.len() + bytes <= self.heap.capacity() {
            return;
        }
        if self.gaps * GAPS_SHARE >= self.heap.len() {
            self.rebuild(bytes);
        } else {
            let wanted = allocation(self.heap.len() + bytes);
            self.heap.reserve_exact(wanted - self.heap.len());
        }
    }

    /// Moves the records together, with room for some bytes more.
    fn rebuild(&mut self, room: usize) {
        let live = self.heap.len() - self.gaps;
        let mut heap = Vec::with_capacity(allocation(live + room));
        for at in 0..CHUNK_SLOTS {
            if self.slots[at].at != Slot::VACANT.at {
                let start = heap.len() as u32;
                let bytes = self.record_bytes(at);
                heap.extend_from_slice(&bytes[..Record::read(bytes, self.base).length]);
                self.slots[at].at = start;
            }
        }
        debug_assert_eq!(heap.len(), live, "what is neither live nor a gap");
        self.heap = heap;
        self.gaps = 0;
    }
}

/// Four sizes for each power of two, as common allocators have them.
const fn allocation(bytes: usize) -> usize {
    const BYTES_MIN: usize = 256;
    if bytes <= BYTES_MIN {
        return BYTES_MIN;
    }
    let step = 1 << ((bytes - 1).ilog2() - 2);
    bytes.next_multiple_of(step)
}

const VACANT: usize = Slot::VACANT.at as usize;
/// Gaps are closed instead of growth from this part of the bytes on.
const GAPS_SHARE: usize = 8;

#[cfg(test)]
mod tests {
    use super::super::acl_table::AclSlot;
    use super::super::record::write_record;
    use super::*;

    #[test]
    fn a_chunk_fills_what_allocators_hand_out() {
        const ARC_BYTES: usize = 16;
        assert!(size_of::<Chunk>() + ARC_BYTES <= 2048);
        let sizes = [
            (1, 256),
            (257, 320),
            (320, 320),
            (1025, 1280),
            (8200, 10240),
        ];
        for (bytes, want) in sizes {
            assert_eq!(allocation(bytes), want);
        }
    }

    #[test]
    fn records_survive_their_neighbours() {
        let mut chunk = Chunk::with_room(0);
        let mut model = vec![None; CHUNK_SLOTS];
        let mut random = 1_u64;
        for round in 0..20_000_usize {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let at = random as usize % CHUNK_SLOTS;
            if model[at].is_some() && random >> 32 & 3 == 0 {
                chunk.clear(at);
                model[at] = None;
            } else {
                let data = vec![round as u8; (random >> 16) as usize % 700];
                let mut record = Vec::new();
                let stat = StatPersisted {
                    ctime: round as i64,
                    ..StatPersisted::default()
                };
                let base = chunk.base_for(&stat);
                write_record(&mut record, b"n", Some(&data), AclSlot::OPEN, &stat, base);
                chunk.put(at, &record);
                chunk.put_large(at, Some(&data));
                model[at] = Some(data);
            }
            let live: usize = (0..CHUNK_SLOTS)
                .filter(|at| model[*at].is_some())
                .map(|at| chunk.record(at).length)
                .sum();
            assert_eq!(chunk.heap.len() - chunk.gaps, live);
        }
        for (at, data) in model.iter().enumerate() {
            assert_eq!(chunk.slot(at).at == Slot::VACANT.at, data.is_none());
            if let Some(data) = data {
                assert_eq!(chunk.data(at, &chunk.record(at)), Some(&data[..]));
            }
        }
        assert_eq!(
            chunk.large.len(),
            model
                .iter()
                .flatten()
                .filter(|data| data.len() > INLINE_BYTES_MAX)
                .count()
        );
    }
}
