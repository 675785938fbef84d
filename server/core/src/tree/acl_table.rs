//! Access control lists, each kept once (reference: `ReferenceCountedACLCache`).

use std::collections::BTreeMap;
use std::sync::Arc;

use zk_proto::client::{Acl, Id};

use super::cow_vec::CowVec;

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

    /// As [`Self::number`] gave it.
    pub(super) const fn from_number(number: u64) -> Self {
        Self(number as u32)
    }

    pub(super) const fn number(self) -> u64 {
        self.0 as u64
    }

    /// Is it there whether it is used or not?
    fn is_pinned(self) -> bool {
        self == Self::OPEN || self == Self::UNKNOWN
    }
}

/// The lists at their places; a clone is cheap and stays as it was.
pub(super) type AclLists = CowVec<Option<Arc<[Acl]>>>;

/// Lists with the number of znodes that use each. Lists without use go away.
pub(super) struct AclTable {
    lists: AclLists,
    uses: Vec<u64>,
    free: Vec<u32>,
    by_list: BTreeMap<Arc<[Acl]>, u32>,
}

impl AclTable {
    pub(super) fn new() -> Self {
        let nobody = Acl {
            perms: 0,
            id: Id::anyone(),
        };
        let mut lists = AclLists::new();
        for pinned in [Acl::open(), nobody] {
            lists.push(Some(Arc::from([pinned])));
        }
        Self {
            uses: vec![0; lists.len()],
            lists,
            free: Vec::new(),
            by_list: BTreeMap::new(),
        }
    }

    pub(super) fn get(&self, slot: AclSlot) -> &Arc<[Acl]> {
        let list = self.lists.get(slot.0 as usize);
        list.as_ref().expect("a list in use")
    }

    /// All lists, to be looked at later.
    pub(super) fn lists(&self) -> AclLists {
        self.lists.clone()
    }

    /// Counts one more use of this list.
    pub(super) fn add(&mut self, list: &[Acl]) -> AclSlot {
        if let [entry] = list
            && entry.is_open()
        {
            return AclSlot::OPEN;
        }
        if let Some(&at) = self.by_list.get(list) {
            self.uses[at as usize] += 1;
            return AclSlot(at);
        }
        let list: Arc<[Acl]> = list.into();
        let at = match self.free.pop() {
            Some(at) => {
                *self.lists.get_mut(at as usize) = Some(list.clone());
                self.uses[at as usize] = 1;
                at
            }
            None => {
                self.lists.push(Some(list.clone()));
                self.uses.push(1);
                u32::try_from(self.lists.len() - 1)
                    .expect("fewer lists than znodes, which are fewer than 2^32")
            }
        };
        self.by_list.insert(list, at);
        AclSlot(at)
    }

    /// Counts one more use of a list that is in use.
    pub(super) fn add_again(&mut self, slot: AclSlot) {
        if !slot.is_pinned() {
            self.uses[slot.0 as usize] += 1;
        }
    }

    /// Counts one use less.
    pub(super) fn remove(&mut self, slot: AclSlot) {
        if slot.is_pinned() {
            return;
        }
        let uses = &mut self.uses[slot.0 as usize];
        *uses -= 1;
        if *uses == 0 {
            let list = self.lists.get_mut(slot.0 as usize).take();
            self.by_list.remove(&list.expect("a list in use"));
            self.free.push(slot.0);
        }
    }
}

/// The lists in use, in an order that depends on nothing but the lists.
pub(super) fn sorted(lists: &AclLists) -> Vec<(AclSlot, &[Acl])> {
    let mut found: Vec<_> = (0..)
        .map(AclSlot)
        .zip(lists.iter())
        .filter(|(slot, _)| !slot.is_pinned())
        .filter_map(|(slot, list)| Some((slot, list.as_deref()?)))
        .collect();
    found.sort_by_key(|(_, list)| *list);
    found
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
        let before = table.lists();
        assert_eq!(sorted(&before), [(b, &list("b")[..])]);
        assert_eq!(table.add(&list("c")), a, "the place is used again");
        assert_eq!(sorted(&table.lists()).len(), 2);
        assert_eq!(sorted(&before).len(), 1, "those lists stay as they were");
    }
}
