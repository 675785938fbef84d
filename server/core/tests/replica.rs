//! One replica that is its own quorum, input by input.

mod server;
mod support;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use zk_core::request::Client;
use zk_core::{ClientWrite, CloseReason, ConnId, Input, Millis, Role};
use zk_proto::client::{AddWatchMode, ConnectRequest, OpCode, PathWatchRequest};
use zk_proto::jute::Put;
use zk_proto::txn::Txn;
use zk_proto::{SessionId, Xid, Zxid};

use server::{ONE, Server, TWO, create, delete, sync};

#[test]
fn a_write_is_answered_only_after_the_disk_has_it() {
    let mut server = Server::start();
    assert_eq!(server.roles.last(), Some(&(Role::Leading, true)));
    server.connect(ONE, SessionId(0), Zxid(0));
    assert_eq!(server.frames.remove(&ONE).unwrap().len(), 4 + 36);
    server.batch(vec![Input::ClientWrites {
        conn: ONE,
        writes: vec![create(1, "/a", 0), delete(2, "/no"), sync(3)],
    }]);
    assert_eq!(server.take_replies(ONE), [], "nothing is durable yet");
    assert!(server.replica.view().read().tree().znode("/a").is_none());
    server.settle();
    let zxid = 0x1_0000_0001;
    assert_eq!(
        server.take_replies(ONE),
        [(1, zxid + 1, 0), (2, zxid + 2, -101), (3, zxid + 2, 0)]
    );
    assert!(server.replica.view().read().tree().znode("/a").is_some());
}

#[test]
fn a_snapshot_is_due_after_so_many_bytes() {
    let mut server = Server::start();
    server.connect(ONE, SessionId(0), Zxid(0));
    for n in 1..=20 {
        let path = format!("/{n}{}", "x".repeat(1000));
        server.batch(vec![Input::ClientWrites {
            conn: ONE,
            writes: vec![create(n, &path, 0)],
        }]);
        server.settle();
    }
    let [due] = server.snapshots[..] else {
        panic!("{:?}", server.snapshots)
    };
    // Half of the limit, and at most the whole of it.
    assert!((10..=20).contains(&due.counter()), "{due}");
}

#[test]
fn a_watch_event_leaves_before_the_reply_of_the_write() {
    let mut server = Server::start();
    server.connect(ONE, SessionId(0), Zxid(0));
    server.frames.clear();
    let mut body = Vec::new();
    PathWatchRequest {
        path: "/a".into(),
        watch: true,
    }
    .write(&mut body);
    let mut reply = Vec::new();
    server.replica.view().read().serve(
        &mut Client::new(ONE, IpAddr::V4(Ipv4Addr::LOCALHOST)),
        Xid(1),
        OpCode::Exists.code(),
        &body,
        &mut reply,
    );
    server.batch(vec![Input::ClientWrites {
        conn: ONE,
        writes: vec![create(2, "/a", 0)],
    }]);
    server.settle();
    let xids: Vec<_> = server
        .take_replies(ONE)
        .iter()
        .map(|header| header.0)
        .collect();
    assert_eq!(xids, [-1, 2]);
}

#[test]
fn a_session_that_is_not_heard_of_expires_with_its_ephemerals() {
    let mut server = Server::start();
    server.connect(ONE, SessionId(0), Zxid(0));
    let session = server.sessions[&ONE];
    server.batch(vec![Input::ClientWrites {
        conn: ONE,
        writes: vec![create(1, "/e", 1)],
    }]);
    server.settle();
    server.tick(3000);
    server.batch(vec![Input::Touched(vec![(session, Millis(3000))])]);
    server.tick(7000);
    assert!(
        server.replica.view().read().tree().znode("/e").is_some(),
        "it was heard of at 3 s"
    );
    assert!(
        server
            .replica
            .next_deadline()
            .is_some_and(|at| at <= Millis(8000))
    );
    server.tick(8000);
    assert!(server.replica.view().read().tree().znode("/e").is_none());
    assert_eq!(server.closed.get(&ONE), Some(&CloseReason::SessionClosed));
    server.connect(TWO, session, Zxid(0));
    assert!(
        !server.sessions.contains_key(&TWO),
        "an expired session does not come back"
    );
    assert_eq!(
        server.frames[&TWO][8..16],
        [0; 8],
        "timeout and session id of a refusal"
    );
}

