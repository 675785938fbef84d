//! Fast leader election (reference: 3.9.4 `FastLeaderElection.lookForLeader`).

use std::collections::BTreeMap;

use zk_proto::quorum::{Notification, ServerState};
use zk_proto::{Round, Sid};

use super::event::Effects;
use super::peer::Peer;
use super::vote::{Candidate, Vote, has_quorum, supporters};
use crate::config::FINALIZE_WAIT_MS;
use crate::{Millis, Now};

/// One election of this server. The round outlives it and is in [`Peer`].
#[derive(Debug)]
pub(super) struct Election {
    own: Candidate,
    proposal: Candidate,
    /// Votes of this round.
    received: BTreeMap<Sid, Vote>,
    /// Votes of those that follow or lead, of whatever round.
    established: BTreeMap<Sid, Vote>,
    resend_after_ms: u64,
    resend_at: Millis,
    /// The leader that this server has just lost. Unless it speaks up, its vote
    /// is not waited for.
    lost: Option<Sid>,
    /// A quorum agrees; a better vote may still come until then.
    decided_at: Option<Millis>,
    started: Millis,
}

impl Election {
    /// Starts a round with a vote for this server itself.
    pub(super) fn start(peer: &mut Peer, now: Now, lost: Option<Sid>, fx: &mut Effects) -> Self {
        peer.round = Round(peer.round.0.saturating_add(1));
        let own = peer.own_candidate();
        let resend_after_ms = peer.config.votes.interval_min_ms;
        let mut election = Self {
            own,
            proposal: own,
            received: BTreeMap::new(),
            established: BTreeMap::new(),
            resend_after_ms,
            resend_at: now.mono + resend_after_ms,
            lost,
            decided_at: None,
            started: now.mono,
        };
        election.send_to_all(peer, fx);
        election
    }

    pub(super) const fn started(&self) -> Millis {
        self.started
    }

    pub(super) fn next_deadline(&self) -> Millis {
        self.decided_at
            .map_or(self.resend_at, |at| at.min(self.resend_at))
    }

    pub(super) fn tick(&mut self, peer: &mut Peer, now: Now, fx: &mut Effects) -> Option<Vote> {
        if self.decided_at.is_some_and(|at| at <= now.mono) {
            return self.conclude(peer, now);
        }
        if self.resend_at <= now.mono {
            let longest_ms = peer.config.votes.interval_max_ms;
            self.resend_after_ms = (self.resend_after_ms * 2).min(longest_ms);
            self.resend_at = now.mono + self.resend_after_ms;
            self.send_to_all(peer, fx);
            return self.conclude(peer, now);
        }
        None
    }

    /// A vote from another voter for a voter.
    pub(super) fn notified(
        &mut self,
        peer: &mut Peer,
        now: Now,
        from: Sid,
        notification: &Notification,
        fx: &mut Effects,
    ) -> Option<Vote> {
        self.resend_at = now.mono + self.resend_after_ms;
        let candidate = Candidate::of(notification);
        // Only votes of who is looking can change the outcome. The reference puts
        // the decision off for a better candidate of who follows or leads, too,
        // and drops what a server says that follows the proposed one already.
        // With a server that wants to lead, but that the others cannot reach,
        // that went on for as long as it answered them.
        if self.decided_at.is_some() && notification.state == ServerState::Looking {
            if candidate > self.proposal {
                self.decided_at = None;
            } else if notification.round > peer.round {
                return None;
            }
        }
        match notification.state {
            ServerState::Looking => {
                self.looking(peer, from, notification, fx);
                self.conclude(peer, now)
            }
            ServerState::Following | ServerState::Leading => self.join(peer, from, notification),
            ServerState::Observing => None,
        }
    }

    fn looking(
        &mut self,
        peer: &mut Peer,
        from: Sid,
        notification: &Notification,
        fx: &mut Effects,
    ) {
        if notification.zxid.0 == -1 || self.own.zxid.0 == -1 {
            return;
        }
        let candidate = Candidate::of(notification);
        let is_news = !self.received.contains_key(&from);
        if notification.round < peer.round {
            peer.notify(from, ServerState::Looking, self.proposal, peer.round, fx);
            return;
        }
        if notification.round > peer.round {
            peer.round = notification.round;
            self.received.clear();
            self.decided_at = None;
            self.proposal = candidate.max(self.own);
            self.send_to_all(peer, fx);
        } else if candidate > self.proposal {
            self.proposal = candidate;
            self.send_to_all(peer, fx);
        } else if is_news || candidate < self.proposal {
            // The reference leaves this to its resend timer. But the sender
            // may have started this round after our vote went out.
            peer.notify(from, ServerState::Looking, self.proposal, peer.round, fx);
        }
        self.received
            .insert(from, Vote::looking(candidate, notification.round));
    }

    /// Ends the election if a quorum agrees and no better vote is possible or
    /// none has come for a while.
    pub(super) fn conclude(&mut self, peer: &Peer, now: Now) -> Option<Vote> {
        let wanted = Vote::looking(self.proposal, peer.round);
        let ensemble = &peer.config.ensemble;
        let agreeing = supporters(&self.received, &wanted);
        if !ensemble.is_quorum(&agreeing) {
            self.decided_at = None;
            return None;
        }
        let spoke = |sid| self.received.contains_key(sid) || self.established.contains_key(sid);
        let is_lost = |sid| self.lost.as_ref() == Some(sid) && !spoke(sid);
        let mut voters = ensemble.members.keys();
        let all = voters.all(|sid| agreeing.contains(sid) || is_lost(sid));
        let at = *self.decided_at.get_or_insert(now.mono + FINALIZE_WAIT_MS);
        (all || at <= now.mono).then_some(wanted)
    }

    /// Joins an ensemble that has a leader already.
    fn join(&mut self, peer: &mut Peer, from: Sid, notification: &Notification) -> Option<Vote> {
        let vote = Vote {
            candidate: Candidate::of(notification),
            round: notification.round,
            state: notification.state,
            version: notification.version,
        };
        let outcome = Vote {
            state: ServerState::Looking,
            version: 0,
            ..vote
        };
        if notification.round == peer.round {
            self.received.insert(from, Vote { version: 0, ..vote });
            if self.is_led(peer, &self.received, &vote) {
                return Some(outcome);
            }
        }
        self.established.insert(from, vote);
        if self.is_led(peer, &self.established, &vote) {
            peer.round = notification.round;
            return Some(outcome);
        }
        None
    }

    /// Does a quorum follow this leader, and does the leader say so itself?
    fn is_led(&self, peer: &Peer, votes: &BTreeMap<Sid, Vote>, vote: &Vote) -> bool {
        let leader = vote.candidate.leader;
        let confirmed = if leader == peer.config.sid {
            vote.round == peer.round
        } else {
            votes
                .get(&leader)
                .is_some_and(|vote| vote.state == ServerState::Leading)
        };
        confirmed && has_quorum(&peer.config.ensemble, votes, vote)
    }

    fn send_to_all(&mut self, peer: &Peer, fx: &mut Effects) {
        self.received
            .insert(peer.config.sid, Vote::looking(self.proposal, peer.round));
        for sid in peer.config.ensemble.members.keys() {
            if *sid != peer.config.sid {
                peer.notify(*sid, ServerState::Looking, self.proposal, peer.round, fx);
            }
        }
    }
}
