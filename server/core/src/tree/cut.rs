//! A tree as it was at one zxid, while the tree itself goes on.

use std::fmt;
use std::sync::Arc;

use zk_proto::Zxid;
use zk_proto::snapshot::{NodeRecord, OPEN_ACL_REF, write_acl_table, write_end, write_sessions};

use super::acl_table::{AclLists, AclSlot, sorted};
use super::chunk::SlotId;
use super::data_tree::Tree;
use super::slab::{Content, Slots};

/// All that a snapshot holds, at exactly one zxid. Taking it costs a step per
/// some thousands of znodes and one per session; later changes of the tree
/// copy what they touch and leave this as it is.
pub struct TreeCut {
    zxid: Zxid,
    digest: u64,
    /// As they are in the image.
    sessions: Vec<u8>,
    acls: AclLists,
    slots: Slots,
    root: SlotId,
}

/// The image of a [`TreeCut`], piece by piece.
pub struct ImageBlocks {
    cut: Arc<TreeCut>,
    /// For each place of a list its number in the image.
    acl_numbers: Vec<i64>,
    /// The znode to write next.
    next: SlotId,
    /// Its full path; "" for the root.
    path: String,
    part: Part,
}

enum Part {
    Head,
    Znodes,
    Done,
}

impl Tree {
    /// This very state, to be written while the tree goes on.
    #[must_use]
    pub fn cut(&self) -> TreeCut {
        let mut sessions = Vec::new();
        let each = self.sessions.iter();
        write_sessions(
            &mut sessions,
            each.map(|(id, timeout_ms)| (*id, *timeout_ms)),
        );
        TreeCut {
            zxid: self.last_zxid,
            digest: self.digest,
            sessions,
            acls: self.acls.lists(),
            slots: self.nodes.slots().clone(),
            root: self.nodes.root(),
        }
    }

    /// The image of this very state as one piece: for tests and small trees.
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        Arc::new(self.cut()).image()
    }
}

impl TreeCut {
    /// Zxid of the last transaction in it.
    #[must_use]
    pub const fn zxid(&self) -> Zxid {
        self.zxid
    }

    /// [`Tree::digest`] of that moment.
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// The image: sessions, ACL table, znodes, end mark. Parents come before
    /// children, children in the order of their creation.
    #[must_use]
    pub fn blocks(self: &Arc<Self>) -> ImageBlocks {
        ImageBlocks {
            cut: self.clone(),
            acl_numbers: Vec::new(),
            next: self.root,
            path: String::new(),
            part: Part::Head,
        }
    }

    /// The image as one piece: for tests and small trees.
    #[must_use]
    pub fn image(self: &Arc<Self>) -> Vec<u8> {
        let mut blocks = self.blocks();
        let mut image = Vec::new();
        while blocks.append_next(&mut image) {}
        image
    }
}

#[cfg(test)]
impl TreeCut {
    /// For tests of those who only pass it on.
    pub(crate) fn opaque(zxid: Zxid, bytes: &[u8]) -> Arc<Self> {
        Arc::new(Self {
            zxid,
            digest: 0,
            sessions: bytes.to_vec(),
            acls: AclLists::new(),
            slots: super::slab::Slab::new().slots().clone(),
            root: SlotId::NONE,
        })
    }

    /// What [`Self::opaque`] was given.
    pub(crate) fn opaque_bytes(&self) -> &[u8] {
        &self.sessions
    }
}

impl ImageBlocks {
    /// Zxid of the tree.
    #[must_use]
    pub fn zxid(&self) -> Zxid {
        self.cut.zxid
    }

    /// Appends the next piece, of about [`BLOCK_BYTES`] or as long as one
    /// znode is. False if there was none left.
    pub fn append_next(&mut self, out: &mut Vec<u8>) -> bool {
        match self.part {
            Part::Head => {
                out.extend_from_slice(&self.cut.sessions);
                self.acl_numbers = write_acls(&self.cut.acls, out);
                self.part = Part::Znodes;
            }
            Part::Znodes => {
                let end = out.len() + BLOCK_BYTES;
                while self.next != SlotId::NONE && out.len() < end {
                    self.write_znode(out);
                }
                if self.next == SlotId::NONE {
                    write_end(out);
                    self.part = Part::Done;
                }
            }
            Part::Done => return false,
        }
        true
    }

    /// Writes the next znode and finds the one after it.
    fn write_znode(&mut self, out: &mut Vec<u8>) {
        let slots = &self.cut.slots;
        let mut id = self.next;
        let (mut name, Content { data, acl, stat }) = slots.znode(id);
        NodeRecord {
            path: (&*self.path).into(),
            data,
            acl_ref: self.acl_numbers[acl.number() as usize],
            stat,
        }
        .write(out);
        self.next = slots.family(id).first;
        while self.next == SlotId::NONE && id != self.cut.root {
            self.path.truncate(self.path.len() - name.len() - 1);
            self.next = slots.slot(id).next;
            id = slots.slot(id).parent;
            name = slots.name(id);
        }
        if self.next != SlotId::NONE {
            self.path.push('/');
            self.path.push_str(slots.name(self.next));
        }
    }
}

impl fmt::Debug for TreeCut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TreeCut")
            .field("zxid", &self.zxid)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ImageBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageBlocks")
            .field("cut", &self.cut)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Pieces of an image have at least this length, but for the first and the last.
pub const BLOCK_BYTES: usize = 64 * 1024;

/// Writes the table and says by which number each list is in it.
fn write_acls(acls: &AclLists, out: &mut Vec<u8>) -> Vec<i64> {
    let mut numbers = vec![UNKNOWN_ACL_REF; acls.len()];
    numbers[AclSlot::OPEN.number() as usize] = OPEN_ACL_REF;
    let lists = sorted(acls);
    for (number, (slot, _)) in (1..).zip(&lists) {
        numbers[slot.number() as usize] = number;
    }
    let numbered: Vec<_> = (1..).zip(lists.iter().map(|(_, list)| *list)).collect();
    write_acl_table(out, numbered.into_iter());
    numbers
}

/// Stands in no table: the numbers there are positive.
const UNKNOWN_ACL_REF: i64 = 0;
