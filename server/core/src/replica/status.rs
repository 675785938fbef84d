//! What a replica tells operators of itself.

use zk_proto::{Epoch, SessionId, Sid, Zxid};

use super::Replica;
use crate::request::Refused;
use crate::tree::Tree;
use crate::zab::Problem;
use crate::{Millis, Role};

/// A look at a replica between two batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its role.
    pub role: Role,
    /// Where in the role: `looking`, `discovery`, `synchronization` or `broadcast`.
    pub phase: &'static str,
    /// Does it take clients?
    pub is_serving: bool,
    /// The leader, if known.
    pub leader: Option<Sid>,
    /// Epoch of the leader; the last one while looking.
    pub epoch: Epoch,
    /// Last zxid in the tree.
    pub last_zxid: Zxid,
    /// Connections with a session on this server.
    pub connections: usize,
    /// Writes of this server's clients without a reply.
    pub outstanding: usize,
    /// Sessions of the ensemble.
    pub global_sessions: usize,
    /// Leader: learners, synchronized or not.
    pub learners: usize,
    /// Leader: followers that are synchronized.
    pub synced_followers: usize,
    /// Leader: syncs that wait for a commit.
    pub pending_syncs: usize,
    /// Sessions that this server has let expire, since its start.
    pub sessions_expired: u64,
    /// Voters of the ensemble.
    pub quorum_size: usize,
    /// Writes that this server, as the leader, has refused for a quota.
    pub refused: Refused,
    /// What keeps this server from serving, beside an election.
    pub problem: Option<Problem>,
}

impl Replica {
    /// Up to `max` sessions in the order in which they expire, from the first
    /// one after `after`. Only a leader knows; `None` from others.
    #[must_use]
    pub fn sessions_by_expiry(
        &self,
        after: Option<(Millis, SessionId)>,
        max: usize,
    ) -> Option<Vec<(Millis, SessionId)>> {
        let leading = self.leading.as_ref()?;
        Some(leading.tracker.by_expiry(after, max))
    }

    /// Numbers for metrics, four-letter words and probes. Counts what is
    /// outstanding, so it costs a walk over the connections.
    #[must_use]
    pub fn status(&self) -> Status {
        let (last_zxid, global_sessions) =
            self.tree(|tree: &Tree| (tree.last_zxid(), tree.sessions().len()));
        Status {
            role: self.zab.role(),
            phase: self.zab.phase(),
            is_serving: self.is_serving,
            leader: self.zab.leader(),
            epoch: self.zab.epoch(),
            last_zxid,
            connections: self.conns.len(),
            outstanding: self.conns.values().map(|conn| conn.order.len()).sum(),
            global_sessions,
            learners: self.zab.learners(),
            synced_followers: self.zab.synced_followers().len(),
            pending_syncs: self.zab.pending_syncs(),
            sessions_expired: self.sessions_expired,
            quorum_size: self.config.ensemble.members.len(),
            refused: self.refused(),
            problem: self.zab.problem(),
        }
    }

    /// In this reign and before.
    pub(super) fn refused(&self) -> Refused {
        let leading = self.leading.as_ref();
        match leading.map(|leading| leading.prep.refused()) {
            Some(now) => self.refused.clone().with(now),
            None => self.refused.clone(),
        }
    }
}
