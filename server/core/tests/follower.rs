//! One replica that follows a leader of which only the packets exist.

mod support;

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use zk_core::auth::AuthConfig;
use zk_core::config::{ReplicaConfig, VoteConfig, ZnodeConfig};
use zk_core::tree::Tree;
use zk_core::zab::Problem;
use zk_core::{
    Ensemble, Input, LinkId, Member, Millis, Now, Origin, Output, Recovered, Replica, Role, TreeCut,
};
use zk_proto::quorum::{Notification, PacketKind, QuorumPacket, ServerState};
use zk_proto::{Epoch, Round, Sid, Zxid};

const LEADER: Sid = Sid(3);
const LINK: LinkId = LinkId(LinkId::DIALED);

/// A follower whose disk is instant, and the tree that its leader has.
struct Follower {
    replica: Replica,
    now: Now,
    leader: support::Replica,
    is_link_closed: bool,
    installed: Vec<std::sync::Arc<TreeCut>>,
}

impl Follower {
    /// Follows a leader of ours, or one of the reference, up to LEADERINFO.
    fn start(leader_is_ours: bool) -> Self {
        let member = |n: i64| Member {
            host: format!("h{n}"),
            quorum_port: 1,
            election_port: 2,
            client: None,
        };
        let config = ReplicaConfig {
            sid: Sid(1),
            ensemble: Ensemble {
                members: (1..=3).map(|n| (Sid(n), member(n))).collect(),
                version: 0,
            },
            ensemble_id: None,
            tick_ms: 1000,
            init_limit: 10,
            sync_limit: 5,
            session_timeout_min_ms: 2000,
            session_timeout_max_ms: 20_000,
            snap_count: 100_000,
            snap_bytes: None,
            commit_log_count: 500,
            auth: AuthConfig::default(),
            znodes: ZnodeConfig::default(),
            votes: VoteConfig::default(),
            seed: 1,
            first_session_id: 0x0100_0000_0000_0001,
        };
        let recovered = Recovered::rebuild(None, [], Vec::new(), None, None).unwrap();
        let mut follower = Self {
            replica: Replica::new(config, recovered, NOW),
            now: NOW,
            leader: support::Replica::new(),
            is_link_closed: false,
            installed: Vec::new(),
        };
        let mut out = Vec::new();
        follower.replica.start(NOW, &mut out);
        follower.perform(out);
        for (from, state) in [(2, ServerState::Following), (3, ServerState::Leading)] {
            let notification = Notification {
                state,
                leader: LEADER,
                zxid: Zxid::ZERO,
                round: Round(9),
                peer_epoch: Epoch(1),
                version: 2,
                config: String::new(),
            };
            let from = Sid(from);
            follower.batch(vec![Input::Notification {
                from,
                origin: Origin {
                    address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                    is_listed: true,
                },
                notification,
            }]);
        }
        follower.batch(vec![Input::LinkConnected(LINK)]);
        let info: &[u8] = if leader_is_ours {
            &[0, 1, 0, 0, 0]
        } else {
            &[0, 1, 0, 0]
        };
        let info = Some(Bytes::from_static(info));
        follower.hear(PacketKind::LeaderInfo, START, info);
        follower
    }

    /// Follows with the packets that a learner gets which has all there is.
    fn serving(leader_is_ours: bool) -> Self {
        let mut follower = Self::start(leader_is_ours);
        follower.hear(PacketKind::Diff, Zxid::ZERO, None);
        follower.hear(PacketKind::NewLeader, START, None);
        follower.hear(PacketKind::UpToDate, Zxid(-1), None);
        assert!(follower.replica.status().is_serving);
        follower
    }

    fn hear(&mut self, kind: PacketKind, zxid: Zxid, data: Option<Bytes>) {
        let packet = QuorumPacket::new(kind, zxid, data);
        self.batch(vec![Input::Packet { link: LINK, packet }]);
    }

    /// The leader creates a znode and says that its digest is off by this much.
    fn write(&mut self, path: &str, digest_error: u64) -> Zxid {
        self.write_hashed(path, |_| digest_error)
    }

    /// The same, with an error that depends on its tree.
    fn write_hashed(&mut self, path: &str, digest_error: impl Fn(&Tree) -> u64) -> Zxid {
        let zxid = self.leader.tree.last_zxid().max(START).next();
        let txn = support::create(path);
        let entry = |digest| support::entry(zxid, support::SESSION, &txn, digest);
        self.leader.apply_entry(&entry(None));
        let tree = &self.leader.tree;
        let digest = tree.digest().wrapping_add(digest_error(tree));
        self.hear(PacketKind::Proposal, zxid, Some(entry(Some(digest)).into()));
        zxid
    }

