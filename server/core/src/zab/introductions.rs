//! How a leader comes to believe that a learner is the voter it says it is.
//! Until then a link changes nothing but itself.

use zk_proto::quorum::QuorumPacket;
use zk_proto::{Epoch, Sid};

use super::epochs;
use super::event::Effects;
use super::heard::Turn;
use super::leader::{Leader, Phase, propose_epoch};
use super::learner_handler::{Learner, Stage, introduced_end, introduction};
use super::peer::{GiveUp, Peer, Step};
use crate::{LinkId, Millis, Now};

impl Leader {
    /// Links that may be open at once without having introduced themselves.
    /// Beside them each voter may have one that has and one that claims to be it.
    const UNKNOWN_MAX: usize = 64;

    /// A link to the quorum port.
    pub(super) fn accepted(&mut self, link: LinkId, now: Now, fx: &mut Effects) {
        let is_unknown = |learner: &Learner| learner.stage == Stage::Connected;
        let unknown = self.learners.iter().filter(|(_, it)| is_unknown(it));
        if unknown.count() >= Self::UNKNOWN_MAX {
            let oldest = self.learners.iter().find(|(_, it)| is_unknown(it));
            let oldest = *oldest.expect("counted above").0;
            self.close(oldest, "too many links without an introduction", fx);
        }
        self.learners.insert(link, Learner::new(now.mono));
    }

    /// FOLLOWERINFO has come.
    pub(super) fn claimed(
        &mut self,
        peer: &mut Peer,
        now: Now,
        link: LinkId,
        packet: &QuorumPacket,
        fx: &mut Effects,
    ) -> Result<(), &'static str> {
        let (sid, accepted) = introduction(peer, packet)?;
        if let Some(older) = self.find(|it| it.stage == Stage::Claimed && it.claims(sid)) {
            self.close(older, CONNECTED_ANEW, fx);
        }
        let learner = self.learners.get_mut(&link).expect("its packet came");
        learner.claim = Some((sid, accepted));
        learner.end = introduced_end(packet);
        learner.claimed = peer.heard.turn();
        learner.enter(Stage::Claimed, now.mono);
        match self.proved_at(peer, now, link) {
            Some(at) if at <= now.mono => self.introduced(peer, now, link, fx),
            _ => Ok(()),
        }
    }

    /// Takes in those whose claims are proved by now.
    pub(super) fn admit(&mut self, peer: &mut Peer, now: Now, fx: &mut Effects) -> Step {
        for link in self.claims().collect::<Vec<_>>() {
            let at = self.proved_at(peer, now, link);
            let learner = self.learners.get_mut(&link).expect("it is one of them");
            learner.admit_at = at.filter(|at| *at > now.mono);
            if at.is_some_and(|at| at <= now.mono)
                && let Err(reason) = self.introduced(peer, now, link, fx)
            {
                self.close(link, reason, fx);
            }
        }
        self.gives_way(peer)
    }

    fn claims(&self) -> impl Iterator<Item = LinkId> {
        let claims = self
            .learners
            .iter()
            .filter(|(_, it)| it.stage == Stage::Claimed);
        claims.map(|(link, _)| *link)
    }

    /// When whoever has introduced itself on this link is to be believed. The
    /// voter must have been heard to look for a leader since it last introduced
    /// itself, and a link on which it answers is not given up for another one.
    /// It votes before it connects. So who has waited for the vote is believed
    /// only if nobody comes after it.
    fn proved_at(&self, peer: &Peer, now: Now, link: LinkId) -> Option<Millis> {
        let learner = &self.learners[&link];
        let (sid, _) = learner.claim?;
        let older = self.find(|it| it.sid == Some(sid));
        let older = older.map(|older| &self.learners[&older]);
        if older.is_some_and(|it| it.is_answering(now.mono, peer.config.tick_ms)) {
            return None;
        }
        let since = older.map_or(Turn::NONE, |it| it.introduced);
        let heard = peer.heard.of(sid, since, now.mono)?;
        let is_first = learner.claimed < heard.turn;
        let wait_ms = if is_first { peer.config.tick_ms / 2 } else { 0 };
        Some(heard.at + wait_ms)
    }

    fn introduced(
        &mut self,
        peer: &mut Peer,
        now: Now,
        link: LinkId,
        fx: &mut Effects,
    ) -> Result<(), &'static str> {
        let (sid, accepted) = self.learners[&link]
            .claim
            .expect("it has claimed to be one");
        if self.phase == Phase::EpochQuorum {
            let own = peer.history.accepted_epoch().max(peer.epoch_floor);
            self.epoch = self.epoch.max(epochs::after(own, accepted)?);
        } else if accepted > self.epoch {
            self.outranked(peer, now, sid, accepted);
        }
        if let Some(older) = self.find(|it| it.sid == Some(sid)) {
            self.close(older, CONNECTED_ANEW, fx);
        }
        let learner = self.learners.get_mut(&link).expect("its claim was there");
        learner.sid = Some(sid);
        learner.introduced = peer.heard.turn();
        peer.adopt_config_of(sid);
        learner.enter(Stage::Introduced, now.mono);
        match self.phase {
            Phase::EpochQuorum => {
                self.connecting.insert(sid);
                self.decide_epoch(peer, fx);
            }
            Phase::SavingAccepted(_) => {}
            Phase::AckQuorum | Phase::SavingCurrent(_) | Phase::HistoryQuorum | Phase::Serving => {
                propose_epoch(self.epoch, link, learner, peer, now, fx)
            }
        }
        Ok(())
    }

    /// A voter has promised to follow nobody of an epoch as old as this. The
    /// reference leaves it out until the next election, whenever that is. Here
    /// the reign ends for it if no other history can win by that: what the
    /// voter voted for is not above what this server has.
    fn outranked(&self, peer: &mut Peer, now: Now, sid: Sid, accepted: Epoch) {
        let own = match self.phase {
            Phase::Serving => (self.epoch, peer.history.delivered()),
            _ => self.summary,
        };
        let theirs = peer.heard.of(sid, Turn::NONE, now.mono);
        let is_harmless = theirs.is_some_and(|vote| vote.history <= own);
        if is_harmless && epochs::after(self.epoch, accepted).is_ok() {
            peer.epoch_floor = peer.epoch_floor.max(accepted);
        } else {
            tracing::warn!(
                %sid, %accepted, epoch = %self.epoch,
                "a voter has accepted a newer epoch and stays out: its history may be another one"
            );
        }
    }

    /// Ends the reign if a voter may not follow it.
    pub(super) fn gives_way(&self, peer: &Peer) -> Step {
        if self.phase != Phase::EpochQuorum && peer.epoch_floor > self.epoch {
            return Err(GiveUp("a voter has accepted a newer epoch"));
        }
        Ok(())
    }

    fn find(&self, is_wanted: impl Fn(&Learner) -> bool) -> Option<LinkId> {
        let mut learners = self.learners.iter();
        learners
            .find(|(_, it)| is_wanted(it))
            .map(|(link, _)| *link)
    }
}

const CONNECTED_ANEW: &str = "the learner has connected anew";
