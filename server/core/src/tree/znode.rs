//! One znode.

use std::collections::BTreeSet;

use zk_proto::SessionId;
use zk_proto::client::{Acl, Stat, StatPersisted};
use zk_proto::txn::node_digest;

use super::acl_table::AclSlot;
use super::data_tree::Tree;
use super::owner::Owner;

/// A znode as it is kept.
pub(super) struct Znode {
    pub(super) path: Box<str>,
    pub(super) data: Option<Box<[u8]>>,
    /// Names; takes no memory of its own while there is none.
    pub(super) children: BTreeSet<Box<str>>,
    pub(super) stat: StatPersisted,
    pub(super) acl: AclSlot,
    /// What [`node_digest`] says.
    pub(super) digest: u32,
}

/// A znode to look at.
#[derive(Clone, Copy)]
pub struct ZnodeRef<'a> {
    tree: &'a Tree,
    node: &'a Znode,
}

impl Znode {
    pub(super) fn new(path: &str, data: Option<&[u8]>, acl: AclSlot, stat: StatPersisted) -> Self {
        let mut node = Self {
            path: path.into(),
            data: data.map(Into::into),
            children: BTreeSet::new(),
            stat,
            acl,
            digest: 0,
        };
        node.refresh_digest();
        node
    }

    pub(super) fn refresh_digest(&mut self) {
        let digest = node_digest(&self.path, self.data.as_deref(), &self.stat);
        self.digest = u32::try_from(digest).expect("a CRC-32");
    }

    /// Reference: `DataNode.copyStat`.
    pub(super) fn stat(&self) -> Stat {
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
        } = self.stat;
        let num_children = count_i32(self.children.len());
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
            data_length: count_i32(self.data.as_ref().map_or(0, |data| data.len())),
            num_children,
            pzxid,
        }
    }
}

impl<'a> ZnodeRef<'a> {
    pub(super) const fn new(tree: &'a Tree, node: &'a Znode) -> Self {
        Self { tree, node }
    }

    /// Full path; "/" for the root.
    #[must_use]
    pub fn path(&self) -> &'a str {
        &self.node.path
    }

    /// Data; null is kept apart from empty.
    #[must_use]
    pub fn data(&self) -> Option<&'a [u8]> {
        self.node.data.as_deref()
    }

    /// The numbers as they are stored.
    #[must_use]
    pub const fn stat_persisted(&self) -> &'a StatPersisted {
        &self.node.stat
    }

    /// The numbers as clients see them.
    #[must_use]
    pub fn stat(&self) -> Stat {
        self.node.stat()
    }

    /// The access control list.
    #[must_use]
    pub fn acl(&self) -> &'a [Acl] {
        self.tree.acls.get(self.node.acl)
    }

    /// What makes it go away by itself.
    #[must_use]
    pub const fn owner(&self) -> Owner {
        Owner::from_stored(self.node.stat.ephemeral_owner)
    }

    /// Number of children.
    #[must_use]
    pub fn child_count(&self) -> usize {
        self.node.children.len()
    }

    /// Names of the children, sorted by bytes.
    pub fn children(&self) -> impl ExactSizeIterator<Item = &'a str> + use<'a> {
        self.node.children.iter().map(|name| &**name)
    }

    /// Its part of the tree's digest.
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.node.digest as u64
    }
}

fn count_i32(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
