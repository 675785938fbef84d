use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use zk_proto::quorum::{Notification, PacketKind, QuorumPacket, ServerState};
use zk_proto::txn::TxnHeader;
use zk_proto::{Epoch, Round, SessionId, Sid, Xid, Zxid};

use super::super::{Effects, SyncToken, Zab, ZabEvent, ZabInput};
use super::disk::{self, Disk, Operation, Tree};
use super::home;
use crate::auth::AuthConfig;
use crate::config::{ReplicaConfig, VoteConfig, ZnodeConfig};
use crate::{Ensemble, LinkId, LogEntry, Member, Now, Origin, Output, TreeCut};

pub(super) const TICK_MS: u64 = 1_000;

/// One thing that can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Notification(Sid, Sid),
    Dial(usize),
    Packet(usize, Direction),
    Disk(Sid),
    Completion(Sid),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    ToLeader,
    ToLearner,
}

#[derive(Debug)]
pub(super) enum Message {
    Packet(QuorumPacket),
    Snap(Arc<TreeCut>),
    Closed,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) learner: Sid,
    pub(super) leader: Sid,
    dialed: LinkId,
    accepted: LinkId,
    connected: bool,
    pub(super) to_leader: VecDeque<Message>,
    to_learner: VecDeque<Message>,
    /// The end's own side is closed; nothing reaches it any more.
    leader_closed: bool,
    learner_closed: bool,
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) zab: Option<Zab>,
    pub(super) disk: Disk,
    pub(super) tree: Tree,
    pub(super) applied: Zxid,
    next_zxid: Zxid,
    snap: Option<Tree>,
    pub(super) events: Vec<ZabEvent>,
    pub(super) halted: bool,
}

pub(super) struct World {
    pub(super) now: Now,
    /// `tickTime` of servers that are started from now on.
    pub(super) tick_ms: u64,
    pub(super) servers: BTreeMap<Sid, Server>,
    pub(super) links: Vec<Link>,
    notifications: BTreeMap<(Sid, Sid), VecDeque<Notification>>,
    /// No notification and no connection passes between these.
    pub(super) cuts: Vec<(Sid, Sid)>,
    /// Servers whose new connections get through to nobody.
    pub(super) undialed: Vec<Sid>,
    /// Where links of these servers come from, if not from their hosts.
    pub(super) links_from: BTreeMap<Sid, Origin>,
    /// Off where a test lets peers lie.
    pub(super) checks: bool,
    last_votes: BTreeMap<(Sid, Sid), Notification>,
    /// What a quorum has made permanent, in order.
    pub(super) committed: Tree,
    leaders: BTreeMap<Epoch, Sid>,
    accepted_links: u64,
    /// Every packet sent, as `from>to KIND zxid`.
    pub(super) trace: Vec<String>,
}

pub(in crate::zab) fn config(sid: i64, voters: i64) -> ReplicaConfig {
    let member = |n: i64| Member {
        host: format!("h{n}"),
        quorum_port: 2888,
        election_port: 3888,
        client: None,
    };
    ReplicaConfig {
        sid: Sid(sid),
        ensemble: Ensemble {
            members: (1..=voters).map(|n| (Sid(n), member(n))).collect(),
            version: 0,
        },
        ensemble_id: None,
        tick_ms: TICK_MS,
        init_limit: 10,
        sync_limit: 5,
        session_timeout_min_ms: 4_000,
        session_timeout_max_ms: 40_000,
        snap_count: 100,
        snap_bytes: None,
        commit_log_count: 500,
        auth: AuthConfig::default(),
        znodes: ZnodeConfig::default(),
        votes: VoteConfig::default(),
        seed: 1,
        first_session_id: 1,
    }
}

pub(in crate::zab) fn entry(zxid: Zxid) -> LogEntry {
    let mut data = Vec::new();
    let header = TxnHeader {
        session: SessionId(1),
        cxid: Xid(1),
        zxid,
        time_ms: 0,
        kind: 1,
    };
    header.write(&mut data);
    LogEntry {
        zxid,
        data: data.into(),
    }
}

pub(super) const fn z(epoch: i64, counter: u32) -> Zxid {
    Zxid::new(Epoch(epoch), counter)
}

pub(super) const S1: Sid = Sid(1);
pub(super) const S2: Sid = Sid(2);
pub(super) const S3: Sid = Sid(3);

