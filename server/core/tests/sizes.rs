//! No transaction is longer than what other servers read.

mod leader;
mod server;

use zk_core::auth::{AuthConfig, IDS_BYTES_MAX, IDS_WIRE_BYTES_MAX, add_id};
use zk_core::config::ZnodeConfig;
use zk_core::{ClientWrite, Input, LogEntry, Recovered};
use zk_proto::client::{Acl, ErrorCode, Id, OpCode};
use zk_proto::quorum::{PacketKind, QuorumPacket};
use zk_proto::txn::{SetDataTxn, TXN_HEADER_BYTES, Txn, TxnHeader, decode_txn, encode_txn};
use zk_proto::{Epoch, SessionId, Xid, Zxid};

use server::{Follower, ONE};

use leader::{Leader, create, create_with, delete, multi, set_acl};

const LIMIT: usize = 4096;

fn id(scheme: &str, id: &str) -> Id {
    let (scheme, id) = (scheme.to_owned(), id.to_owned());
    Id { scheme, id }
}

fn leader_with(close_session_lists: bool) -> Leader {
    let znodes = ZnodeConfig {
        txn_bytes_max: LIMIT,
        close_session_lists,
        ..ZnodeConfig::default()
    };
    Leader::with(AuthConfig::default(), znodes)
}

fn own_ids() -> Option<Vec<Acl>> {
    let (perms, id) = (31, id("auth", ""));
    Some(vec![Acl { perms, id }])
}

#[test]
fn a_session_with_many_ephemerals_closes_without_their_list() {
    let mut leader = leader_with(true);
    let long = "x".repeat(200);
    for n in 0..30 {
        leader.run(OpCode::Create, create(&format!("/{n}{long}"), 1));
    }
    leader.run(OpCode::Create, create("/stays", 0));
    // Not applied yet.
    leader.propose(OpCode::Create, create("/late", 1));
    let entry = leader.propose(OpCode::CloseSession, Vec::new());
    assert_eq!(
        entry.data.len(),
        TXN_HEADER_BYTES,
        "neither list nor digest"
    );
    assert_eq!(decode_txn(&entry.data).unwrap().1, Txn::CloseSession(None));
    leader.apply_all();
    assert_eq!(leader.tree.ephemerals_count(), 0);
    assert!(leader.tree.znode("/stays").is_some());
    // The digest of the next transaction shows that the leader knew.
    leader.run(OpCode::Create, create("/after", 0));
}

#[test]
fn the_list_of_a_closed_session_can_be_turned_off() {
    for lists in [true, false] {
        let mut leader = leader_with(lists);
        leader.run(OpCode::Create, create("/e", 1));
        let entry = leader.propose(OpCode::CloseSession, Vec::new());
        let list = lists.then(|| vec!["/e".into()]);
        assert_eq!(decode_txn(&entry.data).unwrap().1, Txn::CloseSession(list));
        leader.apply_all();
        assert!(leader.tree.znode("/e").is_none());
    }
}

#[test]
fn a_request_that_would_grow_too_long_is_refused() {
    let mut leader = leader_with(true);
    for n in 0..10 {
        leader
            .ids
            .push(id("digest", &format!("{n}{}", "u".repeat(300))));
    }
    leader.run(OpCode::Create, create_with("/one", 0, own_ids()));
    let refused = ErrorCode::MarshallingError.code();
    let ops = |n: usize| -> Vec<_> {
        let create = |n| (OpCode::Create, create_with(&format!("/m{n}"), 0, own_ids()));
        (0..n).map(create).collect()
    };
    let entry = leader.propose(OpCode::Multi, multi(&ops(20)));
    assert!(entry.data.len() <= LIMIT, "{}", entry.data.len());
    let Txn::Multi(txns) = decode_txn(&entry.data).unwrap().1 else {
        panic!("a batch");
    };
    assert_eq!(txns[1], Txn::Error(refused), "the first of them fits");
    let entry = leader.propose(OpCode::Multi, multi(&ops(1)));
    assert!(matches!(decode_txn(&entry.data).unwrap().1, Txn::Multi(_)));
    for n in 0..10 {
        leader
            .ids
            .push(id("digest", &format!("{n}{}", "v".repeat(300))));
    }
    let error = leader.error(OpCode::SetAcl, set_acl("/one", own_ids(), -1));
    assert_eq!(error, refused);
    let error = leader.error(OpCode::Create, create_with("/two", 0, own_ids()));
    assert_eq!(error, refused);
    leader.apply_all();
    assert!(leader.tree.znode("/two").is_none() && leader.tree.znode("/m0").is_some());
}

