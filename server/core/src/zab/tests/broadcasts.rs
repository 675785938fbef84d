//! Writing, and losing servers while it goes on.

use zk_proto::quorum::{PacketKind, QuorumPacket};
use zk_proto::{Epoch, Sid, Zxid};

use super::super::{Effects, SyncToken, Zab, ZabEvent, ZabInput, ZabState};
use super::discovery::{ack_epoch, hello, run, saved, say};
use super::home;
use super::world::*;
use crate::{EpochFile, LinkId, Now, Role};

#[test]
fn nothing_is_committed_without_a_quorum_of_disks() {
    let mut world = World::established(3);
    world.propose(S3);
    let no_disks =
        |_: &World, action: &Action| !matches!(action, Action::Disk(_) | Action::Completion(_));
    world.settle_only(no_disks);
    assert!(world.committed.is_empty(), "all have it, none on disk");
    world.act(Action::Disk(S3));
    world.act(Action::Completion(S3));
    assert!(world.committed.is_empty(), "one disk of three");
    world.act(Action::Disk(S1));
    assert!(world.committed.is_empty(), "not reported yet");
    world.act(Action::Completion(S1));
    world.settle_only(no_disks);
    assert_eq!(world.committed, [z(1, 1)]);
    world.settle();
    world.assert_equal();
}

#[test]
fn commits_are_in_order_whatever_the_order_of_acknowledgements() {
    let mut world = World::established(5);
    let leader = world.leader();
    for _ in 0..10 {
        world.propose(leader);
    }
    // Each follower acknowledges everything before the next one says a word.
    for sid in [S1, S3, S2] {
        let own = |action: &Action| match action {
            Action::Disk(of) | Action::Completion(of) => *of == sid,
            Action::Packet(at, _) => world.links[*at].learner == sid,
            _ => false,
        };
        let actions: Vec<_> = world.actions().into_iter().filter(own).collect();
        for action in actions {
            world.act(action);
        }
    }
    world.settle();
    assert_eq!(
        world.committed,
        (1..=10).map(|n| z(1, n)).collect::<Vec<_>>()
    );
    world.assert_equal();
}

/// Crashes the leader after every number of steps of three writes.
#[test]
fn a_leader_may_crash_at_every_step() {
    for steps in 0.. {
        let mut world = World::established(3);
        for _ in 0..3 {
            world.propose(S3);
        }
        for _ in 0..steps {
            let Some(action) = world.actions().first().copied() else {
                return;
            };
            world.act(action);
        }
        let known = world.committed.clone();
        world.crash(S3);
        world.run_until_serving();
        assert!(world.committed.starts_with(&known), "after {steps} steps");
        let leader = world.leader();
        world.propose(leader);
        world.start(S3);
        world.run_until_serving();
        world.settle();
        world.assert_equal();
    }
}

/// Crashes any server after every number of steps, the disks being last to
/// move.
#[test]
fn any_server_may_crash_while_disks_are_slow() {
    for sid in [S1, S2, S3] {
        for steps in 0.. {
            let mut world = World::established(3);
            for _ in 0..3 {
                world.propose(S3);
            }
            let mut done = 0;
            while done < steps
                && let Some(action) = world.actions().last().copied()
            {
                world.act(action);
                done += 1;
            }
            if done < steps {
                break;
            }
            world.crash(sid);
            world.run_until_serving();
            world.start(sid);
            world.run_until_serving();
            world.settle();
            world.assert_equal();
        }
    }
}

#[test]
fn what_a_new_leader_has_logged_is_delivered_before_it_serves() {
    let mut world = World::established(3);
    world.propose(S3);
    // Everyone logs it, the leader never learns.
    world.settle_only(|_, action| !matches!(action, Action::Packet(_, Direction::ToLeader)));
    assert!(world.committed.is_empty());
    world.crash(S3);
    world.run_until_serving();
    assert_eq!(world.committed, [z(1, 1)]);
    for sid in [S1, S2] {
        let events = &world.server(sid).events;
        let started = |event: &ZabEvent| {
            matches!(
                event,
                ZabEvent::LeadingStarted { epoch: Epoch(2) }
                    | ZabEvent::FollowingStarted { epoch: Epoch(2) }
            )
        };
        let deliver = ZabEvent::Deliver(entry(z(1, 1)));
        let deliveries: Vec<_> = (0..events.len())
            .filter(|at| events[*at] == deliver)
            .collect();
        let start = events.iter().position(started).unwrap();
        assert_eq!(deliveries.len(), 1);
        assert!(deliveries[0] < start);
        let stop = events
            .iter()
            .position(|event| *event == ZabEvent::ServingStopped);
        assert!(stop.unwrap() < deliveries[0]);
    }
}

