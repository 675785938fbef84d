//! What the tree will look like once every outstanding proposal is applied
//! (reference: `PrepRequestProcessor.addChangeRecord`, `outstandingChanges`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use zk_proto::client::{Acl, StatPersisted};
use zk_proto::txn::node_digest;
use zk_proto::{SessionId, Zxid};

use crate::tree::{Owner, Tree};

/// A znode as the next request must see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) stat: StatPersisted,
    pub(super) child_count: usize,
}

/// Changes that are proposed but not applied yet, by path.
#[derive(Debug, Default)]
pub(super) struct Pending {
    changes: BTreeMap<Arc<str>, Change>,
    by_zxid: VecDeque<(Zxid, Vec<Arc<str>>)>,
    /// The paths among the changes that will be ephemerals, by session. A
    /// session that closes asks for its own and must not look at all others.
    ephemerals: BTreeMap<SessionId, BTreeSet<Arc<str>>>,
    /// Digest of the tree with all changes applied.
    digest: u64,
}

/// The changes of one request.
#[derive(Debug)]
pub(super) struct Edit<'p> {
    tree: &'p Tree,
    pending: &'p mut Pending,
    zxid: Zxid,
    digest_before: u64,
    /// What each change has replaced, oldest first.
    before: Vec<(Arc<str>, Option<Change>)>,
}

#[derive(Clone, Debug)]
struct Change {
    zxid: Zxid,
    /// `None` when deleted.
    znode: Option<Changed>,
}

#[derive(Clone, Debug)]
struct Changed {
    seen: Seen,
    /// `None` when the data is still that of the tree.
    data: Option<Option<Bytes>>,
    /// `None` when the list is still that of the tree.
    acl: Option<Arc<[Acl]>>,
    digest: u64,
}

impl Pending {
    pub(super) fn new(digest: u64) -> Self {
        Self {
            digest,
            ..Self::default()
        }
    }

    /// Number of paths with changes.
    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Starts the changes of the request that gets `zxid`.
    pub(super) const fn edit<'p>(&'p mut self, tree: &'p Tree, zxid: Zxid) -> Edit<'p> {
        let digest_before = self.digest;
        Edit {
            tree,
            pending: self,
            zxid,
            digest_before,
            before: Vec::new(),
        }
    }

    /// Forgets what the tree now has.
    pub(super) fn applied(&mut self, zxid: Zxid) {
        while let Some((_, paths)) = self.by_zxid.pop_front_if(|(at, _)| *at <= zxid) {
            for path in paths {
                if self
                    .changes
                    .get(&path)
                    .is_some_and(|change| change.zxid <= zxid)
                {
                    self.put_back(path, None);
                }
            }
        }
    }

    /// Sets what is known of a path, `None` for nothing beyond the tree.
    fn put_back(&mut self, path: Arc<str>, change: Option<Change>) {
        let owner = change.as_ref().and_then(Change::session);
        let old = match change {
            Some(change) => self.changes.insert(path.clone(), change),
            None => self.changes.remove(&path),
        };
        self.moved(&path, old.as_ref().and_then(Change::session), owner);
    }

    /// Notes that the znode at `path` goes from one session to another.
    fn moved(&mut self, path: &Arc<str>, from: Option<SessionId>, to: Option<SessionId>) {
        if from == to {
            return;
        }
        if let Some(session) = from
            && let Some(paths) = self.ephemerals.get_mut(&session)
        {
            paths.remove(path);
            if paths.is_empty() {
                self.ephemerals.remove(&session);
            }
        }
        if let Some(session) = to {
            self.ephemerals
                .entry(session)
                .or_default()
                .insert(path.clone());
        }
    }
}

impl Change {
    /// The session with which the znode will go away.
    fn session(&self) -> Option<SessionId> {
        let stat = &self.znode.as_ref()?.seen.stat;
        match Owner::from_stored(stat.ephemeral_owner) {
            Owner::Session(session) => Some(session),
            Owner::Persistent | Owner::Container | Owner::Ttl(_) => None,
        }
    }
}

