//! Two of three servers have lost their disks and serve again; the third comes
//! back with its old data.

use zk_proto::quorum::{Notification, PacketKind, QuorumPacket, ServerState};
use zk_proto::{Epoch, SessionId, Xid, Zxid};

use super::super::{Effects, Problem, Zab, ZabEvent, ZabInput, ZabState};
use super::home;
use super::world::*;
use crate::{EpochFile, LinkId, LogEntry, Millis, Now, Output, Role};

/// A transaction of another life of the ensemble: the same zxid at another time.
fn other(zxid: Zxid) -> LogEntry {
    let header = zk_proto::txn::TxnHeader {
        session: SessionId(7),
        cxid: Xid(3),
        zxid,
        time_ms: 99,
        kind: 1,
    };
    let mut data = Vec::new();
    header.write(&mut data);
    LogEntry {
        zxid,
        data: data.into(),
    }
}

/// Servers 2 and 3 serve a new history of this many transactions in epoch 1.
/// Server 1 is not started.
fn reborn(count: u32) -> World {
    reborn_with_tick(TICK_MS, count)
}

fn reborn_with_tick(tick_ms: u64, count: u32) -> World {
    let mut world = World::new(3);
    world.tick_ms = tick_ms;
    world.start(S2);
    world.start(S3);
    world.run_until_serving();
    for _ in 0..count {
        world.propose(S3);
    }
    world.settle();
    world
}

fn old_data(world: &mut World, entries: Vec<LogEntry>, accepted: i64, current: i64) {
    let disk = &mut world.server(S1).disk;
    disk.log = entries;
    disk.accepted = Epoch(accepted);
    disk.current = Epoch(current);
}

/// Lets time pass. The majority must serve all the while.
fn watch(world: &mut World, ms: u64) {
    let until = world.now.mono + ms;
    while world.now.mono < until {
        world.settle();
        assert_eq!((world.leader(), world.zab(S3).epoch()), (S3, Epoch(1)));
        assert!(world.zab(S2).is_serving());
        world.wait();
    }
    world.settle();
}

#[test]
fn a_majority_does_not_give_way_to_another_history() {
    for (accepted, current, last) in [(5, 5, z(5, 9)), (5, 4, z(4, 2)), (2, 2, z(1, 40))] {
        let mut world = reborn(3);
        old_data(&mut world, vec![other(last)], accepted, current);
        world.start(S1);
        watch(&mut world, 60_000);
        let problem = Problem::NewerHistory {
            leader: S3,
            epoch: Epoch(1),
            current: Epoch(current),
        };
        assert_eq!(world.zab(S1).problem(), Some(problem));
        assert_eq!(world.zab(S1).role(), Role::Looking);
        // Nor does it win when the leader is restarted: it has no say any more.
        world.crash(S3);
        world.start(S3);
        world.run_until("the majority serves again", |world| {
            [S2, S3].iter().all(|sid| world.zab(*sid).is_serving())
        });
        assert_eq!(world.zab(S1).role(), Role::Looking);
        assert_eq!(world.server(S1).disk.log, [other(last)], "its data is kept");
    }
}

/// With a short `tickTime`, the pauses between its attempts are longer than
/// `syncLimit`.
#[test]
fn a_newer_history_is_noticed_with_short_ticks() {
    let mut world = reborn_with_tick(100, 3);
    old_data(&mut world, vec![other(z(2, 9))], 2, 2);
    world.start(S1);
    watch(&mut world, 10_000);
    let problem = Problem::NewerHistory {
        leader: S3,
        epoch: Epoch(1),
        current: Epoch(2),
    };
    assert_eq!(world.zab(S1).problem(), Some(problem));
}

#[test]
fn a_server_says_at_once_why_it_stays_out() {
    let mut world = reborn(1);
    old_data(&mut world, vec![other(z(5, 1))], 5, 5);
    world.start(S1);
    watch(&mut world, 1_000);
    let problem = Problem::NewerPromise {
        leader: S3,
        epoch: Epoch(1),
        accepted: Epoch(5),
    };
    assert_eq!(world.zab(S1).problem(), Some(problem));
}

/// The promise is newer, the history is not above that of the leader: no
/// history can win, so the voter is taken in.
#[test]
fn a_promise_alone_is_given_way_to() {
    let mut world = World::established(3);
    world.propose(S3);
    world.settle();
    world.crash(S1);
    world.server(S1).disk.accepted = Epoch(4);
    world.start(S1);
    world.run_until_serving();
    assert_eq!((world.leader(), world.zab(S3).epoch()), (S3, Epoch(5)));
    assert_eq!(world.zab(S1).problem(), None);
}

