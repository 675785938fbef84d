//! What comes from a peer may cost it its link, and nothing else.

use bytes::Bytes;
use zk_proto::quorum::ServerState;
use zk_proto::quorum::{LearnerInfo, Notification, PROTOCOL_VERSION, PacketKind, QuorumPacket};
use zk_proto::{Epoch, Round, Sid, Zxid};

use super::super::{Effects, Zab, ZabInput, ZabState};
use super::home;
use super::random::Random;
use super::world::*;
use crate::{EpochFile, LinkId, Now, Output, Role, TreeCut};

const LINK: LinkId = LinkId(77);

fn packet(kind: PacketKind, zxid: Zxid, data: Option<&[u8]>) -> QuorumPacket {
    QuorumPacket::new(kind, zxid, data.map(Bytes::copy_from_slice))
}

fn introduction(sid: i64, config_version: i64) -> Bytes {
    let info = LearnerInfo {
        sid: Sid(sid),
        protocol_version: PROTOCOL_VERSION,
        config_version,
    };
    info.encode()
}

/// A leader of three, and a link. Server 2 follows; server 1 looks for a leader.
fn leader() -> Zab {
    let mut world = World::established(3);
    world.crash(S1);
    world.settle();
    let mut zab = world.server(S3).zab.take().unwrap();
    let notification = looking(S1, Zxid::ZERO, 1, 1);
    let vote = ZabInput::Notification {
        from: S1,
        origin: home(S1),
        notification,
    };
    let mut fx = Effects::default();
    for input in [vote, ZabInput::LinkAccepted(LINK, home(S1))] {
        zab.handle(Now::default(), input, &mut fx);
    }
    assert_eq!((zab.is_serving(), zab.learners()), (true, 1));
    zab
}

/// A follower that has just connected.
fn follower() -> (Zab, LinkId) {
    let mut zab = Zab::new(&config(1, 3), ZabState::default());
    let mut fx = Effects::default();
    zab.start(Now::default(), &mut fx);
    for (from, state) in [(2, ServerState::Following), (3, ServerState::Leading)] {
        let notification = Notification {
            state,
            leader: Sid(3),
            zxid: Zxid::ZERO,
            round: Round(9),
            peer_epoch: Epoch(1),
            version: 2,
            config: String::new(),
        };
        let from = Sid(from);
        let input = ZabInput::Notification {
            from,
            origin: home(from),
            notification,
        };
        zab.handle(Now::default(), input, &mut fx);
    }
    let link = LinkId(LinkId::DIALED);
    zab.handle(Now::default(), ZabInput::LinkConnected(link), &mut fx);
    (zab, link)
}

fn say(zab: &mut Zab, link: LinkId, packets: &[QuorumPacket]) -> Vec<Output> {
    let mut fx = Effects::default();
    for packet in packets {
        let packet = packet.clone();
        zab.handle(Now::default(), ZabInput::Packet { link, packet }, &mut fx);
        zab.after_apply(
            Now::default(),
            z(1, 0),
            &mut || TreeCut::opaque(z(1, 0), &[]),
            &mut fx,
        );
    }
    fx.outputs
}

fn closed(outputs: &[Output], of: LinkId) -> Option<&'static str> {
    outputs.iter().find_map(|output| match output {
        Output::Close { link, reason } if *link == of => Some(*reason),
        _ => None,
    })
}

