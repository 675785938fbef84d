//! Znodes that a leader may delete by itself once they have no children:
//! containers, and znodes with a time to live (reference: `ContainerManager`,
//! `DataTree` containers and ttls).

use std::collections::BTreeSet;
use std::ops::Bound;

use super::data_tree::Tree;
use super::owner::Owner;

/// Paths of containers and of znodes with a time to live.
#[derive(Debug, Default)]
pub(super) struct Expendable {
    paths: BTreeSet<Box<str>>,
}

impl Expendable {
    /// A znode was added.
    pub(super) fn insert(&mut self, path: &str) {
        self.paths.insert(path.into());
    }

    /// A znode was removed.
    pub(super) fn remove(&mut self, path: &str) {
        self.paths.remove(path);
    }
}

impl Tree {
    /// Paths of containers and of znodes with a time to live that come after
    /// `path`, sorted by bytes.
    pub fn expendable_after(&self, path: &str) -> impl Iterator<Item = &str> {
        let bounds = (Bound::Excluded(path), Bound::Unbounded);
        let paths = &self.expendable.paths;
        paths.range::<str, _>(bounds).map(|path| &**path)
    }

    /// May this znode go? A container may when it had children once and has
    /// none any more, or was never used for longer than `never_used_ms`, where
    /// 0 stands for no limit. Times are wall clocks in ms.
    #[must_use]
    pub fn is_expendable(&self, path: &str, now_ms: i64, never_used_ms: u64) -> bool {
        let Some(znode) = self.znode(path).filter(|znode| znode.child_count() == 0) else {
            return false;
        };
        let stat = znode.stat_persisted();
        let unchanged_ms = now_ms.saturating_sub(stat.mtime);
        match znode.owner() {
            Owner::Container => {
                let never_used_ms = i64::try_from(never_used_ms).unwrap_or(i64::MAX);
                stat.cversion > 0 || (never_used_ms > 0 && unchanged_ms > never_used_ms)
            }
            // A stored time of 0 stands for none.
            Owner::Ttl(ttl_ms) => ttl_ms > 0 && unchanged_ms > ttl_ms,
            Owner::Persistent | Owner::Session(_) => false,
        }
    }
}