/// A request of some bytes becomes a transaction of a megabyte, and many of
/// them may wait for the disk.
#[test]
fn requests_that_grow_wait_for_each_other() {
    let mut leader = Leader::with(AuthConfig::default(), ZnodeConfig::default());
    for n in 0..50 {
        let user = format!("{n}{}", "u".repeat(400));
        leader.ids.push(id("digest", &user));
    }
    let grows = |n: usize| {
        let create = |m| {
            (
                OpCode::Create,
                create_with(&format!("/{n}-{m}"), 0, own_ids()),
            )
        };
        multi(&(0..40).map(create).collect::<Vec<_>>())
    };
    let is_throttled = |entry: &LogEntry| match decode_txn(&entry.data).unwrap().1 {
        Txn::Multi(txns) => txns.contains(&Txn::Error(ErrorCode::ThrottledOp.code())),
        other => panic!("{other:?}"),
    };
    let mut outstanding = 0;
    let taken = (0..100).position(|n| {
        let entry = leader.propose(OpCode::Multi, grows(n));
        outstanding += entry.data.len();
        is_throttled(&entry)
    });
    assert!(taken.is_some_and(|taken| taken > 10), "{taken:?}");
    assert!(outstanding < 36 << 20, "{outstanding}");
    // Who does not grow goes on, and so do all when those are applied.
    assert_eq!(leader.error(OpCode::Create, create("/short", 0)), 0);
    leader.apply_all();
    let entry = leader.propose(OpCode::Multi, grows(1_000));
    assert!(!is_throttled(&entry));
}

