//! A tree out of the bytes of a snapshot.

use thiserror::Error;
use zk_proto::Zxid;
use zk_proto::client::Acl;
use zk_proto::jute::{DecodeError, Reader};
use zk_proto::snapshot::{NodeRecord, OPEN_ACL_REF, read_acl_table, read_sessions};

use super::acl_table::{AclSlot, AclTable};
use super::chunk::SlotId;
use super::data_tree::Tree;
use super::path;
use super::slab::Content;

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
        let mut acls = AclNumbers::new(read_acl_table(&mut reader)?);
        let mut parent = Parent::default();
        let start = reader.offset();
        while let Some(record) = NodeRecord::read(&mut reader)? {
            tree.load(&record, &mut acls, &mut parent)?;
            if tree.nodes.len() == SAMPLE_ZNODES {
                let each = (reader.offset() - start) / SAMPLE_ZNODES;
                tree.nodes
                    .reserve(reader.rest().len() / each + SAMPLE_ZNODES);
            }
        }
        if tree.nodes.root() == SlotId::NONE {
            return Err(TreeError::NoRoot);
        }
        tree.set_up_quotas();
        Ok(tree)
    }

    fn load(
        &mut self,
        record: &NodeRecord<'_>,
        acls: &mut AclNumbers,
        above: &mut Parent,
    ) -> Result<(), TreeError> {
        let NodeRecord {
            path,
            data,
            acl_ref,
            stat,
        } = record;
        let path = if path.is_empty() { "/" } else { &**path };
        let is_root = path == "/";
        let refused = |why: fn(String) -> TreeError| Err(why(path.to_owned()));
        let is_path = path.starts_with('/') && (is_root || !path.ends_with('/'));
        if !is_path || self.nodes.find(path).is_some() {
            return refused(TreeError::Path);
        }
        let parent = if is_root {
            SlotId::NONE
        } else if let Some(parent) = above.find(self, path::parent(path)) {
            parent
        } else {
            return refused(TreeError::NoParent);
        };
        let content = Content {
            data: *data,
            acl: acls.slot(&mut self.acls, *acl_ref),
            stat: *stat,
        };
        self.attach_below(parent, path, &content);
        Ok(())
    }
}

/// The parent of the last znode; siblings follow each other.
struct Parent {
    path: String,
    id: SlotId,
}

impl Default for Parent {
    fn default() -> Self {
        Self {
            path: String::new(),
            id: SlotId::NONE,
        }
    }
}

impl Parent {
    fn find(&mut self, tree: &Tree, path: &str) -> Option<SlotId> {
        if self.id == SlotId::NONE || self.path != path {
            self.id = tree.nodes.find(path)?;
            self.path.clear();
            self.path.push_str(path);
        }
        Some(self.id)
    }
}

/// The table of an image, and the place of each list that a znode has named.
struct AclNumbers {
    lists: Vec<(i64, Vec<Acl>, Option<AclSlot>)>,
}

impl AclNumbers {
    fn new(table: Vec<(i64, Vec<Acl>)>) -> Self {
        let table = table.into_iter();
        let mut lists: Vec<_> = table.map(|(number, list)| (number, list, None)).collect();
        lists.sort_by_key(|(number, ..)| *number);
        Self { lists }
    }

    fn slot(&mut self, table: &mut AclTable, number: i64) -> AclSlot {
        if number == OPEN_ACL_REF {
            return AclSlot::OPEN;
        }
        let found = self
            .lists
            .binary_search_by_key(&number, |(number, ..)| *number);
        let Ok(at) = found else {
            return AclSlot::UNKNOWN;
        };
        let (_, list, slot) = &mut self.lists[at];
        match slot {
            Some(slot) => table.add_again(*slot),
            None => *slot = Some(table.add(list)),
        }
        slot.expect("set just now")
    }
}

/// From so many the number of all is estimated.
const SAMPLE_ZNODES: usize = 1024;