#[test]
fn a_leader_closes_links_that_break_the_protocol() {
    let hello = packet(
        PacketKind::FollowerInfo,
        Zxid::ZERO,
        Some(&introduction(1, 0)),
    );
    let ack_epoch = packet(PacketKind::AckEpoch, Zxid::ZERO, Some(&[0; 4]));
    let acked = [hello.clone(), ack_epoch];
    let hello_again = hello.clone();
    let then = |packet: QuorumPacket| {
        let mut packets = acked.to_vec();
        packets.push(packet);
        packets
    };
    let table = [
        (
            vec![packet(PacketKind::Ack, z(1, 0), None)],
            "the first packet is not FOLLOWERINFO",
        ),
        (
            vec![packet(
                PacketKind::ObserverInfo,
                Zxid::ZERO,
                Some(&introduction(1, 0)),
            )],
            "observers are not served",
        ),
        (
            vec![packet(PacketKind::FollowerInfo, Zxid::ZERO, None)],
            "FOLLOWERINFO without a sid",
        ),
        (
            vec![packet(PacketKind::FollowerInfo, Zxid::ZERO, Some(&[1, 2]))],
            "broken FOLLOWERINFO",
        ),
        (
            vec![packet(
                PacketKind::FollowerInfo,
                Zxid::ZERO,
                Some(&[0, 0, 0, 0, 0, 0, 0, 1]),
            )],
            "the learner's protocol is too old",
        ),
        (
            vec![packet(
                PacketKind::FollowerInfo,
                Zxid::ZERO,
                Some(&introduction(1, 7)),
            )],
            "the learner has a newer configuration",
        ),
        (
            vec![packet(
                PacketKind::FollowerInfo,
                Zxid::ZERO,
                Some(&introduction(3, 0)),
            )],
            "the learner has this server's own sid",
        ),
        (
            vec![packet(
                PacketKind::FollowerInfo,
                Zxid(-1),
                Some(&introduction(1, 0)),
            )],
            "the learner's epoch is out of range",
        ),
        (
            vec![packet(
                PacketKind::FollowerInfo,
                Zxid::ZERO,
                Some(&introduction(4, 0)),
            )],
            "the learner is not a member of this ensemble",
        ),
        (
            vec![hello.clone(), hello.clone()],
            "the packet after LEADERINFO is not ACKEPOCH",
        ),
        (
            vec![
                hello.clone(),
                packet(PacketKind::AckEpoch, Zxid::ZERO, Some(&[0; 3])),
            ],
            "ACKEPOCH without an epoch",
        ),
        (
            vec![hello, packet(PacketKind::AckEpoch, Zxid(-7), Some(&[0; 4]))],
            "ACKEPOCH out of range",
        ),
        (
            then(packet(PacketKind::Ping, Zxid::ZERO, None)),
            "a packet before UPTODATE that is not ACK",
        ),
        (
            then(packet(PacketKind::Ack, z(1, 1), None)),
            "an ACK for what was not proposed",
        ),
        (
            vec![
                hello_again,
                packet(PacketKind::AckEpoch, z(1, 1), Some(&[0, 0, 0, 1])),
            ],
            "the learner has transactions of this epoch that this server never proposed",
        ),
    ];
    for (packets, reason) in table {
        let mut zab = leader();
        let outputs = say(&mut zab, LINK, &packets);
        assert_eq!(closed(&outputs, LINK), Some(reason), "{packets:?}");
        assert!(zab.is_serving());
        assert_eq!(zab.learners(), 1);
    }
}

#[test]
fn a_follower_leaves_a_leader_that_breaks_the_protocol() {
    let info = |epoch| packet(PacketKind::LeaderInfo, z(epoch, 0), Some(&[0, 1, 0, 0]));
    let proposal = |zxid| {
        let entry = entry(zxid);
        packet(PacketKind::Proposal, zxid, Some(&entry.data))
    };
    let of = |packets: &[QuorumPacket]| {
        let mut all = vec![info(1), packet(PacketKind::Diff, Zxid::ZERO, None)];
        all.extend_from_slice(packets);
        all
    };
    let table = [
        (
            vec![packet(PacketKind::UpToDate, Zxid(-1), None)],
            "the first packet is not LEADERINFO",
        ),
        (vec![info(0)], "the leader's epoch is out of range"),
        (vec![info(-1)], "the leader's epoch is out of range"),
        (vec![info(1 << 31)], "the leader's epoch is out of range"),
        (
            vec![info(1), packet(PacketKind::NewLeader, z(1, 0), None)],
            "the packet after ACKEPOCH is not DIFF, TRUNC or SNAP",
        ),
        (of(&[proposal(z(1, 2))]), "a hole in the proposals"),
        (of(&[proposal(z(2, 1))]), "a hole in the proposals"),
        (
            of(&[packet(PacketKind::Proposal, z(1, 1), None)]),
            "PROPOSAL without a transaction",
        ),
        (
            of(&[packet(PacketKind::Proposal, z(1, 1), Some(&[0; 40]))]),
            "PROPOSAL whose transaction has another zxid",
        ),
        (
            of(&[packet(PacketKind::Proposal, z(1, 1), Some(&[0; 9]))]),
            "PROPOSAL whose transaction has another zxid",
        ),
        (
            of(&[packet(PacketKind::Commit, z(1, 1), None)]),
            "COMMIT of what was not proposed next",
        ),
        (
            of(&[
                proposal(z(1, 1)),
                proposal(z(1, 2)),
                packet(PacketKind::Commit, z(1, 2), None),
            ]),
            "COMMIT of what was not proposed next",
        ),
        (
            of(&[packet(PacketKind::NewLeader, z(2, 0), None)]),
            "NEWLEADER or UPTODATE out of turn",
        ),
        (
            of(&[packet(PacketKind::UpToDate, Zxid(-1), None)]),
            "NEWLEADER or UPTODATE out of turn",
        ),
    ];
    for (packets, reason) in table {
        let (mut zab, link) = follower();
        let mut outputs = Vec::new();
        for packet in &packets {
            outputs.extend(say(&mut zab, link, std::slice::from_ref(packet)));
            let saving = Output::SaveEpoch(EpochFile::Accepted, Epoch(1));
            if outputs
                .last()
                .is_some_and(|output| format!("{output:?}") == format!("{saving:?}"))
            {
                let saved = ZabInput::EpochSaved(EpochFile::Accepted, Epoch(1));
                let mut fx = Effects::default();
                zab.handle(Now::default(), saved, &mut fx);
                outputs.extend(fx.outputs);
            }
        }
        assert_eq!(closed(&outputs, link), Some(reason), "{packets:?}");
        assert_eq!(zab.role(), Role::Looking);
    }
}

