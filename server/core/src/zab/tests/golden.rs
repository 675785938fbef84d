//! Whole conversations, packet by packet.

use zk_proto::quorum::{LearnerInfo, PROTOCOL_VERSION, PacketKind, QuorumPacket};
use zk_proto::{Sid, Zxid};

use super::super::{Effects, Zab, ZabInput, ZabState};
use super::world::*;
use crate::{EpochFile, LinkId, Now, Output, TreeCut};

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
    let mut zab = Zab::new(&config(1, 1), ZabState::default());
    let now = Now::default();
    let mut fx = Effects::default();
    zab.start(now, &mut fx);
    let link = LinkId(1);
    zab.handle(now, ZabInput::LinkAccepted(link), &mut fx);
    let info = LearnerInfo {
        sid: Sid(2),
        protocol_version: PROTOCOL_VERSION,
        config_version: 0,
    };
    let packets = [
        QuorumPacket::new(PacketKind::FollowerInfo, Zxid(0), Some(info.encode())),
        QuorumPacket::new(PacketKind::AckEpoch, Zxid(0), Some(vec![0, 0, 0, 0].into())),
        QuorumPacket::new(PacketKind::Ack, z(1, 0), None),
    ];
    for (at, packet) in packets.into_iter().enumerate() {
        zab.handle(now, ZabInput::Packet { link, packet }, &mut fx);
        if at == 0 {
            for file in [EpochFile::Accepted, EpochFile::Current] {
                let epoch = zk_proto::Epoch(1);
                zab.handle(now, ZabInput::EpochSaved(file, epoch), &mut fx);
            }
        }
        zab.after_apply(
            now,
            z(1, 0),
            &mut || TreeCut::opaque(z(1, 0), &[7; 3]),
            &mut fx,
        );
    }
    let mut sent = Vec::new();
    for output in &fx.outputs {
        match output {
            Output::Send { packet, .. } => packet.write(&mut sent),
            Output::SendSnap { cut, .. } => sent.extend_from_slice(cut.opaque_bytes()),
            _ => {}
        }
    }
    let mut want = Vec::new();
    // LEADERINFO
    want.extend(b"\0\0\0\x11\0\0\0\x01\0\0\0\0\0\0\0\x04\0\x01\0\0\xff\xff\xff\xff");
    // The image: the newcomer has nothing, the leader has an epoch.
    want.extend([7; 3]);
    // NEWLEADER with the members
    let text = b"server.1=h1:2888:3888:participant\nversion=0";
    want.extend(b"\0\0\0\x0a\0\0\0\x01\0\0\0\0\0\0\0\x2b");
    want.extend(text);
    want.extend(b"\xff\xff\xff\xff");
    // UPTODATE
    want.extend(b"\0\0\0\x0c\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
    assert_eq!(text.len(), 0x2b);
    assert_eq!(sent, want);
}