impl Edit<'_> {
    /// The znode at `path`, if it will be there.
    pub(super) fn see(&self, path: &str) -> Option<Seen> {
        match self.pending.changes.get(path) {
            Some(change) => change.znode.as_ref().map(|changed| changed.seen),
            None => self.tree.znode(path).map(|znode| Seen {
                stat: *znode.stat_persisted(),
                child_count: znode.child_count(),
            }),
        }
    }

    /// Digest of the tree with all changes applied.
    pub(super) const fn digest(&self) -> u64 {
        self.pending.digest
    }

    /// Number of paths whose changes the tree does not have yet.
    pub(super) fn outstanding(&self) -> usize {
        self.pending.len()
    }

    /// The tree without what is outstanding.
    pub(super) const fn tree(&self) -> &Tree {
        self.tree
    }

    /// The data of a znode that [`Self::see`] has seen.
    pub(super) fn data(&self, path: &str) -> Option<&[u8]> {
        let changed = self
            .pending
            .changes
            .get(path)
            .and_then(|change| change.znode.as_ref());
        match changed.and_then(|changed| changed.data.as_ref()) {
            Some(data) => data.as_deref(),
            None => self.tree.znode(path).and_then(|znode| znode.data()),
        }
    }

    /// The list of a znode that [`Self::see`] has seen.
    pub(super) fn acl(&self, path: &str) -> &[Acl] {
        let changed = self
            .pending
            .changes
            .get(path)
            .and_then(|change| change.znode.as_ref());
        match changed.and_then(|changed| changed.acl.as_deref()) {
            Some(acl) => acl,
            None => self
                .tree
                .znode(path)
                .map(|znode| znode.acl())
                .unwrap_or_default(),
        }
    }

    /// The paths that will be ephemerals of `session`, in order.
    pub(super) fn ephemerals(&self, session: SessionId) -> BTreeSet<String> {
        let changes = &self.pending.changes;
        let unchanged = self
            .tree
            .ephemerals(session)
            .filter(|path| !changes.contains_key(*path));
        let changed = self.pending.ephemerals.get(&session);
        let changed = changed.into_iter().flatten().map(|path| &**path);
        unchanged.chain(changed).map(str::to_owned).collect()
    }

    /// A znode appears.
    pub(super) fn create(
        &mut self,
        path: &str,
        stat: StatPersisted,
        data: Option<Bytes>,
        acl: Vec<Acl>,
    ) {
        let digest = node_digest(path, data.as_deref(), &stat);
        let seen = Seen {
            stat,
            child_count: 0,
        };
        self.put(
            path,
            Changed {
                seen,
                data: Some(data),
                acl: Some(acl.into()),
                digest,
            },
        );
    }

    /// A znode gets other numbers, and other data unless that is `None`.
    pub(super) fn change(&mut self, path: &str, seen: Seen, data: Option<Option<Bytes>>) {
        let old = self
            .pending
            .changes
            .get(path)
            .and_then(|change| change.znode.as_ref());
        let data = data.or_else(|| old.and_then(|changed| changed.data.clone()));
        let acl = old.and_then(|changed| changed.acl.clone());
        let digest = match &data {
            Some(data) => node_digest(path, data.as_deref(), &seen.stat),
            None => node_digest(
                path,
                self.tree.znode(path).and_then(|znode| znode.data()),
                &seen.stat,
            ),
        };
        self.put(
            path,
            Changed {
                seen,
                data,
                acl,
                digest,
            },
        );
    }

    /// A znode gets other numbers and another list.
    pub(super) fn change_acl(&mut self, path: &str, seen: Seen, acl: Vec<Acl>) {
        self.change(path, seen, None);
        let changed = self.pending.changes.get_mut(path);
        if let Some(Some(changed)) = changed.map(|change| &mut change.znode) {
            changed.acl = Some(acl.into());
        }
    }

    /// A znode goes away.
    pub(super) fn remove(&mut self, path: &str) {
        let old = self.digest_of(path);
        self.pending.digest = self.pending.digest.wrapping_sub(old);
        self.replace(path, None);
    }

    /// Keeps the changes.
    pub(super) fn keep(self) {
        if !self.before.is_empty() {
            let paths = self.before.into_iter().map(|(path, _)| path).collect();
            self.pending.by_zxid.push_back((self.zxid, paths));
        }
    }

    /// Takes the changes so far back.
    pub(super) fn roll_back(&mut self) {
        self.pending.digest = self.digest_before;
        for (path, before) in self.before.drain(..).rev() {
            self.pending.put_back(path, before);
        }
    }

    fn put(&mut self, path: &str, changed: Changed) {
        let old = self.digest_of(path);
        self.pending.digest = self
            .pending
            .digest
            .wrapping_sub(old)
            .wrapping_add(changed.digest);
        self.replace(path, Some(changed));
    }

    /// What the znode at `path` adds to the digest so far.
    fn digest_of(&self, path: &str) -> u64 {
        match self.pending.changes.get(path) {
            Some(change) => change.znode.as_ref().map_or(0, |changed| changed.digest),
            None => self.tree.znode(path).map_or(0, |znode| znode.digest()),
        }
    }

    fn replace(&mut self, path: &str, znode: Option<Changed>) {
        let path = Arc::<str>::from(path);
        let change = Change {
            zxid: self.zxid,
            znode,
        };
        let owner = change.session();
        let before = self.pending.changes.insert(path.clone(), change);
        let old = before.as_ref().and_then(Change::session);
        self.pending.moved(&path, old, owner);
        self.before.push((path, before));
    }
}