#[test]
fn early_learners_are_bounded() {
    let mut zab = Zab::new(&config(1, 3), ZabState::default());
    let mut fx = Effects::default();
    zab.start(Now::default(), &mut fx);
    fx.outputs.clear();
    for n in 1..=65 {
        zab.handle(
            Now::default(),
            ZabInput::LinkAccepted(LinkId(n), home(S1)),
            &mut fx,
        );
    }
    let reason = "too many learners before an election";
    assert_eq!(closed(&fx.outputs, LinkId(1)), Some(reason));
    assert_eq!(fx.outputs.len(), 1);
    // One that has said something is kept.
    let hello = packet(
        PacketKind::FollowerInfo,
        Zxid::ZERO,
        Some(&introduction(2, 0)),
    );
    assert!(say(&mut zab, LinkId(2), &[hello]).is_empty());
    zab.handle(
        Now::default(),
        ZabInput::LinkAccepted(LinkId(66), home(S1)),
        &mut fx,
    );
    assert_eq!(closed(&fx.outputs, LinkId(3)), Some(reason));
    assert_eq!(closed(&fx.outputs, LinkId(2)), None);
    let ack = packet(PacketKind::Ack, Zxid::ZERO, None);
    let outputs = say(&mut zab, LinkId(2), &vec![ack; 5]);
    let reason = "too many packets before an election";
    assert_eq!(closed(&outputs, LinkId(2)), Some(reason));
}

/// Any packets in any order on any link, and any votes.
#[test]
fn garbage_never_panics() {
    let kinds: Vec<_> = (-1..=20).collect();
    for seed in 1..=400 {
        let mut random = Random::new(seed);
        let mut world = World::established(3);
        world.propose(S3);
        world.checks = false;
        if seed % 3 == 0 {
            world.settle();
        }
        if seed % 4 == 0 {
            world.crash(S2);
            world.start(S2);
        }
        for _ in 0..30 {
            let zxids = [
                Zxid::ZERO,
                Zxid(-1),
                z(1, 0),
                z(1, 1),
                z(1, 2),
                z(2, 1),
                z(7, 0),
                Zxid(i64::MAX),
                Zxid(i64::MIN),
            ];
            let zxid = *random.pick(&zxids);
            let garbage = [
                None,
                Some(Bytes::new()),
                Some(introduction(random.below(5) as i64, 0)),
                Some(entry(zxid).data),
                Some(vec![0xff; 4].into()),
                Some(vec![0; 4].into()),
            ];
            let packet = QuorumPacket {
                kind: *random.pick(&kinds),
                zxid,
                data: random.pick(&garbage).clone(),
                authinfo: None,
            };
            let sid = *random.pick(&[S1, S2, S3]);
            let links = [
                LinkId(1),
                LinkId(2),
                LinkId(3),
                LinkId(LinkId::DIALED),
                LinkId(LinkId::DIALED + 1),
            ];
            let link = *random.pick(&links);
            match random.below(8) {
                0 => world.input(sid, ZabInput::LinkClosed(link)),
                1 => {
                    let states = [
                        ServerState::Looking,
                        ServerState::Following,
                        ServerState::Leading,
                        ServerState::Observing,
                    ];
                    let notification = Notification {
                        state: *random.pick(&states),
                        leader: Sid(random.below(6) as i64 - 1),
                        zxid,
                        round: Round(*random.pick(&[0, 1, 2, 9, i64::MAX, i64::MIN])),
                        peer_epoch: Epoch(*random.pick(&[0, 1, 2, i64::MAX, -1])),
                        version: *random.pick(&[0, 1, 2]),
                        config: String::new(),
                    };
                    let from = Sid(random.below(5) as i64);
                    world.input(
                        sid,
                        ZabInput::Notification {
                            from,
                            origin: home(from),
                            notification,
                        },
                    );
                }
                2 => {
                    let actions = world.actions();
                    let calm = |action: &&Action| {
                        matches!(action, Action::Disk(_) | Action::Completion(_))
                    };
                    if let Some(action) = actions.iter().find(calm) {
                        world.act(*action);
                    }
                }
                _ => world.input(sid, ZabInput::Packet { link, packet }),
            }
        }
    }
}
