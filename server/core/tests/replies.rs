//! A connection is answered by the transactions that its own requests have
//! caused, and by nothing else.

mod server;

use std::net::Ipv4Addr;
use std::sync::Arc;

use zk_core::request::{Client, ReadOutcome};
use zk_core::{ClientWrite, CloseReason, ConnId, Input};
use zk_proto::client::{ErrorCode, Id, MultiHeader, OpCode};
use zk_proto::jute::{Put, Reader};
use zk_proto::quorum::{PacketKind, QuorumPacket};
use zk_proto::txn::{CreateTxn, SetDataTxn, Txn};
use zk_proto::{SessionId, Xid, Zxid};

use server::{Follower, Forwarded, ONE, Server, TWO, close, create, set_data, sync};

fn created(path: &str) -> Txn<'_> {
    Txn::Create(CreateTxn {
        path: path.into(),
        data: None,
        acl: vec![zk_proto::client::Acl::open()],
        ephemeral: false,
        parent_cversion: -1,
    })
}

fn data_set(path: &str) -> Txn<'_> {
    Txn::SetData(SetDataTxn {
        path: path.into(),
        data: None,
        version: 1,
    })
}

fn refused(code: ErrorCode) -> Txn<'static> {
    Txn::Error(code.code())
}

fn answers(server: &mut Server, conn: ConnId) -> Vec<(i32, i32)> {
    let replies = server.take_replies(conn);
    replies.iter().map(|reply| (reply.0, reply.2)).collect()
}

#[test]
fn a_leader_answers_a_new_connection_by_its_own_transaction() {
    let mut server = Server::start();
    server.connect(ONE, SessionId(0), Zxid(0));
    let session = server.sessions[&ONE];
    server.write(ONE, vec![create(1, "/a", 0), create(2, "/b", 0)]);
    server.ask_session(TWO, session, Zxid(0));
    server.frames.remove(&TWO);
    // The same numbers again: kazoo begins at 1 on every connection.
    server.write(
        TWO,
        vec![set_data(1, "/a", 99), create(2, "/a", 0), sync(3)],
    );
    server.settle();
    let want = [
        (1, ErrorCode::BadVersion.code()),
        (2, ErrorCode::NodeExists.code()),
        (3, 0),
    ];
    assert_eq!(answers(&mut server, TWO), want);
}

#[test]
fn a_follower_answers_a_new_connection_by_its_own_transaction() {
    let mut follower = Follower::start();
    let session = follower.open(ONE);
    let older = follower.write(ONE, create(1, "/a", 0));
    follower.come_back(TWO, session);
    let newer = follower.write(TWO, set_data(1, "/a", 99));
    follower.commit(older, &created("/a"));
    assert_eq!(answers(&mut follower.server, TWO), [], "not its own");
    follower.commit(newer, &refused(ErrorCode::BadVersion));
    let want = [(1, ErrorCode::BadVersion.code())];
    assert_eq!(answers(&mut follower.server, TWO), want);
}

/// One create and nothing behind it.
fn multi(xid: i32, path: &str) -> ClientWrite {
    let mut body = Vec::new();
    let header = |op, done| MultiHeader { op, done, err: -1 };
    header(OpCode::Create.code(), false).write(&mut body);
    body.put_raw(&create(xid, path, 0).body);
    header(-1, true).write(&mut body);
    ClientWrite {
        xid: Xid(xid),
        op: OpCode::Multi.code(),
        body: body.into(),
    }
}

