//! One znode, to look at.

use zk_proto::SessionId;
use zk_proto::client::{Acl, Stat, StatPersisted};
use zk_proto::txn::node_digest;

use super::chunk::SlotId;
use super::data_tree::Tree;
use super::nodes::Children;
use super::owner::Owner;
use super::slab::Content;

/// A znode to look at.
#[derive(Clone, Copy)]
pub struct ZnodeRef<'a> {
    tree: &'a Tree,
    id: SlotId,
    child_count: u32,
    digest: u32,
    name: &'a str,
    content: Content<'a>,
}

impl<'a> ZnodeRef<'a> {
    pub(super) fn new(tree: &'a Tree, id: SlotId) -> Self {
        let slots = tree.nodes.slots();
        let (name, content) = slots.znode(id);
        Self {
            tree,
            id,
            child_count: slots.family(id).count,
            digest: slots.slot(id).digest,
            name,
            content,
        }
    }

    /// Full path; "/" for the root. Put together from the names, so ask for it
    /// only where it is not at hand.
    #[must_use]
    pub fn path(&self) -> String {
        let mut path = String::new();
        self.tree.nodes.slots().write_path(self.id, &mut path);
        if path.is_empty() {
            path.push('/');
        }
        path
    }

    /// Last part of the path; "" for the root.
    #[must_use]
    pub const fn name(&self) -> &'a str {
        self.name
    }

    /// Data; null is kept apart from empty.
    #[must_use]
    pub const fn data(&self) -> Option<&'a [u8]> {
        self.content.data
    }

    /// The numbers as they are stored.
    #[must_use]
    pub const fn stat_persisted(&self) -> &StatPersisted {
        &self.content.stat
    }

    /// The numbers as clients see them.
    #[must_use]
    pub fn stat(&self) -> Stat {
        stat(&self.content, self.child_count)
    }

    /// The access control list.
    #[must_use]
    pub fn acl(&self) -> &'a [Acl] {
        self.tree.acls.get(self.content.acl)
    }

    /// What makes it go away by itself.
    #[must_use]
    pub const fn owner(&self) -> Owner {
        Owner::from_stored(self.content.stat.ephemeral_owner)
    }

    /// Number of children.
    #[must_use]
    pub const fn child_count(&self) -> usize {
        self.child_count as usize
    }

    /// Names of the children, in the order of their creation.
    pub fn children(&self) -> impl ExactSizeIterator<Item = &'a str> + use<'a> {
        Children::of(self.tree.nodes.slots(), self.id)
    }

    /// Number of znodes below it, its children and theirs. Looks at each.
    #[must_use]
    pub fn descendant_count(&self) -> usize {
        self.tree.nodes.count_below(self.id)
    }

    /// Its part of the tree's digest.
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.digest as u64
    }
}

/// Reference: `DataNode.copyStat`.
pub(super) fn stat(content: &Content<'_>, child_count: u32) -> Stat {
    let StatPersisted {
        czxid,
        mzxid,
        ctime,
        mtime,
        version,
        cversion,
        aversion,
        ephemeral_owner,
        pzxid,
    } = content.stat;
    let num_children = count_i32(child_count as usize);
    Stat {
        czxid,
        mzxid,
        ctime,
        mtime,
        version,
        // Stored are creations only. Every child that is no more was
        // deleted once, so this counts both.
        cversion: cversion.wrapping_mul(2).wrapping_sub(num_children),
        aversion,
        ephemeral_owner: match Owner::from_stored(ephemeral_owner) {
            Owner::Session(session) => session,
            Owner::Persistent | Owner::Container | Owner::Ttl(_) => SessionId(0),
        },
        data_length: count_i32(content.data.map_or(0, <[u8]>::len)),
        num_children,
        pzxid,
    }
}

/// [`node_digest`] in the 32 bits that it has.
pub(super) fn digest_of(path: &str, data: Option<&[u8]>, stat: &StatPersisted) -> u32 {
    u32::try_from(node_digest(path, data, stat)).expect("a CRC-32")
}

fn count_i32(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
