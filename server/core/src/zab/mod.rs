//! The atomic broadcast: election, discovery, synchronization, broadcast.
//! Transactions are opaque bytes here; nothing in this module names the tree,
//! sessions or watches.
//!
//! What must never happen: an acknowledgement of what the disk has not
//! confirmed, a delivery out of order or with a hole, two servers that serve
//! as leaders of one epoch, a panic caused by what a peer sent. A peer that
//! breaks the protocol loses its link; an own invariant that is broken panics.

mod committed_log;
mod configs;
mod election;
pub(crate) mod epochs;
mod event;
mod follower;
mod heard;
mod history;
mod introductions;
mod leader;
mod learner_handler;
mod past;
mod peer;
mod problem;
mod reigns;
pub mod sync_plan;
#[cfg(test)]
mod tests;
mod vote;

use std::collections::VecDeque;
use std::sync::Arc;

use zk_proto::quorum::{Notification, QuorumPacket, ServerState};
use zk_proto::{Epoch, Sid, Zxid};

use crate::config::ReplicaConfig;
use crate::{EpochFile, LinkId, LogEntry, Millis, Now, Origin, Output, Role, TreeCut};
use election::Election;
use follower::{DiskWork, Follower};
use history::{History, Ticket};
use leader::Leader;
use peer::{GiveUp, Peer, Step};
use vote::Vote;

pub use event::{Effects, SyncToken, ZabEvent, ZabInput, ZabState};
pub use problem::Problem;
pub use reigns::Reigns;

/// One server's part in the broadcast.
#[derive(Debug)]
pub struct Zab {
    peer: Peer,
    state: State,
    /// Learners that came before this server knew that it leads, oldest first.
    early: VecDeque<Early>,
    /// Followings in a row that ended before they served.
    failures: u32,
    election_ms: Option<u64>,
}

/// A learner's link that waits for this server to know its role.
#[derive(Debug)]
struct Early {
    link: LinkId,
    origin: Origin,
    packets: Vec<QuorumPacket>,
}

#[derive(Debug)]
enum State {
    /// Not started, or shut down.
    Idle,
    /// The next election waits for the disk.
    Settling(DiskWork),
    /// The next election waits a little, because following fails again and again.
    Pausing {
        until: Millis,
    },
    Looking(Election),
    Leading(Leader),
    Following(Follower),
}

impl Zab {
    /// Learners whose links are kept until the role is decided.
    const EARLY_LINKS_MAX: usize = 64;
    /// Packets kept for each; a learner sends one and waits.
    const EARLY_PACKETS_MAX: usize = 4;
    /// Longest pause before an election.
    const PAUSE_MAX_MS: u64 = 1_000;
    /// Shortest pause before an election, if there is one.
    const PAUSE_MIN_MS: u64 = 50;

    /// A server that has not started yet.
    #[must_use]
    pub fn new(config: &ReplicaConfig, state: ZabState) -> Self {
        let history = History::new(state, config.commit_log_count);
        Self {
            peer: Peer::new(config.clone(), history),
            state: State::Idle,
            early: VecDeque::new(),
            failures: 0,
            election_ms: None,
        }
    }

    /// Enters the first election.
    pub fn start(&mut self, now: Now, fx: &mut Effects) {
        assert!(matches!(self.state, State::Idle), "a server starts once");
        self.look(now, None, fx);
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Now, input: ZabInput, fx: &mut Effects) {
        let step = match input {
            ZabInput::Tick => self.tick(now, fx),
            ZabInput::Notification {
                from,
                origin,
                notification,
            } => self.notified(now, (from, origin), &notification, fx),
            ZabInput::LinkAccepted(link, origin) => {
                self.accepted(now, link, origin, fx);
                Ok(())
            }
            ZabInput::LinkConnected(link) => self.connected(now, link, fx),
            ZabInput::LinkClosed(link) => self.closed(now, link, fx),
            ZabInput::LinkActive(link) => {
                self.active(now, link);
                Ok(())
            }
            ZabInput::Packet { link, packet } => self.packet(now, link, packet, fx),
            ZabInput::Snap { link, zxid } => self.snap(now, link, zxid, fx),
            ZabInput::Appended(zxid) => {
                self.appended(zxid, fx);
                Ok(())
            }
            ZabInput::EpochSaved(file, epoch) => {
                self.epoch_saved(now, file, epoch, fx);
                Ok(())
            }
            ZabInput::Truncated { last_zxid, tail } => self.truncated(now, last_zxid, tail, fx),
            ZabInput::SnapshotInstalled(zxid) => self.installed(now, zxid, fx),
            ZabInput::Shutdown => {
                self.leave("this server is shutting down", fx);
                self.drop_early(fx);
                self.state = State::Idle;
                Ok(())
            }
        };
        self.conclude(now, step, fx);
    }

