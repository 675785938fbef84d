//! How a leader comes to believe that a learner is the voter it says it is.
//! Until then a link changes nothing but itself.
//!
//! A voter votes before it connects. One whose link comes from an address of
//! its host is believed as soon as its vote is heard. One that comes from
//! elsewhere, because something on the way translates addresses or because a
//! name server is behind, is believed after a while, if nobody else says from
//! another place to be that voter; it replaces no link from the voter's host,
//! deposes no leader, and raises the epoch by little (see `epochs.rs`).

use zk_proto::quorum::QuorumPacket;
use zk_proto::{Epoch, Sid};

use super::epochs;
use super::event::Effects;
use super::heard::{Place, Proof, Turn};
use super::leader::{Leader, Phase, propose_epoch};
use super::learner_handler::{Learner, Stage, introduced_end, introduction};
use super::peer::{GiveUp, Peer, Step};
use crate::{LinkId, Millis, Now, Origin};

impl Leader {
    /// Links that may be open at once without having introduced themselves.
    /// Beside them each voter may have one that is believed, and a few that
    /// claim to be it.
    const UNKNOWN_MAX: usize = 64;
    /// Links that may claim to be one voter and come from elsewhere than its
    /// host. A second one shows that one of both lies.
    const CLAIMS_MAX: usize = 2;

    /// A link to the quorum port.
    pub(super) fn accepted(&mut self, link: LinkId, origin: Origin, now: Now, fx: &mut Effects) {
        let is_unknown = |learner: &Learner| learner.stage == Stage::Connected;
        let unknown = self.learners.iter().filter(|(_, it)| is_unknown(it));
        if unknown.count() >= Self::UNKNOWN_MAX {
            let oldest = self.learners.iter().find(|(_, it)| is_unknown(it));
            let oldest = *oldest.expect("counted above").0;
            self.close(oldest, "too many links without an introduction", fx);
        }
        self.learners.insert(link, Learner::new(origin, now.mono));
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
        let (sid, accepted, config_version) = introduction(peer, packet)?;
        let origin = self.learners[&link].origin;
        let is_same = |it: &Learner| it.claims(sid) && it.origin == origin;
        let is_strange = |it: &Learner| it.claims(sid) && !it.origin.is_listed;
        if let Some(older) = self.find(is_same) {
            self.close(older, CONNECTED_ANEW, fx);
        } else if !origin.is_listed && self.count(is_strange) >= Self::CLAIMS_MAX {
            let oldest = self.find(is_strange).expect("counted above");
            self.close(oldest, "too many learners say to be this server", fx);
        }
        let learner = self.learners.get_mut(&link).expect("its packet came");
        learner.claim = Some((sid, accepted));
        learner.config_version = config_version;
        learner.end = introduced_end(packet);
        learner.claimed = (peer.heard.turn(), now.mono);
        learner.enter(Stage::Claimed, now.mono);
        self.judge(peer, now, link, fx)
    }

    /// Takes in those whose claims are proved by now.
    pub(super) fn admit(&mut self, peer: &mut Peer, now: Now, fx: &mut Effects) -> Step {
        for link in self.claims().collect::<Vec<_>>() {
            if let Err(reason) = self.judge(peer, now, link, fx) {
                self.close(link, reason, fx);
            }
        }
        self.gives_way(peer)
    }