/// The zxids look alike: without a comparison the old data would get what it
/// lacks of the new and keep the rest, or be replaced without a word.
#[test]
fn histories_that_part_are_not_mixed() {
    let ones = |count| (1..=count).map(|n| other(z(1, n)));
    let with_epoch_2 = ones(5).chain([other(z(2, 1))]);
    let cases: [(Vec<_>, Zxid); 4] = [
        // It would get a DIFF, a DIFF without entries, a TRUNC, a SNAP.
        (ones(2).collect(), z(1, 2)),
        (ones(5).collect(), z(1, 5)),
        (ones(9).collect(), z(1, 5)),
        (with_epoch_2.collect(), z(1, 5)),
    ];
    for (old, zxid) in cases {
        let mut world = reborn(5);
        // Restarts, so that the epoch of the leader is above that of the old data.
        for _ in 0..2 {
            restart_majority(&mut world);
        }
        let epoch = old.last().unwrap().zxid.epoch().0;
        old_data(&mut world, old.clone(), epoch, epoch);
        world.take_trace();
        world.start(S1);
        for _ in 0..200 {
            world.settle();
            world.wait();
        }
        let leader = world.leader();
        let problem = Problem::HistoriesPart { leader, zxid };
        assert_eq!(world.zab(S1).problem(), Some(problem), "{old:?}");
        let trace = world.take_trace();
        let is_sync = |line: &String| ["Diff", "Trunc", "Snap"].iter().any(|it| line.contains(it));
        assert!(!trace.iter().any(is_sync), "{trace:?}");
        assert_eq!(world.server(S1).disk.log, old, "its data is kept");
        assert!(world.server(S1).disk.accepted < Epoch(3));
    }
}

fn restart_majority(world: &mut World) {
    world.crash(S3);
    world.crash(S2);
    world.start(S2);
    world.start(S3);
    world.run_until_serving();
}

/// It may not even follow, and with more transactions in the same epoch it
/// would win the next election.
#[test]
fn another_history_of_the_leaders_own_epoch_is_noticed() {
    let mut world = reborn(3);
    let old: Vec<_> = (1..=40).map(|n| other(z(1, n))).collect();
    old_data(&mut world, old, 2, 1);
    world.start(S1);
    watch(&mut world, 5_000);
    let problem = Problem::HistoriesPart {
        leader: S3,
        zxid: z(1, 3),
    };
    assert_eq!(world.zab(S1).problem(), Some(problem));
    world.crash(S3);
    world.start(S3);
    world.run_until("the majority serves again", |world| {
        [S2, S3].iter().all(|sid| world.zab(*sid).is_serving())
    });
}

/// Has everything up to the third transaction of epoch 1, these in its log.
fn at_the_third(tail: Vec<LogEntry>, digest: Option<u64>) -> ZabState {
    ZabState {
        last_zxid: z(1, 3),
        accepted_epoch: Epoch(1),
        current_epoch: Epoch(1),
        tail,
        reigns: Default::default(),
        applied: z(1, 3),
        digest,
    }
}

/// Server 1 with this state follows server 3, which sends LEADERINFO of epoch 2
/// with this data, and then perhaps another packet.
fn following(
    state: ZabState,
    leader_info: Vec<u8>,
    then: Option<QuorumPacket>,
) -> (Zab, Vec<Output>) {
    let mut zab = Zab::new(&config(1, 3), state);
    let mut fx = Effects::default();
    zab.start(Now::default(), &mut fx);
    for (from, state) in [(S2, ServerState::Following), (S3, ServerState::Leading)] {
        let notification = Notification {
            state,
            ..looking(S3, z(1, 3), 9, 2)
        };
        let vote = ZabInput::Notification {
            from,
            origin: home(from),
            notification,
        };
        zab.handle(Now::default(), vote, &mut fx);
    }
    let link = LinkId(LinkId::DIALED);
    let info = QuorumPacket::new(PacketKind::LeaderInfo, z(2, 0), Some(leader_info.into()));
    let hear = |packet| ZabInput::Packet { link, packet };
    let inputs = [
        ZabInput::LinkConnected(link),
        hear(info),
        ZabInput::EpochSaved(EpochFile::Accepted, Epoch(2)),
    ];
    for input in inputs.into_iter().chain(then.map(hear)) {
        zab.handle(Now::default(), input, &mut fx);
    }
    (zab, fx.outputs)
}

/// A leader that has not heard where this server's log ends tells it with DIFF
/// or TRUNC.
#[test]
fn what_a_leader_takes_to_be_kept_is_compared() {
    let header = |entry: LogEntry| Some(entry.data);
    for (kind, kept, parts) in [
        (PacketKind::Diff, header(other(z(1, 3))), false),
        (PacketKind::Diff, header(entry(z(1, 3))), true),
        (PacketKind::Trunc, header(other(z(1, 2))), false),
        (PacketKind::Trunc, header(entry(z(1, 2))), true),
        // One of the reference says nothing.
        (PacketKind::Diff, None, false),
    ] {
        let tail: Vec<_> = (1..=3).map(|n| other(z(1, n))).collect();
        let state = at_the_third(tail, None);
        let (zab, _) = following(
            state,
            vec![0, 1, 0, 0],
            Some(QuorumPacket::new(kind, z(1, 2), kept.clone())),
        );
        let is_out = zab.problem().is_some_and(|problem| problem.is_final());
        assert_eq!(is_out, parts, "{kind:?} {kept:?}");
        assert_eq!(zab.role() == Role::Following, !parts);
    }
}