#[test]
fn a_leader_without_a_quorum_gives_up() {
    let mut world = World::established(3);
    world.crash(S1);
    world.settle();
    world.wait_ms(2 * TICK_MS);
    assert!(world.zab(S3).is_serving(), "two of three are enough");
    world.crash(S2);
    world.settle();
    let lost = world.now.mono;
    while world.zab(S3).is_serving() {
        world.wait();
        world.settle();
    }
    assert!(world.now.mono - lost <= TICK_MS);
    assert_eq!(world.zab(S3).role(), Role::Looking);
    assert_eq!(
        world.server(S3).events.last(),
        Some(&ZabEvent::ServingStopped)
    );
}

#[test]
fn silence_ends_a_following_and_a_learner() {
    let mut world = World::established(3);
    let start = world.now.mono;
    // Packets to and from server 1 are stuck.
    while world.zab(S1).is_serving() {
        world.wait();
        world.settle_only(|world, action| {
            !matches!(action, Action::Packet(at, _) if world.links[*at].learner == S1)
        });
    }
    assert_eq!(world.now.mono - start, 5 * TICK_MS);
    assert_eq!(world.zab(S3).synced_followers(), [S2]);
    assert!(world.zab(S2).is_serving());
}

#[test]
fn heartbeats_go_out_every_half_tick_and_are_answered() {
    let mut world = World::established(3);
    world.propose(S3);
    world.settle();
    world.take_trace();
    world.wait();
    assert_eq!(world.now.mono.0, TICK_MS / 2);
    world.settle();
    let mut trace = world.take_trace();
    trace.sort();
    assert_eq!(
        trace,
        [
            "1>3 Ping 0x100000001",
            "2>3 Ping 0x100000001",
            "3>1 Ping 0x100000001",
            "3>2 Ping 0x100000001"
        ]
    );
    for _ in 0..100 {
        world.wait();
        world.settle();
    }
    assert!([S1, S2, S3].iter().all(|sid| world.zab(*sid).is_serving()));
}

#[test]
fn a_learner_that_pings_but_does_not_acknowledge_is_dropped() {
    let mut world = World::established(3);
    world.propose(S3);
    let start = world.now.mono;
    let stuck = [Action::Disk(S1), Action::Completion(S1)];
    while world.zab(S3).synced_followers().len() == 2 {
        world.settle_only(|_, action| !stuck.contains(action));
        world.wait();
    }
    assert_eq!(world.now.mono - start, 5 * TICK_MS);
    assert_eq!(world.committed.len(), 1, "the others went on");
}

#[test]
fn a_sync_is_answered_after_what_was_outstanding() {
    let mut world = World::established(3);
    world.sync(S3, SyncToken::Local(1));
    let ready = |world: &mut World| {
        let events = &world.server(S3).events;
        let of = |event: &ZabEvent| match event {
            ZabEvent::SyncReady(SyncToken::Local(n)) => Some(*n),
            _ => None,
        };
        events.iter().filter_map(of).collect::<Vec<_>>()
    };
    assert_eq!(ready(&mut world), [1], "nothing is outstanding");
    world.propose(S3);
    world.sync(S3, SyncToken::Local(2));
    let learner = world
        .links
        .iter()
        .position(|link| link.learner == S1)
        .unwrap();
    world.sync(S3, SyncToken::Learner(LinkId(1 + learner as u64)));
    assert_eq!(world.zab(S3).pending_syncs(), 2);
    world.take_trace();
    assert_eq!(ready(&mut world), [1]);
    world.settle();
    assert_eq!(ready(&mut world), [1, 2]);
    let trace = world.take_trace();
    let at = |text: &str| trace.iter().position(|line| line.ends_with(text));
    assert!(at("Commit 0x100000001").unwrap() < at("Sync 0x0").unwrap());
    assert_eq!(world.zab(S3).pending_syncs(), 0);
}

