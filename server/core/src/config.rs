//! What a replica needs to know of its zoo.cfg.

use zk_proto::Sid;

use crate::Ensemble;
use crate::auth::AuthConfig;

/// Settings of one replica. All durations are in ms unless they say ticks.
#[derive(Clone, Debug)]
pub struct ReplicaConfig {
    /// This server.
    pub sid: Sid,
    /// The members as configured. A value that later may change while running.
    pub ensemble: Ensemble,
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
    /// `commitLogCount`: committed transactions kept in memory for DIFF.
    pub commit_log_count: usize,
    /// Who a client is and what it may do.
    pub auth: AuthConfig,
    /// Seed of the replica's own generator.
    pub seed: u64,
    /// First session id this server hands out; the shell derives it from the
    /// wall clock and the sid as the reference does (`SessionTrackerImpl.initializeNextSessionId`).
    pub first_session_id: i64,
}

/// Wait for more votes before an election ends (`FastLeaderElection.finalizeWait`).
pub const FINALIZE_WAIT_MS: u64 = 200;
/// First pause before votes are sent again (`minNotificationInterval`).
pub const NOTIFICATION_INTERVAL_MIN_MS: u64 = 200;
/// Longest pause before votes are sent again (`maxNotificationInterval`).
pub const NOTIFICATION_INTERVAL_MAX_MS: u64 = 60_000;
