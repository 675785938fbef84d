//! Expiry in buckets of a tick, and ownership.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use zk_proto::SessionId;
use zk_proto::client::ErrorCode;

use super::running::{Running, pause_ms_min};
use crate::{LinkId, Millis};

/// Through which server a session's requests come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A client of the leader itself.
    Local,
    /// A client of the learner on this link.
    Learner(LinkId),
}

/// All sessions of the ensemble. Kept by the leader only; a new leader starts
/// it from the sessions in its tree, each with its full timeout.
///
/// Two things are not taken for the silence of a client. While the leader
/// itself does not run, it hears nobody: its tracker counts `Running` time.
/// And what a learner has heard of, it tells with its answers to pings: a
/// session at a learner expires only when that learner has answered after the
/// session's time, or when its link is gone. Time in which the learner was
/// silent for as long as a pause is added once to what its sessions have left.
#[derive(Debug)]
pub struct SessionTracker {
    tick_ms: u64,
    time: Running,
    sessions: BTreeMap<SessionId, Tracked>,
    /// In running time.
    buckets: BTreeMap<Millis, BTreeSet<SessionId>>,
    /// How many sessions are being closed.
    closing: usize,
    learners: BTreeMap<LinkId, Reports>,
}

#[derive(Debug)]
struct Tracked {
    timeout_ms: u32,
    /// In running time.
    expires: Millis,
    owner: Option<Owner>,
    /// Of the silences of its learner, how much is in `expires` already or was
    /// over when the session was heard of last, ms.
    silence_counted_ms: u64,
    is_closing: bool,
}

/// What a learner has told, in running time.
#[derive(Debug)]
struct Reports {
    last: Millis,
    /// Sum of all silences of the length of a pause, ms.
    silence_ms: u64,
    /// Sessions in no bucket: their time is over, and the learner has not
    /// said yet whether it has heard of them.
    held: Vec<SessionId>,
}

impl Reports {
    const fn from(now: Millis) -> Self {
        Self {
            last: now,
            silence_ms: 0,
            held: Vec::new(),
        }
    }
}

impl SessionTracker {
    /// A tracker of the sessions in a tree, all heard of at `now`.
    #[must_use]
    pub fn new(tick_ms: u64, sessions: &BTreeMap<SessionId, i32>, now: Millis) -> Self {
        let mut tracker = Self {
            tick_ms: tick_ms.max(1),
            time: Running::from(now),
            sessions: BTreeMap::new(),
            buckets: BTreeMap::new(),
            closing: 0,
            learners: BTreeMap::new(),
        };
        for (id, timeout_ms) in sessions {
            tracker.track(*id, *timeout_ms, None, now);
        }
        tracker
    }

    /// The server takes a step. To be called before every other use at `now`.
    pub fn runs(&mut self, now: Millis) {
        self.time.step(now, self.tick_ms);
    }

    /// Number of sessions, those being closed included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// How many are being closed.
    #[must_use]
    pub const fn closing(&self) -> usize {
        self.closing
    }

    /// Is there this session, perhaps being closed?
    #[must_use]
    pub fn is_known(&self, id: SessionId) -> bool {
        self.sessions.contains_key(&id)
    }

    /// Adds a session, or renews one that is known.
    pub fn track(&mut self, id: SessionId, timeout_ms: i32, owner: Option<Owner>, now: Millis) {
        self.sessions.entry(id).or_insert(Tracked {
            timeout_ms: 0,
            expires: Millis(0),
            owner,
            silence_counted_ms: 0,
            is_closing: false,
        });
        self.renew(id, timeout_ms, now);
        if let Some(owner) = owner {
            self.set_owner(id, owner);
        }
    }

    /// Adds a session that nobody knows and whose time is over.
    pub fn track_expired(&mut self, id: SessionId, now: Millis) {
        let expires = self.time.at(now);
        self.sessions.entry(id).or_insert(Tracked {
            timeout_ms: 0,
            expires,
            owner: None,
            silence_counted_ms: 0,
            is_closing: false,
        });
        self.buckets.entry(expires).or_default().insert(id);
    }

    /// Notes that a session was heard of at `at`. False when it is unknown or
    /// being closed.
    pub fn touch(&mut self, id: SessionId, at: Millis) -> bool {
        match self.sessions.get(&id) {
            Some(tracked) if !tracked.is_closing => {
                let expires = self.expiry(tracked.timeout_ms, self.time.at(at));
                self.move_to(id, expires);
                true
            }
            _ => false,
        }
    }

    /// Like [`Self::touch`], with the timeout that was negotiated on a
    /// re-attach or that a learner reports.
    pub fn renew(&mut self, id: SessionId, timeout_ms: i32, at: Millis) -> bool {
        match self.sessions.get_mut(&id) {
            Some(tracked) if !tracked.is_closing => {
                tracked.timeout_ms = u32::try_from(timeout_ms).unwrap_or(0);
                self.touch(id, at)
            }
            _ => false,
        }
    }

    /// Makes `owner` the only one through whom the session may write.
    pub fn set_owner(&mut self, id: SessionId, owner: Owner) {
        if let Some(tracked) = self.sessions.get_mut(&id) {
            tracked.owner = Some(owner);
            tracked.silence_counted_ms = match owner {
                Owner::Learner(link) => {
                    let now = self.time.now();
                    let reports = self.learners.entry(link);
                    // The learner's silence counts from its first session on.
                    reports.or_insert_with(|| Reports::from(now)).silence_ms
                }
                Owner::Local => 0,
            };
        }
    }

