//! Znodes in the order of an image: parents first, and nearly always a whole
//! subtree before the next sibling.

use super::chunk::SlotId;
use super::nodes::{Nodes, Siblings, canonical};
use super::slab::Content;

/// Adds znodes one after another. Parents and the index learn of many at
/// once, which is much less work; until [`Self::end`] the tree is unfinished.
#[derive(Debug, Default)]
pub(super) struct Lineage {
    /// The last znode and those above it, the root first.
    open: Vec<Open>,
    /// Of the last one.
    path: String,
}

#[derive(Debug)]
struct Open {
    id: SlotId,
    /// Its path is the first so many bytes of the last one's.
    path_bytes: usize,
    children: Siblings,
}

/// Why a znode is not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    NoParent,
    /// This one was there before by the same path.
    Twice(SlotId),
}

impl Lineage {
    /// Opens the parent of the next znode.
    pub(super) fn open_parent(&mut self, nodes: &mut Nodes, parent: &str) -> Result<(), Refusal> {
        let parent = canonical(parent);
        while let Some(open) = self.open.last() {
            if open.path_bytes == parent.len() && self.path[..open.path_bytes] == *parent {
                return Ok(());
            }
            self.close(nodes);
        }
        // Not above the last one. No server writes such an order.
        nodes.index_appended().map_err(Refusal::Twice)?;
        let id = nodes.find(parent).ok_or(Refusal::NoParent)?;
        self.path.clear();
        self.path.push_str(parent);
        self.open.push(Open {
            id,
            path_bytes: parent.len(),
            children: nodes.children(id),
        });
        Ok(())
    }

    /// Adds a znode below the one that was opened, or the root.
    pub(super) fn add(
        &mut self,
        nodes: &mut Nodes,
        path: &str,
        content: &Content<'_>,
        digest: u32,
    ) {
        let path = canonical(path);
        let mut none = Siblings::default();
        let (parent, siblings) = match self.open.last_mut() {
            Some(open) => (open.id, &mut open.children),
            None => (SlotId::NONE, &mut none),
        };
        let id = nodes.append(parent, siblings, path, content, digest);
        self.path.clear();
        self.path.push_str(path);
        self.open.push(Open {
            id,
            path_bytes: path.len(),
            children: Siblings::default(),
        });
    }

    /// Finishes the tree.
    pub(super) fn end(&mut self, nodes: &mut Nodes) -> Result<(), Refusal> {
        while !self.open.is_empty() {
            self.close(nodes);
        }
        nodes.index_appended().map_err(Refusal::Twice)
    }

    fn close(&mut self, nodes: &mut Nodes) {
        if let Some(Open { id, children, .. }) = self.open.pop()
            && !children.is_empty()
        {
            nodes.set_children(id, children);
        }
    }
}
