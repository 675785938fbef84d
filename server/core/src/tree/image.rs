//! A tree out of the bytes of a snapshot.

use std::fmt;

use thiserror::Error;
use zk_proto::Zxid;
use zk_proto::client::Acl;
use zk_proto::jute::{DecodeError, Reader, Reason};
use zk_proto::snapshot::{
    ImagePart, NodeRecord, OPEN_ACL_REF, SESSION_BYTES, read_acl_record, read_sessions,
    skip_acl_record,
};

use super::acl_table::{AclSlot, AclTable};
use super::chunk::SlotId;
use super::data_tree::Tree;
use super::lineage::{Lineage, Refusal};
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

/// Builds a tree out of an image that comes piece by piece.
pub struct TreeLoader {
    tree: Tree,
    part: ImagePart,
    acls: AclNumbers,
    lineage: Lineage,
    /// Bytes of the image that were taken so far.
    taken: usize,
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
        let mut loader = TreeLoader::new(zxid);
        loader.load(image)?;
        loader.finish()
    }
}

impl TreeLoader {
    /// Starts a tree whose [`Tree::last_zxid`] is `zxid`.
    #[must_use]
    pub fn new(zxid: Zxid) -> Self {
        let mut tree = Tree::empty();
        tree.last_zxid = zxid;
        Self {
            tree,
            part: ImagePart::Sessions,
            acls: AclNumbers::default(),
            lineage: Lineage::default(),
            taken: 0,
        }
    }

    /// Takes as many whole records as `bytes` holds, which go on where the
    /// last call has stopped, and returns how many bytes that are. Bytes after
    /// the end mark are not taken.
    ///
    /// # Errors
    /// As [`Tree::from_image`], but for an image that goes on.
    pub fn load(&mut self, bytes: &[u8]) -> Result<usize, TreeError> {
        let mut at = 0;
        while self.part != ImagePart::Done {
            let mut reader = Reader::new(&bytes[at..]);
            match self.record(&mut reader) {
                Ok(next) => {
                    at += reader.offset();
                    self.taken += reader.offset();
                    self.part = next;
                }
                Err(TreeError::Decode(DecodeError {
                    reason: Reason::Truncated,
                    ..
                })) => break,
                Err(TreeError::Decode(DecodeError { offset, reason })) => {
                    let offset = self.taken + offset;
                    return Err(DecodeError { offset, reason }.into());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(at)
    }

    /// The same for bytes that are whole records.
    ///
    /// # Errors
    /// As [`Tree::from_image`], and when the last record is not whole.
    pub fn load_whole(&mut self, bytes: &[u8]) -> Result<(), TreeError> {
        if self.load(bytes)? == bytes.len() {
            return Ok(());
        }
        let (offset, reason) = (self.taken, Reason::Truncated);
        Err(DecodeError { offset, reason }.into())
    }

    /// Has the end mark come?
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.part == ImagePart::Done
    }

    /// The tree.
    ///
    /// # Errors
    /// When the image has not ended, or has no root.
    pub fn finish(mut self) -> Result<Tree, TreeError> {
        if !self.is_complete() {
            let (offset, reason) = (self.taken, Reason::Truncated);
            return Err(DecodeError { offset, reason }.into());
        }
        if self.tree.nodes.root() == SlotId::NONE {
            return Err(TreeError::NoRoot);
        }
        let ended = self.lineage.end(&mut self.tree.nodes);
        ended.map_err(|refusal| refused(&self.tree, refusal, ""))?;
        self.tree.set_up_quotas();
        Ok(self.tree)
    }

    fn record(&mut self, reader: &mut Reader<'_>) -> Result<ImagePart, TreeError> {
        Ok(match self.part {
            ImagePart::Sessions => {
                // The bytes first: a count beyond them may be one that goes on.
                let count = usize::try_from(reader.clone().i32()?).unwrap_or(0);
                reader
                    .clone()
                    .take(count.saturating_mul(SESSION_BYTES).saturating_add(4))?;
                self.tree.sessions = read_sessions(reader)?.into_iter().collect();
                ImagePart::AclCount
            }
            ImagePart::AclCount => {
                ImagePart::after_acls(usize::try_from(reader.i32()?).unwrap_or(0))
            }
            ImagePart::Acls(left) => {
                skip_acl_record(&mut reader.clone())?;
                let (number, list) = read_acl_record(reader)?;
                self.acls.lists.push((number, list, None));
                if left == 1 {
                    self.acls.lists.sort_by_key(|(number, ..)| *number);
                }
                ImagePart::after_acls(left - 1)
            }
            ImagePart::Znodes => match NodeRecord::read(reader)? {
                Some(record) => {
                    self.znode(&record)?;
                    ImagePart::Znodes
                }
                None => ImagePart::Done,
            },
            ImagePart::Done => ImagePart::Done,
        })
    }

    fn znode(&mut self, record: &NodeRecord<'_>) -> Result<(), TreeError> {
        let tree = &mut self.tree;
        let NodeRecord {
            path,
            data,
            acl_ref,
            stat,
        } = record;
        let path = if path.is_empty() { "/" } else { &**path };
        if path == "/" {
            if tree.nodes.root() != SlotId::NONE {
                return Err(TreeError::Path(path.to_owned()));
            }
        } else {
            if !path.starts_with('/') || path.ends_with('/') {
                return Err(TreeError::Path(path.to_owned()));
            }
            let opened = self
                .lineage
                .open_parent(&mut tree.nodes, path::parent(path));
            opened.map_err(|refusal| refused(tree, refusal, path))?;
        }
        let content = Content {
            data: *data,
            acl: self.acls.slot(&mut tree.acls, *acl_ref),
            stat: *stat,
        };
        let digest = tree.count_in(path, &content);
        self.lineage.add(&mut tree.nodes, path, &content, digest);
        Ok(())
    }
}

fn refused(tree: &Tree, refusal: Refusal, path: &str) -> TreeError {
    match refusal {
        Refusal::NoParent => TreeError::NoParent(path.to_owned()),
        Refusal::Twice(id) => {
            let mut path = String::new();
            tree.nodes.slots().write_path(id, &mut path);
            TreeError::Path(path)
        }
    }
}

impl fmt::Debug for TreeLoader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TreeLoader")
            .field("tree", &self.tree)
            .field("part", &self.part)
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

/// The table of an image, and the place of each list that a znode has named.
#[derive(Default)]
struct AclNumbers {
    lists: Vec<(i64, Vec<Acl>, Option<AclSlot>)>,
}

impl AclNumbers {
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
