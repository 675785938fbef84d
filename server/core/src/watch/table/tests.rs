use std::collections::{BTreeMap, BTreeSet};

use super::*;

const A: ConnId = ConnId(1);
const B: ConnId = ConnId(2);

fn table() -> WatchTable {
    let mut table = WatchTable::default();
    let ip = |id: &str| {
        let scheme = "ip".into();
        let id = id.into();
        Arc::from([Id { scheme, id }])
    };
    table.register_conn(A, SessionId(0xa), ip("10.0.0.1"));
    table.register_conn(B, SessionId(0xb), ip("10.0.0.2"));
    table
}

fn readable_by(ip: &str) -> Vec<Acl> {
    vec![Acl {
        perms: perms::READ,
        id: Id {
            scheme: "ip".into(),
            id: ip.into(),
        },
    }]
}

fn events(change: impl FnOnce(OnEvent<'_>)) -> Vec<(u64, i32, String)> {
    let mut events = Vec::new();
    change(&mut |conn, kind, path| events.push((conn.0, kind as i32, path.to_owned())));
    events
}

fn event(conn: u64, kind: EventKind, path: &str) -> (u64, i32, String) {
    (conn, kind as i32, path.to_owned())
}

#[test]
fn a_watch_tells_once() {
    let mut table = table();
    for conn in [B, A, B] {
        assert!(table.add("/a", conn, WatchKind::Data));
    }
    assert_eq!(table.count(), 2);
    let got = events(|on_event| table.data_changed("/a", &[], on_event));
    assert_eq!(
        got,
        [1, 2].map(|conn| event(conn, EventKind::NodeDataChanged, "/a"))
    );
    assert_eq!(table.count(), 0);
    assert_eq!(
        events(|on_event| table.data_changed("/a", &[], on_event)),
        []
    );
}

#[test]
fn what_each_change_triggers() {
    type Change = fn(&mut WatchTable, OnEvent<'_>);
    let created: Change = |table, on_event| table.node_created("/a", &[], &[], on_event);
    let deleted: Change = |table, on_event| table.node_deleted("/a", &[], &[], on_event);
    let changed: Change = |table, on_event| table.data_changed("/a", &[], on_event);
    // Data watch of A on /a, child watches of A on / and of B on /a.
    for (change, want, left) in [
        (
            created,
            vec![
                event(1, EventKind::NodeCreated, "/a"),
                event(1, EventKind::NodeChildrenChanged, "/"),
            ],
            1,
        ),
        (
            deleted,
            vec![
                event(1, EventKind::NodeDeleted, "/a"),
                event(2, EventKind::NodeDeleted, "/a"),
                event(1, EventKind::NodeChildrenChanged, "/"),
            ],
            0,
        ),
        (changed, vec![event(1, EventKind::NodeDataChanged, "/a")], 2),
    ] {
        let mut table = table();
        assert!(
            table.add("/a", A, WatchKind::Data)
                && table.add("/", A, WatchKind::Children)
                && table.add("/a", B, WatchKind::Children)
        );
        assert_eq!(events(|on_event| change(&mut table, on_event)), want);
        assert_eq!(table.count(), left);
    }
}

#[test]
fn a_deletion_is_told_once_for_both_kinds_of_watches() {
    let mut table = table();
    assert!(table.add("/a", A, WatchKind::Data) && table.add("/a", A, WatchKind::Children));
    let got = events(|on_event| table.node_deleted("/a", &[], &[], on_event));
    assert_eq!(got, [event(1, EventKind::NodeDeleted, "/a")]);
    assert_eq!(table.count(), 0);
}

#[test]
fn events_that_may_not_be_read_use_the_watch_up() {
    let mut table = table();
    assert!(
        table.add("/a", A, WatchKind::Data)
            && table.add("/a", B, WatchKind::Data)
            && table.add("/", B, WatchKind::Children)
    );
    let acl = readable_by("10.0.0.1");
    let got = events(|on_event| table.node_created("/a", &acl, &acl, on_event));
    assert_eq!(got, [event(1, EventKind::NodeCreated, "/a")]);
    assert_eq!(table.count(), 0);
}

#[test]
fn a_connection_takes_its_watches_with_it() {
    let mut table = table();
    assert!(
        table.add("/a", A, WatchKind::Data)
            && table.add("/a", A, WatchKind::Children)
            && table.add("/a", B, WatchKind::Data)
    );
    table.remove_conn(A);
    assert!(table.add("/b", A, WatchKind::Data), "ignored");
    assert_eq!(table.count(), 1);
    table.remove_conn(B);
    assert_eq!(table.count(), 0);
}

#[test]
fn persistent_watches_tell_again_and_again() {
    let mut table = table();
    assert!(table.add("/a", A, WatchKind::Persistent));
    assert!(
        table.add("/a", A, WatchKind::Data),
        "at most one event for both"
    );
    for _ in 0..2 {
        let got = events(|on_event| table.data_changed("/a", &[], on_event));
        assert_eq!(got, [event(1, EventKind::NodeDataChanged, "/a")]);
        let got = events(|on_event| table.node_created("/a/b", &[], &[], on_event));
        assert_eq!(got, [event(1, EventKind::NodeChildrenChanged, "/a")]);
        let got = events(|on_event| table.node_deleted("/a", &[], &[], on_event));
        assert_eq!(got, [event(1, EventKind::NodeDeleted, "/a")]);
        assert_eq!(table.count(), 2);
    }
}

#[test]
fn recursive_watches_see_all_below_but_no_lists_of_children() {
    let mut table = table();
    assert!(table.add("/a", A, WatchKind::PersistentRecursive));
    assert!(table.add("/", B, WatchKind::PersistentRecursive));
    assert!(table.add("/a/b/c", A, WatchKind::Data));
    let got = events(|on_event| table.node_created("/a/b/c", &[], &[], on_event));
    let both = |kind, path: &str| [1, 2].map(|conn| event(conn, kind, path));
    assert_eq!(got, both(EventKind::NodeCreated, "/a/b/c"));
    let got = events(|on_event| table.node_deleted("/a", &[], &[], on_event));
    assert_eq!(got, both(EventKind::NodeDeleted, "/a"));
    for path in ["/", "/ab"] {
        let got = events(|on_event| table.data_changed(path, &[], on_event));
        assert_eq!(got, [event(2, EventKind::NodeDataChanged, path)]);
    }
    // Those above that may not read what has changed are not told.
    let got = events(|on_event| table.data_changed("/a/b", &readable_by("10.0.0.2"), on_event));
    assert_eq!(got, [event(2, EventKind::NodeDataChanged, "/a/b")]);
    assert_eq!(table.count(), 2);
}

#[test]
fn windows_show_live_data_watches_only() {
    let mut table = table();
    assert!(table.add("/a", A, WatchKind::Data) && table.add("/a", B, WatchKind::Data));
    assert!(table.add("/b", A, WatchKind::Persistent) && table.add("/c", A, WatchKind::Children));
    let summary = |connections, paths, watches| WatchSummary {
        connections,
        paths,
        watches,
    };
    assert_eq!(table.data_summary(), summary(2, 2, 3));
    table.conns.end(B);
    assert_eq!(table.data_summary(), summary(1, 2, 2));
}

/// The reference's two maps, as simple as can be.
#[derive(Default)]
struct Model {
    watches: BTreeMap<(bool, String, u64), BTreeSet<u8>>,
}

const ONCE: u8 = 0;
const PERSISTENT: u8 = 1;
const RECURSIVE: u8 = 2;

impl Model {
    fn add(&mut self, path: &str, conn: u64, kind: WatchKind) {
        let entries = match kind {
            WatchKind::Data => vec![(false, ONCE)],
            WatchKind::Children => vec![(true, ONCE)],
            WatchKind::Persistent => vec![(false, PERSISTENT), (true, PERSISTENT)],
            WatchKind::PersistentRecursive => vec![(false, RECURSIVE)],
        };
        for (children, mode) in entries {
            let key = (children, path.to_owned(), conn);
            self.watches.entry(key).or_default().insert(mode);
        }
    }

    fn remove(&mut self, path: &str, conn: u64, wanted: WatcherType) -> bool {
        let mut found = false;
        self.watches.retain(|(children, at, of), modes| {
            if at != path || *of != conn {
                return true;
            }
            let before = modes.len();
            modes.retain(|mode| match wanted {
                WatcherType::Children => !(*children && *mode == ONCE),
                WatcherType::Data => *children || *mode != ONCE,
                WatcherType::Any => false,
                WatcherType::Persistent => *mode != PERSISTENT,
                WatcherType::PersistentRecursive => *mode != RECURSIVE,
            });
            found |= modes.len() < before;
            !modes.is_empty()
        });
        found
    }

    /// Connections that are told, in order.
    fn trigger(&mut self, children: bool, path: &str) -> BTreeSet<u64> {
        let mut told = BTreeSet::new();
        self.watches.retain(|(of_children, at, conn), modes| {
            if *of_children != children {
                return true;
            }
            let is_above = *at == "/"
                || path
                    .strip_prefix(&**at)
                    .is_some_and(|rest| rest.starts_with('/'));
            if at == path {
                told.insert(*conn);
                modes.remove(&ONCE);
            } else if is_above && modes.contains(&RECURSIVE) {
                told.insert(*conn);
            }
            !modes.is_empty()
        });
        told
    }
}

/// Thousands of random steps against the model: few paths, so that they get
/// crowds, and many, so that buckets split and join; connections come and go.
#[test]
fn the_table_does_what_two_plain_maps_do() {
    let mut table = WatchTable::new(Arc::default(), 3);
    let mut model = Model::default();
    let mut state = 1_u64;
    let mut random = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut oldest = 1;
    let mut newest = 40;
    for conn in oldest..=newest {
        table.register_conn(ConnId(conn), SessionId(conn as i64), Arc::default());
    }
    for step in 0..30_000 {
        let path = match random(4) {
            0 => "/".to_owned(),
            1 => format!("/p{}", random(3)),
            2 => format!("/p{}/q{}", random(3), random(10)),
            _ => format!("/p{}/q{}/r{}", random(3), random(10), random(60)),
        };
        let conn = oldest + random(newest - oldest + 1);
        match random(if step < 20_000 { 12 } else { 40 }) {
            0 if random(20) == 0 => {
                table.remove_conn(ConnId(oldest));
                model.watches.retain(|(_, _, conn), _| *conn != oldest);
                (oldest, newest) = (oldest + 1, newest + 1);
                table.register_conn(ConnId(newest), SessionId(newest as i64), Arc::default());
            }
            0..8 => {
                let kind = match random(20) {
                    0..9 => WatchKind::Data,
                    9..18 => WatchKind::Children,
                    18 => WatchKind::Persistent,
                    _ => WatchKind::PersistentRecursive,
                };
                assert!(table.add(&path, ConnId(conn), kind));
                model.add(&path, conn, kind);
            }
            8 => {
                let wanted = WatcherType::from_code(random(5) as i32 + 1).unwrap();
                let found = table.remove(&path, ConnId(conn), wanted);
                assert_eq!(found, model.remove(&path, conn, wanted), "step {step}");
            }
            9 => {
                let got = events(|on_event| table.data_changed(&path, &[], on_event));
                let got: Vec<_> = got.into_iter().map(|(conn, ..)| conn).collect();
                let told = model.trigger(false, &path);
                assert_eq!(
                    got.iter().copied().collect::<BTreeSet<_>>(),
                    told,
                    "step {step}"
                );
                assert_eq!(got.len(), told.len(), "one event each");
            }
            _ => {
                let got = events(|on_event| table.node_deleted(&path, &[], &[], on_event));
                let got: Vec<_> = got
                    .into_iter()
                    .map(|(conn, kind, at)| (conn, kind == 2, at))
                    .collect();
                let mut told = model.trigger(false, &path);
                told.extend(model.trigger(true, &path));
                let parents = model.trigger(true, path::parent(&path));
                let want: Vec<_> = told
                    .iter()
                    .map(|conn| (*conn, true, path.clone()))
                    .chain(
                        parents
                            .iter()
                            .map(|conn| (*conn, false, path::parent(&path).to_owned())),
                    )
                    .collect();
                let sorted = |mut list: Vec<_>| {
                    list.sort();
                    list
                };
                assert_eq!(sorted(got), sorted(want), "step {step}");
            }
        }
        assert_eq!(table.count(), model.watches.len(), "step {step}");
        if step % 1000 == 0 {
            for (children, path, conn) in model.watches.keys() {
                let modes = table
                    .index
                    .modes(path, table.conns.slot(ConnId(*conn)).unwrap());
                let wanted = if *children {
                    Modes::CHILDREN
                } else {
                    Modes::DATA
                };
                assert!(modes.has_any(wanted));
            }
        }
    }
    for conn in oldest..=newest {
        table.remove_conn(ConnId(conn));
    }
    assert_eq!(
        (table.count(), table.counts.dead, table.index.buckets()),
        (0, 0, 0)
    );
}

#[test]
fn dead_watches_are_swept_by_what_comes_later() {
    let mut table = table();
    for n in 0..10_000 {
        assert!(table.add(&format!("/a/{n}"), A, WatchKind::Data));
    }
    assert!(table.add("/b", B, WatchKind::Data));
    table.remove_conn(A);
    assert_eq!(table.count(), 1);
    for n in 0..1000 {
        table.register_conn(A, SessionId(0xa), Arc::default());
        assert!(table.add(&format!("/c/{n}"), B, WatchKind::Data));
    }
    assert_eq!(table.count(), 1001);
    assert!(table.counts.dead < 1001 / 3, "{}", table.counts.dead);
    assert!(table.index.buckets() < 200, "{}", table.index.buckets());
}

#[test]
fn long_paths_are_bounded_for_one_connection_and_for_all() {
    let mut table = table();
    let bytes = SHORT_PATH_BYTES + LONG_BYTES_UNIT;
    let long = |n: usize| format!("/{n:x<width$}", width = bytes - 1);
    let fill = |table: &mut WatchTable, conn| {
        (0..100).find(|n| !table.add(&long(*n), conn, WatchKind::Data))
    };
    assert_eq!(fill(&mut table, A), Some(16), "of 16");
    assert!(table.add("/short", A, WatchKind::Data), "others go on");
    assert_eq!(fill(&mut table, B), Some(16), "each has as much");
    // Used up, removed, and gone with the connection: all gives room.
    events(|on_event| table.data_changed(&long(3), &[], on_event));
    assert!(table.add(&long(50), A, WatchKind::Children));
    assert!(!table.add(&long(51), A, WatchKind::Children));
    assert!(table.remove(&long(50), A, WatcherType::Children));
    assert!(table.add(&long(51), A, WatchKind::Data));
    let conns = 2..20;
    for conn in conns.clone() {
        table.register_conn(ConnId(1 + conn), SessionId(conn as i64), Arc::default());
    }
    let held: usize = conns
        .clone()
        .filter_map(|conn| fill(&mut table, ConnId(1 + conn)))
        .sum();
    assert_eq!(held, 128 - 31);
    for conn in conns {
        table.remove_conn(ConnId(1 + conn));
    }
    table.register_conn(ConnId(99), SessionId(99), Arc::default());
    assert_eq!(fill(&mut table, ConnId(99)), Some(16));
}