impl World {
    /// Servers with empty disks that are not started.
    pub(super) fn new(voters: i64) -> Self {
        let server = || Server {
            zab: None,
            disk: Disk {
                tail_max: 500,
                ..Disk::default()
            },
            tree: Tree::new(),
            applied: Zxid::ZERO,
            next_zxid: Zxid::ZERO,
            snap: None,
            events: Vec::new(),
            halted: false,
        };
        Self {
            now: Now::default(),
            tick_ms: TICK_MS,
            servers: (1..=voters).map(|n| (Sid(n), server())).collect(),
            links: Vec::new(),
            notifications: BTreeMap::new(),
            cuts: Vec::new(),
            undialed: Vec::new(),
            links_from: BTreeMap::new(),
            checks: true,
            last_votes: BTreeMap::new(),
            committed: Tree::new(),
            leaders: BTreeMap::new(),
            accepted_links: 0,
            trace: Vec::new(),
        }
    }

    /// All servers started, one of them leading, the others following.
    pub(super) fn established(voters: i64) -> Self {
        let mut world = Self::new(voters);
        world.start_all();
        world.run_until_serving();
        world
    }

    pub(super) fn zab(&self, sid: Sid) -> &Zab {
        self.servers[&sid].zab.as_ref().expect("it runs")
    }

    pub(super) fn server(&mut self, sid: Sid) -> &mut Server {
        self.servers.get_mut(&sid).expect("a member")
    }

    pub(super) fn start(&mut self, sid: Sid) {
        let voters = i64::try_from(self.servers.len()).unwrap();
        let server = self.server(sid);
        assert!(server.zab.is_none());
        server.events.clear();
        server.tree = server.disk.tree();
        server.applied = server.disk.end();
        let state = server.disk.restart();
        let config = ReplicaConfig {
            tick_ms: self.tick_ms,
            ..config(sid.0, voters)
        };
        let mut zab = Zab::new(&config, state);
        let mut fx = Effects::default();
        zab.start(self.now, &mut fx);
        self.server(sid).zab = Some(zab);
        self.perform(sid, fx);
        self.reconnect(|_, to| to == sid);
    }

    /// Lets everything through again.
    pub(super) fn heal(&mut self) {
        let cuts = std::mem::take(&mut self.cuts);
        let was_cut = |a, b| cuts.contains(&(a, b)) || cuts.contains(&(b, a));
        self.reconnect(was_cut);
    }

    /// A new election connection carries the newest vote again.
    fn reconnect(&mut self, between: impl Fn(Sid, Sid) -> bool) {
        let votes: Vec<_> = self
            .last_votes
            .iter()
            .filter(|((from, to), _)| between(*from, *to))
            .map(|((from, to), vote)| (*from, *to, vote.clone()))
            .collect();
        for (from, to, vote) in votes {
            self.vote(from, to, vote);
        }
    }

    fn vote(&mut self, from: Sid, to: Sid, vote: Notification) {
        let up = |sid| self.servers.get(&sid).is_some_and(|s| s.zab.is_some());
        if up(from) && up(to) && !self.is_cut(from, to) {
            self.notifications
                .entry((from, to))
                .or_default()
                .push_back(vote);
        }
    }

    pub(super) fn start_all(&mut self) {
        for sid in self.servers.keys().copied().collect::<Vec<_>>() {
            self.start(sid);
        }
    }

    /// Loses what is in memory and what the disk has not done yet.
    pub(super) fn crash(&mut self, sid: Sid) {
        let server = self.server(sid);
        server.zab = None;
        server.snap = None;
        server.disk.restart();
        self.notifications
            .retain(|(from, to), _| *from != sid && *to != sid);
        for link in &mut self.links {
            if !link.connected {
                link.learner_closed |= link.learner == sid;
                continue;
            }
            if link.learner == sid {
                link.learner_closed = true;
                link.to_leader.push_back(Message::Closed);
            }
            if link.leader == sid {
                link.leader_closed = true;
                link.to_learner.push_back(Message::Closed);
            }
        }
    }

    /// Breaks the connections of two servers and lets no new ones through.
    pub(super) fn cut(&mut self, a: Sid, b: Sid) {
        self.cuts.push((a, b));
        for link in &mut self.links {
            let ends = [link.learner, link.leader];
            if link.connected && (ends == [a, b] || ends == [b, a]) {
                link.to_leader.clear();
                link.to_learner.clear();
                link.to_leader.push_back(Message::Closed);
                link.to_learner.push_back(Message::Closed);
            }
        }
        self.notifications
            .retain(|pair, _| *pair != (a, b) && *pair != (b, a));
    }

