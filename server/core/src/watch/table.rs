//! The registrations and how changes use them up.

use std::collections::BTreeSet;
use std::sync::Arc;

use zk_proto::SessionId;
use zk_proto::client::{Acl, EventKind, Id, WatcherType, perms};

use super::conns::Conns;
use super::index::Index;
use super::modes::{Modes, WatchKind};
use super::record::Slot;
use crate::ConnId;
use crate::auth::AuthConfig;
use crate::tree::path;

/// Most watches that one connection may hold. Beyond it the connection is to
/// be closed; the reference knows no limit.
pub const WATCHES_PER_CONNECTION_MAX: usize = 1 << 20;

/// Bytes of long paths that the watches of one connection may have. Beyond it
/// the connection is to be closed; the reference knows no limit.
const LONG_BYTES_PER_CONNECTION_MAX: usize = 16 * LONG_BYTES_UNIT;

/// The same for all connections together.
const LONG_BYTES_MAX: usize = 128 * LONG_BYTES_UNIT;

/// Takes an event: to whom, what happened, to which path.
type OnEvent<'a> = &'a mut dyn FnMut(ConnId, EventKind, &str);

/// All watches of a server's connections.
pub struct WatchTable {
    index: Index,
    conns: Conns,
    auth: Arc<AuthConfig>,
    counts: Counts,
    /// Buckets that are still to be swept.
    to_sweep: usize,
}

/// Data watches in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchSummary {
    /// Connections that have any.
    pub connections: usize,
    /// Paths that are watched.
    pub paths: usize,
    /// All of them.
    pub watches: usize,
}

/// Watches of live and of dead connections, counted as the reference does:
/// once for a path among the data watches, once among the child watches.
#[derive(Debug, Default)]
struct Counts {
    data: usize,
    children: usize,
    /// Recursive ones among `data`.
    recursive: usize,
    /// Those of dead connections among `data` and `children`.
    dead: usize,
    /// Bytes of the long paths of live connections.
    long_bytes: usize,
}

impl Default for WatchTable {
    fn default() -> Self {
        Self::new(Arc::default(), 0)
    }
}

impl WatchTable {
    /// No connection, no watch. `auth` decides which events a connection may
    /// see; `seed` makes the places of paths unpredictable for clients.
    #[must_use]
    pub fn new(auth: Arc<AuthConfig>, seed: u64) -> Self {
        Self {
            index: Index::new(seed),
            conns: Conns::default(),
            auth,
            counts: Counts::default(),
            to_sweep: 0,
        }
    }

    /// Lets a connection have watches. `ids` decide which events it may see;
    /// calling again replaces session and ids.
    pub fn register_conn(&mut self, conn: ConnId, session: SessionId, ids: Arc<[Id]>) {
        self.conns.register(conn, session, ids);
    }

    /// Replaces the ids of a registered connection.
    pub fn set_ids(&mut self, conn: ConnId, ids: Arc<[Id]>) {
        if let Some(slot) = self.conns.slot(conn) {
            self.conns.at_mut(slot).ids = ids;
        }
    }

    /// The session of a registered connection.
    #[must_use]
    pub fn session(&self, conn: ConnId) -> Option<SessionId> {
        let slot = self.conns.slot(conn)?;
        Some(self.conns.at(slot).session)
    }

    /// Drops a connection. Its watches are dead at once; what they take is
    /// given back by and by.
    pub fn remove_conn(&mut self, conn: ConnId) {
        let (watches, long_bytes) = self.conns.end(conn);
        self.counts.dead += watches;
        self.counts.long_bytes -= long_bytes;
        if self.count() == 0 {
            self.index.clear();
            self.conns.forget_dead();
            self.counts = Counts::default();
            return;
        }
        let part = self.index.buckets() / SWEEP_PART;
        self.sweep(part + SWEEP_BUCKETS_AT_END);
    }

    /// Drops all connections and watches.
    pub fn clear(&mut self) {
        self.index.clear();
        self.conns = Conns::default();
        self.counts = Counts::default();
    }

    /// Lets a connection watch a path, which need not exist. Does nothing for
    /// a connection that is not registered. False if the connection has too
    /// many watches already, or paths that are too long altogether.
    #[must_use]
    pub fn add(&mut self, path: &str, conn: ConnId, kind: WatchKind) -> bool {
        let Some(slot) = self.conns.slot(conn) else {
            return true;
        };
        let old = self.index.modes(path, slot);
        let new = old.with(Modes::of_kind(kind));
        if new == old {
            return true;
        }
        let held = self.conns.at(slot).watches + new.watches() - old.watches();
        let added = (new.watches() - old.watches()) * long_bytes(path);
        let bytes = self.conns.at(slot).long_bytes + added;
        if held > WATCHES_PER_CONNECTION_MAX
            || bytes > LONG_BYTES_PER_CONNECTION_MAX
            || self.counts.long_bytes + added > LONG_BYTES_MAX
        {
            return false;
        }
        self.index.set_modes(path, slot, new);
        let conn = self.conns.at_mut(slot);
        (conn.watches, conn.long_bytes) = (held, bytes);
        self.counts.long_bytes += added;
        self.counts.add(new);
        self.counts.take(old);
        self.sweep(SWEEP_BUCKETS_AT_ADD);
        true
    }