#[test]
fn a_multi_of_an_older_connection_answers_nobody() {
    let mut follower = Follower::start();
    let session = follower.open(ONE);
    let older = follower.write(ONE, multi(1, "/a"));
    follower.come_back(TWO, session);
    let newer = follower.write(TWO, multi(1, "/a"));
    follower.commit(older, &Txn::Multi(vec![created("/a")]));
    assert_eq!(answers(&mut follower.server, TWO), [], "not its own");
    let exists = refused(ErrorCode::NodeExists);
    follower.commit(newer, &Txn::Multi(vec![exists]));
    assert_eq!(answers(&mut follower.server, TWO).len(), 1);

    let mut leader = Server::start();
    leader.connect(ONE, SessionId(0), Zxid(0));
    let session = leader.sessions[&ONE];
    leader.write(ONE, vec![multi(1, "/a")]);
    leader.ask_session(TWO, session, Zxid(0));
    leader.frames.remove(&TWO);
    // The same number, and a path that is there by then.
    leader.write(TWO, vec![multi(1, "/a"), sync(2)]);
    leader.settle();
    let bytes = leader.frames[&TWO].clone();
    let mut frame = Reader::new(&bytes);
    let mut results = Reader::new(frame.buffer().unwrap());
    assert_eq!(results.i32().unwrap(), 1, "xid");
    results.i64().unwrap();
    results.i32().unwrap();
    let first = results.i32().unwrap();
    assert_eq!(first, OpCode::Error.code(), "its own multi has failed");
    assert_eq!(answers(&mut leader, TWO).len(), 2, "and nothing else came");
}

#[test]
fn a_sync_of_an_older_connection_answers_nobody() {
    let synced = || QuorumPacket::new(PacketKind::Sync, Zxid(-1), None);
    let mut follower = Follower::start();
    let session = follower.open(ONE);
    follower.write(ONE, sync(1));
    follower.come_back(TWO, session);
    follower.write(TWO, sync(1));
    follower.hear(synced());
    assert_eq!(answers(&mut follower.server, TWO), [], "not its own");
    follower.hear(synced());
    assert_eq!(answers(&mut follower.server, TWO), [(1, 0)]);

    // Each waits for the write before it.
    let (mut leader, of_one) = left_at_the_leader();
    leader.write(TWO, vec![create(1, "/b", 0), sync(2)]);
    leader.settle();
    leader.learner(PacketKind::Ack, of_one, None);
    assert_eq!(answers(&mut leader, TWO), [], "not its own");
    leader.acknowledge();
    assert_eq!(answers(&mut leader, TWO), [(1, 0), (2, 0)]);

    // It waits for the write of another client, too.
    let (mut leader, of_one) = left_at_the_leader();
    leader.write(THREE, vec![create(1, "/c", 0)]);
    leader.write(TWO, vec![sync(1)]);
    leader.settle();
    leader.learner(PacketKind::Ack, of_one, None);
    assert_eq!(answers(&mut leader, TWO), [], "not its own");
    leader.acknowledge();
    assert_eq!(answers(&mut leader, TWO), [(1, 0)]);
}

/// A leader at which connection one has left a create and a sync behind, and
/// the zxid of the create. Its session is at connection two by now; connection
/// three has another one.
fn left_at_the_leader() -> (Server, Zxid) {
    let mut leader = server::lead();
    let session = SessionId(0x0200_0000_0000_0009);
    leader.forwarded(session, 1, OpCode::CreateSession, &4000_i32.to_be_bytes());
    leader.connect(THREE, SessionId(0), Zxid(0));
    leader.acknowledge();
    leader.connect(ONE, session, Zxid(0));
    leader.write(ONE, vec![create(1, "/a", 0), sync(2)]);
    leader.ask_session(TWO, session, Zxid(0));
    leader.frames.remove(&TWO);
    leader.settle();
    let of_one = *leader.proposals().last().unwrap();
    (leader, of_one)
}

const THREE: ConnId = ConnId(3);

/// An auth packet is answered where it came in. What it has proved belongs to
/// that connection, although another one has the session by now.
#[test]
fn an_auth_packet_of_an_older_connection_helps_nobody() {
    let ids = |name: &str| -> Arc<[Id]> {
        let (scheme, id) = ("digest".to_owned(), name.to_owned());
        Arc::new([Id { scheme, id }])
    };
    let mut follower = Follower::start();
    let session = follower.open(ONE);
    follower.come_back(TWO, session);
    let (conn, newer) = (TWO, ids("newer:hash"));
    follower
        .server
        .batch(vec![Input::ClientIds { conn, ids: newer }]);
    let (conn, older) = (ONE, ids("older:hash"));
    follower
        .server
        .batch(vec![Input::ClientIds { conn, ids: older }]);
    follower.server.write(TWO, vec![create(1, "/a", 0)]);
    let (_, packet) = follower.server.sent.last().unwrap();
    assert_eq!(packet.known_kind(), Some(PacketKind::Request));
    assert_eq!(packet.authinfo.as_deref(), Some(&*ids("newer:hash")));

    // The read path knows connections only, and the older one has no watch left.
    let view = follower.server.replica.view();
    let mut client = Client::new(ONE, Ipv4Addr::LOCALHOST.into());
    let mut packet = vec![0; 4];
    packet.put_str("digest");
    packet.put_opt_buffer(Some(b"older:password"));
    let mut out = Vec::new();
    let served = view
        .read()
        .serve(&mut client, Xid(-4), 100, &packet, &mut out);
    assert_eq!(served, ReadOutcome::Authenticated);
    assert_eq!(answers(&mut follower.server, TWO), []);
    assert_eq!(follower.server.closed.get(&TWO), None);
}