    fn is_cut(&self, a: Sid, b: Sid) -> bool {
        self.cuts.contains(&(a, b)) || self.cuts.contains(&(b, a))
    }

    /// Hands one input to a server and performs what comes of it.
    pub(super) fn input(&mut self, sid: Sid, input: ZabInput) {
        let now = self.now;
        let server = self.server(sid);
        let Some(zab) = server.zab.as_mut() else {
            return;
        };
        if let ZabInput::Truncated { last_zxid, .. } = &input {
            server.tree = server.disk.tree();
            server.applied = *last_zxid;
        }
        let mut fx = Effects::default();
        zab.handle(now, input, &mut fx);
        self.perform(sid, fx);
    }

    /// Writes one transaction at the leader.
    pub(super) fn propose(&mut self, sid: Sid) -> Zxid {
        let now = self.now;
        let server = self.server(sid);
        let zxid = server.next_zxid;
        server.next_zxid = zxid.next();
        let mut fx = Effects::default();
        let zab = server.zab.as_mut().expect("it runs");
        assert!(zab.is_serving());
        zab.propose(now, entry(zxid), &mut fx);
        self.perform(sid, fx);
        zxid
    }

    pub(super) fn sync(&mut self, sid: Sid, token: SyncToken) {
        let mut fx = Effects::default();
        let zab = self.server(sid).zab.as_mut().expect("it runs");
        zab.sync_request(token, &mut fx);
        self.perform(sid, fx);
    }

    /// A scripted learner of this name with a link to a leader. What the leader
    /// sends to one that is no member goes nowhere.
    pub(super) fn adopt(&mut self, learner: Sid, leader: Sid, accepted: LinkId) {
        self.links.push(Link {
            learner,
            leader,
            dialed: accepted,
            accepted,
            connected: true,
            to_leader: VecDeque::new(),
            to_learner: VecDeque::new(),
            leader_closed: false,
            learner_closed: !self.servers.contains_key(&learner),
        });
    }

