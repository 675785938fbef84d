//! What a new leader does with what learners say of their epochs.

use zk_proto::quorum::{LearnerInfo, Notification, PROTOCOL_VERSION, PacketKind, QuorumPacket};
use zk_proto::{Epoch, Sid, Zxid};

use super::super::{Effects, Zab, ZabInput, ZabState};
use super::home;
use super::world::*;
use crate::{EpochFile, LinkId, Now, Output};

const LINK_1: LinkId = LinkId(1);
const LINK_2: LinkId = LinkId(2);

/// Server 3 of three, just elected, with two links. Its log ends in epoch 4.
fn elected() -> Zab {
    let state = ZabState {
        last_zxid: z(4, 5),
        accepted_epoch: Epoch(4),
        current_epoch: Epoch(4),
        tail: Vec::new(),
        reigns: Default::default(),
        applied: z(4, 5),
        digest: None,
    };
    let mut zab = Zab::new(&config(3, 3), state);
    let mut fx = Effects::default();
    let now = Now::default();
    zab.start(now, &mut fx);
    // Learners may be faster than votes.
    zab.handle(now, ZabInput::LinkAccepted(LINK_1, home(S1)), &mut fx);
    for from in [S1, S2] {
        let notification = vote(1);
        zab.handle(
            now,
            ZabInput::Notification {
                from,
                origin: home(from),
                notification,
            },
            &mut fx,
        );
    }
    zab.handle(now, ZabInput::LinkAccepted(LINK_2, home(S1)), &mut fx);
    assert_eq!(zab.phase(), "discovery");
    zab
}

/// A vote for server 3.
fn vote(round: i64) -> Notification {
    looking(S3, z(4, 5), round, 4)
}

pub(super) fn hello(sid: i64, accepted: i64) -> QuorumPacket {
    let info = LearnerInfo {
        sid: Sid(sid),
        protocol_version: PROTOCOL_VERSION,
        config_version: 0,
    };
    QuorumPacket::new(
        PacketKind::FollowerInfo,
        z(accepted, 0),
        Some(info.encode()),
    )
}

pub(super) fn ack_epoch(current: i32, last_zxid: Zxid) -> QuorumPacket {
    let data = current.to_be_bytes().to_vec().into();
    QuorumPacket::new(PacketKind::AckEpoch, last_zxid, Some(data))
}

pub(super) fn say(zab: &mut Zab, link: LinkId, packet: QuorumPacket) -> Vec<String> {
    run(zab, ZabInput::Packet { link, packet })
}

pub(super) fn saved(zab: &mut Zab, file: EpochFile, epoch: i64) -> Vec<String> {
    run(zab, ZabInput::EpochSaved(file, Epoch(epoch)))
}

/// What came of an input, in short.
pub(super) fn run(zab: &mut Zab, input: ZabInput) -> Vec<String> {
    let mut fx = Effects::default();
    zab.handle(Now::default(), input, &mut fx);
    let start = QuorumPacket::epoch_zxid(zab.epoch());
    let applied = zab.last_committed();
    let applied = if zab.is_serving() {
        applied.max(start)
    } else {
        applied
    };
    zab.after_apply(
        Now::default(),
        applied,
        &mut || crate::TreeCut::opaque(applied, &[]),
        &mut fx,
    );
    let text = |output| match output {
        Output::Send { link, packet } => {
            let kind = packet.known_kind().unwrap();
            format!("{} {kind:?} {}", link.0, packet.zxid)
        }
        Output::Close { link, reason } => format!("{} closed: {reason}", link.0),
        Output::SaveEpoch(file, epoch) => format!("{file:?} {epoch}"),
        other => format!("{other:?}"),
    };
    fx.outputs.into_iter().map(text).collect()
}

