//! What a replica needs to know of its zoo.cfg.

use zk_proto::Sid;

use crate::auth::AuthConfig;
use crate::{Ensemble, EnsembleId};

/// Settings of one replica. All durations are in ms unless they say ticks.
#[derive(Clone, Debug)]
pub struct ReplicaConfig {
    /// This server.
    pub sid: Sid,
    /// The members as configured. A value that later may change while running.
    pub ensemble: Ensemble,
    /// Which ensemble that is; `None` where nobody has given it a name.
    pub ensemble_id: Option<EnsembleId>,
    /// `tickTime`.
    pub tick_ms: u64,
    /// `initLimit`, ticks: bound of discovery and synchronization.
    pub init_limit: u32,
    /// `syncLimit`, ticks: bound of silence between leader and learner.
    pub sync_limit: u32,
    /// `minSessionTimeout`.
    pub session_timeout_min_ms: i32,
    /// `maxSessionTimeout`.
    pub session_timeout_max_ms: i32,
    /// `snapCount`: a snapshot is due after about this many transactions.
    pub snap_count: u64,
    /// `snapSizeLimitInKb`, bytes: a snapshot is also due after about this
    /// much log; `None` where only transactions are counted.
    pub snap_bytes: Option<u64>,
    /// `commitLogCount`: committed transactions kept in memory for DIFF.
    pub commit_log_count: usize,
    /// Who a client is and what it may do.
    pub auth: AuthConfig,
    /// Rules for znodes.
    pub znodes: ZnodeConfig,
    /// How often votes are sent again.
    pub votes: VoteConfig,
    /// Seed of the replica's own generator.
    pub seed: u64,
    /// First session id this server hands out; the shell derives it from the
    /// wall clock and the sid as the reference does (`SessionTrackerImpl.initializeNextSessionId`).
    pub first_session_id: i64,
}

/// What kinds of znodes may be made, how many, when the empty ones go, and how
/// that is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZnodeConfig {
    /// `extendedTypesEnabled`: may znodes have a time to live?
    pub extended_types_enabled: bool,
    /// `enforceQuota`: does a hard limit refuse writes?
    pub enforce_quota: bool,
    /// `znode.container.checkIntervalMs`: pause between two looks for empty
    /// containers and expired znodes.
    pub container_check_interval_ms: u64,
    /// `znode.container.maxPerMinute`: how many of them are deleted at most.
    pub container_max_per_minute: u32,
    /// `znode.container.maxNeverUsedIntervalMs`: how long a container that
    /// never had a child stays; 0 for ever.
    pub container_max_never_used_interval_ms: u64,
    /// `jute.maxbuffer` and `jute.maxbuffer.extrasize` together, bytes: longest
    /// transaction, header and digest included, that other servers are sure to
    /// read from a peer and from their logs.
    pub txn_bytes_max: usize,
    /// `closeSessionTxn.enabled`: does the end of a session list its ephemerals?
    pub close_session_lists: bool,
    /// Does `/zookeeper/config` show the members? Not of a server alone.
    pub members_shown: bool,
}

impl Default for ZnodeConfig {
    /// The reference's defaults (3.9.4).
    fn default() -> Self {
        Self {
            extended_types_enabled: false,
            enforce_quota: false,
            container_check_interval_ms: 60_000,
            container_max_per_minute: 10_000,
            container_max_never_used_interval_ms: 0,
            txn_bytes_max: 2 * 0xf_ffff,
            close_session_lists: true,
            members_shown: true,
        }
    }
}

/// How often a vote is sent again while it has not led to a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteConfig {
    /// `fastleader.minNotificationInterval`: the first pause; each is twice as
    /// long as the one before.
    pub interval_min_ms: u64,
    /// `fastleader.maxNotificationInterval`: the longest pause.
    pub interval_max_ms: u64,
}

impl Default for VoteConfig {
    /// The reference's defaults (3.9.4).
    fn default() -> Self {
        Self {
            interval_min_ms: 200,
            interval_max_ms: 60_000,
        }
    }
}

/// Wait for more votes before an election ends (`FastLeaderElection.finalizeWait`).
pub const FINALIZE_WAIT_MS: u64 = 200;
