//! Who says to be a voter and does not speak from that voter's host is believed
//! late, and once for each vote; its word does not use up epochs.

use std::collections::{BTreeMap, BTreeSet};

use zk_core::{LinkId, Origin};
use zk_proto::quorum::{Notification, ServerState};
use zk_proto::{Epoch, Sid};

use super::{Life, Violation};
use crate::scenario::TICK_MS;

/// What one server has heard of voters and of those who say to be one.
#[derive(Debug, Default)]
pub(crate) struct Impostors {
    /// Strangers' links that do not come from the host of that voter, and
    /// when it was said.
    claims: BTreeMap<LinkId, (Sid, u64)>,
    /// Voters that have voted since somebody was believed to be them.
    heard: BTreeSet<Sid>,
}

impl Impostors {
    /// A vote comes in.
    pub(crate) fn voted(&mut self, from: Sid, notification: &Notification) {
        if notification.state == ServerState::Looking {
            self.heard.insert(from);
        }
    }

    /// A stranger says from there to be this voter.
    pub(crate) fn claimed(&mut self, link: LinkId, sid: Sid, origin: Origin, now_us: u64) {
        if !origin.is_listed {
            self.claims.insert(link, (sid, now_us));
        }
    }

    /// A leader sends LEADERINFO on a link, which this server has opened
    /// unless it is a stranger's. While it serves, it does so as soon as it
    /// believes who is there.
    pub(crate) fn believed(
        &mut self,
        who: Life,
        (link, learner): (LinkId, Option<Sid>),
        now_us: u64,
        serves: bool,
    ) -> Result<(), Violation> {
        let Some((sid, claimed_us)) = self.claims.remove(&link) else {
            if let Some(sid) = learner.filter(|_| serves) {
                self.heard.remove(&sid);
            }
            return Ok(());
        };
        // The clocks of servers count whole milliseconds.
        if now_us + 1_000 < claimed_us + TICK_MS * 500 {
            let after_us = now_us - claimed_us;
            let detail = format!("{who} believes after {after_us} us that a stranger is {sid}");
            return Err(Violation::new("strangers wait", detail));
        }
        if serves && !self.heard.remove(&sid) {
            let detail = format!("{who} believes another one that it is {sid}, for an old vote");
            return Err(Violation::new("a vote proves one link", detail));
        }
        Ok(())
    }
}

/// A server accepts an epoch. Elections of a run do not use up so many, but
/// strangers talk of more.
pub(crate) fn is_earned(who: Life, epoch: Epoch) -> Result<(), Violation> {
    if epoch.0 < 100_000 {
        return Ok(());
    }
    let detail = format!("{who} accepts epoch {epoch}");
    Err(Violation::new("epochs are earned", detail))
}