/// In the epoch of the leader itself there is nothing that it did not propose.
#[test]
fn a_tail_that_the_leader_never_proposed_is_not_cut_off() {
    let mut world = reborn(3);
    old_data(&mut world, (1..=9).map(|n| other(z(1, n))).collect(), 1, 1);
    world.start(S1);
    watch(&mut world, 60_000);
    assert!(!world.zab(S1).is_serving());
    assert_eq!(world.server(S1).disk.log.len(), 9);
    assert!(world.now.mono >= Millis(60_000));
}

/// What is to be kept may be older than what the server has in memory.
#[test]
fn histories_are_compared_again_after_a_truncation() {
    let mut world = reborn(5);
    restart_majority(&mut world);
    world.server(S1).disk.tail_max = 2;
    old_data(&mut world, (1..=9).map(|n| other(z(1, n))).collect(), 1, 1);
    world.start(S1);
    for _ in 0..200 {
        world.settle();
        world.wait();
    }
    let leader = world.leader();
    let zxid = z(1, 5);
    let problem = Problem::HistoriesPart { leader, zxid };
    assert_eq!(world.zab(S1).problem(), Some(problem));
}

/// Its data was copied from a leader, and it has logged nothing since. The new
/// history has another transaction with the same zxid.
#[test]
fn a_copied_tree_that_its_leader_never_had_is_replaced() {
    let header = |digest: Option<u64>| {
        let mut told = vec![0, 1, 0, 0];
        told.extend_from_slice(&other(z(1, 3)).data);
        told.extend(z(1, 3).0.to_be_bytes());
        told.extend(digest.into_iter().flat_map(u64::to_be_bytes));
        told
    };
    let nothing = |digest: u64| {
        let mut told = vec![0, 1, 0, 0, 0];
        told.extend(digest.to_be_bytes());
        told
    };
    for (told, tail, is_replaced) in [
        (header(Some(7)), Vec::new(), false),
        (header(Some(8)), Vec::new(), true),
        (nothing(7), Vec::new(), false),
        (nothing(8), Vec::new(), true),
        // A leader of an older version does not tell.
        (header(None), Vec::new(), false),
        // Headers are compared where they are known.
        (header(Some(8)), vec![other(z(1, 3))], false),
    ] {
        let state = at_the_third(tail, Some(7));
        let (_, outputs) = following(state, told.clone(), None);
        let asked = outputs.iter().find_map(|output| match output {
            Output::Send { packet, .. } if packet.known_kind() == Some(PacketKind::AckEpoch) => {
                Some(packet.zxid)
            }
            _ => None,
        });
        let want = if is_replaced { Zxid::ZERO } else { z(1, 3) };
        assert_eq!(asked, Some(want), "{told:?}");
    }
}

/// Where the trees are the same, a SNAP takes the place of nothing that its
/// leader lacks.
#[test]
fn the_same_tree_is_not_kept_aside() {
    for (digest, keeps_old) in [(7, false), (8, true)] {
        let mut told = vec![0, 1, 0, 0, 0];
        told.extend(u64::to_be_bytes(digest));
        let state = at_the_third(Vec::new(), Some(7));
        let (mut zab, _) = following(state, told, None);
        let mut fx = Effects::default();
        let link = LinkId(LinkId::DIALED);
        let zxid = z(2, 0);
        zab.handle(Now::default(), ZabInput::Snap { link, zxid }, &mut fx);
        let kept = fx.events.iter().find_map(|event| match event {
            ZabEvent::InstallTree { keeps_old, .. } => Some(*keeps_old),
            _ => None,
        });
        assert_eq!(kept, Some(keeps_old));
    }
}

/// The transactions of that time have left the memory of the leader, of the
/// server that comes back, or of both. The first one of the epoch stays.
#[test]
fn another_history_is_noticed_when_its_transactions_have_left_the_memory() {
    for (of_leader, own) in [(2, 100), (100, 1), (2, 1)] {
        let mut world = reborn(5);
        for sid in [S2, S3] {
            world.server(sid).disk.tail_max = of_leader;
        }
        restart_majority(&mut world);
        world.server(S1).disk.tail_max = own;
        old_data(&mut world, (1..=3).map(|n| other(z(1, n))).collect(), 1, 1);
        world.take_trace();
        world.start(S1);
        for _ in 0..200 {
            world.settle();
            world.wait();
        }
        let leader = world.leader();
        let problem = world.zab(S1).problem();
        let parts = |zxid| Some(Problem::HistoriesPart { leader, zxid });
        let zxids = [z(1, 1), z(1, 3)];
        assert!(
            zxids.map(parts).contains(&problem),
            "{of_leader} {own}: {problem:?}"
        );
        assert_eq!(world.server(S1).disk.log.len(), 3, "its data is kept");
        assert!(!world.take_trace().iter().any(|line| line.contains("Snap")));
    }
}
