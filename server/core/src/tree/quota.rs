//! Quotas: subtrees with limits, and the znodes below `/zookeeper/quota` that
//! say what the limits are and how much is used (reference: `DataTree`,
//! `Quotas`, `PathTrie`, `ZooKeeperServer.checkQuota` of 3.9.4).
//!
//! A quota on `/a` is the znode `/zookeeper/quota/a/zookeeper_limits`. What is
//! used stands in `zookeeper_stats` beside it and is rewritten in place, without
//! a transaction and without a change of its numbers, so all servers must count
//! alike. Nothing below `/zookeeper` counts for the digest.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::chunk::SlotId;
use super::data_tree::Tree;
use super::path;
use super::stats_track::{StatsTrack, Unreadable};

/// The paths that have limits.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    limited: BTreeSet<Box<str>>,
}

/// What a write would do to the quota that it falls under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QuotaVerdict {
    /// Nothing to say.
    Within,
    /// A soft limit is passed: worth a line in the log.
    Soft,
    /// A hard limit is passed: the write is refused.
    Hard,
}

/// All quotas below one name at the top, added up; -1 for each that has no
/// such limit, as the reference adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaTotals {
    /// Limits of znodes, hard ones before soft ones.
    pub count_limit: i64,
    /// Limits of bytes, likewise.
    pub bytes_limit: i64,
    /// Znodes.
    pub count: i64,
    /// Bytes of their data.
    pub bytes: i64,
}

impl Quotas {
    /// The longest path with limits that `path` lies at or below.
    fn over(&self, path: &str) -> Option<&str> {
        if self.limited.is_empty() {
            return None;
        }
        let path = without_blanks(path);
        let mut prefix = &*path;
        while !prefix.is_empty() {
            if let Some(found) = self.limited.get(prefix) {
                return Some(found);
            }
            prefix = &prefix[..prefix.rfind('/')?];
        }
        None
    }

    fn add(&mut self, path: &str) {
        // The reference throws upon limits for the root and then ends.
        let path = without_blanks(path);
        if !path.is_empty() {
            self.limited.insert((*path).into());
        }
    }

    fn remove(&mut self, path: &str) {
        self.limited.remove(&*without_blanks(path));
    }
}

impl Tree {
    /// The path whose quota counts for `path`: only the longest does.
    #[must_use]
    pub fn quota_over(&self, path: &str) -> Option<&str> {
        self.quotas.over(path)
    }

    /// Paths with limits, sorted by bytes.
    pub fn quota_paths(&self) -> impl Iterator<Item = &str> {
        self.quotas.limited.iter().map(|path| &**path)
    }

    /// Limits and use by the first name of the path. A quota whose znodes
    /// cannot be read is left out, and so are names of more than
    /// 128 bytes and more than 200 names: who
    /// reads this wants it short.
    #[must_use]
    pub fn quotas_by_namespace(&self) -> BTreeMap<String, QuotaTotals> {
        let mut totals: BTreeMap<String, QuotaTotals> = BTreeMap::new();
        for over in self.quota_paths() {
            let read = |name| StatsTrack::read(self.znode(&beside(over, name))?.data()).ok();
            let (Some(limits), Some(used)) = (read(LIMITS), read(STATS)) else {
                continue;
            };
            let name = path::namespace(over);
            let is_shown = totals.contains_key(name) || totals.len() < NAMESPACES_MAX;
            if name.len() > NAMESPACE_BYTES_MAX || !is_shown {
                continue;
            }
            let limit = |soft, hard| match limits.get(hard) {
                hard if hard > -1 => hard,
                _ => limits.get(soft),
            };
            let of = totals.entry(name.to_owned()).or_default();
            of.count_limit += limit(StatsTrack::COUNT, StatsTrack::COUNT_HARD_LIMIT);
            of.bytes_limit += limit(StatsTrack::BYTES, StatsTrack::BYTE_HARD_LIMIT);
            of.count += used.get(StatsTrack::COUNT);
            of.bytes += used.get(StatsTrack::BYTES);
        }
        totals
    }

    /// What the quota of `path` says to so many more znodes and bytes, by what
    /// is used in this tree.
    ///
    /// # Errors
    /// When limits or use are nonsense; the reference then throws.
    pub(crate) fn check_quota(
        &self,
        path: &str,
        count: i64,
        bytes: i64,
    ) -> Result<QuotaVerdict, Unreadable> {
        let Some(over) = self.quota_over(path) else {
            return Ok(QuotaVerdict::Within);
        };
        let Some(limits) = self.znode(&beside(over, LIMITS)) else {
            return Ok(QuotaVerdict::Within);
        };
        let limits = StatsTrack::read(limits.data())?;
        let wanted = [
            (count, StatsTrack::COUNT, StatsTrack::COUNT_HARD_LIMIT),
            (bytes, StatsTrack::BYTES, StatsTrack::BYTE_HARD_LIMIT),
        ];
        let limited = |(diff, soft, hard): &(i64, &str, &str)| {
            *diff != 0 && (limits.get(soft) > -1 || limits.get(hard) > -1)
        };
        if !wanted.iter().any(limited) {
            return Ok(QuotaVerdict::Within);
        }
        let Some(used) = self.znode(&beside(over, STATS)) else {
            return Ok(QuotaVerdict::Within);
        };
        let used = StatsTrack::read(used.data())?;
        let mut verdict = QuotaVerdict::Within;
        for (diff, soft, hard) in wanted.into_iter().filter(limited) {
            let then = used.get(soft).wrapping_add(diff);
            let hard = limits.get(hard);
            if hard > -1 {
                if then > hard {
                    return Ok(QuotaVerdict::Hard);
                }
            } else if then > limits.get(soft) {
                verdict = QuotaVerdict::Soft;
            }
        }
        Ok(verdict)
    }

