//! What the tree will look like once every outstanding proposal is applied
//! (reference: `PrepRequestProcessor.addChangeRecord`, `outstandingChanges`).

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use zk_proto::Zxid;
use zk_proto::client::{Acl, StatPersisted};
use zk_proto::txn::node_digest;

use crate::tree::Tree;

/// A znode as the next request must see it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) stat: StatPersisted,
    pub(super) child_count: usize,
    pub(super) acl: Vec<Acl>,
}

/// Changes that are proposed but not applied yet, by path.
#[derive(Debug, Default)]
pub(super) struct Pending {
    changes: BTreeMap<Box<str>, Change>,
    by_zxid: VecDeque<(Zxid, Vec<Box<str>>)>,
    /// Digest of the tree with all changes applied.
    digest: u64,
}

/// How to take back what a refused request has done.
#[derive(Debug, Default)]
pub(super) struct Journal {
    digest: u64,
    before: Vec<(Box<str>, Option<Change>)>,
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
    digest: u64,
}

impl Pending {
    pub(super) fn new(digest: u64) -> Self {
        Self {
            digest,
            ..Self::default()
        }
    }

    pub(super) const fn digest(&self) -> u64 {
        self.digest
    }

    /// Number of paths with changes.
    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// The znode at `path`, if it will be there.
    pub(super) fn see(&self, tree: &Tree, path: &str) -> Option<Seen> {
        match self.changes.get(path) {
            Some(change) => change.znode.as_ref().map(|changed| changed.seen.clone()),
            None => tree.znode(path).map(|znode| Seen {
                stat: *znode.stat_persisted(),
                child_count: znode.child_count(),
                acl: znode.acl().to_vec(),
            }),
        }
    }

    /// Is there a znode at `path`?
    pub(super) fn exists(&self, tree: &Tree, path: &str) -> bool {
        match self.changes.get(path) {
            Some(change) => change.znode.is_some(),
            None => tree.znode(path).is_some(),
        }
    }

    /// Every changed path and whether it will be an ephemeral of `owner`.
    pub(super) fn ephemerals(&self, owner: i64) -> impl Iterator<Item = (&str, bool)> {
        self.changes.iter().map(move |(path, change)| {
            let stat = change.znode.as_ref().map(|changed| changed.seen.stat);
            (
                &**path,
                stat.is_some_and(|stat| stat.ephemeral_owner == owner),
            )
        })
    }

    /// A znode appears or changes. `data` is the new data, `None` to keep it.
    pub(super) fn put(
        &mut self,
        tree: &Tree,
        journal: &mut Journal,
        zxid: Zxid,
        path: &str,
        seen: Seen,
        data: Option<Option<Bytes>>,
    ) {
        let old = self
            .changes
            .get(path)
            .and_then(|change| change.znode.as_ref());
        let old_digest = match self.changes.get(path) {
            Some(change) => change.znode.as_ref().map_or(0, |changed| changed.digest),
            None => tree.znode(path).map_or(0, |znode| znode.digest()),
        };
        let data = data.or_else(|| old.and_then(|changed| changed.data.clone()));
        let digest = match &data {
            Some(data) => node_digest(path, data.as_deref(), &seen.stat),
            None => node_digest(
                path,
                tree.znode(path).and_then(|znode| znode.data()),
                &seen.stat,
            ),
        };
        self.digest = self.digest.wrapping_sub(old_digest).wrapping_add(digest);
        self.replace(
            journal,
            path,
            Change {
                zxid,
                znode: Some(Changed { seen, data, digest }),
            },
        );
    }

    /// A znode goes away.
    pub(super) fn remove(&mut self, tree: &Tree, journal: &mut Journal, zxid: Zxid, path: &str) {
        let old_digest = match self.changes.get(path) {
            Some(change) => change.znode.as_ref().map_or(0, |changed| changed.digest),
            None => tree.znode(path).map_or(0, |znode| znode.digest()),
        };
        self.digest = self.digest.wrapping_sub(old_digest);
        self.replace(journal, path, Change { zxid, znode: None });
    }

    /// Starts the record of one request.
    pub(super) const fn journal(&self) -> Journal {
        Journal {
            digest: self.digest,
            before: Vec::new(),
        }
    }

    /// Keeps the changes of one request.
    pub(super) fn keep(&mut self, zxid: Zxid, journal: Journal) {
        if !journal.before.is_empty() {
            self.by_zxid.push_back((
                zxid,
                journal.before.into_iter().map(|(path, _)| path).collect(),
            ));
        }
    }

    /// Takes the changes of one request back.
    pub(super) fn roll_back(&mut self, journal: Journal) {
        self.digest = journal.digest;
        for (path, before) in journal.before.into_iter().rev() {
            match before {
                Some(change) => self.changes.insert(path, change),
                None => self.changes.remove(&path),
            };
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
                    self.changes.remove(&path);
                }
            }
        }
    }

    fn replace(&mut self, journal: &mut Journal, path: &str, change: Change) {
        let before = self.changes.insert(path.into(), change);
        journal.before.push((path.into(), before));
    }
}