    /// May this session write through this owner? The first owner that asks
    /// after a change of the leader is taken.
    pub fn check(&mut self, id: SessionId, owner: Owner) -> Result<(), ErrorCode> {
        match self.sessions.get(&id) {
            Some(tracked) if !tracked.is_closing => match tracked.owner {
                Some(known) if known == owner => Ok(()),
                Some(_) => Err(ErrorCode::SessionMoved),
                None => {
                    self.set_owner(id, owner);
                    Ok(())
                }
            },
            _ => Err(ErrorCode::SessionExpired),
        }
    }

    /// From now on the session is refused everything.
    pub fn mark_closing(&mut self, id: SessionId) {
        if let Some(tracked) = self.sessions.get_mut(&id) {
            self.closing += usize::from(!tracked.is_closing);
            tracked.is_closing = true;
        }
    }

    /// Forgets a session whose close has been applied.
    pub fn remove(&mut self, id: SessionId) {
        if let Some(tracked) = self.sessions.remove(&id) {
            self.closing -= usize::from(tracked.is_closing);
            self.leave_bucket(id, tracked.expires);
        }
    }

    /// Up to `max` sessions in the order in which they expire, those that a
    /// client has closed included, from the first one after `after`.
    pub fn by_expiry(
        &self,
        after: Option<(Millis, SessionId)>,
        max: usize,
    ) -> Vec<(Millis, SessionId)> {
        let after = after.map(|(expires, id)| (self.time.at(expires), id));
        let start = after.map_or(Millis(0), |(expires, _)| expires);
        let buckets = self.buckets.range(start..);
        let later = buckets.flat_map(|(expires, ids)| {
            let from = match after {
                Some((at, id)) if at == *expires => Bound::Excluded(id),
                _ => Bound::Unbounded,
            };
            ids.range((from, Bound::Unbounded))
                .map(|id| (self.time.when(*expires), *id))
        });
        later.take(max).collect()
    }

    /// When the next bucket is due.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Millis> {
        let next = self.buckets.keys().next();
        next.map(|expires| self.time.when(*expires))
    }

    /// The next session whose time is over, marked as closing. It is
    /// forgotten only by [`Self::remove`].
    pub fn next_expired(&mut self, now: Millis) -> Option<SessionId> {
        let now = self.time.at(now);
        loop {
            let mut bucket = self.buckets.first_entry()?;
            let expires = *bucket.key();
            if expires > now {
                return None;
            }
            let Some(id) = bucket.get_mut().pop_first() else {
                bucket.remove();
                continue;
            };
            let Some(tracked) = self.sessions.get_mut(&id).filter(|t| !t.is_closing) else {
                continue;
            };
            let reports = match tracked.owner {
                Some(Owner::Learner(link)) => self.learners.get_mut(&link),
                Some(Owner::Local) | None => None,
            };
            if let Some(reports) = reports {
                if reports.last < expires {
                    reports.held.push(id);
                    continue;
                }
                // A link that was gone and is named again has a sum of its own.
                let counted_ms = tracked.silence_counted_ms;
                let silence_ms = reports.silence_ms.saturating_sub(counted_ms);
                if silence_ms > 0 {
                    tracked.silence_counted_ms = reports.silence_ms;
                    tracked.expires = expires + silence_ms;
                    let later = self.buckets.entry(tracked.expires).or_default();
                    later.insert(id);
                    continue;
                }
            }
            tracked.is_closing = true;
            self.closing += 1;
            return Some(id);
        }
    }

    /// The learner on this link tells at `now` what it has heard of, which is
    /// to be noted after this.
    pub fn reported(&mut self, link: LinkId, now: Millis) {
        let now = self.time.at(now);
        let pause_ms = pause_ms_min(self.tick_ms);
        let reports = self
            .learners
            .entry(link)
            .or_insert_with(|| Reports::from(now));
        let silent = now - reports.last;
        if silent >= pause_ms {
            reports.silence_ms += silent;
        }
        reports.last = now;
        let held = std::mem::take(&mut reports.held);
        self.release(held);
    }

    /// The learner on this link tells nothing any more.
    pub fn learner_gone(&mut self, link: LinkId) {
        if let Some(reports) = self.learners.remove(&link) {
            self.release(reports.held);
        }
    }

    /// Puts sessions that were held back into buckets, but for those that were
    /// heard of and are in one.
    fn release(&mut self, held: Vec<SessionId>) {
        for id in held {
            if let Some(tracked) = self.sessions.get(&id) {
                self.buckets.entry(tracked.expires).or_default().insert(id);
            }
        }
    }

    /// The end of the tick in which the timeout ends.
    fn expiry(&self, timeout_ms: u32, at: Millis) -> Millis {
        Millis(((at.0 + u64::from(timeout_ms)) / self.tick_ms + 1) * self.tick_ms)
    }

    fn move_to(&mut self, id: SessionId, expires: Millis) {
        let Some(tracked) = self.sessions.get_mut(&id) else {
            return;
        };
        let old = tracked.expires;
        // An older report must not shorten a life.
        if expires <= old {
            return;
        }
        tracked.expires = expires;
        if let Some(Owner::Learner(link)) = tracked.owner
            && let Some(reports) = self.learners.get(&link)
        {
            tracked.silence_counted_ms = reports.silence_ms;
        }
        self.leave_bucket(id, old);
        self.buckets.entry(expires).or_default().insert(id);
    }

    fn leave_bucket(&mut self, id: SessionId, expires: Millis) {
        if let Some(bucket) = self.buckets.get_mut(&expires) {
            bucket.remove(&id);
            if bucket.is_empty() {
                self.buckets.remove(&expires);
            }
        }
    }
}

#[cfg(test)]
mod tests;
