//! How a server gets the leader's history.

use zk_proto::{Epoch, Sid};

use super::super::ZabEvent;
use super::world::*;
use crate::Role;

/// An ensemble of three with this much committed, led by server 3.
fn written(count: u32) -> World {
    let mut world = World::established(3);
    for _ in 0..count {
        world.propose(S3);
    }
    world.settle();
    world.assert_equal();
    world
}

/// Server 1 is away, and the others have elected server 3 once more: what only
/// server 1 has is the tail of an epoch that is over.
fn next_epoch_without_1(world: &mut World) {
    for sid in [S1, S2, S3] {
        world.crash(sid);
    }
    world.start(S2);
    world.start(S3);
    world.run_until_serving();
    assert_eq!((world.leader(), world.zab(S3).epoch()), (S3, Epoch(2)));
}

fn restart(world: &mut World, sid: Sid) -> Vec<String> {
    world.take_trace();
    world.start(sid);
    world.run_until_serving();
    world.settle();
    world.assert_equal();
    let trace = world.take_trace();
    let of_interest = |line: &&String| ["Diff", "Trunc", "Snap"].iter().any(|k| line.contains(k));
    trace.iter().filter(of_interest).cloned().collect()
}

#[test]
fn behind_gets_a_diff() {
    let mut world = written(5);
    world.crash(S1);
    for _ in 0..5 {
        world.propose(S3);
    }
    world.settle();
    assert_eq!(restart(&mut world, S1), ["3>1 Diff 0x10000000a"]);
}

#[test]
fn far_behind_gets_a_snapshot() {
    let mut world = written(5);
    world.crash(S1);
    for sid in [S2, S3] {
        world.crash(sid);
        world.server(sid).disk.tail_max = 3;
    }
    world.start(S2);
    world.start(S3);
    world.run_until_serving();
    let leader = world.leader();
    for _ in 0..3 {
        world.propose(leader);
    }
    world.settle();
    for sid in [S2, S3] {
        world.crash(sid);
    }
    world.start(S2);
    world.start(S3);
    world.run_until_serving();
    assert_eq!(restart(&mut world, S1), ["3>1 Snap 0x300000000"]);
    assert_eq!(
        installed(&mut world, S1),
        [false],
        "all of it is the leader's"
    );
}

/// For each tree that the server has installed, whether it keeps what it had.
fn installed(world: &mut World, sid: Sid) -> Vec<bool> {
    let events = world.server(sid).events.iter();
    events
        .filter_map(|event| match event {
            ZabEvent::InstallTree { keeps_old, .. } => Some(*keeps_old),
            _ => None,
        })
        .collect()
}

/// It is far behind, or it has what nobody else has any more: a leader whose
/// own data begins later cannot tell.
#[test]
fn what_is_replaced_is_kept_unless_the_leader_has_it() {
    for (through, is_kept) in [(0, false), (2, true)] {
        let mut world = written(5);
        next_epoch_without_1(&mut world);
        for sid in [S2, S3] {
            world.crash(sid);
            let disk = &mut world.server(sid).disk;
            disk.snapshot = (z(1, 4), (1..=4).map(|n| z(1, n)).collect());
            disk.log.retain(|entry| entry.zxid > z(1, 4));
        }
        world.start(S2);
        world.start(S3);
        world.run_until_serving();
        world.server(S1).disk.log.truncate(through);
        let synced = restart(&mut world, S1);
        assert!(synced[0].contains("Snap"), "{synced:?}");
        assert_eq!(installed(&mut world, S1), [is_kept], "{through}");
    }
}

#[test]
fn a_tail_that_nobody_else_has_is_cut_off() {
    let mut world = written(5);
    // Server 3 logs two entries that reach nobody, then dies.
    world.cut(S3, S1);
    world.cut(S3, S2);
    world.propose(S3);
    world.propose(S3);
    while !world.server(S3).disk.waiting.is_empty() {
        world.server(S3).disk.step();
    }
    world.crash(S3);
    world.cuts.clear();
    world.run_until_serving();
    assert_eq!((world.leader(), world.zab(S2).epoch()), (S2, Epoch(2)));
    assert_eq!(world.server(S3).disk.end(), z(1, 7));
    assert_eq!(restart(&mut world, S3), ["2>3 Trunc 0x100000005"]);
    assert_eq!(world.committed.len(), 5);
}

#[test]
fn a_tail_is_replaced_when_the_new_epoch_has_transactions() {
    let mut world = written(5);
    world.cut(S3, S1);
    world.cut(S3, S2);
    world.propose(S3);
    while !world.server(S3).disk.waiting.is_empty() {
        world.server(S3).disk.step();
    }
    world.crash(S3);
    world.cuts.clear();
    world.run_until_serving();
    world.propose(S2);
    world.settle();
    assert_eq!(restart(&mut world, S3), ["2>3 Snap 0x200000001"]);
    assert_eq!(
        installed(&mut world, S3),
        [true],
        "it may have been acknowledged"
    );
    assert_eq!(world.committed.last(), Some(&z(2, 1)));
}