    /// Does a connection have a watch of this type on this very path?
    #[must_use]
    pub fn contains(&self, path: &str, conn: ConnId, wanted: WatcherType) -> bool {
        let modes = |slot| self.index.modes(path, slot);
        let modes = self.conns.slot(conn).map(modes).unwrap_or_default();
        modes.has_any(Modes::to_check(wanted))
    }

    /// Drops a connection's watches of this type on this very path. False if
    /// there was none.
    pub fn remove(&mut self, path: &str, conn: ConnId, wanted: WatcherType) -> bool {
        let Some(slot) = self.conns.slot(conn) else {
            return false;
        };
        let old = self.index.modes(path, slot);
        let new = old.without(Modes::to_remove(wanted));
        if new == old {
            return false;
        }
        self.index.set_modes(path, slot, new);
        self.take_watches(slot, path, old.watches() - new.watches());
        self.counts.add(new);
        self.counts.take(old);
        true
    }

    /// Number of watches: a path counts once among a connection's data
    /// watches and once among its child watches.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.counts.data + self.counts.children - self.counts.dead
    }

    /// The data watches in numbers (reference: `WatchesSummary`).
    #[must_use]
    pub fn data_summary(&self) -> WatchSummary {
        let mut summary = WatchSummary::default();
        let mut sessions = BTreeSet::new();
        self.for_each_data_watch(&mut |_, watching| {
            summary.paths += 1;
            summary.watches += watching.len();
            sessions.extend(watching.iter().copied());
        });
        summary.connections = sessions.len();
        summary
    }

    /// Visits all paths with data watches, in no order, and the sessions that
    /// watch them.
    pub fn for_each_data_watch(&self, visit: &mut dyn FnMut(&str, &[SessionId])) {
        let mut sessions = Vec::new();
        self.index.for_each(Modes::DATA, &mut |path, slots| {
            let live = slots.iter().map(|slot| self.conns.at(*slot));
            let live = live.filter(|conn| conn.is_alive);
            sessions.clear();
            sessions.extend(live.map(|conn| conn.session));
            if !sessions.is_empty() {
                visit(path, &sessions);
            }
        });
    }

    /// A znode came: `acl` is its, `parent_acl` its parent's.
    pub fn node_created(
        &mut self,
        path: &str,
        acl: &[Acl],
        parent_acl: &[Acl],
        on_event: OnEvent<'_>,
    ) {
        self.trigger_data(path, EventKind::NodeCreated, acl, on_event);
        self.children_changed(path, parent_acl, on_event);
    }

    /// A znode went: `acl` is the one it had, `parent_acl` its parent's.
    pub fn node_deleted(
        &mut self,
        path: &str,
        acl: &[Acl],
        parent_acl: &[Acl],
        on_event: OnEvent<'_>,
    ) {
        let kind = EventKind::NodeDeleted;
        let told = self.trigger_data(path, kind, acl, on_event);
        self.trigger_children(path, kind, acl, &told, on_event);
        self.children_changed(path, parent_acl, on_event);
    }

    /// A znode got data.
    pub fn data_changed(&mut self, path: &str, acl: &[Acl], on_event: OnEvent<'_>) {
        self.trigger_data(path, EventKind::NodeDataChanged, acl, on_event);
    }

    fn children_changed(&mut self, path: &str, parent_acl: &[Acl], on_event: OnEvent<'_>) {
        let kind = EventKind::NodeChildrenChanged;
        self.trigger_children(path::parent(path), kind, parent_acl, &[], on_event);
    }

    /// Uses up the data watches on `path` and reports the event to their
    /// connections and to those that watch it from above. Returns all of
    /// them, those included that may not know.
    fn trigger_data(
        &mut self,
        path: &str,
        kind: EventKind,
        acl: &[Acl],
        on_event: OnEvent<'_>,
    ) -> Vec<Slot> {
        let (mut told, mut gone) = (Vec::new(), Vec::new());
        if self.counts.data == 0 {
            return told;
        }
        let once = Modes::DATA_ONCE;
        self.index
            .consume(path, Modes::DATA, once, &mut told, &mut gone);
        if self.counts.recursive > 0 {
            let mut above = path;
            while above.len() > 1 {
                above = path::parent(above);
                self.index.collect(above, Modes::DATA_RECURSIVE, &mut told);
            }
            told.sort_unstable();
            told.dedup();
        }
        self.tell(&told, &[], kind, path, acl, on_event);
        self.used_up(&gone, path, once);
        told
    }

    /// The same for child watches, but for those who know already.
    fn trigger_children(
        &mut self,
        path: &str,
        kind: EventKind,
        acl: &[Acl],
        know: &[Slot],
        on_event: OnEvent<'_>,
    ) {
        if self.counts.children == 0 {
            return;
        }
        let (mut told, mut gone) = (Vec::new(), Vec::new());
        let once = Modes::CHILDREN_ONCE;
        self.index
            .consume(path, Modes::CHILDREN, once, &mut told, &mut gone);
        self.tell(&told, know, kind, path, acl, on_event);
        self.used_up(&gone, path, once);
    }

    fn tell(
        &self,
        told: &[Slot],
        know: &[Slot],
        kind: EventKind,
        path: &str,
        acl: &[Acl],
        on_event: OnEvent<'_>,
    ) {
        for slot in told {
            let conn = self.conns.at(*slot);
            let knows = know.binary_search(slot).is_ok();
            if conn.is_alive && !knows && self.auth.allows(acl, &conn.ids, perms::READ) {
                on_event(conn.id, kind, path);
            }
        }
    }

    fn used_up(&mut self, gone: &[Slot], path: &str, once: Modes) {
        for slot in gone {
            self.counts.take(once);
            self.counts.dead -= usize::from(!self.conns.at(*slot).is_alive);
            self.take_watches(*slot, path, 1);
        }
    }

    /// Some watches of a connection on this path are gone.
    fn take_watches(&mut self, slot: Slot, path: &str, watches: usize) {
        let bytes = watches * long_bytes(path);
        let conn = self.conns.at_mut(slot);
        // Those of a dead connection count no more.
        if conn.is_alive && bytes > 0 {
            conn.long_bytes -= bytes;
            self.counts.long_bytes -= bytes;
        }
        self.conns.take_watches(slot, watches);
    }

    /// Gives back what watches of dead connections take in some buckets.
    fn sweep(&mut self, buckets: usize) {
        let Self {
            index,
            conns,
            counts,
            to_sweep,
            ..
        } = self;
        if *to_sweep == 0 && counts.dead * SWEEP_ABOVE > counts.data + counts.children {
            *to_sweep = index.buckets();
        }
        let buckets = buckets.min(*to_sweep);
        if buckets == 0 {
            return;
        }
        *to_sweep -= buckets;
        let mut dropped = Vec::new();
        index.sweep(
            buckets,
            |slot| !conns.at(slot).is_alive,
            |slot, modes| dropped.push((slot, modes)),
        );
        for (slot, modes) in dropped {
            counts.take(modes);
            counts.dead -= modes.watches();
            conns.take_watches(slot, modes.watches());
        }
    }
}

