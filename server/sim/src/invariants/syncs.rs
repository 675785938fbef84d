//! A sync shows what was acknowledged before it was sent, and what was proposed
//! before it came to the leader. A follower shows what its leader has committed.

use std::collections::{BTreeMap, VecDeque};

use zk_proto::{Epoch, Zxid};

use super::{Life, Violation};

/// The newest acknowledged transaction of each epoch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Acknowledged(BTreeMap<Epoch, Zxid>);

impl Acknowledged {
    pub(super) fn acknowledged(&mut self, zxid: Zxid) {
        let newest = self.0.entry(zxid.epoch()).or_default();
        *newest = zxid.max(*newest);
    }

    /// A sync, or a read after it, was answered by a server at `zxid`. `self`
    /// is what had been acknowledged when the sync was sent. A leader that was
    /// replaced and has not noticed knows nothing of later epochs, as in the
    /// reference.
    pub(crate) fn are_shown(&self, client: usize, zxid: Zxid) -> Result<(), Violation> {
        let of_epoch = self.0.range(..=zxid.epoch()).next_back();
        match of_epoch {
            Some((_, newest)) if *newest > zxid => {
                let detail = format!(
                    "client {client} has synced at {zxid}, {newest} was acknowledged before"
                );
                Err(Violation::new("a sync shows what was acknowledged", detail))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// The syncs of a learner that are under way at its leader.
#[derive(Debug, Default)]
pub(crate) struct Syncs {
    /// For each the end of the leader's log when it came, oldest first.
    asked: VecDeque<Zxid>,
    /// What the learner was told to be committed.
    told: Zxid,
}

impl Syncs {
    /// A sync comes to a leader whose log ends with `tip`.
    pub(crate) fn asked(&mut self, tip: Zxid) {
        self.asked.push_back(tip);
    }

    /// The learner is told that everything up to `zxid` is committed.
    pub(crate) fn told(&mut self, zxid: Zxid) {
        self.told = zxid.max(self.told);
    }

    /// The learner shows everything up to `zxid` to its clients.
    pub(crate) fn shows(&self, who: Life, zxid: Zxid) -> Result<(), Violation> {
        if zxid <= self.told {
            return Ok(());
        }
        let told = self.told;
        let detail = format!("{who} shows {zxid}, its leader has told it of commits up to {told}");
        Err(Violation::new("a follower shows what is committed", detail))
    }

    /// The oldest sync is answered.
    pub(crate) fn answered(&mut self, who: Life) -> Result<(), Violation> {
        let Some(tip) = self.asked.pop_front() else {
            let detail = format!("{who} answers a sync that nobody has asked for");
            return Err(Violation::new("a sync waits for what was proposed", detail));
        };
        if tip > self.told {
            let detail = format!(
                "{who} answers a sync that came when {tip} was proposed, and has told its learner \
                 of commits up to {} only",
                self.told
            );
            return Err(Violation::new("a sync waits for what was proposed", detail));
        }
        Ok(())
    }
}
