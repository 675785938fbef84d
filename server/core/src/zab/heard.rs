//! Votes that voters have sent of themselves over the election port. They are
//! the proof that a compatible server can give of being the one it says it is:
//! whoever connects to the quorum port in a voter's name is believed once that
//! voter is heard to look for a leader, and if both come from one place.

use std::collections::BTreeMap;
use std::net::IpAddr;

use zk_proto::{Epoch, Sid, Zxid};

use crate::{Millis, Origin};

/// Counts votes and introductions in the order in which they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn(u64);

impl Turn {
    /// Before everything.
    pub(super) const NONE: Self = Self(0);
}

/// The newest vote of one voter that looked for a leader.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) turn: Turn,
    pub(super) at: Millis,
    /// Epoch and end of the history that it voted for. Its own is not above:
    /// a voter never votes for less than itself.
    pub(super) history: (Epoch, Zxid),
    /// Where the connection came from that brought it.
    address: IpAddr,
}

/// How surely a link is that of the voter that was heard, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// The vote came from another address: one of both has passed through a
    /// host that translates addresses, or it is somebody else's.
    Other,
    /// The vote came from the same address, which is none of the voter's host.
    Same,
    /// The link comes from an address of the voter's host.
    Host,
}

/// Shows that a link is a voter's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proof {
    pub(super) place: Place,
    /// The vote's turn.
    pub(super) turn: Turn,
    /// When the vote was heard.
    pub(super) at: Millis,
    /// No link was introduced by this vote yet.
    pub(super) is_fresh: bool,
}

/// What was heard of all voters.
#[derive(Debug)]
pub(super) struct HeardVotes {
    /// The newest from an address of the voter's host, and the newest from
    /// elsewhere: who votes in another's name silences nobody.
    newest: BTreeMap<(Sid, bool), Heard>,
    /// Introductions up to here have led to a synchronized link, so that the
    /// votes before them have served their purpose.
    used: BTreeMap<Sid, Turn>,
    /// The newest introduction.
    introduced: BTreeMap<Sid, Turn>,
    turns: u64,
    /// A vote that is older than this, in ms, says nothing about who connects.
    age_max_ms: u64,
}

impl HeardVotes {
    pub(super) const fn new(age_max_ms: u64) -> Self {
        Self {
            newest: BTreeMap::new(),
            used: BTreeMap::new(),
            introduced: BTreeMap::new(),
            turns: 0,
            age_max_ms,
        }
    }

    /// The next turn.
    pub(super) const fn turn(&mut self) -> Turn {
        self.turns += 1;
        Turn(self.turns)
    }

    /// A voter has voted while it looks for a leader.
    pub(super) fn note(&mut self, sid: Sid, origin: Origin, history: (Epoch, Zxid), at: Millis) {
        let heard = Heard {
            turn: self.turn(),
            at,
            history,
            address: origin.address,
        };
        self.newest.insert((sid, origin.is_listed), heard);
    }

    /// A voter is believed on a link. Returns the turn of that.
    pub(super) fn introduce(&mut self, sid: Sid) -> Turn {
        let turn = self.turn();
        self.introduced.insert(sid, turn);
        turn
    }

    /// A voter is synchronized on the link on which it introduced itself at
    /// this turn. It is not believed again before it has voted again.
    pub(super) fn use_up(&mut self, sid: Sid, introduced: Turn) {
        let used = self.used.entry(sid).or_insert(Turn::NONE);
        *used = introduced.max(*used);
    }

    /// What the votes of a voter that were heard after `since` say of a link
    /// from there. A vote proves one introduction, and on links from the
    /// voter's own host any number until one of them is synchronized: the vote
    /// of a voter that has connected anew may have come before its older link
    /// was heard of.
    pub(super) fn proof(&self, sid: Sid, link: Origin, since: Turn, now: Millis) -> Option<Proof> {
        let last = |turns: &BTreeMap<Sid, Turn>| turns.get(&sid).copied().unwrap_or(Turn::NONE);
        let (used, introduced) = (last(&self.used).max(since), last(&self.introduced));
        let votes = [true, false].map(|is_listed| self.of(sid, is_listed, now));
        let proofs = votes.into_iter().flatten().map(|heard| Proof {
            place: match (link.is_listed, heard.address == link.address) {
                (true, _) => Place::Host,
                (false, true) => Place::Same,
                (false, false) => Place::Other,
            },
            turn: heard.turn,
            at: heard.at,
            is_fresh: heard.turn > introduced,
        });
        proofs
            .filter(|proof| proof.turn > used)
            .filter(|proof| proof.is_fresh || proof.place == Place::Host)
            .max_by_key(|proof| (proof.place, proof.turn))
    }

    /// The newest vote of a voter from an address of its host, if it is to be
    /// believed.
    pub(super) fn listed(&self, sid: Sid, now: Millis) -> Option<Heard> {
        self.of(sid, true, now)
    }

    fn of(&self, sid: Sid, is_listed: bool, now: Millis) -> Option<Heard> {
        let heard = *self.newest.get(&(sid, is_listed))?;
        (now - heard.at <= self.age_max_ms).then_some(heard)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{elsewhere, home};
    use super::*;

    const NOW: Millis = Millis(5);

    fn note(heard: &mut HeardVotes, origin: Origin) {
        heard.note(Sid(1), origin, (Epoch(1), Zxid(7)), NOW);
    }

    fn place(heard: &HeardVotes, link: Origin) -> Option<Place> {
        let proof = heard.proof(Sid(1), link, Turn::NONE, NOW);
        proof.map(|proof| proof.place)
    }

    #[test]
    fn a_vote_stands_for_one_synchronized_link_and_not_for_ever() {
        let mut heard = HeardVotes::new(1_000);
        let proof = |heard: &HeardVotes, since, ms| {
            let proof = heard.proof(Sid(1), home(Sid(1)), since, Millis(ms));
            proof.map(|proof| proof.is_fresh)
        };
        assert_eq!(proof(&heard, Turn::NONE, 5), None);
        note(&mut heard, home(Sid(1)));
        assert_eq!(proof(&heard, Turn::NONE, 1_005), Some(true));
        assert_eq!(proof(&heard, Turn::NONE, 1_006), None);
        let introduced = heard.introduce(Sid(1));
        assert_eq!(proof(&heard, introduced, 5), None);
        assert_eq!(proof(&heard, Turn::NONE, 5), Some(false));
        heard.use_up(Sid(1), introduced);
        assert_eq!(proof(&heard, Turn::NONE, 5), None);
        note(&mut heard, home(Sid(1)));
        assert_eq!(proof(&heard, introduced, 5), Some(true));
    }

    #[test]
    fn a_vote_stands_for_one_link_from_elsewhere() {
        let mut heard = HeardVotes::new(1_000);
        note(&mut heard, home(Sid(1)));
        assert_eq!(place(&heard, elsewhere(1)), Some(Place::Other));
        heard.introduce(Sid(1));
        assert_eq!(place(&heard, elsewhere(1)), None);
        assert_eq!(place(&heard, home(Sid(1))), Some(Place::Host));
    }

    #[test]
    fn votes_from_elsewhere_silence_nobody() {
        let mut heard = HeardVotes::new(1_000);
        note(&mut heard, home(Sid(1)));
        note(&mut heard, elsewhere(1));
        assert_eq!(place(&heard, elsewhere(1)), Some(Place::Same));
        assert_eq!(place(&heard, elsewhere(2)), Some(Place::Other));
        assert_eq!(place(&heard, home(Sid(1))), Some(Place::Host));
        assert!(heard.listed(Sid(1), NOW).is_some());
    }
}