    /// Believes the claim of this link if it is proved by now.
    fn judge(
        &mut self,
        peer: &mut Peer,
        now: Now,
        link: LinkId,
        fx: &mut Effects,
    ) -> Result<(), &'static str> {
        let proved = self.proved_at(peer, now, link);
        let learner = self.learners.get_mut(&link).expect("it claims to be one");
        learner.admit_at = proved.map(|(at, _)| at).filter(|at| *at > now.mono);
        match proved {
            Some((at, proof)) if at <= now.mono => self.introduced(peer, now, link, proof, fx),
            _ => Ok(()),
        }
    }

    fn claims(&self) -> impl Iterator<Item = LinkId> {
        let claims = self
            .learners
            .iter()
            .filter(|(_, it)| it.stage == Stage::Claimed);
        claims.map(|(link, _)| *link)
    }

    /// When whoever has introduced itself on this link is to be believed, and
    /// why. The voter must have been heard to look for a leader since it last
    /// introduced itself, and a link on which it answers is not given up for
    /// another one. It votes before it connects. So who has waited for the vote
    /// is believed only if nobody comes after it, and who comes from elsewhere
    /// than the voter's host only if nobody else does.
    fn proved_at(&self, peer: &Peer, now: Now, link: LinkId) -> Option<(Millis, Proof)> {
        let learner = &self.learners[&link];
        let (sid, _) = learner.claim?;
        let older = self.find(|it| it.sid == Some(sid));
        let older = older.map(|older| &self.learners[&older]);
        // One from elsewhere is no obstacle for one from the voter's host.
        let older = older.filter(|it| it.origin.is_listed || !learner.origin.is_listed);
        let claimed = learner.claimed.1;
        let free_at = older.map_or(claimed, |it| {
            it.replaceable_at(claimed, peer.config.tick_ms)
        });
        let since = older.map_or(Turn::NONE, |it| it.introduced);
        let proof = peer.heard.proof(sid, learner.origin, since, now.mono)?;
        let wait_ms = peer.config.tick_ms / 2;
        if proof.place == Place::Host {
            let is_first = learner.claimed.0 < proof.turn;
            let at = proof.at + if is_first { wait_ms } else { 0 };
            return Some((at.max(free_at), proof));
        }
        let is_kept = older.is_some_and(|it| it.origin.is_listed);
        let is_doubtful = |it: &Learner| {
            it.claims(sid)
                && it.origin != learner.origin
                && peer
                    .heard
                    .proof(sid, it.origin, since, now.mono)
                    .is_some_and(|it| it.place >= proof.place)
        };
        if is_kept || self.find(is_doubtful).is_some() {
            return None;
        }
        let at = proof.at.max(claimed) + wait_ms;
        Some((at.max(free_at), proof))
    }

    fn introduced(
        &mut self,
        peer: &mut Peer,
        now: Now,
        link: LinkId,
        proof: Proof,
        fx: &mut Effects,
    ) -> Result<(), &'static str> {
        let (sid, accepted) = self.learners[&link]
            .claim
            .expect("it has claimed to be one");
        if self.phase == Phase::EpochQuorum {
            self.takes_epoch(peer, accepted, proof)?;
        } else if accepted > self.epoch {
            self.outranked(peer, now, sid, accepted, proof);
        }
        if let Some(older) = self.find(|it| it.sid == Some(sid)) {
            self.close(older, CONNECTED_ANEW, fx);
        }
        let learner = self.learners.get_mut(&link).expect("its claim was there");
        learner.sid = Some(sid);
        learner.introduced = peer.heard.introduce(sid);
        if proof.place == Place::Host {
            peer.adopt_version(learner.config_version, self.epoch);
        }
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

    /// The epoch of this reign has to be above what a voter has accepted. A
    /// vote raises it once.
    fn takes_epoch(
        &mut self,
        peer: &Peer,
        accepted: Epoch,
        proof: Proof,
    ) -> Result<(), &'static str> {
        if accepted < self.epoch {
            return Ok(());
        }
        if !proof.is_fresh {
            return Err("the learner has to vote again before its accepted epoch counts");
        }
        let own = peer.history.accepted_epoch().max(peer.epoch_floor);
        let next = epochs::after(own, accepted)?;
        let reach = epochs::reach(own, proof.place == Place::Host);
        if accepted > reach {
            self.nearer = self.nearer.max(reach);
            return Err("the learner's accepted epoch is too far above this server's");
        }
        self.epoch = self.epoch.max(next);
        Ok(())
    }

    /// A voter has promised to follow nobody of an epoch as old as this. The
    /// reference leaves it out until the next election, whenever that is. Here
    /// the reign ends for it if no other history can win by that: what the
    /// voter voted for is not above what this server has.
    fn outranked(&self, peer: &mut Peer, now: Now, sid: Sid, accepted: Epoch, proof: Proof) {
        let own = match self.phase {
            Phase::Serving => (self.epoch, peer.history.delivered()),
            _ => self.summary,
        };
        let is_its_word = proof.place == Place::Host && proof.is_fresh;
        let theirs = peer.heard.listed(sid, now.mono);
        let is_harmless = theirs.is_some_and(|vote| vote.history <= own);
        let is_near = accepted <= epochs::reach(self.epoch, is_its_word);
        if is_its_word && is_harmless && is_near {
            peer.epoch_floor = peer.epoch_floor.max(accepted);
        } else {
            tracing::warn!(
                %sid, %accepted, epoch = %self.epoch,
                "a voter has accepted a newer epoch and stays out until the next election"
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

    fn count(&self, is_wanted: impl Fn(&Learner) -> bool) -> usize {
        self.learners.values().filter(|it| is_wanted(it)).count()
    }

    fn find(&self, is_wanted: impl Fn(&Learner) -> bool) -> Option<LinkId> {
        let mut learners = self.learners.iter();
        learners
            .find(|(_, it)| is_wanted(it))
            .map(|(link, _)| *link)
    }
}

const CONNECTED_ANEW: &str = "the learner has connected anew";