#[test]
fn a_sync_keeps_its_place_among_writes_that_commit_together() {
    let mut world = World::established(3);
    let learner = world.links.iter().position(|it| it.learner == S1).unwrap();
    world.propose(S3);
    world.sync(S3, SyncToken::Local(1));
    world.sync(S3, SyncToken::Learner(LinkId(1 + learner as u64)));
    world.propose(S3);
    // One sync of the leader's disk takes both, and is the one that makes a quorum.
    let late = [Action::Completion(S3), Action::Disk(S2)];
    world.settle_only(|_, action| !late.contains(action));
    assert!(world.committed.is_empty());
    while world.server(S3).disk.done.len() > 1 {
        world.server(S3).disk.done.pop_front();
    }
    let before = world.server(S3).events.len();
    world.take_trace();
    world.act(Action::Completion(S3));
    world.settle();
    let shown = |event: &ZabEvent| match event {
        ZabEvent::Deliver(entry) => Some(entry.zxid.to_string()),
        ZabEvent::SyncReady(_) => Some("sync".to_owned()),
        _ => None,
    };
    let events = &world.server(S3).events[before..];
    let events: Vec<_> = events.iter().filter_map(shown).collect();
    assert_eq!(events, ["0x100000001", "sync", "0x100000002"]);
    let trace = world.take_trace();
    let to_learner: Vec<_> = trace
        .iter()
        .filter(|line| line.starts_with("3>1 Commit") || line.starts_with("3>1 Sync"))
        .collect();
    assert_eq!(
        to_learner,
        [
            "3>1 Commit 0x100000001",
            "3>1 Sync 0x0",
            "3>1 Commit 0x100000002"
        ]
    );
}

#[test]
fn proposals_between_newleader_and_uptodate_are_delivered_with_it() {
    // Server 1 joins while writes go on, its disk being slow.
    let mut world = World::established(3);
    world.propose(S3);
    world.settle();
    world.crash(S1);
    world.propose(S3);
    world.settle();
    world.start(S1);
    let newleader_sent = |world: &World| {
        let trace = &world.trace;
        trace
            .iter()
            .filter(|line| line.starts_with("3>1 NewLeader"))
            .count()
            == 2
    };
    world.step_until(newleader_sent);
    world.propose(S3);
    let slow = [Action::Disk(S1), Action::Completion(S1)];
    world.settle_only(|_, action| !slow.contains(action));
    world.propose(S3);
    assert_eq!(world.zab(S1).phase(), "synchronization");
    assert_eq!(world.committed.len(), 3);
    world.settle();
    let events = &world.server(S1).events;
    let delivered = |event: &ZabEvent| match event {
        ZabEvent::Deliver(entry) => Some(entry.zxid),
        ZabEvent::FollowingStarted { .. } => Some(Zxid::ZERO),
        _ => None,
    };
    let delivered: Vec<_> = events.iter().filter_map(delivered).collect();
    assert_eq!(delivered, [z(1, 2), z(1, 3), Zxid::ZERO, z(1, 4)]);
    world.assert_equal();
}

