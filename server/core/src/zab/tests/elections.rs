use zk_proto::quorum::{Notification, ServerState};
use zk_proto::{Epoch, Round, Sid, Zxid};

use super::super::{Effects, Zab, ZabInput};
use super::home;
use super::world::*;
use crate::{EpochFile, LinkId, Millis, Output, Role};

/// A server with a disk that ends here, in its first election.
fn looking(sid: i64, last_zxid: Zxid, current_epoch: i64) -> (Zab, Vec<Output>) {
    let state = super::super::ZabState {
        last_zxid,
        accepted_epoch: Epoch(current_epoch),
        current_epoch: Epoch(current_epoch),
        tail: Vec::new(),
        reigns: Default::default(),
        applied: last_zxid,
        digest: None,
    };
    let mut zab = Zab::new(&config(sid, 3), state);
    let mut fx = Effects::default();
    zab.start(at(0), &mut fx);
    (zab, fx.outputs)
}

fn at(ms: u64) -> crate::Now {
    crate::Now {
        mono: Millis(ms),
        wall_ms: 0,
    }
}

fn vote(state: ServerState, leader: i64, zxid: Zxid, round: i64, peer_epoch: i64) -> Notification {
    Notification {
        state,
        leader: Sid(leader),
        zxid,
        round: Round(round),
        peer_epoch: Epoch(peer_epoch),
        version: 2,
        config: String::new(),
    }
}

fn hear(zab: &mut Zab, ms: u64, from: i64, notification: Notification) -> Vec<Output> {
    let mut fx = Effects::default();
    let from = Sid(from);
    zab.handle(
        at(ms),
        ZabInput::Notification {
            from,
            origin: home(from),
            notification,
        },
        &mut fx,
    );
    fx.outputs
}

fn tick(zab: &mut Zab, ms: u64) -> Vec<Output> {
    let mut fx = Effects::default();
    zab.handle(at(ms), ZabInput::Tick, &mut fx);
    fx.outputs
}

/// `to state leader zxid round epoch` of each notification.
fn notifications(outputs: &[Output]) -> Vec<String> {
    let text = |output: &Output| match output {
        Output::Notify { to, notification } => {
            let Notification {
                state,
                leader,
                zxid,
                round,
                peer_epoch,
                ..
            } = notification;
            Some(format!(
                "{to} {state:?} {leader} {zxid} {} {peer_epoch}",
                round.0
            ))
        }
        _ => None,
    };
    outputs.iter().filter_map(text).collect()
}

#[test]
fn the_highest_sid_of_a_fresh_ensemble_leads_in_epoch_1() {
    for voters in [1, 3, 5, 7] {
        let world = World::established(voters);
        assert_eq!(world.leader(), Sid(voters));
        for server in world.servers.values() {
            assert_eq!(server.zab.as_ref().unwrap().epoch(), Epoch(1));
            assert_eq!(
                (server.disk.accepted, server.disk.current),
                (Epoch(1), Epoch(1))
            );
        }
        assert_eq!(
            world.now.mono,
            Millis(0),
            "nobody waits when all votes are in"
        );
    }
}

#[test]
fn a_majority_waits_a_little_for_the_others() {
    let mut world = World::new(3);
    world.start(S1);
    world.start(S2);
    world.run_until_serving();
    assert_eq!((world.leader(), world.now.mono), (S2, Millis(200)));
    assert_eq!(world.zab(S2).election_ms(), Some(200));
}

#[test]
fn the_first_vote_is_for_oneself_and_says_all() {
    let (_, outputs) = looking(1, z(2, 5), 3);
    assert_eq!(
        notifications(&outputs),
        ["2 Looking 1 0x200000005 1 3", "3 Looking 1 0x200000005 1 3"]
    );
    let Output::Notify { notification, .. } = &outputs[0] else {
        panic!("{outputs:?}");
    };
    assert_eq!(notification.config, config(1, 3).ensemble.text());
}

#[test]
fn the_epoch_file_counts_more_than_the_log() {
    // Server 1 has the longer log, server 2 the newer epoch.
    let mut world = World::new(3);
    world.server(S1).disk.log = (1..=3).map(|n| entry(z(1, n))).collect();
    world.server(S2).disk.log = (1..=2).map(|n| entry(z(1, n))).collect();
    for (sid, current) in [(S1, 1), (S2, 2), (S3, 0)] {
        let disk = &mut world.server(sid).disk;
        disk.current = Epoch(current);
        disk.accepted = Epoch(current);
    }
    world.start_all();
    world.run_until_serving();
    assert_eq!(world.leader(), S2);
    assert_eq!(world.zab(S2).epoch(), Epoch(3));
    assert_eq!(world.committed, [z(1, 1), z(1, 2)]);
    world.settle();
    world.assert_equal();
}