    /// Finds all limits and counts what is used, as after loading an image.
    pub(super) fn set_up_quotas(&mut self) {
        let mut open = vec![QUOTA.to_owned()];
        let mut found = Vec::new();
        while let Some(path) = open.pop() {
            let Some(znode) = self.znode(&path) else {
                continue;
            };
            if znode.child_count() > 0 {
                open.extend(znode.children().map(|name| format!("{path}/{name}")));
            } else if path::name(&path) == LIMITS {
                found.push(path::parent(&path)[QUOTA.len()..].to_owned());
            }
        }
        // What lies deepest comes first, so that no znode is looked at twice.
        found.sort_by_key(|path| Reverse(path.len()));
        let mut known = BTreeMap::new();
        for path in found {
            self.recount(&path, &mut known);
            self.quotas.add(&path);
        }
    }

    /// A znode was added.
    pub(super) fn count_created(&mut self, path: &str, bytes: usize) {
        let parent = path::parent(path);
        if let Some(of) = parent.strip_prefix(QUOTA) {
            match path::name(path) {
                LIMITS => self.quotas.add(of),
                STATS => self.recount(of, &mut BTreeMap::new()),
                _ => {}
            }
        }
        self.count(path, 1, signed(bytes));
    }

    /// A znode was removed.
    pub(super) fn count_deleted(&mut self, path: &str, bytes: usize) {
        let parent = path::parent(path);
        if parent.starts_with(ZOOKEEPER) && path::name(path) == LIMITS {
            // The reference cuts off this many characters whatever they are.
            self.quotas
                .remove(parent.get(QUOTA.len()..).unwrap_or_default());
        }
        self.count(path, -1, -signed(bytes));
    }

    /// The data of a znode was replaced.
    pub(super) fn count_changed(&mut self, path: &str, before: usize, after: usize) {
        self.count(path, 0, signed(after) - signed(before));
    }

    fn count(&mut self, path: &str, count: i64, bytes: i64) {
        let Some(over) = self.quotas.over(path) else {
            return;
        };
        let stats = beside(over, STATS);
        let Some(znode) = self.znode(&stats) else {
            return;
        };
        // The reference ends upon nonsense that a client has written there.
        let mut used = StatsTrack::read(znode.data()).unwrap_or_default();
        used.add(count, bytes);
        self.rewrite(&stats, used.text().as_bytes());
    }

    /// Counts the subtree at `path`, itself included. `known` has what was
    /// counted before, by the top of each subtree, and gets this one, too.
    fn recount(&mut self, path: &str, known: &mut BTreeMap<SlotId, Use>) {
        let stats = beside(path, STATS);
        if self.znode(&stats).is_none() {
            return;
        }
        let mut all = Use::default();
        if let Some(top) = self.nodes.find(path) {
            let slots = self.nodes.slots();
            self.nodes.visit(top, |id| {
                if let Some(part) = known.get(&id) {
                    all.add(*part);
                    return false;
                }
                let bytes = slots.znode(id).1.data.map_or(0, <[u8]>::len);
                all.add(Use {
                    count: 1,
                    bytes: signed(bytes),
                });
                true
            });
            known.insert(top, all);
        }
        let used = StatsTrack::usage(all.count, all.bytes).text();
        self.rewrite(&stats, used.as_bytes());
    }
}

/// What a subtree uses.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    /// Number of znodes.
    count: i64,
    /// Bytes of their data.
    bytes: i64,
}

impl Use {
    const fn add(&mut self, other: Self) {
        self.count += other.count;
        self.bytes += other.bytes;
    }
}

/// The top of the subtree that every server counts when a znode is created at
/// `path`; `None` unless it is one that says what a subtree uses.
pub(crate) fn quota_of_stats(path: &str) -> Option<&str> {
    let of = path::parent(path).strip_prefix(QUOTA)?;
    (path::name(path) == STATS).then_some(of)
}

/// The znode of this name that belongs to the quota of `path`.
fn beside(path: &str, name: &str) -> String {
    format!("{QUOTA}{path}/{name}")
}

/// Names of nothing but spaces do not count for where limits are.
fn without_blanks(path: &str) -> Cow<'_, str> {
    let is_blank = |segment: &str| segment.bytes().all(|byte| byte == b' ');
    if path.starts_with('/') && !path[1..].split('/').any(is_blank) {
        return Cow::Borrowed(path);
    }
    let mut out = String::with_capacity(path.len());
    for segment in path.split('/').filter(|segment| !is_blank(segment)) {
        out.push('/');
        out.push_str(segment);
    }
    Cow::Owned(out)
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Bytes of a first name of a path that is shown with its quotas.
pub(crate) const NAMESPACE_BYTES_MAX: usize = 128;
/// Number of such names.
pub(crate) const NAMESPACES_MAX: usize = 200;
const ZOOKEEPER: &str = "/zookeeper";
const QUOTA: &str = "/zookeeper/quota";
const LIMITS: &str = "zookeeper_limits";
const STATS: &str = "zookeeper_stats";
