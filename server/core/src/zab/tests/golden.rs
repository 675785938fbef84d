//! Whole conversations, packet by packet.

use zk_proto::quorum::{LearnerInfo, PROTOCOL_VERSION, PacketKind, QuorumPacket};
use zk_proto::{Sid, Zxid};

use super::super::{Effects, Zab, ZabInput, ZabState};
use super::home;
use super::world::*;
use crate::{LinkId, Now, Output, TreeCut};

#[test]
fn a_fresh_ensemble_and_its_first_write() {
    let mut world = World::established(3);
    world.propose(S3);
    world.settle();
    let trace = world.take_trace();
    assert_eq!(
        between(&trace, 3, 1),
        [
            "1>3 FollowerInfo 0x0",
            "3>1 LeaderInfo 0x100000000",
            "1>3 AckEpoch 0x0",
            "3>1 Diff 0x0",
            "3>1 NewLeader 0x100000000",
            "1>3 Ack 0x100000000",
            "3>1 UpToDate 0x-1"
                .replace("0x-1", "0xffffffffffffffff")
                .as_str(),
            "1>3 Ack 0x100000000",
            "3>1 Proposal 0x100000001",
            "1>3 Ack 0x100000001",
            "3>1 Commit 0x100000001",
        ]
    );
    world.assert_equal();
}

#[test]
fn a_follower_ten_transactions_behind() {
    let mut world = World::established(3);
    world.crash(S1);
    for _ in 0..10 {
        world.propose(S3);
    }
    world.settle();
    world.take_trace();
    world.start(S1);
    world.run_until_serving();
    let trace = world.take_trace();
    let mut want = vec![
        "1>3 FollowerInfo 0x100000000".to_owned(),
        "3>1 LeaderInfo 0x100000000".to_owned(),
        "1>3 AckEpoch 0x0".to_owned(),
        "3>1 Snap 0x10000000a".to_owned(),
    ];
    let end = [
        "3>1 NewLeader 0x100000000",
        "1>3 Ack 0x100000000",
        "3>1 UpToDate 0xffffffffffffffff",
        "1>3 Ack 0x100000000",
    ];
    want.extend(end.map(str::to_owned));
    assert_eq!(
        between(&trace, 3, 1),
        want,
        "nothing in its log to start from"
    );

    world.crash(S1);
    for _ in 0..10 {
        world.propose(S3);
    }
    world.settle();
    world.take_trace();
    world.start(S1);
    world.run_until_serving();
    let trace = world.take_trace();
    want[2] = "1>3 AckEpoch 0x10000000a".to_owned();
    want.truncate(3);
    want.push("3>1 Diff 0x100000014".to_owned());
    for counter in 11..=20 {
        want.push(format!("3>1 Proposal {}", z(1, counter)));
        want.push(format!("3>1 Commit {}", z(1, counter)));
    }
    want.extend(end.map(str::to_owned));
    assert_eq!(between(&trace, 3, 1), want);
    world.assert_equal();
}

/// What the leader of a fresh ensemble sends, as bytes.
#[test]
fn the_leaders_bytes() {
    let mut zab = Zab::new(&config(1, 3), ZabState::default());
    let now = Now::default();
    let mut fx = Effects::default();
    zab.start(now, &mut fx);
    for from in [S2, S3] {
        let notification = looking(S1, Zxid::ZERO, 1, 0);
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
    let sent = [S2, S3].map(|sid| join(&mut zab, sid));
    // LEADERINFO: the version, and the byte by which a learner knows a leader of ours.
    let leader_info = b"\0\0\0\x11\0\0\0\x01\0\0\0\0\0\0\0\x05\0\x01\0\0\0\xff\xff\xff\xff";
    // Server 2 has all that there is: DIFF.
    let diff = [b"\0\0\0\x0d".as_slice(), &[0; 8], &[0xff; 8]].concat();
    // Server 3 comes after the epoch has begun, and has nothing: the image.
    let image = vec![7; 3];
    // NEWLEADER with the members
    let text = b"server.1=h1:2888:3888:participant\nserver.2=h2:2888:3888:participant\n\
                 server.3=h3:2888:3888:participant\nversion=0";
    assert_eq!(text.len(), 0x6f);
    let head = b"\0\0\0\x0a\0\0\0\x01\0\0\0\0\0\0\0\x6f";
    let new_leader = [head.as_slice(), text, b"\xff\xff\xff\xff"].concat();
    // UPTODATE
    let up_to_date = [b"\0\0\0\x0c".as_slice(), &[0xff; 16]].concat();
    for (sent, start) in sent.iter().zip([diff, image]) {
        let want = [leader_info.as_slice(), &start, &new_leader, &up_to_date].concat();
        assert_eq!(*sent, want);
    }
}

/// What the leader sends to this server from its introduction to UPTODATE.
fn join(zab: &mut Zab, sid: Sid) -> Vec<u8> {
    let now = Now::default();
    let mut fx = Effects::default();
    let link = LinkId(sid.0.unsigned_abs());
    zab.handle(now, ZabInput::LinkAccepted(link, home(sid)), &mut fx);
    let info = LearnerInfo {
        sid,
        protocol_version: PROTOCOL_VERSION,
        config_version: 0,
    };
    let packets = [
        QuorumPacket::new(PacketKind::FollowerInfo, Zxid(0), Some(info.encode())),
        QuorumPacket::new(PacketKind::AckEpoch, Zxid(0), Some(vec![0, 0, 0, 0].into())),
        QuorumPacket::new(PacketKind::Ack, z(1, 0), None),
    ];
    for packet in packets {
        zab.handle(now, ZabInput::Packet { link, packet }, &mut fx);
        let saves = fx.outputs.iter().filter_map(|output| match output {
            Output::SaveEpoch(file, epoch) => Some((*file, *epoch)),
            _ => None,
        });
        for (file, epoch) in saves.collect::<Vec<_>>() {
            zab.handle(now, ZabInput::EpochSaved(file, epoch), &mut fx);
        }
        fx.outputs
            .retain(|output| !matches!(output, Output::SaveEpoch(..)));
        let applied = if zab.is_serving() {
            z(1, 0)
        } else {
            Zxid::ZERO
        };
        let mut cut = || TreeCut::opaque(applied, &[7; 3]);
        zab.after_apply(now, applied, &mut cut, &mut fx);
    }
    let mut sent = Vec::new();
    for output in &fx.outputs {
        match output {
            Output::Send { packet, .. } => packet.write(&mut sent),
            Output::SendSnap { cut, .. } => sent.extend_from_slice(cut.opaque_bytes()),
            _ => {}
        }
    }
    sent
}