    fn batch(&mut self, mut inputs: Vec<Input>) {
        while !inputs.is_empty() {
            let mut out = Vec::new();
            for input in inputs {
                self.replica.step(self.now, input, &mut out);
            }
            let applied = self.replica.finish(self.now, &mut out);
            inputs = self.perform(out);
            drop(applied);
        }
    }

    /// Does what the replica asks for and returns what the disk reports.
    fn perform(&mut self, outputs: Vec<Output>) -> Vec<Input> {
        let mut done = Vec::new();
        for output in outputs {
            match output {
                Output::Append(entries) => {
                    done.push(Input::Appended(entries.last().unwrap().zxid));
                }
                Output::SaveEpoch(file, epoch) => done.push(Input::EpochSaved(file, epoch)),
                Output::InstallSnapshot { cut, .. } => {
                    done.push(Input::SnapshotInstalled(cut.zxid()));
                    self.installed.push(cut);
                }
                Output::Close { link: LINK, .. } => self.is_link_closed = true,
                _ => {}
            }
        }
        done
    }

    fn assert_out(&self, zxid: Zxid) {
        let status = self.replica.status();
        assert!(
            matches!(status.problem, Some(Problem::DigestDiffers { zxid: at, .. }) if at == zxid),
            "{:?}",
            status.problem
        );
        assert_eq!((status.is_serving, status.role), (false, Role::Looking));
        assert!(self.is_link_closed);
        let text = status.problem.unwrap().to_string();
        assert!(text.contains(&zxid.to_string()), "{text}");
    }
}

const NOW: Now = Now {
    mono: Millis(10),
    wall_ms: 1_700_000_000_000,
};
const START: Zxid = Zxid::new(Epoch(1), 0);

#[test]
fn a_follower_with_another_tree_than_its_leaders_goes_out_of_service() {
    let mut follower = Follower::serving(true);
    let zxid = follower.write("/same", 0);
    follower.hear(PacketKind::Commit, zxid, None);
    assert_eq!(follower.replica.status().problem, None);
    let zxid = follower.write("/different", 1);
    follower.hear(PacketKind::Commit, zxid, None);
    follower.assert_out(zxid);
    // It takes no part in anything any more.
    follower.batch(vec![Input::Tick]);
    assert_eq!(follower.replica.next_deadline(), None);
}

#[test]
fn a_difference_after_a_diff_is_noticed_before_clients_are_served() {
    let mut follower = Follower::start(true);
    follower.hear(PacketKind::Diff, Zxid::ZERO, None);
    let zxid = follower.write("/different", 1);
    follower.hear(PacketKind::Commit, zxid, None);
    follower.hear(PacketKind::NewLeader, START, None);
    assert!(!follower.replica.status().is_serving);
    follower.hear(PacketKind::UpToDate, Zxid(-1), None);
    follower.assert_out(zxid);
}

/// Leaders of the reference are sometimes wrong about themselves.
#[test]
fn a_reference_leader_that_is_wrong_for_a_while_loses_no_follower() {
    let mut follower = Follower::serving(false);
    for n in 0..60_u64 {
        // Wrong for one transaction, for several in a row by another number each, and right again.
        let error = if n % 20 == 0 { 0 } else { n };
        let zxid = follower.write(&format!("/{n}"), error);
        follower.hear(PacketKind::Commit, zxid, None);
        follower.now.mono = follower.now.mono + 900;
        follower.hear(PacketKind::Ping, Zxid(-1), None);
        let status = follower.replica.status();
        assert_eq!((status.problem, status.is_serving), (None, true), "{n}");
    }
    // The last one is wrong, and then nobody writes.
    for _ in 0..60 {
        follower.now.mono = follower.now.mono + 900;
        follower.hear(PacketKind::Ping, Zxid(-1), None);
    }
    assert_eq!(follower.replica.status().problem, None);
}

