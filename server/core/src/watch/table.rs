//! The registrations and how changes use them up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};
use zk_proto::client::{Acl, EventKind, Id, perms};

use crate::ConnId;
use crate::auth::AuthConfig;
use crate::tree::path;

/// Most watches that one connection may hold. Beyond it the connection is to
/// be closed; the reference knows no limit.
pub const WATCHES_PER_CONNECTION_MAX: usize = 1 << 20;

/// Takes an event: to whom, what happened, to which path.
type OnEvent<'a> = &'a mut dyn FnMut(ConnId, EventKind, &str);

/// Watches on data (which also tell of creation and deletion) and watches on
/// children. Each tells one connection of one change and is gone.
#[derive(Default)]
pub struct WatchTable {
    data: ByPath,
    children: ByPath,
    conns: BTreeMap<ConnId, Conn>,
    auth: Arc<AuthConfig>,
    count: usize,
}

/// Watches on data in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchSummary {
    /// Connections that have any.
    pub connections: usize,
    /// Paths that are watched.
    pub paths: usize,
    /// All of them.
    pub watches: usize,
}

#[derive(Default)]
struct Conn {
    ids: Vec<Id>,
    data: Paths,
    children: Paths,
}

type Paths = HashSet<Arc<str>, FixedState>;

#[derive(Default)]
struct ByPath(HashMap<Arc<str>, Watchers, FixedState>);

/// Most paths have one watcher.
enum Watchers {
    One(ConnId),
    Many(BTreeSet<ConnId>),
}

#[derive(Clone, Copy)]
enum Side {
    Data,
    Children,
}

impl WatchTable {
    /// No connection, no watch.
    #[must_use]
    pub fn new(auth: Arc<AuthConfig>) -> Self {
        Self {
            auth,
            ..Self::default()
        }
    }

    /// Lets a connection have watches. `ids` decide which events it may see;
    /// calling again replaces them.
    pub fn register_conn(&mut self, conn: ConnId, ids: Vec<Id>) {
        self.conns.entry(conn).or_default().ids = ids;
    }

    /// Drops a connection with all its watches.
    pub fn remove_conn(&mut self, conn: ConnId) {
        let Some(Conn {
            ids: _,
            data,
            children,
        }) = self.conns.remove(&conn)
        else {
            return;
        };
        self.count -= data.len() + children.len();
        for path in data {
            self.data.remove_one(&path, conn);
        }
        for path in children {
            self.children.remove_one(&path, conn);
        }
    }

    /// Drops all connections and watches.
    pub fn clear(&mut self) {
        *self = Self::new(self.auth.clone());
    }

    /// Tell this connection when the znode is created, deleted or gets data.
    /// Does nothing for a connection that is not registered. False if the
    /// connection has too many watches already.
    #[must_use]
    pub fn add_data(&mut self, path: &str, conn: ConnId) -> bool {
        self.add(Side::Data, path, conn)
    }

    /// Tell this connection when the znode is deleted or its list of children
    /// changes. Otherwise like [`WatchTable::add_data`].
    #[must_use]
    pub fn add_child(&mut self, path: &str, conn: ConnId) -> bool {
        self.add(Side::Children, path, conn)
    }

    /// Number of watches.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Number of watched paths, those watched in both ways counted twice.
    #[must_use]
    pub fn path_count(&self) -> usize {
        self.data.0.len() + self.children.0.len()
    }

    /// Paths whose data this connection watches, in no order.
    pub fn data_paths(&self, conn: ConnId) -> impl Iterator<Item = &str> {
        let conn = self.conns.get(&conn);
        conn.into_iter()
            .flat_map(|conn| conn.data.iter().map(|path| &**path))
    }

    /// Who watches data, and how much of it (reference: `WatchesSummary`).
    #[must_use]
    pub fn data_summary(&self) -> WatchSummary {
        let watches = self.conns.values().map(|conn| conn.data.len());
        WatchSummary {
            connections: watches.clone().filter(|count| *count > 0).count(),
            paths: self.data.0.len(),
            watches: watches.sum(),
        }
    }