#[test]
fn the_new_epoch_is_above_all_that_a_quorum_has_accepted() {
    let mut zab = elected();
    assert_eq!(say(&mut zab, LINK_1, hello(1, 7)), ["Accepted 8"]);
    // Whoever comes later waits for the same file.
    assert!(say(&mut zab, LINK_2, hello(2, 4)).is_empty());
    assert_eq!(
        saved(&mut zab, EpochFile::Accepted, 8),
        ["1 LeaderInfo 0x800000000", "2 LeaderInfo 0x800000000"]
    );
    assert_eq!(say(&mut zab, LINK_1, ack_epoch(4, z(4, 4))), ["Current 8"]);
    assert!(say(&mut zab, LINK_2, ack_epoch(4, z(4, 5))).is_empty());
    assert_eq!(
        saved(&mut zab, EpochFile::Current, 8),
        [
            "SendSnap { link: LinkId(1), cut: TreeCut { zxid: Zxid(17179869189), digest: 0, .. } }",
            "1 NewLeader 0x800000000",
            "2 Diff 0x400000005",
            "2 NewLeader 0x800000000",
        ]
    );
}

#[test]
fn a_learner_whose_history_is_newer_is_refused() {
    for (current, last_zxid, refused) in [
        (5, z(4, 1), true),
        (4, z(4, 6), true),
        (4, z(4, 5), false),
        (3, z(4, 9), false),
    ] {
        let mut zab = elected();
        say(&mut zab, LINK_1, hello(1, 4));
        saved(&mut zab, EpochFile::Accepted, 5);
        let outcome = say(&mut zab, LINK_1, ack_epoch(current, last_zxid));
        let want = if refused {
            "1 closed: the learner's history is newer"
        } else {
            "Current 5"
        };
        assert_eq!(outcome, [want], "{current} {last_zxid}");
    }
}

#[test]
fn an_answer_of_minus_one_does_not_count_but_is_served_later() {
    let mut zab = elected();
    say(&mut zab, LINK_1, hello(1, 4));
    say(&mut zab, LINK_2, hello(2, 4));
    saved(&mut zab, EpochFile::Accepted, 5);
    assert!(say(&mut zab, LINK_1, ack_epoch(-1, z(4, 5))).is_empty());
    assert_eq!(say(&mut zab, LINK_2, ack_epoch(4, z(4, 5))), ["Current 5"]);
    let sent = saved(&mut zab, EpochFile::Current, 5);
    assert!(sent.contains(&"1 Diff 0x400000005".to_owned()), "{sent:?}");
}

#[test]
fn a_learner_that_connects_anew_replaces_its_older_link() {
    let mut zab = elected();
    say(&mut zab, LINK_1, hello(1, 4));
    // Anybody can say so. The member itself looks for a leader first.
    assert!(say(&mut zab, LINK_2, hello(1, 4)).is_empty());
    let looks = ZabInput::Notification {
        from: S1,
        origin: home(S1),
        notification: vote(2),
    };
    let answer = run(&mut zab, looks);
    assert!(!format!("{answer:?}").contains("closed"), "{answer:?}");
    run(&mut zab, ZabInput::LinkAccepted(LinkId(3), home(S1)));
    assert_eq!(
        say(&mut zab, LinkId(3), hello(1, 4)),
        [
            "2 closed: the learner has connected anew",
            "1 closed: the learner has connected anew"
        ]
    );
    assert_eq!(zab.learners(), 1);
    // What came before the older link has closed by itself counts, too.
    run(&mut zab, ZabInput::LinkAccepted(LinkId(4), home(S1)));
    assert!(say(&mut zab, LinkId(4), hello(1, 4)).is_empty());
    assert!(run(&mut zab, ZabInput::LinkClosed(LinkId(3))).is_empty());
    assert_eq!(zab.learners(), 1);
}

#[test]
fn an_older_write_of_an_epoch_is_not_taken_for_a_newer_one() {
    // The file is asked for, the reign ends and the next one asks again.
    let mut zab = elected();
    assert_eq!(say(&mut zab, LINK_1, hello(1, 4)), ["Accepted 5"]);
    let outcome = say(&mut zab, LINK_2, hello(2, 9));
    assert!(
        outcome
            .iter()
            .any(|line| line.contains("a voter has accepted a newer epoch"))
    );
    for from in [S1, S2] {
        let notification = vote(2);
        run(
            &mut zab,
            ZabInput::Notification {
                from,
                origin: home(from),
                notification,
            },
        );
    }
    run(&mut zab, ZabInput::LinkAccepted(LinkId(3), home(S1)));
    assert_eq!(say(&mut zab, LinkId(3), hello(1, 4)), ["Accepted 10"]);
    assert!(saved(&mut zab, EpochFile::Accepted, 5).is_empty());
    assert_eq!(
        saved(&mut zab, EpochFile::Accepted, 10),
        ["3 LeaderInfo 0xa00000000"]
    );
}

