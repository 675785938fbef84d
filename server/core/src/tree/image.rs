//! The tree as the bytes of a snapshot, and back.

use thiserror::Error;
use zk_proto::Zxid;
use zk_proto::jute::{DecodeError, Reader};
use zk_proto::snapshot::{
    NodeRecord, OPEN_ACL_REF, read_acl_table, read_sessions, write_acl_table, write_end,
    write_sessions,
};

use super::acl_table::{AclSlot, AclTable};
use super::data_tree::Tree;
use super::znode::Znode;

/// Why bytes are not the image of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TreeError {
    /// A record cannot be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A znode comes without or before its parent.
    #[error("{0:?} has no parent")]
    NoParent(String),
    /// A path that no znode can have, or one that was there before.
    #[error("{0:?} is not the path of a new znode")]
    Path(String),
    /// Not even the root is there.
    #[error("there is no root")]
    NoRoot,
}

impl Tree {
    /// Reads an image: sessions, ACL table, znodes, end mark. Later bytes are
    /// not looked at. `zxid` becomes [`Tree::last_zxid`].
    ///
    /// # Errors
    /// When the bytes are not the image of a tree. A number that the ACL table
    /// does not hold is not an error, as the reference's images may have such;
    /// the znode then grants nothing until a transaction gives it a list.
    pub fn from_image(image: &[u8], zxid: Zxid) -> Result<Self, TreeError> {
        let mut reader = Reader::new(image);
        let mut tree = Self::empty();
        tree.last_zxid = zxid;
        tree.sessions = read_sessions(&mut reader)?.into_iter().collect();
        let mut acls = read_acl_table(&mut reader)?;
        acls.sort_by_key(|(number, _)| *number);
        while let Some(NodeRecord {
            path,
            data,
            acl_ref,
            stat,
        }) = NodeRecord::read(&mut reader)?
        {
            let path = if path.is_empty() { "/" } else { &*path };
            if !path.starts_with('/') || tree.nodes.get(path).is_some() {
                return Err(TreeError::Path(path.into()));
            }
            let acl = match acls.binary_search_by_key(&acl_ref, |(number, _)| *number) {
                _ if acl_ref == OPEN_ACL_REF => AclSlot::OPEN,
                Ok(at) => tree.acls.add(&acls[at].1),
                Err(_) => AclSlot::UNKNOWN,
            };
            if !tree.attach(Znode::new(path, data, acl, stat)) {
                return Err(TreeError::NoParent(path.into()));
            }
        }
        if tree.nodes.get("/").is_none() {
            return Err(TreeError::NoRoot);
        }
        Ok(tree)
    }

    /// The image of this very state. Parents come before children, children
    /// in the order of their names; equal trees have equal images.
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.image_bytes());
        write_sessions(
            &mut out,
            self.sessions
                .iter()
                .map(|(id, timeout_ms)| (*id, *timeout_ms)),
        );
        let mut numbers = vec![UNKNOWN_ACL_REF; self.acls.slot_count()];
        numbers[AclTable::index(AclSlot::OPEN)] = OPEN_ACL_REF;
        let lists = (1..).zip(self.acls.lists()).map(|(number, (slot, list))| {
            numbers[AclTable::index(slot)] = number;
            (number, list)
        });
        let lists: Vec<_> = lists.collect();
        write_acl_table(&mut out, lists.into_iter());
        let mut stack: Vec<&Znode> = self.nodes.get("/").into_iter().collect();
        let mut path = String::new();
        while let Some(node) = stack.pop() {
            let parent = if &*node.path == "/" { "" } else { &*node.path };
            NodeRecord {
                path: parent.into(),
                data: node.data.as_deref(),
                acl_ref: numbers[AclTable::index(node.acl)],
                stat: node.stat,
            }
            .write(&mut out);
            stack.extend(node.children.iter().rev().map(|name| {
                path.clear();
                path.extend([parent, "/", name]);
                self.nodes.get(&path).expect("a child is in the map")
            }));
        }
        write_end(&mut out);
        out
    }

    fn image_bytes(&self) -> usize {
        const NODE_BYTES: usize = 76;
        const SESSION_BYTES: usize = 12;
        let text = usize::try_from(self.data_bytes).unwrap_or(0);
        text + self.nodes.len() * NODE_BYTES + self.sessions.len() * SESSION_BYTES + 1024
    }
}

/// Stands in no table: the numbers there are positive.
const UNKNOWN_ACL_REF: i64 = 0;