    pub(super) fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        for (pair, queue) in &self.notifications {
            if !queue.is_empty() {
                actions.push(Action::Notification(pair.0, pair.1));
            }
        }
        for (at, link) in self.links.iter().enumerate() {
            if !link.connected && !link.learner_closed {
                let up = self.servers[&link.leader].zab.is_some();
                let blocked = self.undialed.contains(&link.learner);
                if up && !blocked && !self.is_cut(link.learner, link.leader) {
                    actions.push(Action::Dial(at));
                }
                continue;
            }
            if !link.to_leader.is_empty() && !link.leader_closed {
                actions.push(Action::Packet(at, Direction::ToLeader));
            }
            if !link.to_learner.is_empty() && !link.learner_closed {
                actions.push(Action::Packet(at, Direction::ToLearner));
            }
        }
        for (sid, server) in &self.servers {
            if !server.disk.waiting.is_empty() {
                actions.push(Action::Disk(*sid));
            }
            if !server.disk.done.is_empty() {
                actions.push(Action::Completion(*sid));
            }
        }
        actions
    }

    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Notification(from, to) => {
                let queue = self.notifications.get_mut(&(from, to)).unwrap();
                let notification = queue.pop_front().unwrap();
                let vote = ZabInput::Notification {
                    from,
                    origin: home(from),
                    notification,
                };
                self.input(to, vote);
            }
            Action::Dial(at) => {
                self.accepted_links += 1;
                let accepted = LinkId(self.accepted_links);
                let link = &mut self.links[at];
                link.connected = true;
                link.accepted = accepted;
                let (learner, dialed, leader) = (link.learner, link.dialed, link.leader);
                let origin = self.links_from.get(&learner).copied();
                let origin = origin.unwrap_or_else(|| home(learner));
                self.input(leader, ZabInput::LinkAccepted(accepted, origin));
                self.input(learner, ZabInput::LinkConnected(dialed));
            }
            Action::Packet(at, direction) => self.deliver(at, direction),
            Action::Disk(sid) => self.server(sid).disk.step(),
            Action::Completion(sid) => {
                let done = self.server(sid).disk.done.pop_front().unwrap();
                self.input(sid, done);
            }
        }
    }

    fn deliver(&mut self, at: usize, direction: Direction) {
        let link = &mut self.links[at];
        let (queue, sid, id, closed) = match direction {
            Direction::ToLeader => (
                &mut link.to_leader,
                link.leader,
                link.accepted,
                &mut link.leader_closed,
            ),
            Direction::ToLearner => (
                &mut link.to_learner,
                link.learner,
                link.dialed,
                &mut link.learner_closed,
            ),
        };
        match queue.pop_front().unwrap() {
            Message::Packet(packet) => self.input(sid, ZabInput::Packet { link: id, packet }),
            Message::Snap(cut) => {
                self.server(sid).snap = Some(disk::tree(cut.opaque_bytes()));
                let zxid = cut.zxid();
                self.input(sid, ZabInput::Snap { link: id, zxid });
            }
            Message::Closed => {
                *closed = true;
                self.input(sid, ZabInput::LinkClosed(id));
            }
        }
    }

    /// Lets everything happen, oldest first, until only time can change
    /// something.
    pub(super) fn settle(&mut self) {
        for _ in 0..100_000 {
            let Some(action) = self.actions().first().copied() else {
                return;
            };
            self.act(action);
        }
        panic!("no end of it");
    }

    /// Lets happen only what this allows, until nothing of it is left.
    pub(super) fn settle_only(&mut self, allowed: impl Fn(&Self, &Action) -> bool) {
        while let Some(action) = self.actions().into_iter().find(|a| allowed(self, a)) {
            self.act(action);
        }
    }

    /// Lets one thing after the other happen until this is so.
    pub(super) fn step_until(&mut self, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            let action = *self.actions().first().expect("there is more to come");
            self.act(action);
        }
    }

    /// Moves time to the next deadline of any server, if there is one.
    pub(super) fn wait(&mut self) {
        let running = self.servers.values().filter_map(|s| s.zab.as_ref());
        let next = running.filter_map(Zab::next_deadline).min();
        if let Some(next) = next {
            self.now.mono = self.now.mono.max(next);
            self.tick();
        }
    }

    pub(super) fn wait_ms(&mut self, ms: u64) {
        self.now.mono = self.now.mono + ms;
        self.tick();
    }

    /// Nothing moves: either this server has to come back or time has to pass.
    pub(super) fn start_or_wait(&mut self, sid: Sid) {
        if self.servers[&sid].zab.is_none() {
            self.start(sid);
        } else {
            self.wait();
        }
    }

    fn tick(&mut self) {
        for sid in self.servers.keys().copied().collect::<Vec<_>>() {
            let due = |zab: &Zab| zab.next_deadline().is_some_and(|at| at <= self.now.mono);
            if self.servers[&sid].zab.as_ref().is_some_and(due) {
                self.input(sid, ZabInput::Tick);
            }
        }
    }

    pub(super) fn run_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let limit = self.now.mono + 120_000;
        loop {
            self.settle();
            if done(self) {
                return;
            }
            assert!(
                self.now.mono < limit,
                "not within two minutes: {what}\n{:#?}\n{:?}",
                self.servers,
                self.trace.iter().rev().take(40).collect::<Vec<_>>()
            );
            self.wait();
        }
    }

    /// Runs until all servers that are up serve under one leader.
    pub(super) fn run_until_serving(&mut self) {
        self.run_until("all serve", |world| {
            let up: Vec<_> = world
                .servers
                .values()
                .filter_map(|s| s.zab.as_ref())
                .collect();
            up.iter()
                .all(|zab| zab.is_serving() && zab.leader() == up[0].leader())
        });
    }

    pub(super) fn leader(&self) -> Sid {
        let leads = |(sid, server): (&Sid, &Server)| {
            let zab = server.zab.as_ref()?;
            (zab.leader() == Some(*sid) && zab.is_serving()).then_some(*sid)
        };
        let leaders: Vec<_> = self.servers.iter().filter_map(leads).collect();
        assert_eq!(leaders.len(), 1, "one leader");
        leaders[0]
    }

    /// All trees and all disks are what was committed.
    pub(super) fn assert_equal(&self) {
        for (sid, server) in &self.servers {
            assert_eq!(server.tree, self.committed, "tree of {sid}");
            assert_eq!(server.disk.tree(), self.committed, "disk of {sid}");
        }
    }

    /// Takes the trace so far.
    pub(super) fn take_trace(&mut self) -> Vec<String> {
        std::mem::take(&mut self.trace)
    }

    fn perform(&mut self, sid: Sid, mut fx: Effects) {
        self.consume(sid, &mut fx);
        let now = self.now;
        let server = self.server(sid);
        let mut zab = server.zab.take().expect("it runs");
        let cut = TreeCut::opaque(server.applied, &disk::image(&server.tree));
        zab.after_apply(now, server.applied, &mut || cut.clone(), &mut fx);
        server.zab = Some(zab);
        assert!(fx.events.is_empty());
        for output in fx.outputs {
            self.output(sid, output);
        }
    }

    fn consume(&mut self, sid: Sid, fx: &mut Effects) {
        while let Some(event) = fx.events.pop_front() {
            let server = self.servers.get_mut(&sid).unwrap();
            match &event {
                ZabEvent::Deliver(entry) => {
                    assert!(entry.zxid > server.applied);
                    server.applied = entry.zxid;
                    server.tree.push(entry.zxid);
                }
                ZabEvent::InstallTree { zxid, keeps_old } => {
                    server.tree = server.snap.take().expect("it came with SNAP");
                    server.applied = *zxid;
                    let cut = TreeCut::opaque(*zxid, &disk::image(&server.tree));
                    let keeps_old = *keeps_old;
                    fx.outputs.push(Output::InstallSnapshot { cut, keeps_old });
                }
                ZabEvent::LeadingStarted { epoch } => {
                    server.applied = QuorumPacket::epoch_zxid(*epoch);
                    server.next_zxid = server.applied.next();
                    let other = self.leaders.insert(*epoch, sid);
                    self.agree(sid, true);
                    if self.checks {
                        assert_eq!(other, None, "one leader in epoch {epoch}");
                        let tree = &self.servers[&sid].tree;
                        assert_eq!(*tree, self.committed, "a leader has what is committed");
                    }
                }
                ZabEvent::FollowingStarted { .. } => self.agree(sid, false),
                ZabEvent::PingFromLeader { packet } => {
                    let zab = server.zab.as_mut().unwrap();
                    zab.send_to_leader(packet.clone(), fx);
                }
                _ => {}
            }
            if matches!(event, ZabEvent::Deliver(_)) {
                self.agree(sid, self.zab(sid).leader() == Some(sid));
            }
            self.server(sid).events.push(event);
        }
    }

    /// The tree of one server and what is known to be committed are the same,
    /// as far as both go. A leader adds to it, when a quorum has it on disk.
    fn agree(&mut self, sid: Sid, leads: bool) {
        if !self.checks {
            return;
        }
        let tree = self.servers[&sid].tree.clone();
        for (at, zxid) in tree.iter().enumerate() {
            match self.committed.get(at) {
                Some(other) => assert_eq!(zxid, other, "entry {at} of {sid}"),
                None => {
                    assert!(leads, "{sid} delivers {zxid} before its leader");
                    let has = |server: &&Server| server.disk.tree().get(at) == Some(zxid);
                    let disks = self.servers.values().filter(has).count();
                    assert!(disks > self.servers.len() / 2, "{zxid} on {disks} disks");
                    self.committed.push(*zxid);
                }
            }
        }
    }

    fn output(&mut self, sid: Sid, output: Output) {
        let disk = &mut self.servers.get_mut(&sid).unwrap().disk;
        match output {
            Output::Append(entries) => disk.waiting.push_back(Operation::Append(entries)),
            Output::SaveEpoch(file, epoch) => {
                disk.waiting.push_back(Operation::SaveEpoch(file, epoch));
            }
            Output::InstallSnapshot { cut, .. } => {
                let install = Operation::Install(cut.zxid(), disk::tree(cut.opaque_bytes()));
                disk.waiting.push_back(install);
            }
            Output::Truncate(zxid) => disk.waiting.push_back(Operation::Truncate(zxid)),
            Output::Notify { to, notification } => {
                self.last_votes.insert((sid, to), notification.clone());
                self.vote(sid, to, notification);
            }
            Output::Connect { link, to, .. } => self.links.push(Link {
                learner: sid,
                leader: to,
                dialed: link,
                accepted: LinkId(0),
                connected: false,
                to_leader: VecDeque::new(),
                to_learner: VecDeque::new(),
                leader_closed: false,
                learner_closed: false,
            }),
            Output::Close { link, .. } => {
                if let Some((at, direction)) = self.find(sid, link) {
                    let link = &mut self.links[at];
                    match direction {
                        Direction::ToLeader => link.learner_closed = true,
                        Direction::ToLearner => link.leader_closed = true,
                    }
                    self.push(at, direction, Message::Closed);
                }
            }
            Output::Send { link, packet } => {
                let Some((at, direction)) = self.find(sid, link) else {
                    assert!(!self.checks, "to a closed link: {packet:?}");
                    return;
                };
                self.check_promise(sid, &packet);
                let kind = packet.known_kind().unwrap();
                self.note(at, direction, &format!("{kind:?}"), packet.zxid);
                self.push(at, direction, Message::Packet(packet));
            }
            Output::SendSnap { link, cut } => {
                let Some((at, direction)) = self.find(sid, link) else {
                    assert!(!self.checks, "to a closed link: SNAP");
                    return;
                };
                self.note(at, direction, "Snap", cut.zxid());
                self.push(at, direction, Message::Snap(cut));
            }
            Output::RoleChanged { .. } => {}
            Output::Halt { .. } => self.server(sid).halted = true,
            other => panic!("not for the broadcast: {other:?}"),
        }
    }

    /// Nothing that promises durability leaves before the disk has it.
    fn check_promise(&self, sid: Sid, packet: &QuorumPacket) {
        if !self.checks {
            return;
        }
        let disk = &self.servers[&sid].disk;
        match packet.known_kind().unwrap() {
            PacketKind::Ack if packet.zxid.counter() == 0 => {
                assert!(disk.current >= packet.zxid.epoch());
                // The second of these, after UPTODATE, promises no log.
                let zab = self.zab(sid);
                assert!(zab.is_serving() || disk.end() >= zab.last_committed());
            }
            PacketKind::Ack => assert!(disk.end() >= packet.zxid, "{} {packet:?}", disk.end()),
            PacketKind::LeaderInfo => assert!(disk.accepted >= packet.zxid.epoch()),
            PacketKind::NewLeader => assert!(disk.current >= packet.zxid.epoch()),
            PacketKind::AckEpoch => assert!(disk.accepted >= self.zab(sid).epoch()),
            _ => {}
        }
    }

    /// The open link that this server knows under this number, and where what
    /// it sends goes.
    fn find(&self, sid: Sid, id: LinkId) -> Option<(usize, Direction)> {
        self.links.iter().enumerate().find_map(|(at, link)| {
            if link.learner == sid && link.dialed == id && !link.learner_closed {
                Some((at, Direction::ToLeader))
            } else if link.leader == sid && link.accepted == id && !link.leader_closed {
                Some((at, Direction::ToLearner))
            } else {
                None
            }
        })
    }

    fn push(&mut self, at: usize, direction: Direction, message: Message) {
        let link = &mut self.links[at];
        match direction {
            Direction::ToLeader => link.to_leader.push_back(message),
            Direction::ToLearner => link.to_learner.push_back(message),
        }
    }

    fn note(&mut self, at: usize, direction: Direction, kind: &str, zxid: Zxid) {
        let Link {
            learner, leader, ..
        } = self.links[at];
        let (from, to) = match direction {
            Direction::ToLeader => (learner, leader),
            Direction::ToLearner => (leader, learner),
        };
        self.trace.push(format!("{from}>{to} {kind} {zxid}"));
    }
}

/// A vote of a server that looks for a leader.
pub(super) fn looking(leader: Sid, zxid: Zxid, round: i64, peer_epoch: i64) -> Notification {
    Notification {
        state: ServerState::Looking,
        leader,
        zxid,
        round: Round(round),
        peer_epoch: Epoch(peer_epoch),
        version: 2,
        config: String::new(),
    }
}

/// The packets between two servers, without heartbeats.
pub(super) fn between(trace: &[String], a: i64, b: i64) -> Vec<&str> {
    let ends = [format!("{a}>{b} "), format!("{b}>{a} ")];
    trace
        .iter()
        .filter(|line| ends.iter().any(|end| line.starts_with(end)))
        .filter(|line| !line.contains(" Ping "))
        .map(String::as_str)
        .collect()
}