#[test]
fn sessions_that_expire_together_leave_room_for_a_write() {
    const SESSIONS: u64 = 1000;
    let mut server = Server::start();
    for conn in 1..=SESSIONS {
        server.ask_session(ConnId(conn), SessionId(0), Zxid(0));
    }
    server.settle();
    server.frames.clear();
    let writer = server.sessions[&ONE];
    server.now.mono = Millis(500);
    let mut longest = 0;
    while server.now.mono < Millis(8000) {
        server.now.mono = server.now.mono + 500;
        let now = server.now.mono;
        server.batch(vec![Input::Touched(vec![(writer, now)]), Input::Tick]);
        let mut xid = 0;
        while server.replica.next_deadline().is_some_and(|at| at <= now)
            || !server.completions.is_empty()
        {
            xid += 1;
            let before = server.replica.status().last_zxid;
            server.write(ONE, vec![delete(xid, "/no")]);
            server.settle();
            let replies = server.take_replies(ONE);
            let [(_, zxid, _)] = replies[..] else {
                panic!("one reply: {replies:?}");
            };
            longest = longest.max(zxid - before.0);
            server.batch(vec![Input::Tick]);
        }
    }
    let view = server.replica.view();
    assert_eq!(
        view.read().tree().sessions().len(),
        1,
        "all others are gone"
    );
    assert!(longest <= 102, "{longest} transactions came before a write");
}

#[test]
fn a_server_alone_shows_no_members() {
    for (members_shown, shown) in [(true, true), (false, false)] {
        let mut config = server::config(1);
        config.znodes.members_shown = members_shown;
        let server = Server::boot(config, None);
        let view = server.replica.view();
        let guard = view.read();
        let znode = guard.tree().znode("/zookeeper/config").unwrap();
        assert_eq!(znode.data().is_some_and(|data| !data.is_empty()), shown);
    }
}

#[test]
fn a_leader_that_was_stopped_gives_the_time_back() {
    let mut server = Server::start();
    server.connect(ONE, SessionId(0), Zxid(0));
    server.tick(1000);
    server.now.mono = Millis(9000);
    server.batch(vec![Input::Tick]);
    server.settle();
    assert_eq!(server.closed.get(&ONE), None, "it could not hear");
    server.tick(12_500);
    assert_eq!(server.closed.get(&ONE), None, "4 s, of which 1 s was used");
    server.tick(13_000);
    assert!(server.closed.contains_key(&ONE));
}

#[test]
fn a_session_comes_back_on_another_connection_with_its_password_only() {
    let mut server = Server::start();
    server.connect(ONE, SessionId(0), Zxid(0));
    let session = server.sessions[&ONE];
    server.connect(TWO, session, Zxid(0));
    assert_eq!(server.closed.get(&ONE), Some(&CloseReason::SessionMoved));
    assert_eq!(server.sessions.get(&TWO), Some(&session));
    let request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid(0),
        timeout_ms: 4000,
        session_id: session,
        password: vec![0; 16],
        read_only: Some(false),
    };
    server.batch(vec![Input::ClientConnect {
        conn: ConnId(3),
        request,
        ids: Arc::default(),
    }]);
    assert!(!server.sessions.contains_key(&ConnId(3)));
    assert_eq!(server.frames[&ConnId(3)].len(), 4 + 37);
    server.connect(ConnId(4), SessionId(0), Zxid(i64::MAX));
    assert_eq!(
        server.closed.get(&ConnId(4)),
        Some(&CloseReason::AheadOfServer)
    );
    assert!(
        !server.frames.contains_key(&ConnId(4)),
        "a refusal would end the client's session"
    );
}

#[test]
fn a_client_that_closes_gets_its_reply_first() {
    let mut server = Server::start();
    server.connect(ONE, SessionId(0), Zxid(0));
    server.frames.clear();
    let close = ClientWrite {
        xid: Xid(2),
        op: OpCode::CloseSession.code(),
        body: Bytes::new(),
    };
    server.batch(vec![Input::ClientWrites {
        conn: ONE,
        writes: vec![create(1, "/e", 1), close],
    }]);
    server.settle();
    let headers = server.take_replies(ONE);
    assert_eq!(
        headers
            .iter()
            .map(|header| (header.0, header.2))
            .collect::<Vec<_>>(),
        [(1, 0), (2, 0)]
    );
    assert!(server.closed.contains_key(&ONE));
    let view = server.replica.view();
    assert!(view.read().tree().znode("/e").is_none() && view.read().tree().sessions().is_empty());
}

#[test]
fn giving_up_the_role_closes_every_client() {
    let mut server = Server::start();
    server.connect(ONE, SessionId(0), Zxid(0));
    server.batch(vec![Input::Shutdown]);
    assert_eq!(server.closed.get(&ONE), Some(&CloseReason::NotServing));
    server.connect(TWO, SessionId(0), Zxid(0));
    assert_eq!(server.closed.get(&TWO), Some(&CloseReason::NotServing));
}