/// A leader of the reference answers REVALIDATE at once, while requests that
/// came before it still wait to be prepared.
#[test]
fn what_another_server_has_forwarded_answers_nobody_here() {
    let mut follower = Follower::start();
    let session = follower.open(ONE);
    let elsewhere = |cxid| Forwarded {
        session,
        cxid: Xid(cxid),
        op: 1,
    };
    follower.come_back(TWO, session);
    let own = follower.write(TWO, set_data(1, "/a", -1));
    follower.commit(elsewhere(1), &created("/a"));
    follower.commit(elsewhere(1), &refused(ErrorCode::SessionMoved));
    assert_eq!(answers(&mut follower.server, TWO), []);
    assert_eq!(
        follower.server.closed.get(&TWO),
        None,
        "the move was to here"
    );
    follower.commit(own, &data_set("/a"));
    assert_eq!(answers(&mut follower.server, TWO), [(1, 0)]);
}

#[test]
fn two_followers_never_give_a_request_the_same_number() {
    let mut follower = Follower::start();
    follower.open(ONE);
    let first = follower.write(ONE, create(1, "/a", 0)).cxid.0 as u32;
    let second = follower.write(ONE, create(1, "/a", 0)).cxid.0 as u32;
    assert_ne!(first, second);
    for tag in [first, second] {
        assert_eq!(tag >> 31, 1, "no client counts that far");
        assert_eq!(tag >> 23 & 0xff, 1, "the server's sid");
    }
}

#[test]
fn a_request_that_is_refused_for_a_move_ends_its_own_connection_only() {
    let mut follower = Follower::start();
    let session = follower.open(ONE);
    let older = follower.write(ONE, create(1, "/a", 0));
    follower.come_back(TWO, session);
    let own = follower.write(TWO, create(1, "/b", 0));
    follower.commit(older, &refused(ErrorCode::SessionMoved));
    assert_eq!(follower.server.closed.get(&TWO), None);
    follower.commit(own, &refused(ErrorCode::SessionMoved));
    assert_eq!(
        follower.server.closed.get(&TWO),
        Some(&CloseReason::SessionMoved)
    );
    assert_eq!(answers(&mut follower.server, TWO), []);
}

#[test]
fn a_close_that_was_refused_leaves_the_connection_and_a_real_one_ends_it() {
    let mut follower = Follower::start();
    let session = follower.open(ONE);
    let older = follower.write(ONE, close(1));
    follower.come_back(TWO, session);
    follower.commit(older, &refused(ErrorCode::SessionMoved));
    assert_eq!(follower.server.closed.get(&TWO), None);
    let expiry = Forwarded {
        session,
        cxid: Xid(0),
        op: -11,
    };
    follower.commit(expiry, &Txn::CloseSession(None));
    assert_eq!(
        follower.server.closed.get(&TWO),
        Some(&CloseReason::SessionClosed)
    );
}

#[test]
fn a_connection_that_waits_for_the_leaders_word_is_not_opened_by_a_transaction() {
    let mut follower = Follower::start();
    // A session of another server, of which this one has not heard yet.
    let session = SessionId(0x0200_0000_0000_0009);
    follower.server.ask_session(ONE, session, Zxid(0));
    let opened = Forwarded {
        session,
        cxid: Xid(0),
        op: -10,
    };
    follower.commit(opened, &Txn::CreateSession(4000));
    assert_eq!(follower.server.sessions.get(&ONE), None);
    follower.revalidated(session, false);
    assert_eq!(follower.server.sessions.get(&ONE), None);
    assert!(follower.server.closed.contains_key(&ONE));
}

