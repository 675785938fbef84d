//! The tree as a whole and how to look at it (reference: `DataTree`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use zk_proto::client::{Acl, Id, StatPersisted, perms};
use zk_proto::{SessionId, Zxid};

use super::acl_table::{AclSlot, AclTable};
use super::charset::LeaderCharset;
use super::chunk::SlotId;
use super::digest_log::DigestLog;
use super::expendable::Expendable;
use super::nodes::Nodes;
use super::owner::Owner;
use super::path;
use super::quota::Quotas;
use super::slab::Content;
use super::znode::{ZnodeRef, digest_of};

/// The znode that shows the ensemble's members.
pub const CONFIG_PATH: &str = "/zookeeper/config";

/// All that is replicated: znodes with their ACLs, sessions, and the zxid up
/// to which transactions were applied.
pub struct Tree {
    pub(super) nodes: Nodes,
    pub(super) acls: AclTable,
    pub(super) sessions: BTreeMap<SessionId, i32>,
    pub(super) ephemerals: BTreeMap<SessionId, BTreeSet<Box<str>>>,
    pub(super) expendable: Expendable,
    pub(super) quotas: Quotas,
    pub(super) last_zxid: Zxid,
    pub(super) digest: u64,
    /// Known where a leader does not hash paths as UTF-8.
    pub(super) charset: Option<LeaderCharset>,
    pub(super) digest_mismatches: u64,
    pub(super) digest_log: DigestLog,
    pub(super) data_bytes: u64,
}

impl Tree {
    /// The tree of a new ensemble: "/", "/zookeeper", "/zookeeper/quota" and
    /// "/zookeeper/config", which everybody may read and nobody change.
    #[must_use]
    pub fn new() -> Self {
        let mut tree = Self::empty();
        let plain = Content {
            data: Some(&[]),
            acl: AclSlot::OPEN,
            stat: StatPersisted::default(),
        };
        for path in ["/", "/zookeeper", "/zookeeper/quota"] {
            tree.attach(path, &plain);
        }
        let config = config_znode(&mut tree.acls);
        tree.attach(CONFIG_PATH, &config);
        tree
    }

    /// No znode at all, not even the root.
    pub(super) fn empty() -> Self {
        Self {
            nodes: Nodes::new(),
            acls: AclTable::new(),
            sessions: BTreeMap::new(),
            ephemerals: BTreeMap::new(),
            expendable: Expendable::default(),
            quotas: Quotas::default(),
            last_zxid: Zxid::ZERO,
            digest: 0,
            charset: None,
            digest_mismatches: 0,
            digest_log: DigestLog::default(),
            data_bytes: 0,
        }
    }

    /// The znode at this path. "" is another name of the root.
    #[must_use]
    pub fn znode(&self, path: &str) -> Option<ZnodeRef<'_>> {
        self.nodes.find(path).map(|id| ZnodeRef::new(self, id))
    }

    /// Digest over all znodes, equal to the reference's (`AdHash`, version 2).
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// Zxid of the last transaction in this tree.
    #[must_use]
    pub const fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// Moves the zxid without a transaction, e.g. to a new epoch.
    pub const fn set_last_zxid(&mut self, zxid: Zxid) {
        self.last_zxid = zxid;
    }

    /// Remembers the digest that the last transaction has left.
    pub fn log_digest(&mut self) {
        self.digest_log.note(self.last_zxid, self.digest);
    }

    /// Digests at some zxids.
    #[must_use]
    pub const fn digest_log(&self) -> &DigestLog {
        &self.digest_log
    }

    /// Global sessions and their timeouts in ms.
    #[must_use]
    pub const fn sessions(&self) -> &BTreeMap<SessionId, i32> {
        &self.sessions
    }

    /// Paths of the znodes that go away with this session, sorted by bytes.
    pub fn ephemerals(&self, session: SessionId) -> impl Iterator<Item = &str> {
        self.ephemerals
            .get(&session)
            .into_iter()
            .flatten()
            .map(|path| &**path)
    }

    /// Sessions that own ephemerals.
    pub fn ephemeral_owners(&self) -> impl Iterator<Item = SessionId> {
        self.ephemerals.keys().copied()
    }

    /// Number of znodes, the root included.
    #[must_use]
    pub fn znode_count(&self) -> usize {
        self.nodes.len()
    }

    /// Number of ephemerals of all sessions.
    #[must_use]
    pub fn ephemerals_count(&self) -> usize {
        self.ephemerals.values().map(BTreeSet::len).sum()
    }

    /// Bytes of all paths and data.
    #[must_use]
    pub const fn approximate_data_size(&self) -> u64 {
        self.data_bytes
    }

    /// How many transactions carried another digest than this tree had
    /// afterwards.
    #[must_use]
    pub const fn digest_mismatches(&self) -> u64 {
        self.digest_mismatches
    }

    /// Adds a znode that is not there yet. The parent's numbers stay. `None`
    /// if there is no such parent.
    pub(super) fn attach(&mut self, path: &str, content: &Content<'_>) -> Option<SlotId> {
        let parent = if path == "/" {
            SlotId::NONE
        } else {
            self.nodes.find(path::parent(path))?
        };
        Some(self.attach_below(parent, path, content))
    }

    /// The same where the parent was found already.
    pub(super) fn attach_below(
        &mut self,
        parent: SlotId,
        path: &str,
        content: &Content<'_>,
    ) -> SlotId {
        let digest = self.count_in(path, content);
        self.nodes.insert(parent, path, content, digest)
    }

    /// Counts a znode that is about to be added; returns its digest.
    pub(super) fn count_in(&mut self, path: &str, content: &Content<'_>) -> u32 {
        match Owner::from_stored(content.stat.ephemeral_owner) {
            Owner::Persistent => {}
            Owner::Session(session) => {
                let paths = self.ephemerals.entry(session).or_default();
                paths.insert(path.into());
            }
            Owner::Container | Owner::Ttl(_) => self.expendable.insert(path),
        }
        let digest = digest_of(path, content.data, &content.stat);
        self.digest = self.digest.wrapping_add(digest.into());
        if let Some(charset) = &mut self.charset {
            charset.add(charset.part(path, content.data, &content.stat, digest));
        }
        self.data_bytes += node_bytes(path, content.data);
        digest
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree")
            .field("last_zxid", &self.last_zxid)
            .field("digest", &self.digest)
            .field("znodes", &self.nodes.len())
            .field("sessions", &self.sessions.len())
            .finish_non_exhaustive()
    }
}

/// Everybody may read it and nobody change it.
pub(super) fn config_znode(acls: &mut AclTable) -> Content<'static> {
    let readable = acls.add(&[Acl {
        perms: perms::READ,
        id: Id::anyone(),
    }]);
    Content {
        data: Some(&[]),
        acl: readable,
        stat: StatPersisted {
            aversion: -1,
            ..StatPersisted::default()
        },
    }
}

/// What a znode adds to [`Tree::approximate_data_size`]: the bytes of its full
/// path, "/" for the root, and of its data (`DataTree.getNodeSize`).
pub(super) fn node_bytes(path: &str, data: Option<&[u8]>) -> u64 {
    (path.len() + data.map_or(0, <[u8]>::len)) as u64
}