#[test]
fn ephemerals_of_a_session_that_nobody_knows_go_at_once() {
    let mut old = support::Replica::new();
    old.apply(&support::ephemeral("/lost"));
    old.apply(&support::create("/kept"));
    let server = Server::start_with(Some((Zxid(2), old.tree.image().into())));
    let view = server.replica.view();
    let guard = view.read();
    assert!(guard.tree().znode("/lost").is_none());
    assert!(guard.tree().znode("/kept").is_some());
    assert_eq!(guard.tree().digest_mismatches(), 0);
    assert!(
        guard.tree().last_zxid() > Zxid::new(zk_proto::Epoch(1), 0),
        "by a transaction"
    );
}

#[test]
fn what_cannot_be_read_is_answered_in_its_turn_and_takes_no_zxid() {
    let mut server = Server::start();
    server.connect(ONE, SessionId(0), Zxid(0));
    server.frames.clear();
    let before = server.replica.status().last_zxid;
    let bad = |xid| ClientWrite {
        xid: Xid(xid),
        op: OpCode::Create.code(),
        body: Bytes::from_static(b"short"),
    };
    let writes = vec![bad(1), create(2, "/a", 0), bad(3), sync(4), bad(5)];
    server.batch(vec![Input::ClientWrites { conn: ONE, writes }]);
    server.settle();
    let replies = server.take_replies(ONE);
    let xids: Vec<_> = replies.iter().map(|reply| (reply.0, reply.2)).collect();
    assert_eq!(xids, [(1, -5), (2, 0), (3, -5), (4, 0), (5, -5)]);
    assert_eq!(server.replica.status().last_zxid, before.next());
}

#[test]
fn a_wrong_password_does_nothing_to_the_owners_connection() {
    let mut server = Server::start();
    server.connect(ONE, SessionId(0), Zxid(0));
    let session = server.sessions[&ONE];
    server.frames.clear();
    let request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid(0),
        timeout_ms: 4000,
        session_id: session,
        password: vec![1; 16],
        read_only: None,
    };
    server.batch(vec![Input::ClientConnect {
        conn: TWO,
        request,
        ids: Arc::default(),
    }]);
    assert_eq!(server.frames[&TWO][8..16], [0; 8], "a refusal");
    assert_eq!(server.closed.get(&ONE), None);
    server.write(ONE, vec![create(1, "/a", 0)]);
    server.settle();
    let replies = server.take_replies(ONE);
    assert_eq!(replies.len(), 1, "the owner goes on");
}

#[test]
fn a_new_session_gets_no_id_that_is_in_the_tree() {
    let mut old = support::Replica::new();
    old.apply(&Txn::CreateSession(4000));
    old.apply(&support::ephemeral("/e"));
    let mut config = server::config(1);
    config.first_session_id = support::SESSION.0 - 1;
    let mut server = Server::boot(config, Some((Zxid(2), old.tree.image().into())));
    for conn in 1..=3 {
        server.connect(ConnId(conn), SessionId(0), Zxid(0));
    }
    let ids: Vec<_> = server.sessions.values().map(|id| id.0).collect();
    let first = support::SESSION.0 - 1;
    assert_eq!(
        ids,
        [first, first + 2, first + 3],
        "one in between is taken"
    );
}

#[test]
fn very_many_events_are_handed_out_in_parts() {
    let mut server = Server::start();
    server.connect(ONE, SessionId(0), Zxid(0));
    let mut body = Vec::new();
    body.put_str("/");
    body.put_i32(AddWatchMode::PersistentRecursive as i32);
    let mut client = Client::new(ONE, [127, 0, 0, 1].into());
    let view = server.replica.view();
    let op = OpCode::AddWatch.code();
    view.read()
        .serve(&mut client, Xid(1), op, &body, &mut Vec::new());
    server.frames.clear();
    let name = |n: i32| format!("/{n}{}", "x".repeat(200_000));
    server.batch(vec![Input::ClientWrites {
        conn: ONE,
        writes: (0..60).map(|n| create(n, &name(n), 0)).collect(),
    }]);
    let inputs = std::mem::take(&mut server.completions);
    server.batch(inputs);
    let (mut parts, mut replies) = (1, Vec::new());
    loop {
        let bytes = server.frames.get(&ONE).map_or(0, Vec::len);
        assert!(bytes < 10 << 20, "{bytes} bytes at once");
        let headers = server.take_replies(ONE).into_iter();
        replies.extend(headers.map(|(xid, _, _)| xid).filter(|xid| *xid >= 0));
        if !server.replica.has_more_to_apply() {
            break;
        }
        server.batch(Vec::new());
        parts += 1;
    }
    assert!(parts >= 3, "{parts}");
    assert_eq!(replies, (0..60).collect::<Vec<_>>());
}
