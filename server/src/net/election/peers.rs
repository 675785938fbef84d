//! What the mesh knows of each peer.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::Notify;
use zk_core::{Millis, Origin};
use zk_proto::Sid;
use zk_proto::quorum::Notification;

/// The peers by sid. Those of zoo.cfg stay; others are there for as long as
/// they are connected.
pub(super) type Peers = HashMap<Sid, Peer>;

/// One peer.
#[derive(Default)]
pub(super) struct Peer {
    /// The newest vote for it, framed.
    pub(super) newest: Option<Arc<[u8]>>,
    /// Was the newest vote not sent on a connection yet?
    pub(super) is_due: bool,
    /// Votes from it that the driver has not taken yet, oldest first. Of those
    /// in a row from one place that tell the same state only the newest is kept.
    arrived: VecDeque<(Origin, Notification)>,
    /// The connection of the pair.
    pub(super) connection: Option<Connection>,
    /// Is a task dialing it?
    pub(super) is_being_dialed: bool,
    /// The peer asked to be called back, and no attempt has begun since.
    pub(super) has_called: bool,
    /// Ends the pause between two attempts, once the peer has called.
    pub(super) called: Arc<Notify>,
    /// Claims to be it while it was connected, and since when they are counted.
    claims: (Millis, u32),
    /// Why it could not be reached the last time.
    pub(super) trouble: Option<String>,
}

/// One connection.
pub(super) struct Connection {
    /// Tells it from later connections of the same pair.
    pub(super) number: u64,
    /// There is something to send, or the connection was replaced.
    pub(super) changed: Arc<Notify>,
    /// Address of its other end.
    pub(super) remote: IpAddr,
    /// This server has opened it, to an address of the peer's host.
    pub(super) is_dialed: bool,
}

impl Peer {
    /// Keeps a vote for the driver. True if it is to be told of one more.
    pub(super) fn arrive(&mut self, origin: Origin, vote: Notification) -> bool {
        match self.arrived.back_mut() {
            Some((from, last)) if *from == origin && last.state == vote.state => {
                *last = vote;
                false
            }
            _ => {
                self.arrived.push_back((origin, vote));
                let is_full = self.arrived.len() > VOTES_MAX;
                if is_full {
                    self.arrived.pop_front();
                }
                !is_full
            }
        }
    }

    #[cfg(test)]
    pub(super) fn arrived(&self) -> impl Iterator<Item = &Notification> {
        self.arrived.iter().map(|(_, vote)| vote)
    }

    /// The oldest vote that waits for the driver.
    pub(super) fn take_vote(&mut self) -> Option<(Origin, Notification)> {
        self.arrived.pop_front()
    }

    /// Notes that somebody has connected as this peer while it was connected.
    /// True once that has happened so often in a short time that two servers
    /// must have one id: a peer that has lost its connection does it once.
    pub(super) fn is_claimed_twice(&mut self, now: Millis) -> bool {
        let (since, count) = self.claims;
        self.claims = match now.0.saturating_sub(since.0) {
            ..=CLAIMS_WITHIN_MS if count > 0 => (since, count + 1),
            _ => (now, 1),
        };
        self.claims.1 >= CLAIMS_MAX
    }

    /// Is this connection still that of the pair?
    pub(super) fn uses(&self, number: u64) -> bool {
        let connection = self.connection.as_ref();
        connection.is_some_and(|connection| connection.number == number)
    }
}

/// So many claims within so long are those of two servers.
const CLAIMS_MAX: u32 = 8;
const CLAIMS_WITHIN_MS: u64 = 10_000;
/// Votes of one peer that wait for the driver.
const VOTES_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use zk_proto::quorum::ServerState::{Following, Looking};
    use zk_proto::{Epoch, Round, Zxid};

    use super::*;

    #[test]
    fn a_peer_that_comes_back_is_not_taken_for_two() {
        let at = |pause: u64, times: u64| {
            let mut peer = Peer::default();
            (0..times).any(|n| peer.is_claimed_twice(Millis(1000 + n * pause)))
        };
        assert!(at(500, 8), "two that look for a leader");
        assert!(!at(500, 7));
        assert!(!at(2000, 100), "one that restarts");
    }

    #[test]
    fn a_change_of_state_is_kept_and_repetition_is_not() {
        let mut peer = Peer::default();
        let states = [
            Looking, Looking, Following, Following, Looking, Following, Looking,
        ];
        let mut told = 0;
        for (n, state) in states.into_iter().enumerate() {
            let vote = Notification {
                state,
                leader: Sid(1),
                zxid: Zxid(n as i64),
                round: Round(1),
                peer_epoch: Epoch(0),
                version: 2,
                config: String::new(),
            };
            let origin = Origin {
                address: Ipv4Addr::LOCALHOST.into(),
                is_listed: true,
            };
            told += usize::from(peer.arrive(origin, vote));
        }
        let kept: Vec<_> = std::iter::from_fn(|| peer.take_vote()).collect();
        let zxids: Vec<_> = kept.iter().map(|(_, vote)| vote.zxid.0).collect();
        assert_eq!(zxids, [3, 4, 5, 6]);
        assert_eq!(told, VOTES_MAX);
    }
}
