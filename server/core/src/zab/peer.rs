//! What outlives a role.

use zk_proto::quorum::{Notification, ServerState};
use zk_proto::{Epoch, Round, Sid};

use super::configs::ToldConfigs;
use super::event::Effects;
use super::heard::HeardVotes;
use super::history::History;
use super::problem::Problem;
use super::vote::{Candidate, Vote};
use crate::config::ReplicaConfig;
use crate::{LinkId, Millis, Output, Role};

/// The role cannot go on; back to an election.
#[derive(Clone, Copy, Debug)]
pub(super) struct GiveUp(pub(super) &'static str);

/// What a role's step comes to.
pub(super) type Step = Result<(), GiveUp>;

/// This server, whatever its role.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) config: ReplicaConfig,
    pub(super) history: History,
    /// Round of the newest election.
    pub(super) round: Round,
    /// Outcome of the last election, reported to those who still look.
    pub(super) vote: Vote,
    /// A voter has accepted this epoch, and the last reign has ended for it:
    /// the next one begins above.
    pub(super) epoch_floor: Epoch,
    /// Votes of voters that look for a leader.
    pub(super) heard: HeardVotes,
    /// Configs that voters have told in their votes.
    pub(super) told: ToldConfigs,
    /// Why this server does not serve.
    pub(super) problem: Option<Problem>,
    /// When a leader in an epoch before that of this server's history was
    /// met, for the first and for the last time in a row.
    pub(super) outdated: Option<(Millis, Millis)>,
    /// The leader of this epoch wanted the log cut where it could not be cut, or
    /// had another tree at the end of what was copied: it is asked for its whole
    /// tree.
    pub(super) needs_tree_in: Option<Epoch>,
    /// What this server has was copied from a leader in place of what it keeps
    /// aside, and it has not promised yet to have that history.
    pub(super) has_copy: bool,
    /// Links dialed so far.
    dialed: u64,
    config_text: String,
}

impl Peer {
    pub(super) fn new(config: ReplicaConfig, history: History) -> Self {
        let vote = Vote::looking(own_candidate(&config, &history), Round(0));
        let config_text = config.ensemble.text();
        let init_ms = config.tick_ms * u64::from(config.init_limit);
        let heard = HeardVotes::new(2 * config.votes.interval_max_ms.max(init_ms));
        Self {
            config,
            history,
            round: Round(0),
            vote,
            epoch_floor: Epoch(0),
            heard,
            told: ToldConfigs::default(),
            problem: None,
            outdated: None,
            needs_tree_in: None,
            has_copy: false,
            dialed: 0,
            config_text,
        }
    }

    /// This server as a leader to vote for.
    pub(super) fn own_candidate(&self) -> Candidate {
        own_candidate(&self.config, &self.history)
    }

    /// The members as peers exchange them.
    pub(super) fn config_text(&self) -> &str {
        &self.config_text
    }

    /// The version of the config is this one from now on; its members are the same.
    pub(super) fn set_config_version(&mut self, version: i64) {
        self.config.ensemble.version = version;
        self.config_text = self.config.ensemble.text();
    }

    /// Bound of discovery and of synchronization, in ms.
    pub(super) fn init_ms(&self) -> u64 {
        self.config.tick_ms * u64::from(self.config.init_limit)
    }

    /// Bound of silence, in ms.
    pub(super) fn sync_ms(&self) -> u64 {
        self.config.tick_ms * u64::from(self.config.sync_limit)
    }

    pub(super) fn next_link(&mut self) -> LinkId {
        let link = LinkId(LinkId::DIALED + self.dialed);
        self.dialed += 1;
        link
    }

    /// Sends a vote.
    pub(super) fn notify(
        &self,
        to: Sid,
        state: ServerState,
        candidate: Candidate,
        round: Round,
        fx: &mut Effects,
    ) {
        let Candidate {
            peer_epoch,
            zxid,
            leader,
        } = candidate;
        let notification = Notification {
            state,
            leader,
            zxid,
            round,
            peer_epoch,
            version: Notification::VERSION,
            config: self.config_text.clone(),
        };
        fx.outputs.push(Output::Notify { to, notification });
    }

    /// The leader of this epoch serves, and so does this server. From now on
    /// all members report the same vote (`QuorumPeer.updateElectionVote`).
    pub(super) const fn served_in(&mut self, epoch: Epoch) {
        self.problem = None;
        self.outdated = None;
        self.vote.candidate.peer_epoch = epoch;
    }

    pub(super) fn announce(
        role: Role,
        serving: bool,
        epoch: Epoch,
        leader: Option<Sid>,
        fx: &mut Effects,
    ) {
        fx.outputs.push(Output::RoleChanged {
            role,
            serving,
            epoch,
            leader,
        });
    }
}

fn own_candidate(config: &ReplicaConfig, history: &History) -> Candidate {
    Candidate {
        peer_epoch: history.current_epoch(),
        zxid: history.end(),
        leader: config.sid,
    }
}
