//! What an election compares (reference: `Vote`,
//! `FastLeaderElection.totalOrderPredicate`).

use std::collections::{BTreeMap, BTreeSet};

use zk_proto::quorum::{Notification, ServerState};
use zk_proto::{Epoch, Round, Sid, Zxid};

use super::epochs;
use crate::Ensemble;

/// A proposed leader. Ordered as elections order them: by the epoch of its
/// history, then by how long that is, then by sid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    pub(super) peer_epoch: Epoch,
    pub(super) zxid: Zxid,
    pub(super) leader: Sid,
}

/// A vote as it was received, or this server's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vote {
    pub(super) candidate: Candidate,
    pub(super) round: Round,
    pub(super) state: ServerState,
    /// The notification's version, or 0 where the reference leaves it out.
    pub(super) version: i32,
}

impl Candidate {
    /// The candidate of a notification.
    pub(super) const fn of(notification: &Notification) -> Self {
        Self {
            peer_epoch: notification.peer_epoch,
            zxid: notification.zxid,
            leader: notification.leader,
        }
    }
}

impl Vote {
    /// A vote of a server in an election.
    pub(super) const fn looking(candidate: Candidate, round: Round) -> Self {
        Self {
            candidate,
            round,
            state: ServerState::Looking,
            version: 0,
        }
    }

    /// Do both speak for the same leader? Servers that are in an election must
    /// agree in everything; members of an established ensemble may report
    /// different zxids and rounds after restarts (`Vote.equals`).
    pub(super) fn agrees(&self, other: &Self) -> bool {
        if self.state == ServerState::Looking || other.state == ServerState::Looking {
            return self.candidate == other.candidate && self.round == other.round;
        }
        let same_leader = self.candidate.leader == other.candidate.leader;
        if (self.version > 0) != (other.version > 0) {
            return same_leader;
        }
        same_leader && self.candidate.peer_epoch == other.candidate.peer_epoch
    }
}

/// Can a voter have sent this? Nobody has accepted an epoch after the last one,
/// and -1 stands for a server without data.
pub(super) fn is_possible(notification: &Notification) -> bool {
    let epoch = notification.peer_epoch;
    notification.zxid >= Zxid(-1) && (epoch == Epoch(-1) || epochs::is_possible(epoch))
}

/// Who of `votes` agrees with `wanted`.
pub(super) fn supporters(votes: &BTreeMap<Sid, Vote>, wanted: &Vote) -> BTreeSet<Sid> {
    votes
        .iter()
        .filter(|(_, vote)| wanted.agrees(vote))
        .map(|(sid, _)| *sid)
        .collect()
}

/// Does a quorum of `votes` agree with `wanted`?
pub(super) fn has_quorum(ensemble: &Ensemble, votes: &BTreeMap<Sid, Vote>, wanted: &Vote) -> bool {
    ensemble.is_quorum(&supporters(votes, wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(peer_epoch: i64, zxid: i64, leader: i64) -> Candidate {
        Candidate {
            peer_epoch: Epoch(peer_epoch),
            zxid: Zxid(zxid),
            leader: Sid(leader),
        }
    }

    #[test]
    fn the_epoch_counts_more_than_the_zxid_and_that_more_than_the_sid() {
        assert!(candidate(2, 1, 1) > candidate(1, 0x1_0000_0009, 3));
        assert!(candidate(1, 9, 1) > candidate(1, 8, 3));
        assert!(candidate(1, 9, 3) > candidate(1, 9, 2));
        assert!(
            candidate(0, -1, 1) < candidate(0, 0, 1),
            "comparisons are signed"
        );
    }

    #[test]
    fn votes_in_an_election_agree_in_all_and_others_in_leader_and_epoch() {
        let looking = Vote::looking(candidate(1, 5, 3), Round(2));
        let other_round = Vote {
            round: Round(3),
            ..looking
        };
        let following = Vote {
            state: ServerState::Following,
            version: 2,
            ..other_round
        };
        let other_zxid = Vote {
            candidate: candidate(1, 9, 3),
            round: Round(7),
            ..following
        };
        let other_epoch = Vote {
            candidate: candidate(2, 5, 3),
            ..following
        };
        assert!(looking.agrees(&looking));
        assert!(!looking.agrees(&other_round));
        assert!(!looking.agrees(&following));
        assert!(following.agrees(&other_zxid));
        assert!(!following.agrees(&other_epoch));
        let unversioned = Vote {
            version: 0,
            ..other_epoch
        };
        assert!(
            following.agrees(&unversioned),
            "one without a version agrees by leader alone"
        );
    }
}
