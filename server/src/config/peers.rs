//! How a server speaks to the others of its ensemble.

use std::time::Duration;

use zk_core::config::VoteConfig;

use super::values::Values;

/// Times between servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// `connectToLearnerMasterLimit`: how long a leader is dialed; where
    /// absent, `initLimit` bounds this, too.
    pub connect_max: Option<Duration>,
    /// `leaderConnectDelayDuringRetryMs`: pause between two attempts.
    pub connect_pause: Duration,
    /// `cnxTimeout`: how long connecting to an election port may take.
    pub election_connect_max: Duration,
    /// `electionPortBindRetry`, one second apart; `None` for ever.
    pub bind_retries: Option<u32>,
    /// `quorate.peerAddresses`: take peers only from addresses that their
    /// hosts in zoo.cfg resolve to.
    pub listed_addresses_only: bool,
    /// How often votes are sent again.
    pub votes: VoteConfig,
}

impl PeerConfig {
    pub(super) fn of(values: &Values<'_>) -> Self {
        let tick_ms: u64 = values.int("tickTime");
        let ticks: u64 = values.int("connectToLearnerMasterLimit");
        let ms = |key| Duration::from_millis(values.int(key));
        let bind_retries: u32 = values.int("electionPortBindRetry");
        Self {
            connect_max: (ticks > 0).then(|| Duration::from_millis(tick_ms * ticks)),
            connect_pause: ms("leaderConnectDelayDuringRetryMs"),
            election_connect_max: ms("cnxTimeout"),
            bind_retries: (bind_retries > 0).then_some(bind_retries),
            listed_addresses_only: values.text("quorate.peerAddresses") == "listed",
            votes: VoteConfig {
                interval_min_ms: values.int("fastleader.minNotificationInterval"),
                interval_max_ms: values.int("fastleader.maxNotificationInterval"),
            },
        }
    }
}
