//! Access control lists, each kept once (reference: `ReferenceCountedACLCache`).

use std::collections::BTreeMap;
use std::sync::Arc;

use zk_proto::client::{Acl, Id};

/// Place of a list in the [`AclTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AclSlot(u32);

impl AclSlot {
    /// `world:anyone` with all permissions; counts nothing and is not part of
    /// the table in an image.
    pub(super) const OPEN: Self = Self(0);
    /// A number that an image's table does not hold. Grants nothing; the
    /// reference fails every request for such a znode until a replayed
    /// transaction has given it a list.
    pub(super) const UNKNOWN: Self = Self(1);
}

/// Lists with the number of znodes that use each. Lists without use go away.
pub(super) struct AclTable {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_list: BTreeMap<Arc<[Acl]>, u32>,
}

struct Slot {
    list: Arc<[Acl]>,
    uses: u64,
}

impl AclTable {
    pub(super) fn new() -> Self {
        let pinned = |list: Acl| Slot {
            list: Arc::from([list]),
            uses: 0,
        };
        let nobody = Acl {
            perms: 0,
            id: Id::anyone(),
        };
        Self {
            slots: vec![pinned(Acl::open()), pinned(nobody)],
            free: Vec::new(),
            by_list: BTreeMap::new(),
        }
    }

    pub(super) fn get(&self, slot: AclSlot) -> &Arc<[Acl]> {
        &self.slots[slot.0 as usize].list
    }

    /// Counts one more use of this list.
    pub(super) fn add(&mut self, list: &[Acl]) -> AclSlot {
        if let [entry] = list
            && entry.is_open()
        {
            return AclSlot::OPEN;
        }
        if let Some(&at) = self.by_list.get(list) {
            self.slots[at as usize].uses += 1;
            return AclSlot(at);
        }
        let list: Arc<[Acl]> = list.into();
        let slot = Slot {
            list: list.clone(),
            uses: 1,
        };
        let at = match self.free.pop() {
            Some(at) => {
                self.slots[at as usize] = slot;
                at
            }
            None => {
                self.slots.push(slot);
                u32::try_from(self.slots.len() - 1)
                    .expect("fewer lists than znodes, which are fewer than 2^32")
            }
        };
        self.by_list.insert(list, at);
        AclSlot(at)
    }

    /// Counts one use less.
    pub(super) fn remove(&mut self, slot: AclSlot) {
        if slot == AclSlot::OPEN || slot == AclSlot::UNKNOWN {
            return;
        }
        let entry = &mut self.slots[slot.0 as usize];
        entry.uses -= 1;
        if entry.uses == 0 {
            self.by_list.remove(&entry.list);
            entry.list = Arc::from([]);
            self.free.push(slot.0);
        }
    }

    /// The lists in use, in an order that depends on nothing but the lists.
    pub(super) fn lists(&self) -> impl ExactSizeIterator<Item = (AclSlot, &[Acl])> {
        self.by_list
            .iter()
            .map(|(list, at)| (AclSlot(*at), &**list))
    }

    /// Exclusive bound of the numbers in use.
    pub(super) fn slot_count(&self) -> usize {
        self.slots.len()
    }

    pub(super) const fn index(slot: AclSlot) -> usize {
        slot.0 as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_lives_as_long_as_its_uses() {
        let list = |id: &str| {
            vec![Acl {
                perms: 1,
                id: Id {
                    scheme: "ip".into(),
                    id: id.into(),
                },
            }]
        };
        let mut table = AclTable::new();
        assert_eq!(table.add(&[Acl::open()]), AclSlot::OPEN);
        let (a, b) = (table.add(&list("a")), table.add(&list("b")));
        assert_ne!(a, b);
        assert_eq!(table.add(&list("a")), a);
        table.remove(a);
        assert_eq!(**table.get(a), list("a")[..]);
        table.remove(a);
        assert_eq!(table.lists().map(|(slot, _)| slot).collect::<Vec<_>>(), [b]);
        assert_eq!(table.add(&list("c")), a, "the place is used again");
    }
}
