//! One replica that is its own quorum, input by input.

mod support;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use zk_core::auth::AuthConfig;
use zk_core::config::{ReplicaConfig, VoteConfig, ZnodeConfig};
use zk_core::request::Client;
use zk_core::{
    ClientWrite, CloseReason, ConnId, Ensemble, Input, Member, Millis, Now, Output, Recovered,
    Replica, Role,
};
use zk_proto::client::{
    Acl, ConnectRequest, CreateRequest, DeleteRequest, OpCode, PathWatchRequest, session_password,
};
use zk_proto::jute::{Put, Reader};
use zk_proto::{SessionId, Sid, Xid, Zxid};

/// A server whose disk is instant unless held back.
struct Server {
    replica: Replica,
    now: Now,
    /// Disk completions that were not told yet.
    completions: Vec<Input>,
    /// Everything sent to each connection, and how it ended.
    frames: BTreeMap<ConnId, Vec<u8>>,
    closed: BTreeMap<ConnId, CloseReason>,
    sessions: BTreeMap<ConnId, SessionId>,
    roles: Vec<(Role, bool)>,
    /// Periodic snapshots, none of which is ever done.
    snapshots: Vec<Zxid>,
}

impl Server {
    fn start() -> Self {
        Self::start_with(None)
    }

    /// With this snapshot on its disk.
    fn start_with(snapshot: Option<(Zxid, Bytes)>) -> Self {
        let member = Member {
            host: "h".into(),
            quorum_port: 1,
            election_port: 2,
            client: None,
        };
        let config = ReplicaConfig {
            sid: Sid(1),
            ensemble: Ensemble {
                members: BTreeMap::from([(Sid(1), member)]),
                version: 0,
            },
            tick_ms: 1000,
            init_limit: 10,
            sync_limit: 5,
            session_timeout_min_ms: 2000,
            session_timeout_max_ms: 20_000,
            snap_count: 100_000,
            snap_bytes: Some(SNAP_BYTES),
            commit_log_count: 500,
            auth: AuthConfig::default(),
            znodes: ZnodeConfig::default(),
            votes: VoteConfig::default(),
            seed: 1,
            first_session_id: 0x0100_0000_0000_0001,
        };
        let now = Now {
            mono: Millis(10),
            wall_ms: 1_700_000_000_000,
        };
        let recovered = Recovered::rebuild(snapshot, [], Vec::new(), None, None).unwrap();
        let mut server = Self {
            replica: Replica::new(config, recovered, now),
            now,
            completions: Vec::new(),
            frames: BTreeMap::new(),
            closed: BTreeMap::new(),
            sessions: BTreeMap::new(),
            roles: Vec::new(),
            snapshots: Vec::new(),
        };
        let mut out = Vec::new();
        server.replica.start(now, &mut out);
        server.perform(out);
        server.settle();
        server
    }

    /// One batch.
    fn batch(&mut self, inputs: Vec<Input>) {
        let mut out = Vec::new();
        for input in inputs {
            self.replica.step(self.now, input, &mut out);
        }
        let applied = self.replica.finish(self.now, &mut out);
        self.perform(out);
        drop(applied);
    }

    /// Lets the disk finish until nothing moves any more.
    fn settle(&mut self) {
        loop {
            let inputs = std::mem::take(&mut self.completions);
            if inputs.is_empty() {
                return;
            }
            self.batch(inputs);
        }
    }

    fn perform(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Append(entries) => {
                    let last = entries.last().expect("an append has entries");
                    self.completions.push(Input::Appended(last.zxid));
                }
                Output::SaveEpoch(file, epoch) => {
                    self.completions.push(Input::EpochSaved(file, epoch))
                }
                Output::ToClient(to) => {
                    self.frames.entry(to.conn).or_default().extend(to.frames);
                    if to.close {
                        self.closed.insert(to.conn, CloseReason::SessionClosed);
                    }
                }
                Output::SessionOpened {
                    conn,
                    session,
                    frame,
                    ..
                } => {
                    self.sessions.insert(conn, session);
                    self.frames.entry(conn).or_default().extend(frame);
                }
                Output::SessionRefused { conn, frame } => {
                    self.frames.entry(conn).or_default().extend(frame);
                    self.closed.insert(conn, CloseReason::SessionClosed);
                }
                Output::CloseClient { conn, reason } => {
                    self.closed.insert(conn, reason);
                }
                Output::RoleChanged { role, serving, .. } => self.roles.push((role, serving)),
                Output::SaveSnapshot(cut) => self.snapshots.push(cut.zxid()),
                Output::Halt { reason } => panic!("halt: {reason}"),
                other => panic!("a lonely server has no use for {other:?}"),
            }
        }
    }

    fn connect(&mut self, conn: ConnId, session: SessionId, seen: Zxid) {
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: seen,
            timeout_ms: 4000,
            session_id: session,
            password: session_password(session).to_vec(),
            read_only: None,
        };
        self.batch(vec![Input::ClientConnect {
            conn,
            request,
            ids: Arc::default(),
        }]);
        self.settle();
    }

    fn take_replies(&mut self, conn: ConnId) -> Vec<(i32, i64, i32)> {
        let bytes = self.frames.remove(&conn).unwrap_or_default();
        let mut reader = Reader::new(&bytes);
        let mut headers = Vec::new();
        while !reader.rest().is_empty() {
            let mut frame = Reader::new(reader.buffer().unwrap());
            headers.push((
                frame.i32().unwrap(),
                frame.i64().unwrap(),
                frame.i32().unwrap(),
            ));
        }
        headers
    }

    fn tick(&mut self, to: u64) {
        self.now.mono = Millis(to);
        self.batch(vec![Input::Tick]);
        self.settle();
    }
}

const ONE: ConnId = ConnId(1);
const TWO: ConnId = ConnId(2);
const SNAP_BYTES: u64 = 20_000;

fn create(xid: i32, path: &str, flags: i32) -> ClientWrite {
    let mut body = Vec::new();
    CreateRequest {
        path: path.into(),
        data: None,
        acl: Some(vec![Acl::open()]),
        flags,
    }
    .write(&mut body);
    ClientWrite {
        xid: Xid(xid),
        op: OpCode::Create.code(),
        body: body.into(),
    }
}

fn delete(xid: i32, path: &str) -> ClientWrite {
    let mut body = Vec::new();
    DeleteRequest {
        path: path.into(),
        version: -1,
    }
    .write(&mut body);
    ClientWrite {
        xid: Xid(xid),
        op: OpCode::Delete.code(),
        body: body.into(),
    }
}

fn sync(xid: i32) -> ClientWrite {
    let mut body = Vec::new();
    body.put_str("/s");
    ClientWrite {
        xid: Xid(xid),
        op: OpCode::Sync.code(),
        body: body.into(),
    }
}

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
