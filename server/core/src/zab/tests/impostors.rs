//! Somebody who is no member takes the name of a voter at the moment at which
//! that voter is heard, and servers whose epochs are far apart.

use zk_proto::quorum::{PacketKind, QuorumPacket};
use zk_proto::{Epoch, Sid};

use super::super::ZabInput;
use super::strangers::{follower_info, intrude_from};
use super::world::*;
use super::{elsewhere, home};
use crate::{EnsembleId, LinkId, Millis, Origin};

const LAST: i64 = i32::MAX as i64;

/// What the impostor's links are called in the trace.
const IMPOSTOR: i64 = 99;

/// The leader of three serves, server 1 has just been heard to look for a
/// leader and has not connected.
fn one_is_heard() -> World {
    let mut world = World::established(3);
    world.propose(S3);
    world.settle();
    world.crash(S1);
    world.settle();
    world.undialed.push(S1);
    world.start(S1);
    world.settle();
    world.take_trace();
    world
}

/// Somebody says from there to be server 1 and to have accepted this epoch.
fn claim(world: &mut World, link: u64, from: Origin, accepted: i64) {
    let info = follower_info(S1, accepted);
    intrude_from(world, S3, (LinkId(link), from), &[info]);
}

/// Whether the leader has answered a link of the impostor since the last look.
fn is_answered(world: &mut World) -> bool {
    !between(&world.take_trace(), 3, IMPOSTOR).is_empty()
}

fn pass_ms(world: &mut World, ms: u64) {
    let end = world.now.mono + ms;
    while world.now.mono < end {
        world.wait_ms((end - world.now.mono).min(TICK_MS / 8));
        world.settle();
    }
}

#[test]
fn a_flood_of_claims_from_elsewhere_keeps_no_voter_out() {
    let mut world = World::established(3);
    world.propose(S3);
    world.settle();
    world.crash(S1);
    let claims = |world: &mut World, first: u64| {
        for n in 0..50 {
            claim(world, first + n, elsewhere(n as u8 % 3), 1);
        }
    };
    claims(&mut world, 900);
    world.undialed.push(S1);
    world.start(S1);
    world.settle();
    claims(&mut world, 1_000);
    pass_ms(&mut world, TICK_MS / 4);
    claims(&mut world, 1_100);
    assert!(!is_answered(&mut world));
    let start = world.now.mono;
    world.undialed.clear();
    world.run_until_serving();
    assert_eq!(world.now.mono, start, "it is taken at once");
    world.settle();
    world.assert_equal();
}

/// As behind a host that translates addresses.
#[test]
fn a_voter_from_elsewhere_is_taken_if_nobody_else_is_there() {
    let mut world = World::new(3);
    for sid in [S1, S2, S3] {
        world.links_from.insert(sid, elsewhere(7));
    }
    for _ in 0..4 {
        for sid in [S1, S2, S3] {
            if world.servers[&sid].zab.is_none() {
                world.start(sid);
            }
        }
        let start = world.now.mono;
        world.run_until_serving();
        assert!(world.now.mono - start <= 2 * TICK_MS, "{:?}", world.now);
        let leader = world.leader();
        world.propose(leader);
        world.settle();
        world.assert_equal();
        world.crash(leader);
        world.settle();
    }
}

#[test]
fn of_two_that_contradict_each_other_nobody_is_taken() {
    let mut world = one_is_heard();
    for (link, from) in [(900, 1), (901, 2), (902, 1)] {
        claim(&mut world, link, elsewhere(from), 1);
    }
    pass_ms(&mut world, TICK_MS);
    assert!(!is_answered(&mut world));
    let closed = ZabInput::LinkClosed(LinkId(901));
    world.input(S3, closed);
    pass_ms(&mut world, TICK_MS);
    assert!(is_answered(&mut world));
}

