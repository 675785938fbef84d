//! What somebody who merely reaches the ports can bring about.

use zk_proto::quorum::{LearnerInfo, PROTOCOL_VERSION, PacketKind, QuorumPacket};
use zk_proto::{Epoch, Sid, Zxid};

use super::super::{Problem, ZabInput};
use super::world::*;
use super::{elsewhere, home};
use crate::{LinkId, Millis, Origin};

/// The link of somebody who is no member.
const STRANGE: LinkId = LinkId(900);

const LAST: i64 = i32::MAX as i64;

pub(super) fn follower_info(sid: Sid, accepted: i64) -> QuorumPacket {
    let info = LearnerInfo {
        sid,
        protocol_version: PROTOCOL_VERSION,
        config_version: 0,
    };
    let zxid = QuorumPacket::epoch_zxid(Epoch(accepted));
    QuorumPacket::new(PacketKind::FollowerInfo, zxid, Some(info.encode()))
}

/// Somebody connects to the quorum port of `to` from an address that is taken
/// for one of every host, and says this.
fn intrude(world: &mut World, to: Sid, link: LinkId, packets: &[QuorumPacket]) {
    intrude_from(world, to, (link, home(S1)), packets);
}

/// The same from this address.
pub(super) fn intrude_from(
    world: &mut World,
    to: Sid,
    (link, origin): (LinkId, Origin),
    packets: &[QuorumPacket],
) {
    world.adopt(Sid(99), to, link);
    world.input(to, ZabInput::LinkAccepted(link, origin));
    for packet in packets {
        let packet = packet.clone();
        world.input(to, ZabInput::Packet { link, packet });
    }
    world.settle();
}

fn promises(world: &World) -> Vec<(Epoch, Epoch)> {
    let of = |server: &Server| (server.disk.accepted, server.disk.current);
    world.servers.values().map(of).collect()
}

/// Everybody serves as before, and the next reign is that of the next epoch.
fn assert_untouched(world: &mut World, before: &[(Epoch, Epoch)]) {
    assert_eq!(promises(world), before);
    let leader = world.leader();
    let epoch = world.zab(leader).epoch();
    world.propose(leader);
    world.settle();
    world.crash(leader);
    world.run_until_serving();
    let next = world.leader();
    assert_eq!(world.zab(next).epoch(), Epoch(epoch.0 + 1));
    world.start(leader);
    world.run_until_serving();
    world.settle();
    world.assert_equal();
}

#[test]
fn a_promise_in_a_followers_name_deposes_nobody() {
    for accepted in [2, 3, 1 << 20, LAST - 2, LAST - 1, LAST] {
        for name in [S1, S2] {
            let mut world = World::established(3);
            world.propose(S3);
            world.settle();
            let before = promises(&world);
            intrude(&mut world, S3, STRANGE, &[follower_info(name, accepted)]);
            assert_eq!(world.leader(), S3, "{accepted}");
            assert!(world.zab(name).is_serving());
            assert_untouched(&mut world, &before);
        }
    }
}

#[test]
fn a_promise_in_the_name_of_a_server_that_is_away_deposes_nobody() {
    for accepted in [2, 1 << 20, LAST - 1, LAST] {
        let mut world = World::established(3);
        world.crash(S1);
        world.settle();
        let before = promises(&world);
        intrude(&mut world, S3, STRANGE, &[follower_info(S1, accepted)]);
        assert_eq!((world.leader(), world.zab(S3).learners()), (S3, 1));
        world.start(S1);
        world.run_until_serving();
        assert_untouched(&mut world, &before);
    }
}

/// A leader that waits for a quorum takes nobody's word for being a member.
#[test]
fn a_stranger_makes_no_quorum() {
    for accepted in [1, LAST - 1, LAST] {
        let mut world = World::new(3);
        world.undialed.extend([S1, S2]);
        world.start_all();
        world.settle();
        assert_eq!(world.zab(S3).phase(), "discovery");
        // It has the votes of both; one of them comes back as a stranger would
        // have it, after its own word was used up.
        world.undialed.clear();
        world.run_until_serving();
        world.crash(S1);
        world.crash(S2);
        world.settle();
        world.wait_ms(2 * TICK_MS);
        world.wait_ms(2 * TICK_MS);
        let before = promises(&world);
        let ack_epoch = QuorumPacket::new(
            PacketKind::AckEpoch,
            Zxid::ZERO,
            Some(vec![0, 0, 0, 1].into()),
        );
        let ack = QuorumPacket::new(PacketKind::Ack, z(1, 0), None);
        let packets = [follower_info(S1, accepted), ack_epoch, ack];
        intrude(&mut world, S3, STRANGE, &packets);
        assert!(!world.zab(S3).is_serving());
        assert_eq!(promises(&world), before);
    }
}

#[test]
fn who_is_not_a_member_gets_nothing() {
    let mut world = World::established(3);
    world.take_trace();
    for sid in [Sid(99), Sid(0), Sid(-1)] {
        let link = LinkId(900 + sid.0.unsigned_abs());
        intrude(&mut world, S3, link, &[follower_info(sid, 1)]);
    }
    assert!(between(&world.take_trace(), 3, 99).is_empty());
    assert_eq!(world.zab(S3).learners(), 2);
}

