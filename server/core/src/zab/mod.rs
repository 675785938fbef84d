//! The atomic broadcast: election, discovery, synchronization, broadcast.
//! Transactions are opaque bytes here; nothing in this module names the tree,
//! sessions or watches.

mod event;

use bytes::Bytes;
use zk_proto::quorum::QuorumPacket;
use zk_proto::{Epoch, Sid, Zxid};

use crate::config::ReplicaConfig;
use crate::{LinkId, LogEntry, Millis, Now, Role};

pub use event::{Effects, SyncToken, ZabEvent, ZabInput, ZabState};

/// One server's part in the broadcast.
#[derive(Debug)]
pub struct Zab {
    config: ReplicaConfig,
    state: ZabState,
}

impl Zab {
    /// A server that has not started yet.
    #[must_use]
    pub fn new(config: &ReplicaConfig, state: ZabState) -> Self {
        Self {
            config: config.clone(),
            state,
        }
    }

    /// Enters the first election.
    pub fn start(&mut self, _now: Now, _fx: &mut Effects) {}

    /// Takes one input.
    pub fn handle(&mut self, _now: Now, _input: ZabInput, _fx: &mut Effects) {}

    /// Leader, serving: proposes. The zxid is that after the last proposal.
    /// Without effect when this server does not lead any more.
    pub fn propose(&mut self, _now: Now, _entry: LogEntry, _fx: &mut Effects) {}

    /// Follower, serving: sends REQUEST, REVALIDATE or PING. Without effect
    /// when this server does not follow any more.
    pub fn send_to_leader(&mut self, _packet: QuorumPacket, _fx: &mut Effects) {}

    /// Leader: sends an answer to a synchronized learner, if it is still there.
    pub fn send_to_learner(&mut self, _link: LinkId, _packet: QuorumPacket, _fx: &mut Effects) {}

    /// Leader: answers once all that is outstanding now is committed.
    pub fn sync_request(&mut self, _token: SyncToken, _fx: &mut Effects) {}

    /// Ends a batch of inputs, once all events were acted on: `applied` is the
    /// zxid of the tree, `image` serializes it. Log entries are emitted here
    /// as one [`Output::Append`](crate::Output::Append), and learners that
    /// wait for synchronization are served.
    pub fn after_apply(
        &mut self,
        _now: Now,
        _applied: Zxid,
        _image: &mut dyn FnMut() -> Bytes,
        _fx: &mut Effects,
    ) {
    }

    /// When [`ZabInput::Tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        None
    }

    /// What this server is.
    #[must_use]
    pub fn role(&self) -> Role {
        Role::Looking
    }

    /// Does it take clients?
    #[must_use]
    pub fn is_serving(&self) -> bool {
        false
    }

    /// The leader, once one was elected; this server itself if it leads.
    #[must_use]
    pub fn leader(&self) -> Option<Sid> {
        None
    }

    /// Epoch of the leader; the last one while there is none.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.state.current_epoch
    }

    /// `looking`, `discovery`, `synchronization` or `broadcast`.
    #[must_use]
    pub fn phase(&self) -> &'static str {
        "looking"
    }

    /// Leader: links of learners that have introduced themselves.
    #[must_use]
    pub fn learners(&self) -> usize {
        0
    }

    /// Leader: followers with a vote that have acknowledged NEWLEADER.
    #[must_use]
    pub fn synced_followers(&self) -> Vec<Sid> {
        Vec::new()
    }

    /// Leader: synchronized learners without a vote.
    #[must_use]
    pub fn synced_non_voting(&self) -> usize {
        0
    }

    /// Leader: syncs that wait for a commit.
    #[must_use]
    pub fn pending_syncs(&self) -> usize {
        0
    }

    /// Number of voters.
    #[must_use]
    pub fn quorum_size(&self) -> usize {
        self.config.ensemble.members.len()
    }

    /// Leader: zxid of the newest proposal, `epoch << 32` before the first.
    /// Others: end of the log.
    #[must_use]
    pub fn last_proposed(&self) -> Zxid {
        self.state.last_zxid
    }

    /// Newest zxid known to be committed here.
    #[must_use]
    pub fn last_committed(&self) -> Zxid {
        self.state.applied
    }

    /// Proposals that are not committed yet.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        0
    }

    /// How long the last finished election took, in ms.
    #[must_use]
    pub fn election_ms(&self) -> Option<u64> {
        None
    }
}
