//! A connection is answered by the transactions that its own requests have
//! caused, and by nothing else.

mod server;

use zk_core::{CloseReason, ConnId};
use zk_proto::client::{ErrorCode, OpCode};
use zk_proto::quorum::PacketKind;
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