#[test]
fn a_living_link_is_not_replaced_by_a_strangers() {
    let mut world = World::established(3);
    intrude(&mut world, S3, STRANGE, &[follower_info(S1, 1)]);
    // Whoever claims a vote of this server, too, finds that its link answers.
    let notification = looking(S1, z(1, 0), 1, 1);
    world.input(
        S3,
        ZabInput::Notification {
            from: S1,
            origin: home(S1),
            notification,
        },
    );
    for _ in 0..20 {
        world.wait();
        world.settle();
    }
    assert_eq!((world.leader(), world.zab(S3).learners()), (S3, 2));
    for sid in [S1, S2] {
        assert!(world.zab(sid).is_serving(), "{sid}");
    }
}

/// The leader stood still for a second and a half, and what the follower has
/// said in the meantime waits behind the claim.
#[test]
fn a_leader_that_stood_still_gives_no_living_link_up() {
    let mut world = World::established(3);
    world.wait_ms(TICK_MS * 3 / 4);
    world.settle();
    world.take_trace();
    let notification = looking(S1, z(1, 0), 1, 1);
    let said = ZabInput::Notification {
        from: S1,
        origin: home(S1),
        notification,
    };
    world.input(S3, said);
    world.adopt(Sid(99), S3, STRANGE);
    world.input(S3, ZabInput::LinkAccepted(STRANGE, home(S1)));
    world.now.mono = world.now.mono + TICK_MS * 3 / 2;
    let packet = follower_info(S1, 1);
    let link = STRANGE;
    world.input(S3, ZabInput::Packet { link, packet });
    for _ in 0..20 {
        world.settle();
        world.wait();
    }
    let trace = world.take_trace();
    let told = between(&trace, 3, 99);
    assert!(told.is_empty(), "it was believed: {told:?}");
    assert_eq!((world.leader(), world.zab(S3).learners()), (S3, 2));
}

/// The old link is half open: its end at the leader does not know that the
/// follower is gone.
#[test]
fn a_member_that_comes_back_replaces_its_dead_link() {
    let mut world = World::established(3);
    world.propose(S3);
    world.settle();
    world.crash(S1);
    for link in &mut world.links {
        if link.learner == S1 {
            link.to_leader.clear();
        }
    }
    world.start(S1);
    world.run_until_serving();
    assert!(world.now.mono <= Millis(2 * TICK_MS), "{:?}", world.now);
    world.settle();
    world.assert_equal();
}

#[test]
fn strangers_do_not_fill_the_learner_table() {
    let mut world = World::established(3);
    world.crash(S1);
    for n in 0..1_000 {
        let link = LinkId(900 + n);
        world.adopt(Sid(99), S3, link);
        let origin = elsewhere(n as u8);
        world.input(S3, ZabInput::LinkAccepted(link, origin));
        if n % 2 == 0 {
            let packet = follower_info(S1, 1);
            world.input(S3, ZabInput::Packet { link, packet });
        }
    }
    world.start(S1);
    world.run_until_serving();
    assert!(world.now.mono <= Millis(TICK_MS), "{:?}", world.now);
}

/// Votes that no server can have sent.
#[test]
fn an_absurd_vote_keeps_no_election_from_ending() {
    let absurd = [
        looking(S1, z(1, 1), i64::MAX, 1),
        looking(S1, z(1, 1), i64::MAX - 1, 1),
        looking(S1, z(1, 1), 9, i64::MAX),
        looking(S1, z(1, 1), 9, LAST + 1),
        looking(S1, Zxid(i64::MIN), 9, 1),
        looking(S1, Zxid(i64::MAX), i64::MIN, -7),
        looking(S3, z(1, 1), 9, LAST + 1),
        looking(S3, z(1, 1), 9, i64::MAX),
        looking(S3, Zxid(i64::MIN), 9, LAST),
    ];
    for notification in absurd {
        let mut world = World::established(3);
        world.propose(S3);
        world.settle();
        world.crash(S3);
        for sid in [S1, S2] {
            let notification = notification.clone();
            world.input(
                sid,
                ZabInput::Notification {
                    from: S3,
                    origin: home(S3),
                    notification,
                },
            );
        }
        for _ in 0..3 {
            world.run_until_serving();
            let at = world.now.mono;
            assert!(at <= Millis(3 * TICK_MS), "{at:?} {notification:?}");
            world.start(S3);
            world.run_until_serving();
            let leader = world.leader();
            world.propose(leader);
            world.settle();
            world.crash(leader);
            world.run_until_serving();
            world.start(leader);
            world.run_until_serving();
            world.crash(S3);
        }
    }
}

/// Its promise can be kept by no reign of its own.
#[test]
fn a_server_at_the_last_epoch_leaves_the_lead_to_others() {
    let mut world = World::new(3);
    world.server(S3).disk.accepted = Epoch(LAST);
    world.start_all();
    world.run_until("the others serve", |world| {
        [S1, S2].iter().all(|sid| world.zab(*sid).is_serving())
    });
    assert_eq!(world.leader(), S2);
    assert_eq!(world.zab(S3).problem(), Some(Problem::EpochsUsedUp));
    assert!(!world.servers[&S3].halted);
    assert_eq!(world.server(S3).disk.accepted, Epoch(LAST));
}