#[test]
fn an_idle_change_of_leader_needs_no_snapshot() {
    let mut world = written(5);
    world.crash(S3);
    world.run_until_serving();
    assert_eq!(restart(&mut world, S3), ["2>3 Diff 0x100000005"]);
}

/// To cut such a log would drop more than the leader wants dropped, perhaps what
/// this server has acknowledged.
#[test]
fn a_log_without_what_is_to_be_kept_is_replaced_by_a_snapshot() {
    // Server 1's log has a hole where the leader's history ends.
    let mut world = written(5);
    next_epoch_without_1(&mut world);
    let log = &mut world.server(S1).disk.log;
    log.truncate(3);
    log.push(entry(z(1, 8)));
    world.take_trace();
    world.start(S1);
    let truncating =
        |world: &World| format!("{:?}", world.servers[&S1].disk.waiting).contains("Truncate");
    world.step_until(truncating);
    while !world.server(S1).disk.waiting.is_empty() {
        world.server(S1).disk.step();
    }
    assert_eq!(world.server(S1).disk.end(), z(1, 8), "nothing is dropped");
    world.run_until_serving();
    world.settle();
    world.assert_equal();
    let trace = world.take_trace();
    let plans = trace
        .iter()
        .filter(|line| line.contains("Trunc") || line.contains("Snap"));
    let plans: Vec<_> = plans.collect();
    assert_eq!(plans, ["3>1 Trunc 0x100000005", "3>1 Snap 0x200000000"]);
}

#[test]
fn a_learner_that_leaves_during_a_truncation_waits_for_its_disk() {
    let mut world = written(5);
    next_epoch_without_1(&mut world);
    world.server(S1).disk.log.push(entry(z(1, 6)));
    world.start(S1);
    let truncating =
        |world: &World| format!("{:?}", world.servers[&S1].disk.waiting).contains("Truncate");
    world.step_until(truncating);
    world.cut(S1, S3);
    world.settle_only(|_, action| *action != Action::Disk(S1));
    assert_eq!(world.zab(S1).role(), Role::Looking);
    assert_eq!(world.zab(S1).next_deadline(), None);
    world.cuts.clear();
    world.run_until_serving();
    world.assert_equal();
}

#[test]
fn the_same_for_a_snapshot() {
    let mut world = written(5);
    world.crash(S1);
    world.server(S1).disk.log.clear();
    world.start(S1);
    let installing =
        |world: &World| format!("{:?}", world.servers[&S1].disk.waiting).contains("Install");
    world.step_until(installing);
    world.cut(S1, S3);
    world.settle_only(|_, action| *action != Action::Disk(S1));
    assert_eq!(world.zab(S1).role(), Role::Looking);
    world.cuts.clear();
    world.run_until_serving();
    world.assert_equal();
}

/// The second time a server is offered an epoch it has accepted, its answer
/// must not count.
#[test]
fn an_epoch_is_accepted_once() {
    let mut world = World::new(3);
    world.undialed.push(S2);
    world.start_all();
    let acks = |world: &World| {
        let of_1 = |line: &&String| line.starts_with("1>3 AckEpoch");
        world.trace.iter().filter(of_1).count()
    };
    world.step_until(|world| acks(world) > 0);
    // The answer is lost with the link; the second one is after the fact.
    world.cut(S1, S3);
    world.settle();
    world.heal();
    world.run_until("server 1 is back", |world| acks(world) == 2);
    assert_eq!(world.server(S1).disk.accepted, Epoch(1));
    assert_eq!(world.zab(S3).phase(), "discovery");
    world.undialed.clear();
    world.run_until_serving();
    assert_eq!(world.zab(S3).epoch(), Epoch(1), "server 2 made the quorum");
}

/// Crashes the learner at every step of its synchronization and lets it try
/// again.
#[test]
fn a_learner_may_crash_at_every_step() {
    for keep in [0, 2, 5] {
        for steps in 0.. {
            let mut world = written(5);
            world.crash(S1);
            for _ in 0..3 {
                world.propose(S3);
            }
            world.settle();
            world.server(S1).disk.log.truncate(keep);
            world.start(S1);
            let mut done = 0;
            while done < steps && !world.zab(S1).is_serving() {
                let action = *world.actions().first().expect("there is more to come");
                world.act(action);
                done += 1;
            }
            if done < steps {
                break;
            }
            world.crash(S1);
            restart(&mut world, S1);
        }
    }
}