/// Server 1 votes with this config, then introduces itself with its version.
fn led_with_config(config: &str, version: i64) -> (Zab, Vec<String>) {
    let mut zab = elected();
    let notification = Notification {
        config: config.to_owned(),
        ..vote(1)
    };
    run(
        &mut zab,
        ZabInput::Notification {
            from: S1,
            origin: home(S1),
            notification,
        },
    );
    let info = LearnerInfo {
        sid: S1,
        protocol_version: PROTOCOL_VERSION,
        config_version: version,
    };
    let hello = QuorumPacket::new(PacketKind::FollowerInfo, z(4, 0), Some(info.encode()));
    let outcome = say(&mut zab, LINK_1, hello);
    (zab, outcome)
}

const SAME_MEMBERS: &str = "server.1=h1:2888:3888:participant;0.0.0.0:2181
server.2=h2:2888:3888:participant;0.0.0.0:2181
server.3=h3:2888:3888:participant;0.0.0.0:2181";

#[test]
fn a_newer_config_about_the_same_members_is_taken_over() {
    let version = 0x2_0000_0000;
    let (mut zab, outcome) =
        led_with_config(&format!("{SAME_MEMBERS}\nversion=200000000"), version);
    assert_eq!(outcome, ["Accepted 5"]);
    saved(&mut zab, EpochFile::Accepted, 5);
    say(&mut zab, LINK_1, ack_epoch(4, z(4, 4)));
    let mut fx = Effects::default();
    zab.handle(
        Now::default(),
        ZabInput::EpochSaved(EpochFile::Current, Epoch(5)),
        &mut fx,
    );
    let applied = zab.last_committed();
    let mut cut = || crate::TreeCut::opaque(applied, &[]);
    zab.after_apply(Now::default(), applied, &mut cut, &mut fx);
    let new_leader = fx.outputs.into_iter().find_map(|output| match output {
        Output::Send { packet, .. } if packet.known_kind() == Some(PacketKind::NewLeader) => {
            packet.data
        }
        _ => None,
    });
    let text = String::from_utf8(new_leader.unwrap().to_vec()).unwrap();
    assert!(text.ends_with("\nversion=200000000"), "{text}");
}

#[test]
fn a_newer_config_about_other_members_or_of_no_accepted_epoch_is_refused() {
    let refused = ["1 closed: the learner has a newer configuration"];
    let other = SAME_MEMBERS.replace("h2:", "h4:");
    for (config, version) in [
        (format!("{other}\nversion=200000000"), 0x2_0000_0000),
        (format!("{SAME_MEMBERS}\nversion=500000000"), 0x5_0000_0000),
        (format!("{SAME_MEMBERS}\nversion=200000000"), 0x2_0000_0001),
    ] {
        let (_, outcome) = led_with_config(&config, version);
        assert_eq!(outcome, refused, "{config} {version:#x}");
    }
}

#[test]
fn a_follower_takes_over_the_version_of_its_leaders_config() {
    let mut world = World::established(3);
    let leader = world.server(S3).zab.as_mut().unwrap();
    leader.peer.set_config_version(0x1_0000_0000);
    world.crash(S1);
    world.start(S1);
    world.run_until_serving();
    assert_eq!(world.zab(S1).peer.config.ensemble.version, 0x1_0000_0000);
    assert_eq!(world.zab(S2).peer.config.ensemble.version, 0);
}

#[test]
fn a_version_that_only_a_vote_tells_is_not_taken_over() {
    let text = format!("{SAME_MEMBERS}\nversion=7fffffff00000000");
    let (zab, outcome) = led_with_config(&text, 0);
    assert_eq!(outcome, ["Accepted 5"]);
    assert_eq!(zab.peer.config.ensemble.version, 0);
}