/// Every operation of a batch looks at the whole list of its znode.
#[test]
fn long_lists_are_looked_at_only_so_often() {
    let mut leader = Leader::with(AuthConfig::default(), ZnodeConfig::default());
    let list = |entries: i32| -> Option<Vec<Acl>> {
        let entry = |n| Acl {
            perms: n << 5 | 31,
            id: id("ip", "127.0.0.0/8"),
        };
        Some((0..entries).map(entry).collect())
    };
    leader.ids.push(id("ip", "127.0.0.1"));
    leader.run(OpCode::Create, create_with("/short", 0, list(2)));
    leader.run(OpCode::Create, create_with("/long", 0, list(10_000)));
    let check = |path: &str| (OpCode::Check, delete(path, -1));
    let throttled = Txn::Error(ErrorCode::ThrottledOp.code());
    let mut run = |path: &str, count: usize| {
        let ops: Vec<_> = (0..count).map(|_| check(path)).collect();
        let entry = leader.propose(OpCode::Multi, multi(&ops));
        match decode_txn(&entry.data).unwrap().1 {
            Txn::Multi(txns) => txns.iter().position(|txn| *txn == throttled),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(run("/long", 100), None);
    assert_eq!(run("/long", 1_000), Some(100), "two million entries");
    assert_eq!(run("/short", 500), None, "a few are free");
}

#[test]
fn a_transaction_that_is_long_for_another_reason_is_refused() {
    let mut leader = leader_with(true);
    let error = leader.error(
        OpCode::Create,
        create(&format!("/{}", "p".repeat(LIMIT)), 0),
    );
    assert_eq!(error, ErrorCode::MarshallingError.code());
    leader.run(OpCode::Create, create("/next", 0));
    assert_eq!(leader.prep.outstanding_changes(), 0);
}

#[test]
fn the_ids_of_a_connection_have_a_bound() {
    let mut ids = Vec::new();
    assert!(add_id(
        &mut ids,
        id("digest", &"a".repeat(IDS_BYTES_MAX / 2))
    ));
    assert!(!add_id(
        &mut ids,
        id("digest", &"b".repeat(IDS_BYTES_MAX / 2))
    ));
    assert!(add_id(&mut ids, id("digest", "c")));
    assert_eq!(ids.len(), 2);
}

/// The longest request of a client that has proved to be as many as it may.
#[test]
fn a_learner_forwards_nothing_that_its_leader_refuses() {
    const FRAME_BYTES_MAX: usize = 0xf_ffff;
    let of = |n: usize, bytes: usize| -> Vec<Id> {
        let mut ids = Vec::new();
        let text = "u".repeat(bytes);
        let mut all = (0..n).map(|n| id("digest", &format!("{n}{text}")));
        while all.next().is_some_and(|id| add_id(&mut ids, id)) {}
        ids
    };
    for ids in [of(2000, 50), of(2000, 1000), of(3, 60_000)] {
        let mut follower = Follower::start();
        follower.open(ONE);
        let input = Input::ClientIds {
            conn: ONE,
            ids: ids.into(),
        };
        follower.server.batch(vec![input]);
        let body = vec![7; FRAME_BYTES_MAX - 8].into();
        let (xid, op) = (Xid(1), i32::MAX);
        assert_eq!(OpCode::from_code(op), None, "its body is not looked at");
        follower
            .server
            .write(ONE, vec![ClientWrite { xid, op, body }]);
        let (_, packet) = follower.server.sent.last().unwrap();
        assert_eq!(packet.known_kind(), Some(PacketKind::Request));
        let mut bytes = Vec::new();
        packet.write(&mut bytes);
        let data = packet.data.as_ref().unwrap().len();
        assert_eq!(data, FRAME_BYTES_MAX + 8);
        let authinfo = bytes.len() - 16 - data;
        assert!(authinfo <= IDS_WIRE_BYTES_MAX, "{authinfo}");
        let limit = data.max(IDS_WIRE_BYTES_MAX);
        let read = QuorumPacket::decode(&bytes.into(), limit).unwrap();
        assert_eq!(read.as_ref().map(|(read, _)| read), Some(packet));
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "it measures how long a loop takes"
)]
fn closing_sessions_do_not_look_at_what_others_have_outstanding() {
    let mut leader = leader_with(true);
    leader.run(OpCode::Create, create("/p", 0));
    for n in 0..20_000 {
        leader.propose(OpCode::Create, create(&format!("/p/{n}"), 0));
    }
    let start = std::time::Instant::now();
    for _ in 0..2000 {
        leader.propose(OpCode::CloseSession, Vec::new());
    }
    // Each look at all of them would make this half a minute.
    assert!(start.elapsed().as_secs() < 3, "{:?}", start.elapsed());
}

fn set_root(zxid: Zxid, bytes: usize) -> LogEntry {
    let data = vec![7; bytes];
    let txn = Txn::SetData(SetDataTxn {
        path: "/".into(),
        data: Some(&data),
        version: zxid.counter() as i32,
    });
    let header = TxnHeader {
        session: SessionId(1),
        cxid: Xid(1),
        zxid,
        time_ms: 1,
        kind: txn.op().code(),
    };
    let mut data = Vec::new();
    encode_txn(&mut data, &header, &txn, None);
    let data = data.into();
    LogEntry { zxid, data }
}

#[test]
fn a_diff_that_the_follower_might_not_read_becomes_a_snapshot() {
    for (bytes, is_snap) in [(LIMIT / 2, false), (LIMIT + 1, true)] {
        let z = |counter| Zxid::new(Epoch(1), counter);
        let log = vec![set_root(z(1), 1), set_root(z(2), bytes), set_root(z(3), 1)];
        let recovered = Recovered::rebuild(None, log.clone(), log, None, None).unwrap();
        let mut config = server::config(3);
        config.znodes.txn_bytes_max = LIMIT;
        let server = server::lead_with(config, recovered, z(1));
        assert_eq!(server.snaps == [server::LEARNER], is_snap, "{bytes}");
        let proposals = server
            .sent
            .iter()
            .filter(|(_, packet)| packet.known_kind() == Some(PacketKind::Proposal));
        assert_eq!(proposals.count(), if is_snap { 0 } else { 2 });
    }
}
