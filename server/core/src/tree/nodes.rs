//! The flat map from paths to znodes.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::znode::Znode;

/// Znodes by path; the root is "/", and "" finds it too. Entries keep their
/// hash, so growing touches no znode.
#[derive(Default)]
pub(super) struct Nodes {
    table: HashTable<Entry>,
}

struct Entry {
    hash: u64,
    node: Box<Znode>,
}

impl Nodes {
    pub(super) fn get(&self, path: &str) -> Option<&Znode> {
        let path = canonical(path);
        let hash = hash(path);
        self.table
            .find(hash, |entry| entry.is(hash, path))
            .map(|entry| &*entry.node)
    }

    pub(super) fn get_mut(&mut self, path: &str) -> Option<&mut Znode> {
        let path = canonical(path);
        let hash = hash(path);
        self.table
            .find_mut(hash, |entry| entry.is(hash, path))
            .map(|entry| &mut *entry.node)
    }

    /// The caller has made sure that the path is new.
    pub(super) fn insert(&mut self, node: Box<Znode>) {
        let hash = hash(&node.path);
        self.table
            .insert_unique(hash, Entry { hash, node }, |entry| entry.hash);
    }

    pub(super) fn remove(&mut self, path: &str) -> Option<Box<Znode>> {
        let path = canonical(path);
        let hash = hash(path);
        let found = self
            .table
            .find_entry(hash, |entry| entry.is(hash, path))
            .ok()?;
        Some(found.remove().0.node)
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

impl Entry {
    fn is(&self, hash: u64, path: &str) -> bool {
        self.hash == hash && *self.node.path == *path
    }
}

/// The reference keeps the root under both names.
const fn canonical(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

fn hash(path: &str) -> u64 {
    const STATE: FixedState = FixedState::with_seed(0x7a6b);
    STATE.hash_one(path)
}