    /// Leader, serving: proposes. The zxid is that after the last proposal.
    /// Without effect when this server does not lead any more.
    pub fn propose(&mut self, now: Now, entry: LogEntry, fx: &mut Effects) {
        if let State::Leading(leader) = &mut self.state
            && leader.is_serving()
        {
            let step = leader.propose(&mut self.peer, now, entry, fx);
            self.conclude(now, step, fx);
        }
    }

    /// Follower, serving: sends REQUEST, REVALIDATE or PING. Without effect
    /// when this server does not follow any more.
    pub fn send_to_leader(&mut self, packet: QuorumPacket, fx: &mut Effects) {
        if let State::Following(follower) = &self.state {
            follower.send_to_leader(packet, fx);
        }
    }

    /// Leader: sends an answer to a synchronized learner, if it is still there.
    pub fn send_to_learner(&mut self, link: LinkId, packet: QuorumPacket, fx: &mut Effects) {
        if let State::Leading(leader) = &self.state {
            leader.send_to(link, packet, fx);
        }
    }

    /// Leader: answers once all that is outstanding now is committed.
    pub fn sync_request(&mut self, token: SyncToken, fx: &mut Effects) {
        if let State::Leading(leader) = &mut self.state {
            leader.sync_request(&self.peer, token, fx);
        }
    }

    /// Ends a batch of inputs, once all events were acted on: `applied` is the
    /// zxid of the tree, `cut` keeps it as it is. Log entries are emitted here
    /// as one [`Output::Append`], and learners that wait for synchronization
    /// are served.
    pub fn after_apply(
        &mut self,
        now: Now,
        applied: Zxid,
        cut: &mut dyn FnMut() -> Arc<TreeCut>,
        fx: &mut Effects,
    ) {
        self.peer.history.flush(fx);
        if let State::Leading(leader) = &mut self.state {
            leader.synchronize(&self.peer, now, applied, cut, fx);
        }
    }