#[test]
fn a_vote_proves_one_link_from_elsewhere() {
    let mut world = one_is_heard();
    claim(&mut world, 900, elsewhere(1), 1);
    assert!(!is_answered(&mut world), "the voter itself may still come");
    pass_ms(&mut world, TICK_MS / 2);
    assert!(is_answered(&mut world));
    for link in 901..910 {
        world.input(S3, ZabInput::LinkClosed(LinkId(link - 1)));
        claim(&mut world, link, elsewhere(1), 1);
        pass_ms(&mut world, TICK_MS);
        assert!(!is_answered(&mut world), "{link}");
    }
}

/// The impostor has come as far as it can before the voter comes itself.
#[test]
fn a_voter_from_its_host_replaces_an_impostor() {
    let mut world = one_is_heard();
    let link = LinkId(900);
    claim(&mut world, 900, elsewhere(1), 1);
    pass_ms(&mut world, TICK_MS / 2);
    let epoch = Some(vec![0, 0, 0, 1].into());
    let answers = [
        QuorumPacket::new(PacketKind::AckEpoch, z(1, 1), epoch),
        QuorumPacket::new(PacketKind::Ack, z(1, 0), None),
        QuorumPacket::new(PacketKind::Ping, z(1, 1), None),
    ];
    for packet in answers {
        world.input(S3, ZabInput::Packet { link, packet });
        world.settle();
    }
    assert!(
        between(&world.take_trace(), 3, IMPOSTOR)
            .iter()
            .any(|line| line.contains("UpToDate"))
    );
    world.undialed.clear();
    let start = world.now.mono;
    world.run_until_serving();
    assert_eq!(world.now.mono, start, "it is taken at once");
    assert_eq!(world.zab(S3).learners(), 2);
    // And it is not replaced in turn, not even when it is silent.
    let notification = looking(S1, z(1, 0), 2, 1);
    let origin = elsewhere(1);
    world.input(
        S3,
        ZabInput::Notification {
            from: S1,
            origin,
            notification,
        },
    );
    world.take_trace();
    claim(&mut world, 901, elsewhere(1), 1);
    pass_ms(&mut world, 2 * TICK_MS);
    assert!(!is_answered(&mut world));
    assert!(world.zab(S1).is_serving());
}

#[test]
fn a_voter_from_elsewhere_deposes_nobody() {
    let mut world = one_is_heard();
    claim(&mut world, 900, elsewhere(1), 2);
    pass_ms(&mut world, TICK_MS);
    assert!(is_answered(&mut world), "it is believed to be server 1");
    assert_eq!((world.leader(), world.zab(S3).epoch()), (S3, Epoch(1)));
}

/// Its own vote tells of a history that this leader does not have; somebody
/// else votes in its name for less.
#[test]
fn a_vote_from_elsewhere_hides_no_history() {
    let mut world = World::established(3);
    world.propose(S3);
    world.settle();
    world.crash(S1);
    world.settle();
    for (origin, zxid) in [(home(S1), z(1, 9)), (elsewhere(1), z(1, 0))] {
        let notification = looking(S1, zxid, 2, 1);
        world.input(
            S3,
            ZabInput::Notification {
                from: S1,
                origin,
                notification,
            },
        );
    }
    claim(&mut world, 900, home(S1), 2);
    assert!(is_answered(&mut world), "it is believed to be server 1");
    pass_ms(&mut world, 2 * TICK_MS);
    assert_eq!((world.leader(), world.zab(S3).epoch()), (S3, Epoch(1)));
}

/// Servers that have accepted these epochs serve within so much time, and the
/// epoch is then this.
fn find_together(accepted: [i64; 3], within_ms: u64) -> Epoch {
    let mut world = World::new(3);
    for (sid, accepted) in [S1, S2, S3].into_iter().zip(accepted) {
        world.server(sid).disk.accepted = Epoch(accepted);
    }
    world.start_all();
    world.run_until("two serve", |world| {
        let serving = |server: &&Server| server.zab.as_ref().is_some_and(|zab| zab.is_serving());
        world.servers.values().filter(serving).count() >= 2
    });
    assert!(
        world.now.mono <= Millis(within_ms),
        "{accepted:?}: {:?}",
        world.now
    );
    let leader = world.leader();
    world.propose(leader);
    world.settle();
    world.zab(leader).epoch()
}