#[test]
fn acknowledgements_before_that_of_newleader_count_afterwards() {
    // A learner of an older kind has logged a proposal before it has made the
    // epoch its own.
    let mut world = World::established(3);
    world.crash(S1);
    world.propose(S3);
    world.settle();
    world.start(S1);
    let synchronizing = |world: &World| {
        let link = world.links.last().unwrap();
        link.learner == S1
            && world
                .trace
                .last()
                .is_some_and(|line| line.contains("NewLeader"))
    };
    world.step_until(synchronizing);
    world.crash(S1);
    world.crash(S2);
    // The scripted learner takes the place of server 1.
    let link = LinkId(900);
    let say = |world: &mut World, packet: QuorumPacket| {
        world.input(S3, ZabInput::Packet { link, packet });
    };
    world.adopt(S1, S3, link);
    world.input(S3, ZabInput::LinkAccepted(link, home(S1)));
    let notification = looking(S1, z(1, 1), 2, 1);
    world.input(
        S3,
        ZabInput::Notification {
            from: S1,
            origin: home(S1),
            notification,
        },
    );
    let info = zk_proto::quorum::LearnerInfo {
        sid: S1,
        protocol_version: zk_proto::quorum::PROTOCOL_VERSION,
        config_version: 0,
    };
    let hello = QuorumPacket::new(PacketKind::FollowerInfo, z(1, 0), Some(info.encode()));
    say(&mut world, hello);
    let minus_one = Some(vec![0xff; 4].into());
    say(
        &mut world,
        QuorumPacket::new(PacketKind::AckEpoch, z(1, 1), minus_one),
    );
    let zxid = world.propose(S3);
    say(&mut world, QuorumPacket::new(PacketKind::Ack, zxid, None));
    world.act(Action::Disk(S3));
    world.act(Action::Completion(S3));
    assert_eq!(world.zab(S3).last_committed(), z(1, 1));
    assert_eq!(world.zab(S3).outstanding(), 1);
    world.server(S1).disk.log = vec![entry(z(1, 1)), entry(z(1, 2))];
    say(
        &mut world,
        QuorumPacket::new(PacketKind::Ack, z(1, 0), None),
    );
    assert_eq!(world.zab(S3).last_committed(), zxid);
}

/// Three of five have to acknowledge. One of them has, and then comes back
/// without what it had: what it said on its older link counts no more.
#[test]
fn an_acknowledgement_counts_for_its_link_only() {
    for (has, plan) in [(Zxid::ZERO, "SendSnap"), (z(4, 9), "Trunc")] {
        let state = ZabState {
            last_zxid: z(4, 5),
            accepted_epoch: Epoch(4),
            current_epoch: Epoch(4),
            tail: vec![entry(z(4, 4)), entry(z(4, 5))],
            reigns: Default::default(),
            applied: z(4, 5),
            digest: None,
        };
        let mut zab = Zab::new(&config(5, 5), state);
        zab.start(Now::default(), &mut Effects::default());
        let vote = |zab: &mut Zab, from: Sid| {
            let notification = looking(Sid(5), z(4, 5), 1, 4);
            let origin = home(from);
            let vote = ZabInput::Notification {
                from,
                origin,
                notification,
            };
            run(zab, vote)
        };
        for sid in 1..=4 {
            vote(&mut zab, Sid(sid));
        }
        let link = |sid: i64| LinkId(sid.unsigned_abs());
        for sid in 1..=3 {
            run(&mut zab, ZabInput::LinkAccepted(link(sid), home(Sid(sid))));
            say(&mut zab, link(sid), hello(sid, 4));
        }
        saved(&mut zab, EpochFile::Accepted, 5);
        let ack = |zxid| QuorumPacket::new(PacketKind::Ack, zxid, None);
        for sid in 1..=3 {
            say(&mut zab, link(sid), ack_epoch(4, z(4, 5)));
        }
        saved(&mut zab, EpochFile::Current, 5);
        for sid in 1..=3 {
            say(&mut zab, link(sid), ack(z(5, 0)));
        }
        assert!(zab.is_serving());
        let mut fx = Effects::default();
        zab.propose(Now::default(), entry(z(5, 1)), &mut fx);
        run(&mut zab, ZabInput::Appended(z(5, 1)));
        say(&mut zab, link(1), ack(z(5, 1)));

        run(&mut zab, ZabInput::LinkClosed(link(1)));
        vote(&mut zab, S1);
        run(&mut zab, ZabInput::LinkAccepted(LinkId(9), home(S1)));
        say(&mut zab, LinkId(9), hello(1, 5));
        let sent = say(&mut zab, LinkId(9), ack_epoch(-1, has));
        assert!(sent.iter().any(|line| line.contains(plan)), "{sent:?}");
        say(&mut zab, LinkId(9), ack(z(5, 0)));
        say(&mut zab, link(2), ack(z(5, 1)));
        assert_eq!(zab.last_committed(), z(4, 5), "two of five have it");
        say(&mut zab, LinkId(9), ack(z(5, 1)));
        assert_eq!(zab.last_committed(), z(5, 1));
    }
}
