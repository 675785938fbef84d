//! Znodes with their places: by path, and as children of their parents.

use zk_proto::client::StatPersisted;

use super::acl_table::AclSlot;
use super::chunk::{Family, Slot, SlotId};
use super::index::{PathIndex, path_hash};
use super::path;
use super::slab::{Content, Place, Slab, Slots};

/// All znodes of a tree. Children stand in the order of their creation.
pub(super) struct Nodes {
    slab: Slab,
    index: PathIndex,
    root: SlotId,
}

/// The names of a znode's children.
pub(super) struct Children<'a> {
    slots: &'a Slots,
    next: SlotId,
    left: usize,
}

impl Nodes {
    pub(super) fn new() -> Self {
        Self {
            slab: Slab::new(),
            index: PathIndex::new(),
            root: SlotId::NONE,
        }
    }

    pub(super) const fn slots(&self) -> &Slots {
        self.slab.slots()
    }

    pub(super) const fn len(&self) -> usize {
        self.index.len()
    }

    /// [`SlotId::NONE`] while there is not even a root.
    pub(super) const fn root(&self) -> SlotId {
        self.root
    }

    /// The znode at this path. "" is another name of the root.
    pub(super) fn find(&self, path: &str) -> Option<SlotId> {
        let path = canonical(path);
        let hash = path_hash(path);
        let slots = self.slots();
        self.index.find(hash, |id| {
            slots.slot(*id).hash == hash && is_at(slots, *id, path)
        })
    }

    /// Puts a znode below its parent, or the root where there was none. The
    /// path is that of a new znode, and `digest` is that of the content.
    pub(super) fn insert(
        &mut self,
        parent: SlotId,
        path: &str,
        content: &Content<'_>,
        digest: u32,
    ) -> SlotId {
        let path = canonical(path);
        let name = if parent == SlotId::NONE {
            ""
        } else {
            path::name(path)
        };
        let hash = path_hash(path);
        let Family { first, count } = match parent {
            SlotId::NONE => Family::NONE,
            parent => self.slots().family(parent),
        };
        let last = (first != SlotId::NONE).then(|| self.slots().slot(first).prev);
        let place = Place {
            parent,
            prev: last,
            hash,
            digest,
        };
        let id = self.slab.insert(name, content, &place);
        if parent == SlotId::NONE {
            self.root = id;
        } else {
            let family = Family {
                first: if last.is_some() { first } else { id },
                count: count + 1,
            };
            self.slab.set_family(parent, family);
        }
        if let Some(last) = last {
            self.slab.slot_mut(last).next = id;
            self.slab.slot_mut(first).prev = id;
        }
        let slots = self.slab.slots();
        self.index.insert(hash, id, |id| slots.slot(id).hash);
        id
    }

    /// Takes a znode without children out.
    pub(super) fn remove(&mut self, id: SlotId) {
        let Slot { parent, hash, .. } = *self.slots().slot(id);
        assert!(self.slots().family(id).count == 0, "its children go first");
        self.index.remove(hash, id);
        if parent == SlotId::NONE {
            self.root = SlotId::NONE;
        } else {
            self.unlink(parent, id);
        }
        self.slab.remove(id);
    }

    /// Replaces numbers, ACL and digest; the data is kept where it is `None`.
    pub(super) fn rewrite(
        &mut self,
        id: SlotId,
        data: Option<Option<&[u8]>>,
        acl: AclSlot,
        stat: &StatPersisted,
        digest: u32,
    ) {
        self.slab.rewrite(id, data, acl, stat);
        self.slab.slot_mut(id).digest = digest;
    }

    /// Room for so many znodes.
    pub(super) fn reserve(&mut self, total: usize) {
        let slots = self.slab.slots();
        self.index.reserve(total, |id| slots.slot(id).hash);
    }

    fn unlink(&mut self, parent: SlotId, id: SlotId) {
        let Slot { next, prev, .. } = *self.slots().slot(id);
        let Family { first, count } = self.slots().family(parent);
        let rest = Family {
            first: if first == id { next } else { first },
            count: count - 1,
        };
        self.slab.set_family(parent, rest);
        if first != id {
            self.slab.slot_mut(prev).next = next;
        }
        // Before the first comes the last.
        let after = match next {
            SlotId::NONE if first == id => return,
            SlotId::NONE => first,
            next => next,
        };
        self.slab.slot_mut(after).prev = prev;
    }
}

impl<'a> Children<'a> {
    pub(super) fn of(slots: &'a Slots, parent: SlotId) -> Self {
        let Family { first, count } = slots.family(parent);
        Self {
            slots,
            next: first,
            left: count as usize,
        }
    }
}

impl<'a> Iterator for Children<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.next == SlotId::NONE {
            return None;
        }
        let name = self.slots.name(self.next);
        self.next = self.slots.slot(self.next).next;
        self.left -= 1;
        Some(name)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Children<'_> {}

/// The reference keeps the root under both names.
fn canonical(path: &str) -> &str {
    if path == "/" { "" } else { path }
}

/// Compares names from the last to the first; parents are mostly at hand.
fn is_at(slots: &Slots, mut id: SlotId, path: &str) -> bool {
    let mut rest = path.as_bytes();
    loop {
        let parent = slots.slot(id).parent;
        if parent == SlotId::NONE {
            return rest.is_empty();
        }
        let before = rest
            .strip_suffix(slots.name_bytes(id))
            .and_then(|before| before.strip_suffix(b"/"));
        match before {
            Some(before) => rest = before,
            None => return false,
        }
        id = parent;
    }
}