/// Somebody wants to lead whom the others cannot reach. It answers each of
/// their votes, and it would have been the better one.
#[test]
fn a_decision_is_not_put_off_by_who_is_not_looking() {
    let follows = vote(ServerState::Following, 2, z(1, 5), 1, 1);
    let leads = vote(ServerState::Leading, 3, z(1, 5), 1, 1);
    let agrees = vote(ServerState::Looking, 2, z(1, 5), 1, 1);
    let decided = || {
        let (mut zab, _) = looking(2, z(1, 5), 1);
        hear(&mut zab, 10, 1, agrees.clone());
        assert_eq!(zab.role(), Role::Looking);
        zab
    };
    let mut zab = decided();
    hear(&mut zab, 100, 3, leads.clone());
    tick(&mut zab, 10 + 200);
    assert_eq!((zab.role(), zab.leader()), (Role::Leading, Some(Sid(2))));
    let mut zab = decided();
    hear(&mut zab, 100, 1, follows);
    assert_eq!((zab.role(), zab.leader()), (Role::Leading, Some(Sid(2))));
    // A better vote of somebody who is looking does put it off.
    let mut zab = decided();
    hear(
        &mut zab,
        100,
        3,
        vote(ServerState::Looking, 3, z(1, 5), 1, 1),
    );
    tick(&mut zab, 10 + 200);
    assert_eq!(zab.role(), Role::Looking);
}

#[test]
fn votes_are_sent_again_at_doubling_intervals() {
    let (mut zab, _) = looking(1, Zxid::ZERO, 0);
    let mut now = 0;
    for pause in [
        200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000,
    ] {
        now += pause;
        assert_eq!(zab.next_deadline(), Some(Millis(now)));
        assert!(tick(&mut zab, now - 1).is_empty());
        assert_eq!(notifications(&tick(&mut zab, now)).len(), 2);
    }
}

#[test]
fn a_better_vote_is_adopted_and_a_worse_one_answered() {
    let (mut zab, _) = looking(2, z(1, 5), 1);
    let worse = vote(ServerState::Looking, 1, z(1, 4), 1, 1);
    let outputs = hear(&mut zab, 1, 1, worse);
    assert_eq!(notifications(&outputs), ["1 Looking 2 0x100000005 1 1"]);
    let better = vote(ServerState::Looking, 3, z(1, 6), 1, 1);
    let outputs = hear(&mut zab, 2, 3, better);
    assert_eq!(
        notifications(&outputs),
        ["1 Looking 3 0x100000006 1 1", "3 Looking 3 0x100000006 1 1"]
    );
    // A quorum agrees, but server 1 may still know a better one.
    assert_eq!(
        (zab.role(), zab.next_deadline()),
        (Role::Looking, Some(Millis(202)))
    );
    tick(&mut zab, 202);
    assert_eq!((zab.role(), zab.leader()), (Role::Following, Some(S3)));
}

#[test]
fn a_newer_round_starts_the_count_anew() {
    let (mut zab, _) = looking(2, z(1, 5), 1);
    let first = vote(ServerState::Looking, 3, z(1, 6), 1, 1);
    hear(&mut zab, 1, 3, first);
    // The decision is open; a better vote of a later round ends it.
    let later = vote(ServerState::Looking, 1, z(1, 7), 9, 1);
    let outputs = hear(&mut zab, 2, 1, later);
    assert_eq!(
        notifications(&outputs),
        ["1 Looking 1 0x100000007 9 1", "3 Looking 1 0x100000007 9 1"]
    );
    // One of an older round is told where we are.
    let old = vote(ServerState::Looking, 3, z(1, 6), 1, 1);
    let outputs = hear(&mut zab, 3, 3, old);
    assert_eq!(notifications(&outputs), ["3 Looking 1 0x100000007 9 1"]);
    tick(&mut zab, 202);
    assert_eq!(zab.leader(), Some(S1));
}

#[test]
fn repeated_and_late_votes_change_nothing() {
    let (mut zab, _) = looking(1, z(1, 5), 1);
    let vote_of_2 = vote(ServerState::Looking, 2, z(1, 5), 1, 1);
    for ms in 1..5 {
        hear(&mut zab, ms, 2, vote_of_2.clone());
    }
    assert_eq!(
        zab.next_deadline(),
        Some(Millis(201)),
        "the wait is not drawn out"
    );
    let worst = vote(ServerState::Looking, 1, z(1, 1), 1, 1);
    hear(&mut zab, 6, 2, worst.clone());
    hear(&mut zab, 7, 2, vote_of_2);
    hear(&mut zab, 8, 3, worst);
    tick(&mut zab, 207);
    assert_eq!(zab.leader(), Some(S2));
    // Now it follows; a server that looks is told so.
    let lost = vote(ServerState::Looking, 3, z(1, 9), 7, 1);
    let outputs = hear(&mut zab, 300, 3, lost);
    assert_eq!(notifications(&outputs), ["3 Following 2 0x100000005 1 1"]);
    let settled = vote(ServerState::Following, 3, z(1, 9), 7, 1);
    assert!(hear(&mut zab, 301, 3, settled).is_empty());
}

