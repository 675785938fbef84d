//! Votes that voters have sent of themselves over the election port. They are
//! the proof that a compatible server can give of being the one it says it is:
//! whoever connects to the quorum port in a voter's name is believed once that
//! voter is heard to look for a leader.

use std::collections::BTreeMap;

use zk_proto::{Epoch, Sid, Zxid};

use crate::Millis;

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
}

/// What was heard of all voters.
#[derive(Debug)]
pub(super) struct HeardVotes {
    newest: BTreeMap<Sid, Heard>,
    /// Introductions up to here have led to a synchronized link, so that the
    /// votes before them have served their purpose.
    used: BTreeMap<Sid, Turn>,
    turns: u64,
    /// A vote that is older than this, in ms, says nothing about who connects.
    age_max_ms: u64,
}

impl HeardVotes {
    pub(super) const fn new(age_max_ms: u64) -> Self {
        Self {
            newest: BTreeMap::new(),
            used: BTreeMap::new(),
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
    pub(super) fn note(&mut self, sid: Sid, history: (Epoch, Zxid), at: Millis) {
        let turn = self.turn();
        self.newest.insert(sid, Heard { turn, at, history });
    }

    /// A voter is synchronized on the link on which it introduced itself at
    /// this turn. It is not believed again before it has voted again.
    pub(super) fn use_up(&mut self, sid: Sid, introduced: Turn) {
        let used = self.used.entry(sid).or_insert(Turn::NONE);
        *used = introduced.max(*used);
    }

    /// The newest vote of a voter, if it was heard after `since` and is to be
    /// believed.
    pub(super) fn of(&self, sid: Sid, since: Turn, now: Millis) -> Option<Heard> {
        let heard = *self.newest.get(&sid)?;
        let used = self.used.get(&sid).copied().unwrap_or(Turn::NONE);
        let is_valid = heard.turn > used.max(since) && now - heard.at <= self.age_max_ms;
        is_valid.then_some(heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vote_stands_for_one_synchronized_link_and_not_for_ever() {
        let mut heard = HeardVotes::new(1_000);
        let history = (Epoch(1), Zxid(7));
        let of = |heard: &HeardVotes, since, ms| {
            let vote = heard.of(Sid(1), since, Millis(ms));
            vote.map(|vote| vote.history)
        };
        assert_eq!(of(&heard, Turn::NONE, 0), None);
        heard.note(Sid(1), history, Millis(0));
        assert_eq!(of(&heard, Turn::NONE, 1_000), Some(history));
        assert_eq!(of(&heard, Turn::NONE, 1_001), None);
        let introduced = heard.turn();
        assert_eq!(of(&heard, introduced, 0), None);
        heard.use_up(Sid(1), introduced);
        assert_eq!(of(&heard, Turn::NONE, 0), None);
        heard.note(Sid(1), history, Millis(5));
        assert_eq!(of(&heard, introduced, 5), Some(history));
    }
}