impl Counts {
    fn add(&mut self, modes: Modes) {
        self.data += usize::from(modes.has_any(Modes::DATA));
        self.children += usize::from(modes.has_any(Modes::CHILDREN));
        self.recursive += usize::from(modes.has_any(Modes::DATA_RECURSIVE));
    }

    fn take(&mut self, modes: Modes) {
        self.data -= usize::from(modes.has_any(Modes::DATA));
        self.children -= usize::from(modes.has_any(Modes::CHILDREN));
        self.recursive -= usize::from(modes.has_any(Modes::DATA_RECURSIVE));
    }
}

/// Bytes of a path beyond those that every watch may have: the number of
/// watches bounds the others.
const fn long_bytes(path: &str) -> usize {
    path.len().saturating_sub(SHORT_PATH_BYTES)
}

/// 1 MiB; tests do with less.
const LONG_BYTES_UNIT: usize = if cfg!(test) { 1 << 10 } else { 1 << 20 };
/// A path up to this length is not long.
const SHORT_PATH_BYTES: usize = 256;
/// All buckets are swept in turn when one watch in this many is dead, so that
/// each dead one costs a look at about as many live ones.
const SWEEP_ABOVE: usize = 4;
/// Buckets that are swept, while there is need, with each new watch: more than
/// a new watch can add.
const SWEEP_BUCKETS_AT_ADD: usize = 2;
/// Buckets that are swept at each end of a connection at least.
const SWEEP_BUCKETS_AT_END: usize = 64;
/// One part in this many of all buckets is swept then.
const SWEEP_PART: usize = 32;

#[cfg(test)]
mod tests;