    /// A znode came: `acl` is its, `parent_acl` its parent's.
    pub fn node_created(
        &mut self,
        path: &str,
        acl: &[Acl],
        parent_acl: &[Acl],
        on_event: OnEvent<'_>,
    ) {
        self.trigger(
            Side::Data,
            path,
            EventKind::NodeCreated,
            acl,
            None,
            on_event,
        );
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
        let told = self.trigger(
            Side::Data,
            path,
            EventKind::NodeDeleted,
            acl,
            None,
            on_event,
        );
        self.trigger(
            Side::Children,
            path,
            EventKind::NodeDeleted,
            acl,
            told.as_ref(),
            on_event,
        );
        self.children_changed(path, parent_acl, on_event);
    }

    /// A znode got data.
    pub fn data_changed(&mut self, path: &str, acl: &[Acl], on_event: OnEvent<'_>) {
        self.trigger(
            Side::Data,
            path,
            EventKind::NodeDataChanged,
            acl,
            None,
            on_event,
        );
    }

    fn children_changed(&mut self, path: &str, parent_acl: &[Acl], on_event: OnEvent<'_>) {
        let kind = EventKind::NodeChildrenChanged;
        self.trigger(
            Side::Children,
            path::parent(path),
            kind,
            parent_acl,
            None,
            on_event,
        );
    }

    fn add(&mut self, side: Side, path: &str, conn: ConnId) -> bool {
        let Some(Conn {
            ids: _,
            data,
            children,
        }) = self.conns.get_mut(&conn)
        else {
            return true;
        };
        let held = data.len() + children.len();
        let (paths, by_path) = match side {
            Side::Data => (data, &mut self.data),
            Side::Children => (children, &mut self.children),
        };
        if paths.contains(path) {
            return true;
        }
        if held >= WATCHES_PER_CONNECTION_MAX {
            return false;
        }
        paths.insert(by_path.add(path, conn));
        self.count += 1;
        true
    }

    /// Uses up the watches on `path` and reports the event to each watcher
    /// that may read the znode and is not among those who know already.
    /// Returns the watchers, including those that were not told.
    fn trigger(
        &mut self,
        side: Side,
        path: &str,
        kind: EventKind,
        acl: &[Acl],
        know: Option<&Watchers>,
        on_event: OnEvent<'_>,
    ) -> Option<Watchers> {
        let by_path = match side {
            Side::Data => &mut self.data,
            Side::Children => &mut self.children,
        };
        if by_path.0.is_empty() {
            return None;
        }
        let watchers = by_path.0.remove(path)?;
        watchers.for_each(|id| {
            let conn = self.conns.get_mut(&id).expect("watchers are registered");
            match side {
                Side::Data => conn.data.remove(path),
                Side::Children => conn.children.remove(path),
            };
            self.count -= 1;
            let knows = know.is_some_and(|know| know.contains(id));
            if !knows && self.auth.allows(acl, &conn.ids, perms::READ) {
                on_event(id, kind, path);
            }
        });
        Some(watchers)
    }
}

impl ByPath {
    fn add(&mut self, path: &str, conn: ConnId) -> Arc<str> {
        if let Some((path, _)) = self.0.get_key_value(path) {
            let path = path.clone();
            self.0.get_mut(&path).expect("found just now").add(conn);
            return path;
        }
        let path: Arc<str> = path.into();
        self.0.insert(path.clone(), Watchers::One(conn));
        path
    }

    fn remove_one(&mut self, path: &str, conn: ConnId) {
        let Some(watchers) = self.0.get_mut(path) else {
            return;
        };
        let empty = match watchers {
            Watchers::One(_) => true,
            Watchers::Many(conns) => {
                conns.remove(&conn);
                conns.is_empty()
            }
        };
        if empty {
            self.0.remove(path);
        }
    }
}

impl Watchers {
    fn add(&mut self, conn: ConnId) {
        match self {
            Self::One(first) => *self = Self::Many(BTreeSet::from([*first, conn])),
            Self::Many(conns) => {
                conns.insert(conn);
            }
        }
    }

    fn contains(&self, conn: ConnId) -> bool {
        match self {
            Self::One(one) => *one == conn,
            Self::Many(conns) => conns.contains(&conn),
        }
    }

    /// In the order of the connections' numbers.
    fn for_each(&self, mut visit: impl FnMut(ConnId)) {
        match self {
            Self::One(conn) => visit(*conn),
            Self::Many(conns) => conns.iter().copied().for_each(visit),
        }
    }
}

#[cfg(test)]
mod tests;
