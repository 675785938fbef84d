use super::*;

const A: ConnId = ConnId(1);
const B: ConnId = ConnId(2);

fn table() -> WatchTable {
    let mut table = WatchTable::default();
    let ip = |id: &str| {
        vec![Id {
            scheme: "ip".into(),
            id: id.into(),
        }]
    };
    table.register_conn(B, ip("10.0.0.2"));
    table.register_conn(A, ip("10.0.0.1"));
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
        assert!(table.add_data("/a", conn));
    }
    assert_eq!((table.count(), table.path_count()), (2, 1));
    let got = events(|on_event| table.data_changed("/a", &[], on_event));
    assert_eq!(
        got,
        [1, 2].map(|conn| event(conn, EventKind::NodeDataChanged, "/a"))
    );
    assert_eq!((table.count(), table.path_count()), (0, 0));
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
        assert!(table.add_data("/a", A) && table.add_child("/", A) && table.add_child("/a", B));
        assert_eq!(events(|on_event| change(&mut table, on_event)), want);
        assert_eq!(table.count(), left);
    }
}

#[test]
fn a_deletion_is_told_once_for_both_kinds_of_watches() {
    let mut table = table();
    assert!(table.add_data("/a", A) && table.add_child("/a", A));
    let got = events(|on_event| table.node_deleted("/a", &[], &[], on_event));
    assert_eq!(got, [event(1, EventKind::NodeDeleted, "/a")]);
    assert_eq!(table.count(), 0);
}

#[test]
fn events_that_may_not_be_read_use_the_watch_up() {
    let mut table = table();
    assert!(table.add_data("/a", A) && table.add_data("/a", B) && table.add_child("/", B));
    let acl = readable_by("10.0.0.1");
    let got = events(|on_event| table.node_created("/a", &acl, &acl, on_event));
    assert_eq!(got, [event(1, EventKind::NodeCreated, "/a")]);
    assert_eq!(table.count(), 0);
}

#[test]
fn a_connection_takes_its_watches_with_it() {
    let mut table = table();
    assert!(table.add_data("/a", A) && table.add_child("/a", A) && table.add_data("/a", B));
    table.remove_conn(A);
    assert!(table.add_data("/b", A), "ignored");
    assert_eq!((table.count(), table.path_count()), (1, 1));
    table.remove_conn(B);
    assert_eq!((table.count(), table.path_count()), (0, 0));
}