#[test]
fn the_leader_closes_a_session_only_for_the_server_that_it_is_at() {
    let mut server = server::lead();
    let session = SessionId(0x0200_0000_0000_0009);
    server.forwarded(session, 1, OpCode::CreateSession, &4000_i32.to_be_bytes());
    let is_open = |server: &Server| {
        let view = server.replica.view();
        view.read().tree().sessions().contains_key(&session)
    };
    assert!(is_open(&server));
    server.connect(ONE, session, Zxid(0));
    server.frames.remove(&ONE);
    // The older connection's last words were long under way.
    server.forwarded(session, 2, OpCode::CloseSession, &[]);
    assert!(is_open(&server));
    assert_eq!(server.closed.get(&ONE), None);
    server.write(ONE, vec![close(2)]);
    server.settle();
    server.acknowledge();
    assert_eq!(answers(&mut server, ONE), [(2, 0)]);
    assert!(server.closed.contains_key(&ONE) && !is_open(&server));
}

#[test]
fn a_learners_transaction_does_not_answer_the_leaders_client() {
    let mut server = server::lead();
    let session = SessionId(0x0200_0000_0000_0009);
    server.forwarded(session, 1, OpCode::CreateSession, &4000_i32.to_be_bytes());
    let mut body = create(1, "/a", 0).body.to_vec();
    server.learner(PacketKind::Request, Zxid(-1), {
        let mut data = [session.0.to_be_bytes().as_slice(), &1_i32.to_be_bytes()].concat();
        data.extend(OpCode::Create.code().to_be_bytes());
        data.append(&mut body);
        Some(data.into())
    });
    server.connect(ONE, session, Zxid(0));
    server.frames.remove(&ONE);
    server.write(ONE, vec![create(1, "/a", 0)]);
    server.settle();
    server.acknowledge();
    let exists = ErrorCode::NodeExists.code();
    assert_eq!(answers(&mut server, ONE), [(1, exists)]);
}

#[test]
fn nobody_gets_the_session_of_another() {
    let mut server = server::lead();
    let session = SessionId(0x0200_0000_0000_0009);
    let timeout = 4000_i32.to_be_bytes();
    server.forwarded(session, 1, OpCode::CreateSession, &timeout);
    server.sent.clear();
    server.forwarded(session, 2, OpCode::CreateSession, &timeout);
    let proposal = server
        .sent
        .iter()
        .find(|(_, packet)| packet.known_kind() == Some(PacketKind::Proposal));
    let data = proposal.unwrap().1.data.clone().unwrap();
    let txn = zk_proto::txn::decode_txn(&data).unwrap().1;
    assert_eq!(txn, refused(ErrorCode::SessionExpired));
}

#[test]
fn a_follower_refuses_a_client_whose_new_session_was_refused() {
    let mut follower = Follower::start();
    follower.server.ask_session(ONE, SessionId(0), Zxid(0));
    let request = follower.forwarded()[0];
    follower.commit(request, &refused(ErrorCode::SessionExpired));
    assert_eq!(follower.server.frames[&ONE][8..16], [0; 8], "a refusal");
    assert!(follower.server.closed.contains_key(&ONE));
}

#[test]
fn a_new_session_gets_no_id_that_the_followers_tree_has() {
    let mut follower = Follower::start();
    let first = SessionId(0x0100_0000_0000_0001);
    let of_an_earlier_life = Forwarded {
        session: first,
        cxid: Xid(0),
        op: OpCode::CreateSession.code(),
    };
    follower.commit(of_an_earlier_life, &Txn::CreateSession(4000));
    assert_eq!(follower.open(ONE), SessionId(first.0 + 1));
}

/// A follower that is behind does not have the session in its tree yet.
#[test]
fn a_new_session_gets_no_id_that_another_client_comes_back_with() {
    let mut follower = Follower::start();
    let first = SessionId(0x0100_0000_0000_0001);
    follower.come_back(TWO, first);
    assert_eq!(follower.open(ONE), SessionId(first.0 + 1));
}
