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

/// The children of one znode, with the last of them at hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Siblings {
    family: Family,
    /// [`SlotId::NONE`] if there is none.
    last: SlotId,
}

impl Siblings {
    pub(super) const fn is_empty(&self) -> bool {
        self.family.count == 0
    }
}

impl Default for Siblings {
    fn default() -> Self {
        Self {
            family: Family::NONE,
            last: SlotId::NONE,
        }
    }
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
        let mut siblings = match parent {
            SlotId::NONE => Siblings::default(),
            parent => self.children(parent),
        };
        let id = self.append(parent, &mut siblings, path, content, digest);
        if parent != SlotId::NONE {
            self.set_children(parent, siblings);
        }
        let slots = self.slab.slots();
        self.index
            .insert(slots.slot(id).hash, id, |id| slots.slot(id).hash);
        id
    }

    /// The same where parent and index are told of many later: by
    /// [`Self::set_children`] and [`Self::index_appended`].
    pub(super) fn append(
        &mut self,
        parent: SlotId,
        siblings: &mut Siblings,
        path: &str,
        content: &Content<'_>,
        digest: u32,
    ) -> SlotId {
        let path = canonical(path);
        let is_root = parent == SlotId::NONE;
        let name = if is_root { "" } else { path::name(path) };
        let is_first = siblings.family.count == 0;
        let place = Place {
            parent,
            prev: (!is_first).then_some(siblings.last),
            hash: path_hash(path),
            digest,
        };
        let id = self.slab.insert(name, content, &place);
        if is_root {
            self.root = id;
        }
        if is_first {
            siblings.family.first = id;
        }
        siblings.family.count += 1;
        siblings.last = id;
        id
    }

    /// The children of a znode.
    pub(super) fn children(&self, parent: SlotId) -> Siblings {
        let family = self.slots().family(parent);
        let last = match family.first {
            SlotId::NONE => SlotId::NONE,
            first => self.slots().slot(first).prev,
        };
        Siblings { family, last }
    }

    /// Number of znodes below one, by walking all of them: some ns for each,
    /// without memory.
    pub(super) fn count_below(&self, top: SlotId) -> usize {
        let mut count = 0;
        self.visit(top, |_| {
            count += 1;
            true
        });
        count - 1
    }

    /// Visits the znode `top` and those below it, each parent before its
    /// children. Where `visit` returns false, what is below is left out.
    pub(super) fn visit(&self, top: SlotId, mut visit: impl FnMut(SlotId) -> bool) {
        let slots = self.slots();
        let mut at = top;
        loop {
            let first = slots.family(at).first;
            if visit(at) && first != SlotId::NONE {
                at = first;
                continue;
            }
            // Back up to the nearest one that has a next sibling.
            loop {
                if at == top {
                    return;
                }
                let Slot { next, parent, .. } = *slots.slot(at);
                if next != SlotId::NONE {
                    at = next;
                    break;
                }
                at = parent;
            }
        }
    }

    /// Tells a znode of its children.
    pub(super) fn set_children(&mut self, parent: SlotId, children: Siblings) {
        self.slab.set_family(parent, children.family);
        self.slab.slot_mut(children.family.first).prev = children.last;
    }

    /// Makes all that was appended known by path, while nothing was ever
    /// removed.
    ///
    /// # Errors
    /// With one that has the path of another.
    pub(super) fn index_appended(&mut self) -> Result<(), SlotId> {
        let slots = self.slab.slots();
        let added = self.slab.added_after(self.index.len());
        let is_same = |a, b| {
            let (one, other) = (slots.slot(a), slots.slot(b));
            one.hash == other.hash
                && one.parent == other.parent
                && slots.name_bytes(a) == slots.name_bytes(b)
        };
        self.index.extend(added, |id| slots.slot(id).hash, is_same)
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
pub(super) fn canonical(path: &str) -> &str {
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
