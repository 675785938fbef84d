//! Limits of clients and their connections.

use std::time::Duration;

use super::values::Values;
use crate::net::BACKLOG;

/// What clients may take of a server.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientLimits {
    /// `maxCnxns`: connections of all clients; 0 for any number.
    pub connections_max: usize,
    /// `maxClientCnxns`: connections of one address; 0 for any number.
    pub connections_per_address_max: usize,
    /// `clientPortListenBacklog`: connections that wait to be accepted.
    pub listen_backlog: i32,
    /// `clientTcpKeepAlive`.
    pub tcp_keep_alive: bool,
    /// `nio.sessionlessCnxnTimeout`: a connection must ask for a session
    /// within this time.
    pub sessionless_max: Duration,
    /// `jute.maxbuffer`, bytes: longest frame.
    pub frame_bytes_max: usize,
    /// `globalOutstandingLimit`, requests, divided by the other voters as the
    /// reference does.
    pub outstanding_max: usize,
    /// `request_throttle_max_requests`: writes in work of all connections; 0
    /// for any number.
    pub requests_in_work_max: usize,
    /// `throttled_op_wait_time`: a request that has waited longer for a place
    /// among them is refused; `None` for never.
    pub throttled_op_wait_max: Option<Duration>,
    /// `largeRequestThreshold`, bytes: a longer frame counts as large.
    pub large_request_bytes: Option<usize>,
    /// `largeRequestMaxBytes`: of all large requests in work.
    pub large_requests_bytes_max: i64,
    /// `quorate.clientBacklogMaxBytes`: bytes that may wait because of all
    /// clients, in requests, replies and watch events.
    pub backlog_bytes_max: i64,
    /// How fast sessions may be asked for.
    pub connection_throttle: ConnectionThrottle,
}

/// `connection_throttle_*`: a bucket of tokens, and a random refusal in front.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionThrottle {
    /// `…tokens` the bucket holds; 0 to admit all.
    pub tokens: u64,
    /// `…fill_time`, ms after which tokens are added.
    pub fill_ms: u64,
    /// `…fill_count`, tokens that are added then.
    pub fill_tokens: u64,
    /// `…freeze_time`, ms between changes of the chance of a refusal; `None`
    /// to refuse nobody at random.
    pub freeze_ms: Option<u64>,
    /// `…drop_increase` of that chance while the bucket is empty.
    pub drop_increase: f64,
    /// `…drop_decrease` of that chance while no more is missing than the
    /// ratio below.
    pub drop_decrease: f64,
    /// `…decrease_ratio` of missing tokens.
    pub decrease_ratio: f64,
    /// Tokens of a new session.
    pub session_weight: u64,
    /// Tokens of a session that has lost its connection.
    pub renewal_weight: u64,
}

impl ClientLimits {
    pub(super) fn of(values: &Values<'_>, voters: usize) -> Self {
        let backlog = values.int_unless_off("clientPortListenBacklog");
        let outstanding_max: usize = values.int("globalOutstandingLimit");
        let ms = |key| Duration::from_millis(values.int(key));
        Self {
            connections_max: values.int("maxCnxns"),
            connections_per_address_max: values.int("maxClientCnxns"),
            listen_backlog: backlog.unwrap_or(BACKLOG),
            tcp_keep_alive: values.is_on("clientTcpKeepAlive"),
            sessionless_max: ms("nio.sessionlessCnxnTimeout"),
            frame_bytes_max: values.int("jute.maxbuffer"),
            outstanding_max: (outstanding_max / voters.saturating_sub(1).max(1)).max(1),
            requests_in_work_max: values.int("request_throttle_max_requests"),
            throttled_op_wait_max: Some(ms("throttled_op_wait_time")).filter(|max| !max.is_zero()),
            large_request_bytes: values.int_unless_off("largeRequestThreshold"),
            large_requests_bytes_max: values.int("largeRequestMaxBytes"),
            backlog_bytes_max: values.int("quorate.clientBacklogMaxBytes"),
            connection_throttle: ConnectionThrottle::of(values),
        }
    }
}

impl ConnectionThrottle {
    fn of(values: &Values<'_>) -> Self {
        let is_weighed = values.is_on("connection_throttle_weight_enabled");
        let weight = |key| if is_weighed { values.int(key) } else { 1 };
        // Tokens are counted in new sessions.
        let session_weight = weight("connection_throttle_global_session_weight");
        Self {
            tokens: values.int::<u64>("connection_throttle_tokens") * session_weight,
            fill_ms: values.int("connection_throttle_fill_time"),
            fill_tokens: values.int::<u64>("connection_throttle_fill_count") * session_weight,
            freeze_ms: values.int_unless_off("connection_throttle_freeze_time"),
            drop_increase: values.decimal("connection_throttle_drop_increase"),
            drop_decrease: values.decimal("connection_throttle_drop_decrease"),
            decrease_ratio: values.decimal("connection_throttle_decrease_ratio"),
            session_weight,
            renewal_weight: weight("connection_throttle_renew_session_weight"),
        }
    }
}
