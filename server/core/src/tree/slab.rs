//! All znodes by number.

use std::sync::Arc;

use zk_proto::client::StatPersisted;

use super::acl_table::AclSlot;
use super::chunk::{CHUNK_SLOTS, Chunk, Family, Slot, SlotId};
use super::cow_vec::CowVec;
use super::record::write_record;

/// Znodes to look at; a clone is cheap and stays as it was.
#[derive(Clone)]
pub(super) struct Slots {
    chunks: CowVec<Option<Arc<Chunk>>>,
}

/// Znodes to change.
pub(super) struct Slab {
    slots: Slots,
    /// Of the last chunk.
    used: usize,
    free: Vec<SlotId>,
    /// Holds a record while it is made.
    record: Vec<u8>,
}

/// What a znode consists of beside its name and its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content<'a> {
    pub(super) data: Option<&'a [u8]>,
    pub(super) acl: AclSlot,
    pub(super) stat: StatPersisted,
}

/// Where a new znode belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) parent: SlotId,
    /// The last child so far.
    pub(super) prev: Option<SlotId>,
    /// Of the full path.
    pub(super) hash: u32,
    /// What `node_digest` says.
    pub(super) digest: u32,
}

impl Slots {
    pub(super) fn slot(&self, id: SlotId) -> &Slot {
        self.chunk(id).slot(index(id))
    }

    pub(super) fn family(&self, id: SlotId) -> Family {
        self.chunk(id).family(index(id))
    }

    /// Name and content.
    pub(super) fn znode(&self, id: SlotId) -> (&str, Content<'_>) {
        let chunk = self.chunk(id);
        let record = chunk.record(index(id));
        let content = Content {
            data: chunk.data(index(id), &record),
            acl: record.acl,
            stat: record.stat,
        };
        (text(record.name), content)
    }

    pub(super) fn name(&self, id: SlotId) -> &str {
        text(self.name_bytes(id))
    }

    pub(super) fn name_bytes(&self, id: SlotId) -> &[u8] {
        self.chunk(id).name(index(id))
    }

    /// Appends the full path; nothing for the root.
    pub(super) fn write_path(&self, id: SlotId, out: &mut String) {
        let parent = self.slot(id).parent;
        if parent != SlotId::NONE {
            self.write_path(parent, out);
            out.push('/');
            out.push_str(self.name(id));
        }
    }

    fn chunk(&self, id: SlotId) -> &Chunk {
        let chunk = self.chunks.get(chunk_of(id));
        chunk.as_deref().expect("a number that was handed out")
    }

    fn chunk_mut(&mut self, id: SlotId) -> &mut Chunk {
        self.chunk_at_mut(chunk_of(id))
    }

    fn chunk_at_mut(&mut self, at: usize) -> &mut Chunk {
        let chunk = self.chunks.get_mut(at);
        Arc::make_mut(chunk.as_mut().expect("a number that was handed out"))
    }
}

impl Slab {
    pub(super) const fn new() -> Self {
        Self {
            slots: Slots {
                chunks: CowVec::new(),
            },
            used: CHUNK_SLOTS,
            free: Vec::new(),
            record: Vec::new(),
        }
    }

    pub(super) const fn slots(&self) -> &Slots {
        &self.slots
    }

    pub(super) fn slot_mut(&mut self, id: SlotId) -> &mut Slot {
        self.slots.chunk_mut(id).slot_mut(index(id))
    }

    pub(super) fn set_family(&mut self, id: SlotId, family: Family) {
        self.slots.chunk_mut(id).set_family(index(id), family);
    }

    /// A new znode, with its place; of its neighbours only the last child so
    /// far knows it yet. One that is the first child comes before itself.
    pub(super) fn insert(&mut self, name: &str, content: &Content<'_>, place: &Place) -> SlotId {
        let id = self.free.pop().unwrap_or_else(|| self.fresh());
        let Content { data, acl, stat } = content;
        let chunk = self.slots.chunk_mut(id);
        let base = chunk.base_for(stat);
        self.record.clear();
        write_record(&mut self.record, name.as_bytes(), *data, *acl, stat, base);
        chunk.put(index(id), &self.record);
        chunk.put_large(index(id), *data);
        let slot = chunk.slot_mut(index(id));
        slot.parent = place.parent;
        slot.prev = place.prev.unwrap_or(id);
        slot.hash = place.hash;
        slot.digest = place.digest;
        match place.prev {
            Some(prev) if chunk_of(prev) == chunk_of(id) => chunk.slot_mut(index(prev)).next = id,
            Some(prev) => self.slot_mut(prev).next = id,
            None => {}
        }
        id
    }

    /// All znodes but the first `from`, while none was ever removed.
    pub(super) fn added_after(&self, from: usize) -> impl ExactSizeIterator<Item = SlotId> + Clone {
        let end = self.slots.chunks.len() * CHUNK_SLOTS - (CHUNK_SLOTS - self.used);
        debug_assert!(self.free.is_empty(), "numbers were used again");
        (from..end).map(|number| {
            let id = number / CHUNK_SLOTS * CHUNK_IDS + number % CHUNK_SLOTS;
            SlotId(id as u32)
        })
    }

    /// Replaces numbers and ACL, and the data unless that is `None`.
    pub(super) fn rewrite(
        &mut self,
        id: SlotId,
        data: Option<Option<&[u8]>>,
        acl: AclSlot,
        stat: &StatPersisted,
    ) {
        let (name, old) = self.slots.znode(id);
        let all = data.unwrap_or(old.data);
        self.record.clear();
        let base = self.slots.chunk(id).base();
        write_record(&mut self.record, name.as_bytes(), all, acl, stat, base);
        let chunk = self.slots.chunk_mut(id);
        chunk.put(index(id), &self.record);
        if let Some(data) = data {
            chunk.put_large(index(id), data);
        }
    }

    /// Forgets a znode that has no place in the tree any more.
    pub(super) fn remove(&mut self, id: SlotId) {
        self.slots.chunk_mut(id).clear(index(id));
        self.free.push(id);
    }

    fn fresh(&mut self) -> SlotId {
        if self.used == CHUNK_SLOTS {
            self.used = 0;
            // The next chunk will probably hold as much as the last one does.
            let heap_bytes = match self.slots.chunks.len() {
                0 => 0,
                count => self.slots.chunk_at_mut(count - 1).trim(),
            };
            let chunk = Chunk::with_room(heap_bytes);
            self.slots.chunks.push(Some(Arc::new(chunk)));
        }
        let at = (self.slots.chunks.len() - 1) * CHUNK_IDS + self.used;
        self.used += 1;
        let id = SlotId(u32::try_from(at).expect("fewer than four thousand million znodes"));
        assert!(id != SlotId::NONE, "the last number stands for none");
        id
    }
}

const fn chunk_of(id: SlotId) -> usize {
    id.0 as usize / CHUNK_IDS
}

const fn index(id: SlotId) -> usize {
    id.0 as usize % CHUNK_IDS
}

fn text(name: &[u8]) -> &str {
    str::from_utf8(name).expect("it was cut out of a text")
}

/// Numbers of a chunk. The last of them have no slot.
const CHUNK_IDS: usize = 128;