#[test]
fn an_established_ensemble_is_joined_only_if_its_leader_says_so() {
    let (mut zab, _) = looking(1, z(1, 5), 1);
    hear(
        &mut zab,
        1,
        2,
        vote(ServerState::Following, 3, z(2, 9), 8, 3),
    );
    assert_eq!(zab.role(), Role::Looking);
    hear(
        &mut zab,
        2,
        3,
        vote(ServerState::Following, 3, z(2, 9), 8, 3),
    );
    assert_eq!(zab.role(), Role::Looking, "a quorum, but nobody who leads");
    // Members may remember different rounds and zxids.
    let outputs = hear(&mut zab, 3, 3, vote(ServerState::Leading, 3, z(2, 1), 6, 3));
    assert_eq!((zab.role(), zab.leader()), (Role::Following, Some(S3)));
    let connects = |output: &Output| matches!(output, Output::Connect { to: S3, link, .. } if *link == LinkId(LinkId::DIALED));
    assert!(outputs.iter().any(connects));
}

#[test]
fn a_vote_for_a_stranger_or_from_one_does_not_count() {
    let (mut zab, _) = looking(1, z(1, 5), 1);
    for n in 2..=3 {
        assert!(hear(&mut zab, 1, n, vote(ServerState::Looking, 9, z(9, 9), 1, 9)).is_empty());
    }
    let outputs = hear(&mut zab, 2, 9, vote(ServerState::Looking, 9, z(9, 9), 5, 9));
    assert_eq!(
        notifications(&outputs),
        ["9 Looking 1 0x100000005 1 1"],
        "who does not vote is only told"
    );
    assert_eq!(zab.role(), Role::Looking);
}

#[test]
fn all_report_the_new_epoch_once_they_serve() {
    let mut world = World::established(3);
    for sid in [S1, S2, S3] {
        let now = world.now;
        let zab = world.server(sid).zab.as_mut().unwrap();
        let mut fx = Effects::default();
        let notification = vote(ServerState::Looking, 9, Zxid::ZERO, 1, 0);
        let from = Sid(sid.0 % 3 + 1);
        zab.handle(
            now,
            ZabInput::Notification {
                from,
                origin: home(from),
                notification,
            },
            &mut fx,
        );
        let state = if sid == S3 { "Leading" } else { "Following" };
        assert_eq!(
            notifications(&fx.outputs),
            [format!("{from} {state} 3 0x0 1 1")]
        );
    }
}

#[test]
fn a_single_voter_leads_by_itself_as_soon_as_its_disk_has_the_epoch() {
    let mut world = World::new(1);
    world.start(S1);
    assert_eq!(world.zab(S1).phase(), "discovery");
    let files: Vec<_> = std::iter::from_fn(|| {
        let work = world.servers[&S1].disk.waiting.front().cloned();
        world.act(*world.actions().first()?);
        Some(work)
    })
    .flatten()
    .map(|work| format!("{work:?}"))
    .collect();
    let saves = [EpochFile::Accepted, EpochFile::Current];
    assert_eq!(
        files,
        saves.map(|file| format!("SaveEpoch({file:?}, Epoch(1))"))
    );
    assert!(world.zab(S1).is_serving());
    world.propose(S1);
    world.settle();
    assert_eq!(world.committed, [z(1, 1)]);
}

/// A server that was to lead has accepted an epoch that no other has. The
/// reference would leave it out for as long as the leader lives.
#[test]
fn a_voter_that_has_accepted_a_newer_epoch_is_taken_in() {
    let mut world = World::established(3);
    world.propose(S3);
    world.settle();
    world.crash(S1);
    world.server(S1).disk.accepted = Epoch(7);
    world.start(S1);
    world.run_until_serving();
    assert_eq!((world.leader(), world.zab(S3).epoch()), (S3, Epoch(8)));
    assert!(world.now.mono < Millis(2 * TICK_MS));
    world.settle();
    world.assert_equal();
}

#[test]
fn a_leader_that_died_is_not_waited_for() {
    for voters in [3, 5] {
        let mut world = World::established(voters);
        let leader = world.leader();
        world.propose(leader);
        world.settle();
        world.crash(leader);
        world.run_until_serving();
        assert_eq!(world.leader(), Sid(voters - 1));
        assert_eq!(world.now.mono, Millis(0));
    }
}

#[test]
fn a_lost_leader_that_speaks_up_counts() {
    let mut world = World::established(3);
    let now = world.now;
    let link = LinkId(LinkId::DIALED);
    let mut fx = Effects::default();
    let zab = world.server(S1).zab.as_mut().unwrap();
    zab.handle(now, ZabInput::LinkClosed(link), &mut fx);
    // Server 3 is well and of another opinion than server 2.
    hear(zab, 0, 3, vote(ServerState::Looking, 3, Zxid::ZERO, 2, 0));
    hear(zab, 0, 2, vote(ServerState::Looking, 2, Zxid::ZERO, 2, 1));
    assert_eq!(zab.role(), Role::Looking);
    tick(zab, 200);
    assert_eq!(zab.leader(), Some(S2));
}