#[test]
fn a_tree_that_differs_from_a_reference_leaders_for_long_goes_out_of_service() {
    let mut follower = Follower::serving(false);
    for n in 0.. {
        assert!(n < 8, "it serves another tree");
        let zxid = follower.write(&format!("/{n}"), 77);
        follower.hear(PacketKind::Commit, zxid, None);
        if follower.replica.status().problem.is_some() {
            assert_eq!(n, 7, "it goes too early");
            follower.assert_out(zxid);
            break;
        }
        follower.now.mono = follower.now.mono + 900;
        follower.hear(PacketKind::Ping, Zxid(-1), None);
    }
}

/// A leader of the reference sends a tree that changes on the way: what was
/// proposed up to then mends it.
#[test]
fn a_tree_that_came_while_it_changed_is_given_time() {
    let mut follower = Follower::start(true);
    let mut sent = support::Replica::new();
    sent.apply(&support::create("/early"));
    let mut tree = Box::new(sent.tree);
    tree.set_last_zxid(START);
    follower.batch(vec![Input::Snap { link: LINK, tree }]);
    assert_eq!(follower.installed.len(), 1);
    let first = follower.write("/a", 0);
    follower.hear(PacketKind::NewLeader, START, None);
    follower.hear(PacketKind::UpToDate, Zxid(-1), None);
    follower.hear(PacketKind::Commit, first, None);
    let status = follower.replica.status();
    assert_eq!((status.problem, status.is_serving), (None, true));
    // From here on there is no excuse.
    let zxid = follower.write("/b", 0);
    follower.hear(PacketKind::Commit, zxid, None);
    follower.assert_out(zxid);
}

/// A transaction is committed, and time passes.
fn commit(follower: &mut Follower, zxid: Zxid) {
    follower.hear(PacketKind::Commit, zxid, None);
    follower.now.mono = follower.now.mono + 900;
    follower.hear(PacketKind::Ping, Zxid(-1), None);
}

const LETTERS: [&str; 3] = ["plain", "zürich", "€😀"];

/// The leader's Java virtual machine does not use UTF-8.
#[test]
fn a_reference_leader_with_another_charset_keeps_its_followers() {
    for n in 0..2 {
        let in_charset = |tree: &Tree| tree.beyond_ascii().map_or(0, |it| it.differences[n]);
        let mut follower = Follower::serving(false);
        for number in 0..40 {
            let path = format!("/{}{number}", LETTERS[number % 3]);
            let zxid = follower.write_hashed(&path, in_charset);
            commit(&mut follower, zxid);
            let status = follower.replica.status();
            assert_eq!((status.problem, status.is_serving), (None, true));
        }
        let seen = follower.replica.view().read().tree().digest_mismatches();
        assert_eq!(seen, 1, "once it is known the digests are expected");
        // Another tree is still noticed.
        let mut zxid = START;
        for number in 0..12 {
            let wrong = |tree: &Tree| in_charset(tree).wrapping_add(77);
            zxid = follower.write_hashed(&format!("/wrong{number}"), wrong);
            commit(&mut follower, zxid);
            if follower.is_link_closed {
                break;
            }
        }
        follower.assert_out(zxid);
    }
}

/// With paths beyond ASCII a difference proves nothing about a Java leader, and
/// without them its word alone is no reason to delete anything.
#[test]
fn a_digest_of_java_is_never_a_reason_to_delete_data() {
    let mut follower = Follower::serving(false);
    for number in 0..40 {
        let zxid = follower.write(&format!("/zürich{number}"), 77);
        commit(&mut follower, zxid);
        assert_eq!(follower.replica.status().problem, None);
    }
    // It agreed with such a path, so its charset is UTF-8; or there is none.
    let mut follower = Follower::serving(false);
    let zxid = follower.write("/zürich", 0);
    commit(&mut follower, zxid);
    for number in 0..8 {
        let zxid = follower.write(&format!("/{number}"), 77);
        commit(&mut follower, zxid);
    }
    assert!(follower.replica.status().problem.is_some());
    let mut follower = Follower::serving(false);
    for number in 0..8 {
        let zxid = follower.write(&format!("/{number}"), 77);
        commit(&mut follower, zxid);
    }
    let problem = follower.replica.status().problem.unwrap().to_string();
    assert!(problem.contains("delete nothing"), "{problem}");
    assert!(!problem.contains("away"), "{problem}");
    // A leader of ours is exact.
    let mut follower = Follower::serving(true);
    let zxid = follower.write("/zürich", 77);
    follower.hear(PacketKind::Commit, zxid, None);
    let problem = follower.replica.status().problem.unwrap().to_string();
    assert!(problem.contains("version-2 directories away"), "{problem}");
}