    /// When [`ZabInput::Tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        match &self.state {
            State::Idle | State::Settling(_) => None,
            State::Pausing { until } => Some(*until),
            State::Looking(election) => Some(election.next_deadline()),
            State::Leading(leader) => leader.next_deadline(&self.peer),
            State::Following(follower) => follower.next_deadline(&self.peer),
        }
    }

    /// What this server is.
    #[must_use]
    pub const fn role(&self) -> Role {
        match &self.state {
            State::Leading(_) => Role::Leading,
            State::Following(_) => Role::Following,
            _ => Role::Looking,
        }
    }

    /// Does it take clients?
    #[must_use]
    pub fn is_serving(&self) -> bool {
        match &self.state {
            State::Leading(leader) => leader.is_serving(),
            State::Following(follower) => follower.is_serving(),
            _ => false,
        }
    }

    /// The leader, once one was elected; this server itself if it leads.
    #[must_use]
    pub const fn leader(&self) -> Option<Sid> {
        match &self.state {
            State::Leading(_) => Some(self.peer.config.sid),
            State::Following(follower) => Some(follower.leader()),
            _ => None,
        }
    }

    /// Epoch of the leader; the last one while there is none.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        match &self.state {
            State::Leading(leader) if leader.is_serving() => leader.epoch(),
            State::Following(follower) => follower.epoch(),
            _ => self.peer.history.current_epoch(),
        }
    }

    /// `looking`, `discovery`, `synchronization` or `broadcast`.
    #[must_use]
    pub const fn phase(&self) -> &'static str {
        match &self.state {
            State::Leading(leader) => leader.phase_name(),
            State::Following(follower) => follower.phase_name(),
            _ => "looking",
        }
    }

    /// Leader: links of learners that have introduced themselves.
    #[must_use]
    pub fn learners(&self) -> usize {
        self.reign().map_or(0, Leader::learners)
    }

    /// Leader: followers with a vote that have acknowledged NEWLEADER.
    #[must_use]
    pub fn synced_followers(&self) -> Vec<Sid> {
        let synced = self.reign().into_iter().flat_map(Leader::synced);
        synced
            .filter(|sid| self.peer.config.ensemble.is_voter(*sid))
            .collect()
    }

    /// Leader: synchronized learners without a vote.
    #[must_use]
    pub fn synced_non_voting(&self) -> usize {
        let synced = self.reign().into_iter().flat_map(Leader::synced);
        synced
            .filter(|sid| !self.peer.config.ensemble.is_voter(*sid))
            .count()
    }

    /// Leader: syncs that wait for a commit.
    #[must_use]
    pub fn pending_syncs(&self) -> usize {
        self.reign().map_or(0, Leader::pending_syncs)
    }

    /// Number of voters.
    #[must_use]
    pub fn quorum_size(&self) -> usize {
        self.peer.config.ensemble.members.len()
    }

    /// Leader: zxid of the newest proposal, `epoch << 32` before the first.
    /// Others: end of the log.
    #[must_use]
    pub fn last_proposed(&self) -> Zxid {
        let reign = self.reign();
        reign.map_or_else(|| self.peer.history.end(), Leader::last_proposed)
    }

    /// Does this server follow a leader of ours, whose digests are exact?
    pub(crate) fn is_leader_exact(&self) -> bool {
        matches!(&self.state, State::Following(follower) if follower.leader_is_ours())
    }

    /// Newest zxid known to be committed here.
    #[must_use]
    pub const fn last_committed(&self) -> Zxid {
        self.peer.history.delivered()
    }

    /// Proposals that are not committed yet.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.peer.history.open().len()
    }

    /// Why this server does not serve, if there is more to say than its phase.
    #[must_use]
    pub const fn problem(&self) -> Option<Problem> {
        self.peer.problem
    }

    /// Takes the server out of service, until it is started again.
    pub fn withdraw(&mut self, problem: Problem, fx: &mut Effects) {
        tracing::error!("out of service: {problem}");
        self.peer.problem = Some(problem);
        self.leave("this server is out of service", fx);
        self.drop_early(fx);
        self.state = State::Idle;
    }

    /// How long the last finished election took, in ms.
    #[must_use]
    pub const fn election_ms(&self) -> Option<u64> {
        self.election_ms
    }

    const fn reign(&self) -> Option<&Leader> {
        match &self.state {
            State::Leading(leader) => Some(leader),
            _ => None,
        }
    }

    fn tick(&mut self, now: Now, fx: &mut Effects) -> Step {
        match &mut self.state {
            State::Idle | State::Settling(_) => Ok(()),
            State::Pausing { until } => {
                if *until <= now.mono {
                    self.look(now, None, fx);
                }
                Ok(())
            }
            State::Looking(election) => {
                let outcome = election.tick(&mut self.peer, now, fx);
                self.elected(now, outcome, fx);
                Ok(())
            }
            State::Leading(leader) => leader.tick(&mut self.peer, now, fx),
            State::Following(follower) => follower.tick(&self.peer, now),
        }
    }

    fn notified(
        &mut self,
        now: Now,
        (from, origin): (Sid, Origin),
        notification: &Notification,
        fx: &mut Effects,
    ) -> Step {
        let vote = self.peer.vote;
        let from_voter = self.peer.config.ensemble.is_voter(from);
        if from_voter {
            self.peer.told_config(from, &notification.config, now.mono);
        }
        let ensemble = &self.peer.config.ensemble;
        let is_possible = vote::is_possible(notification);
        if from_voter && is_possible && notification.state == ServerState::Looking {
            let history = (notification.peer_epoch, notification.zxid);
            self.peer.heard.note(from, origin, history, now.mono);
        }
        if let (State::Looking(election), true) = (&mut self.state, from_voter) {
            let counts = is_possible && ensemble.is_voter(notification.leader);
            if counts && from != self.peer.config.sid {
                let outcome = election.notified(&mut self.peer, now, from, notification, fx);
                self.elected(now, outcome, fx);
            }
            return Ok(());
        }
        // Between two elections there is nothing to say; the next one begins
        // with a vote to everyone.
        let state = match (&self.state, from_voter) {
            (State::Leading(_), _) => ServerState::Leading,
            (State::Following(_), _) => ServerState::Following,
            (State::Looking(_), _) => ServerState::Looking,
            (State::Idle | State::Settling(_) | State::Pausing { .. }, _) => return Ok(()),
        };
        let round = if from_voter {
            vote.round
        } else {
            self.peer.round
        };
        if notification.state == ServerState::Looking || !from_voter {
            self.peer.notify(from, state, vote.candidate, round, fx);
        }
        match &mut self.state {
            State::Leading(leader) => leader.admit(&mut self.peer, now, fx),
            _ => Ok(()),
        }
    }

    fn accepted(&mut self, now: Now, link: LinkId, origin: Origin, fx: &mut Effects) {
        match &mut self.state {
            State::Leading(leader) => leader.accepted(link, origin, now, fx),
            State::Following(_) | State::Idle => close(link, "this server does not lead", fx),
            State::Looking(_) | State::Settling(_) | State::Pausing { .. } => {
                if self.early.len() >= Self::EARLY_LINKS_MAX {
                    // Whoever has said something is kept longer: a learner does at once.
                    let silent = |early: &Early| early.packets.is_empty();
                    let at = self.early.iter().position(silent).unwrap_or(0);
                    if let Some(oldest) = self.early.remove(at) {
                        close(oldest.link, "too many learners before an election", fx);
                    }
                }
                let packets = Vec::new();
                self.early.push_back(Early {
                    link,
                    origin,
                    packets,
                });
            }
        }
    }

    fn connected(&mut self, now: Now, link: LinkId, fx: &mut Effects) -> Step {
        match &mut self.state {
            State::Following(follower) if follower.link() == link => {
                follower.connected(&self.peer, now, fx);
            }
            // Closed by this server in the meantime.
            _ => {}
        }
        Ok(())
    }

    fn closed(&mut self, now: Now, link: LinkId, fx: &mut Effects) -> Step {
        self.early.retain(|early| early.link != link);
        match &mut self.state {
            State::Leading(leader) => {
                leader.closed(link, fx);
                return leader.admit(&mut self.peer, now, fx);
            }
            State::Following(follower) if follower.link() == link => {
                return Err(follower.closed());
            }
            _ => {}
        }
        Ok(())
    }

    fn active(&mut self, now: Now, link: LinkId) {
        match &mut self.state {
            State::Leading(leader) => leader.active(link, now),
            State::Following(follower) if follower.link() == link => follower.active(now),
            _ => {}
        }
    }

    fn packet(&mut self, now: Now, link: LinkId, packet: QuorumPacket, fx: &mut Effects) -> Step {
        match &mut self.state {
            State::Leading(leader) => {
                return leader.packet(&mut self.peer, now, link, packet, fx);
            }
            State::Following(follower) if follower.link() == link => {
                return follower.packet(&mut self.peer, now, packet, fx);
            }
            _ => {
                let at = self.early.iter().position(|early| early.link == link);
                if let Some(at) = at {
                    let packets = &mut self.early[at].packets;
                    packets.push(packet);
                    if packets.len() > Self::EARLY_PACKETS_MAX {
                        self.early.remove(at);
                        close(link, "too many packets before an election", fx);
                    }
                }
            }
        }
        Ok(())
    }

    fn snap(&mut self, now: Now, link: LinkId, zxid: Zxid, fx: &mut Effects) -> Step {
        match &mut self.state {
            State::Following(follower) if follower.link() == link => {
                follower.snap(&mut self.peer, now, zxid, fx)
            }
            _ => Ok(()),
        }
    }

    fn appended(&mut self, zxid: Zxid, fx: &mut Effects) {
        let zxids = self.peer.history.appended(zxid);
        match &mut self.state {
            State::Leading(leader) => leader.appended(&mut self.peer, fx),
            State::Following(follower) => follower.appended(&zxids, fx),
            _ => {}
        }
    }

    fn epoch_saved(&mut self, now: Now, file: EpochFile, epoch: Epoch, fx: &mut Effects) {
        let ticket: Ticket = self.peer.history.epoch_saved(file, epoch);
        match &mut self.state {
            State::Leading(leader) => leader.epoch_saved(&mut self.peer, now, ticket, fx),
            State::Following(follower) => follower.epoch_saved(&self.peer, now, ticket, fx),
            _ => {}
        }
    }

    fn truncated(
        &mut self,
        now: Now,
        last_zxid: Zxid,
        tail: Vec<LogEntry>,
        fx: &mut Effects,
    ) -> Step {
        self.peer.history.truncated(last_zxid, tail);
        match &mut self.state {
            State::Following(follower) => follower.truncated(&mut self.peer, now, fx),
            State::Settling(DiskWork::Truncation) => {
                self.look(now, None, fx);
                Ok(())
            }
            State::Idle => Ok(()),
            state => panic!("a truncation nobody waits for in {state:?}"),
        }
    }

    fn installed(&mut self, now: Now, zxid: Zxid, fx: &mut Effects) -> Step {
        self.peer.history.replaced(zxid);
        match &mut self.state {
            State::Following(follower) => follower.installed(&mut self.peer, now, fx),
            State::Settling(DiskWork::Installation) => {
                self.look(now, None, fx);
                Ok(())
            }
            State::Idle => Ok(()),
            state => panic!("a snapshot nobody waits for in {state:?}"),
        }
    }

    /// Acts on a role that cannot go on.
    fn conclude(&mut self, now: Now, step: Step, fx: &mut Effects) {
        let Err(GiveUp(reason)) = step else {
            return;
        };
        tracing::warn!(phase = self.phase(), "{reason}");
        let served = self.is_serving();
        let led = self.role() == Role::Leading;
        let lost = self.leader().filter(|_| served && !led);
        let work = self.leave(reason, fx);
        self.failures = if served || led { 0 } else { self.failures + 1 };
        if let Some(problem) = self.peer.problem.filter(Problem::is_final) {
            tracing::error!("out of service: {problem}");
            self.drop_early(fx);
        } else if let Some(work) = work {
            self.state = State::Settling(work);
        } else if self.failures > 1 {
            let pause = Self::PAUSE_MIN_MS << (self.failures - 2).min(10);
            let until = now.mono + pause.min(Self::PAUSE_MAX_MS);
            self.state = State::Pausing { until };
        } else {
            self.look(now, lost, fx);
        }
    }

    /// Gives up the role, if any. Returns what the disk is still at.
    fn leave(&mut self, reason: &'static str, fx: &mut Effects) -> Option<DiskWork> {
        let served = self.is_serving();
        let had_role = self.role() != Role::Looking;
        let epoch = self.peer.history.current_epoch();
        let mut work = None;
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Leading(leader) => leader.close_all(reason, fx),
            State::Following(follower) => {
                follower.close(reason, fx);
                work = follower.disk_work();
            }
            State::Settling(left) => work = Some(left),
            State::Idle | State::Pausing { .. } | State::Looking(_) => {}
        }
        if served {
            fx.events.push_back(ZabEvent::ServingStopped);
        }
        if had_role {
            Peer::announce(Role::Looking, false, epoch, None, fx);
        }
        work
    }

    fn look(&mut self, now: Now, lost: Option<Sid>, fx: &mut Effects) {
        let mut election = Election::start(&mut self.peer, now, lost, fx);
        let outcome = election.conclude(&self.peer, now);
        self.state = State::Looking(election);
        self.elected(now, outcome, fx);
    }

    fn elected(&mut self, now: Now, outcome: Option<Vote>, fx: &mut Effects) {
        let (Some(vote), State::Looking(election)) = (outcome, &self.state) else {
            return;
        };
        self.election_ms = Some(now.mono - election.started());
        self.peer.vote = vote;
        let leader = vote.candidate.leader;
        let epoch = self.peer.history.current_epoch();
        if leader == self.peer.config.sid {
            if self.peer.history.accepted_epoch() >= epochs::EPOCH_LAST {
                self.withdraw(Problem::EpochsUsedUp, fx);
                return;
            }
            let leader = Leader::start(&mut self.peer, now, fx);
            self.state = State::Leading(leader);
            Peer::announce(Role::Leading, false, epoch, self.leader(), fx);
            for early in std::mem::take(&mut self.early) {
                self.accepted(now, early.link, early.origin, fx);
                for packet in early.packets {
                    let step = self.packet(now, early.link, packet, fx);
                    self.conclude(now, step, fx);
                }
            }
        } else {
            self.drop_early(fx);
            let follower = Follower::start(&mut self.peer, now, leader, fx);
            self.state = State::Following(follower);
            Peer::announce(Role::Following, false, epoch, Some(leader), fx);
        }
    }

    fn drop_early(&mut self, fx: &mut Effects) {
        for early in self.early.drain(..) {
            close(early.link, "this server does not lead", fx);
        }
    }
}

fn close(link: LinkId, reason: &'static str, fx: &mut Effects) {
    fx.outputs.push(Output::Close { link, reason });
}