#[test]
fn servers_far_apart_find_together() {
    let near_end = 2_141_192_192;
    for accepted in [
        [1 << 30, 0, 5],
        [0, 1 << 30, 5],
        [7, 5, 1 << 30],
        [near_end, 2_139_095_040, LAST],
    ] {
        let highest = accepted.into_iter().filter(|it| *it < LAST).max().unwrap();
        let epoch = find_together(accepted, 4 * TICK_MS);
        assert_eq!(epoch, Epoch(highest + 1), "{accepted:?}");
    }
}

/// The last epochs are not given away for one server's word: the others go on
/// without it. Where they need it, they approach it step by step.
#[test]
fn near_the_end_a_majority_goes_on_without_who_is_far_above() {
    assert_eq!(find_together([LAST - 5, 3, 4], 4 * TICK_MS), Epoch(5));
    let accepted = [LAST - 10_000, LAST - 13_000, LAST];
    let epoch = find_together(accepted, 60 * TICK_MS);
    assert_eq!(epoch, Epoch(LAST - 9_999));
}

/// A learner that is believed once does not raise the epoch again and again.
#[test]
fn one_vote_raises_the_epoch_once() {
    let leader = Sid(5);
    let others = (1..5).map(Sid);
    let mut world = World::new(5);
    world.undialed.extend(others.clone());
    world.start_all();
    world.settle();
    assert_eq!(world.zab(leader).phase(), "discovery");
    others.for_each(|sid| world.crash(sid));
    let claim = |world: &mut World, link, sid, accepted| {
        let info = follower_info(sid, accepted);
        intrude_from(world, leader, (LinkId(link), home(sid)), &[info]);
    };
    claim(&mut world, 900, S1, 100);
    world.input(leader, ZabInput::LinkClosed(LinkId(900)));
    claim(&mut world, 901, S1, 200);
    assert_eq!(world.servers[&leader].disk.accepted, Epoch(0));
    // With two more there is a quorum, whether server 1 still counts or not.
    claim(&mut world, 902, S2, 0);
    claim(&mut world, 903, S3, 0);
    assert_eq!(world.servers[&leader].disk.accepted, Epoch(101));
}

/// Who is not at its host raises the epoch by little.
#[test]
fn a_claim_from_elsewhere_raises_the_epoch_by_one_step() {
    for (accepted, promised) in [(64, 65), (65, 0), (LAST - 1, 0), (LAST, 0)] {
        let mut world = World::new(3);
        world.undialed.extend([S1, S2]);
        world.start_all();
        world.settle();
        world.crash(S1);
        world.crash(S2);
        for link in 900..910 {
            claim(&mut world, link, elsewhere(1), accepted);
            pass_ms(&mut world, TICK_MS);
        }
        let own = world.servers[&S3].disk.accepted;
        assert_eq!(own, Epoch(promised), "{accepted}");
    }
}

#[test]
fn a_server_of_another_ensemble_is_kept_out_and_one_without_a_name_is_not() {
    let name = |world: &mut World, sid, name: Option<&str>| {
        let zab = world.server(sid).zab.as_mut().unwrap();
        zab.peer.config.ensemble_id = name.map(EnsembleId::of);
    };
    for (theirs, is_taken) in [
        (Some("elsewhere/zk"), false),
        (Some("default/zk"), true),
        (None, true),
    ] {
        let mut world = World::established(3);
        name(&mut world, S3, Some("default/zk"));
        world.crash(S1);
        world.settle();
        world.start(S1);
        name(&mut world, S1, theirs);
        world.take_trace();
        pass_ms(&mut world, 20 * TICK_MS);
        assert_eq!(world.zab(S1).is_serving(), is_taken, "{theirs:?}");
        assert!(world.zab(S3).is_serving());
    }
}
