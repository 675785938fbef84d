//! Expiry in buckets of a tick, and ownership.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use zk_proto::SessionId;
use zk_proto::client::ErrorCode;

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
#[derive(Debug)]
pub struct SessionTracker {
    tick_ms: u64,
    sessions: BTreeMap<SessionId, Tracked>,
    buckets: BTreeMap<Millis, BTreeSet<SessionId>>,
}

#[derive(Debug)]
struct Tracked {
    timeout_ms: u32,
    expires: Millis,
    owner: Option<Owner>,
    is_closing: bool,
}

impl SessionTracker {
    /// A tracker of the sessions in a tree, all heard of at `now`.
    #[must_use]
    pub fn new(tick_ms: u64, sessions: &BTreeMap<SessionId, i32>, now: Millis) -> Self {
        let mut tracker = Self {
            tick_ms: tick_ms.max(1),
            sessions: BTreeMap::new(),
            buckets: BTreeMap::new(),
        };
        for (id, timeout_ms) in sessions {
            tracker.track(*id, *timeout_ms, None, now);
        }
        tracker
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
            is_closing: false,
        });
        self.renew(id, timeout_ms, now);
        if let (Some(tracked), Some(_)) = (self.sessions.get_mut(&id), owner) {
            tracked.owner = owner;
        }
    }

    /// Notes that a session was heard of at `at`. False when it is unknown or
    /// being closed.
    pub fn touch(&mut self, id: SessionId, at: Millis) -> bool {
        match self.sessions.get(&id) {
            Some(tracked) if !tracked.is_closing => {
                let expires = self.expiry(tracked.timeout_ms, at);
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
        }
    }

    /// May this session write through this owner? The first owner that asks
    /// after a change of the leader is taken.
    pub fn check(&mut self, id: SessionId, owner: Owner) -> Result<(), ErrorCode> {
        match self.sessions.get_mut(&id) {
            Some(tracked) if !tracked.is_closing => match *tracked.owner.get_or_insert(owner) {
                known if known == owner => Ok(()),
                _ => Err(ErrorCode::SessionMoved),
            },
            _ => Err(ErrorCode::SessionExpired),
        }
    }

    /// From now on the session is refused everything.
    pub fn mark_closing(&mut self, id: SessionId) {
        if let Some(tracked) = self.sessions.get_mut(&id) {
            tracked.is_closing = true;
        }
    }

    /// Forgets a session whose close has been applied.
    pub fn remove(&mut self, id: SessionId) {
        if let Some(tracked) = self.sessions.remove(&id) {
            self.leave_bucket(id, tracked.expires);
        }
    }

    /// Up to `max` sessions in the order in which they expire, those being
    /// closed included, from the first one after `after`.
    pub fn by_expiry(
        &self,
        after: Option<(Millis, SessionId)>,
        max: usize,
    ) -> Vec<(Millis, SessionId)> {
        let start = after.map_or(Millis(0), |(expires, _)| expires);
        let buckets = self.buckets.range(start..);
        let later = buckets.flat_map(|(expires, ids)| {
            let from = match after {
                Some((at, id)) if at == *expires => Bound::Excluded(id),
                _ => Bound::Unbounded,
            };
            ids.range((from, Bound::Unbounded))
                .map(|id| (*expires, *id))
        });
        later.take(max).collect()
    }

    /// When the next bucket is due.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Millis> {
        self.buckets.keys().next().copied()
    }

    /// Sessions whose bucket is due, each marked as closing. They are
    /// forgotten only by [`Self::remove`].
    pub fn take_expired(&mut self, now: Millis) -> Vec<SessionId> {
        let mut expired = Vec::new();
        while let Some(bucket) = self
            .buckets
            .first_entry()
            .filter(|bucket| *bucket.key() <= now)
        {
            for id in bucket.remove() {
                if let Some(tracked) = self
                    .sessions
                    .get_mut(&id)
                    .filter(|tracked| !tracked.is_closing)
                {
                    tracked.is_closing = true;
                    expired.push(id);
                }
            }
        }
        expired
    }

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
mod tests {
    use super::*;

    const ID: SessionId = SessionId(7);

    #[test]
    fn sessions_are_listed_in_slices_by_their_expiry() {
        let mut tracker = SessionTracker::new(1000, &BTreeMap::new(), Millis(0));
        for id in 1..=5 {
            tracker.track(
                SessionId(id),
                4000 + (id as i32 % 2) * 3000,
                None,
                Millis(500),
            );
        }
        let all = tracker.by_expiry(None, 100);
        let ids: Vec<_> = all.iter().map(|(at, id)| (at.0, id.0)).collect();
        assert_eq!(ids, [(5000, 2), (5000, 4), (8000, 1), (8000, 3), (8000, 5)]);
        let mut sliced = Vec::new();
        loop {
            let slice = tracker.by_expiry(sliced.last().copied(), 2);
            if slice.is_empty() {
                break;
            }
            sliced.extend(slice);
        }
        assert_eq!(sliced, all);
    }

    fn tracker() -> SessionTracker {
        SessionTracker::new(1000, &BTreeMap::from([(ID, 4000)]), Millis(500))
    }

    #[test]
    fn a_session_lives_between_its_timeout_and_one_tick_more() {
        let mut tracker = tracker();
        assert_eq!(tracker.next_expiry(), Some(Millis(5000)));
        assert!(tracker.take_expired(Millis(4999)).is_empty());
        assert!(tracker.touch(ID, Millis(1500)));
        assert!(
            tracker.touch(ID, Millis(700)),
            "an older report is harmless"
        );
        assert!(tracker.take_expired(Millis(5000)).is_empty());
        assert_eq!(tracker.take_expired(Millis(6000)), [ID]);
        assert!(!tracker.touch(ID, Millis(6001)), "no way back from expiry");
        assert!(
            tracker.take_expired(Millis(60_000)).is_empty(),
            "expires once"
        );
        tracker.remove(ID);
        assert!(tracker.is_empty());
    }

    #[test]
    fn a_session_writes_through_one_owner() {
        let mut tracker = tracker();
        let learner = Owner::Learner(LinkId(1));
        assert_eq!(tracker.check(ID, learner), Ok(()));
        assert_eq!(
            tracker.check(ID, Owner::Local),
            Err(ErrorCode::SessionMoved)
        );
        tracker.set_owner(ID, Owner::Local);
        assert_eq!(tracker.check(ID, Owner::Local), Ok(()));
        tracker.mark_closing(ID);
        assert_eq!(
            tracker.check(ID, Owner::Local),
            Err(ErrorCode::SessionExpired)
        );
        assert_eq!(
            tracker.check(SessionId(8), Owner::Local),
            Err(ErrorCode::SessionExpired)
        );
    }
}
