//! Every metric once: its name, its kind, what it says, where it comes from.
//!
//! Names are those of the reference (3.9.4, Prometheus provider). The
//! `zk_server_` ones have no counterpart there.

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use zk_core::tree::QuotaTotals;
use zk_proto::client::OpCode;

use super::summary::Shown;
use super::{Metrics, Summary};
use crate::probe::{Facts, ROLES};

/// One metric.
pub(super) struct Definition {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
    /// `None` while the quantity does not exist, e.g. a leader's on a follower.
    pub(super) read: fn(&Facts) -> Option<Value>,
}

/// As Prometheus names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    /// With the median.
    Summary,
    /// With the median, 0.9 and 0.99.
    AdvancedSummary,
}

pub(super) enum Value {
    /// A whole number.
    Int(i64),
    Float(f64),
    /// One number for each value of the label.
    Labelled(&'static str, Vec<(Cow<'static, str>, i64)>),
    /// A distribution and what its numbers are to be divided by.
    Summary(Shown, f64),
}

macro_rules! catalog {
    ($($name:ident $kind:ident $help:literal = $read:expr;)*) => {
        pub(super) const CATALOG: &[Definition] = &[$(Definition {
            name: stringify!($name),
            kind: Kind::$kind,
            help: $help,
            read: $read,
        }),*];
    };
}

catalog! {
    approximate_data_size Gauge "Bytes of all paths and data." = |f| f.tree().map(|t| int(t.data_bytes as usize));
    auth_failed_count Gauge "Auth packets that proved nothing." =
        |f| Some(int(f.metrics().auth_failed.value() as usize));
    avg_latency Gauge "Mean time to answer a request since the start, ms." =
        |f| Some(Value::Float(in_ms(f.metrics().latency.average())));
    bytes_received_count Counter "Bytes that clients have sent." = |f| count(&f.metrics().bytes_received);
    cnxn_closed_without_zk_server_running Counter "Client connections closed because this server did not serve." =
        |f| count(&f.metrics().connections_closed_while_not_serving);
    commit_count Counter "Commits received from the leader." = |f| count(&f.metrics().commits_received);
    commit_propagation_latency AdvancedSummary "Time from the leader's clock in a proposal to its commit at this follower, ms." =
        |f| summary(&f.metrics().commit_propagation_latency, 1.0);
    connection_drop_probability Gauge "Chance that a connect request is refused at random, with connection_throttle_freeze_time." =
        |f| Some(Value::Float(f64::from_bits(f.metrics().connection_drop_probability.load(Ordering::Relaxed))));
    connection_drop_count Counter "Client connections that the client or the network has ended." =
        |f| count(&f.metrics().connections_dropped);
    connection_rejected Counter "Client connections closed at once because of a limit." =
        |f| count(&f.metrics().connections_rejected);
    connection_request_count Counter "Connect requests." = |f| count(&f.metrics().connection_requests);
    connection_revalidate_count Counter "Connect requests for a session that exists already." =
        |f| count(&f.metrics().sessions_renewed);
    connection_token_deficit Summary "Tokens that the connection throttle lacks." =
        |f| summary(&f.metrics().connection_token_deficit, 1.0);
    dbinittime Summary "Time to load the data at start, ms." = |f| summary(&f.metrics().load_time, 1000.0);
    diff_count Counter "Synchronizations of learners by missing transactions." = |f| count(&f.metrics().diffs_sent);
    digest_mismatches_count Counter "Transactions after which the tree differed from the leader's." =
        |f| f.tree().map(|t| int(t.digest_mismatches as usize));
    election_time Summary "Time from looking to a leader, ms." = |f| summary(&f.metrics().elections, 1000.0);
    ephemerals_count Gauge "Ephemeral znodes." = |f| f.tree().map(|t| int(t.ephemerals));
    follower_sync_time Summary "Time for a follower to have what its leader has, ms." =
        |f| summary(&f.metrics().follower_syncs, 1000.0);
    fsync_threshold_exceed_count Counter "Syncs of the log beyond fsync.warningthresholdms." =
        |f| count(&f.metrics().slow_syncs);
    fsynctime Summary "Time of an append to the log with its sync, ms." = |f| summary(&f.metrics().syncs, 1000.0);
    global_sessions Gauge "Sessions of the ensemble." = |f| f.status().map(|s| int(s.global_sessions));
    large_requests_rejected Counter "Requests beyond largeRequestMaxBytes." =
        |f| count(&f.metrics().large_requests_rejected);
    last_client_response_size Gauge "Bytes of the newest reply to a client; -1 before the first." =
        |f| Some(or_minus_one(f.metrics().response_bytes.last()));
    last_proposal_size Gauge "Bytes of the newest proposal; -1 before the first." =
        |f| leads(f).then(|| or_minus_one(f.metrics().proposal_bytes.last()));
    leader_unavailable_time Summary "The same as unavailable_time, when this server leads afterwards, ms." =
        |f| summary(&f.metrics().leader_unavailable, 1000.0);
    leader_uptime Gauge "For how long this server has been the leader, ms." = |f| f.leading_ms().map(|ms| int(ms as usize));
    learner_commit_received_count Counter "Commits received from the leader." = |f| count(&f.metrics().commits_received);
    learner_proposal_received_count Counter "Proposals received from the leader." =
        |f| count(&f.metrics().proposals_received);
    learners Gauge "Learners of this leader, synchronized or not." =
        |f| leads(f).then(|| f.status().map(|s| int(s.learners))).flatten();
    local_sessions Gauge "Sessions of this server only; there are none." =
        |_| Some(Value::Int(0));
    looking_count Counter "How often this server has looked for a leader." = |f| count(&f.metrics().looking);
    max_client_response_size Gauge "Bytes of the longest reply to a client; -1 before the first." =
        |f| Some(or_minus_one(f.metrics().response_bytes.max()));
    max_file_descriptor_count Gauge "Files that this process may have open." = |f| f.files().map(|files| int(files.max));
    max_latency Gauge "Longest time to answer a request since the start, ms." =
        |f| Some(int(f.metrics().latency.max().unwrap_or(0) as usize / 1000));
    max_proposal_size Gauge "Bytes of the longest proposal; -1 before the first." =
        |f| leads(f).then(|| or_minus_one(f.metrics().proposal_bytes.max()));
    min_client_response_size Gauge "Bytes of the shortest reply to a client; -1 before the first." =
        |f| Some(or_minus_one(f.metrics().response_bytes.min()));
    min_latency Gauge "Shortest time to answer a request since the start, ms." =
        |f| Some(int(f.metrics().latency.min().unwrap_or(0) as usize / 1000));
    min_proposal_size Gauge "Bytes of the shortest proposal; -1 before the first." =
        |f| leads(f).then(|| or_minus_one(f.metrics().proposal_bytes.min()));
    num_alive_connections Gauge "Client connections." = |f| Some(Value::Int(f.metrics().connections.value()));
    op_count_add_watch Counter "Requests of clients for addWatch." =
        |f| ops(f, &[OpCode::AddWatch]);
    op_count_check Counter "Requests of clients for check." =
        |f| ops(f, &[OpCode::Check]);
    op_count_check_watches Counter "Requests of clients for checkWatches." =
        |f| ops(f, &[OpCode::CheckWatches]);
    op_count_close_session Counter "Requests of clients for closeSession." =
        |f| ops(f, &[OpCode::CloseSession]);
    op_count_create Counter "Requests of clients for create, create2, createContainer and createTTL." =
        |f| ops(f, &[OpCode::Create, OpCode::Create2, OpCode::CreateContainer, OpCode::CreateTtl]);
    op_count_delete Counter "Requests of clients for delete." =
        |f| ops(f, &[OpCode::Delete]);
    op_count_exists Counter "Requests of clients for exists." =
        |f| ops(f, &[OpCode::Exists]);
    op_count_get_acl Counter "Requests of clients for getACL." =
        |f| ops(f, &[OpCode::GetAcl]);
    op_count_get_all_children_number Counter "Requests of clients for getAllChildrenNumber." =
        |f| ops(f, &[OpCode::GetAllChildrenNumber]);
    op_count_get_children Counter "Requests of clients for getChildren and getChildren2." =
        |f| ops(f, &[OpCode::GetChildren, OpCode::GetChildren2]);
    op_count_get_data Counter "Requests of clients for getData." =
        |f| ops(f, &[OpCode::GetData]);
    op_count_get_ephemerals Counter "Requests of clients for getEphemerals." =
        |f| ops(f, &[OpCode::GetEphemerals]);
    op_count_multi Counter "Requests of clients for multi." =
        |f| ops(f, &[OpCode::Multi]);
    op_count_multi_read Counter "Requests of clients for multiRead." =
        |f| ops(f, &[OpCode::MultiRead]);
    op_count_ping Counter "Requests of clients for ping." =
        |f| ops(f, &[OpCode::Ping]);
    op_count_reconfig Counter "Requests of clients for reconfig." =
        |f| ops(f, &[OpCode::Reconfig]);
    op_count_remove_watches Counter "Requests of clients for removeWatches." =
        |f| ops(f, &[OpCode::RemoveWatches]);
    op_count_set_acl Counter "Requests of clients for setACL." =
        |f| ops(f, &[OpCode::SetAcl]);
    op_count_set_data Counter "Requests of clients for setData." =
        |f| ops(f, &[OpCode::SetData]);
    op_count_set_watches Counter "Requests of clients for setWatches and setWatches2." =
        |f| ops(f, &[OpCode::SetWatches, OpCode::SetWatches2]);
    op_count_sync Counter "Requests of clients for sync." =
        |f| ops(f, &[OpCode::Sync]);
    op_count_total Counter "Requests of clients, connect requests aside." =
        |f| Some(int(f.metrics().ops.total() as usize));
    op_count_who_am_i Counter "Requests of clients for whoAmI." =
        |f| ops(f, &[OpCode::WhoAmI]);
    open_file_descriptor_count Gauge "Files that this process has open." = |f| f.files().map(|files| int(files.open));
    outstanding_requests Gauge "Writes of this server's clients that wait for their reply." =
        |f| Some(Value::Int(f.metrics().outstanding.value()));
    packets_received Gauge "Requests received from clients." =
        |f| Some(int(f.metrics().packets_received.value() as usize));
    packets_sent Gauge "Replies and watch events sent to clients." =
        |f| Some(int(f.metrics().packets_sent.value() as usize));
    pending_syncs Gauge "Syncs that wait for a commit." =
        |f| leads(f).then(|| f.status().map(|s| int(s.pending_syncs))).flatten();
    propagation_latency AdvancedSummary "Time from the leader's clock in a proposal to its place in this server's tree, ms." =
        |f| summary(&f.metrics().propagation_latency, 1.0);
    proposal_count Counter "Proposals of this leader." = |f| count(&f.metrics().proposals);
    proposal_latency AdvancedSummary "Time from the leader's clock in a proposal to its arrival at this follower, ms." =
        |f| summary(&f.metrics().proposal_latency, 1.0);
    quorum_ack_latency AdvancedSummary "Time until a quorum has a proposal of this leader, ms." =
        |f| summary(&f.metrics().quorum_ack_latency, 1.0);
    quorum_size Gauge "Voters of the ensemble." =
        |f| (!f.is_standalone()).then(|| f.status().map(|s| int(s.quorum_size))).flatten();
    quota_bytes_limit_per_namespace Gauge "Bytes that quotas allow, by the first name of the path." =
        |f| quotas(f, |of| of.bytes_limit);
    quota_bytes_usage_per_namespace Gauge "Bytes that quotas count, by the first name of the path." =
        |f| quotas(f, |of| of.bytes);
    quota_count_limit_per_namespace Gauge "Znodes that quotas allow, by the first name of the path." =
        |f| quotas(f, |of| of.count_limit);
    quota_count_usage_per_namespace Gauge "Znodes that quotas count, by the first name of the path." =
        |f| quotas(f, |of| of.count);
    quota_exceeded_error_per_namespace Counter "Writes that this leader has refused for a quota, by the first name of the path." =
        |f| f.status().and_then(|s| by_key(s.refused.iter().map(|(key, n)| (key.to_owned(), n as i64))));
    readlatency AdvancedSummary "Time to answer a read, ms." = |f| summary(&f.metrics().read_latency, 1000.0);
    request_throttle_queue_time_ms AdvancedSummary "Time that writes waited for their turn, with request_throttle_max_requests." =
        |f| summary(&f.metrics().request_throttle_time, 1000.0);
    request_throttle_wait_count Counter "How often a connection had to wait for its turn." =
        |f| count(&f.metrics().request_throttle_waits);
    response_bytes Counter "Bytes of all replies to clients." =
        |f| Some(int(f.metrics().response_bytes.sum() as usize));
    revalidate_count Counter "Sessions that followers have asked this leader about." =
        |f| count(&f.metrics().revalidations);
    sessionless_connections_expired Counter "Client connections that were closed because nothing was heard on them: no connect request in time, or nothing for longer than their session's timeout." =
        |f| count(&f.metrics().silent_connections_expired);
    snap_count Counter "Synchronizations of learners by a whole tree." = |f| count(&f.metrics().snapshots_sent);
    snapshottime Summary "Time to write a snapshot, ms." = |f| summary(&f.metrics().snapshots, 1000.0);
    stale_requests_dropped Counter "Requests that waited for their turn when their connection ended." =
        |f| count(&f.metrics().stale_requests_dropped);
    stale_sessions_expired Counter "Sessions that this leader has let expire." =
        |f| f.status().map(|s| int(s.sessions_expired as usize));
    startup_txns_loaded Summary "Transactions replayed at start." = |f| summary(&f.metrics().txns_loaded, 1.0);
    sync_processor_batch_size Summary "Transactions for one sync of the log." =
        |f| summary(&f.metrics().sync_batches, 1.0);
    synced_followers Gauge "Followers of this leader that are synchronized." =
        |f| leads(f).then(|| f.status().map(|s| int(s.synced_followers))).flatten();
    synced_non_voting_followers Gauge "Followers without a vote that are synchronized; there are none." =
        |f| leads(f).then_some(Value::Int(0));
    synced_observers Gauge "Observers that are synchronized, also a follower's; there are none." =
        |f| matches!(f.role(), "leader" | "follower").then_some(Value::Int(0));
    throttled_ops Counter "Requests that waited longer than throttled_op_wait_time and were refused." =
        |f| count(&f.metrics().throttled_ops);
    unavailable_time Summary "Time from the start, or the end of serving, to serving, ms." =
        |f| summary(&f.metrics().unavailable, 1000.0);
    updatelatency AdvancedSummary "Time to answer a write, ms." = |f| summary(&f.metrics().update_latency, 1000.0);
    uptime Gauge "Time since the start of this server, ms." = |f| Some(int(f.uptime_ms() as usize));
    watch_bytes Counter "Bytes of all watch events." =
        |f| count(&f.metrics().watch_bytes);
    watch_count Gauge "Watches of this server's clients." = |f| f.tree().map(|t| int(t.watches));
    znode_count Gauge "Znodes." = |f| f.tree().map(|t| int(t.znodes));
    zk_server_client_backlog_bytes Gauge "Bytes of requests, replies and watch events that wait in client connections." =
        |f| Some(Value::Int(f.metrics().backlog_bytes.value()));
    zk_server_client_backlog_closed_total Counter "Client connections closed because too many bytes waited for all clients." =
        |f| count(&f.metrics().backlog_closed);
    zk_server_driver_batch_size Summary "Events that the driver takes at once." =
        |f| summary(&f.metrics().driver_batches, 1.0);
    zk_server_epoch Gauge "Epoch of the leader; the last one while looking." =
        |f| f.status().map(|s| Value::Int(s.epoch.0));
    zk_server_frames_too_long_total Counter "Frames of clients beyond jute.maxbuffer." =
        |f| count(&f.metrics().requests_too_large);
    zk_server_http_connections_displaced_total Counter "Connections to the admin and metrics ports closed because too many were open." =
        |f| count(&f.metrics().http_connections_displaced);
    zk_server_role Gauge "1 for the role that this server has, 0 for the others." =
        |f| Some(Value::Labelled("role", ROLES.iter().map(|role| ((*role).into(), i64::from(*role == f.role()))).collect()));
    zk_server_serving Gauge "1 while this server takes clients." =
        |f| f.status().map(|s| Value::Int(i64::from(s.is_serving)));
    zk_server_zxid Gauge "Last zxid in the tree." = |f| f.status().map(|s| Value::Int(s.last_zxid.0));
}

fn ops(facts: &Facts, ops: &[OpCode]) -> Option<Value> {
    let counts = ops.iter().map(|op| facts.metrics().ops.value(*op));
    Some(int(counts.sum::<u64>() as usize))
}

fn quotas(facts: &Facts, number: fn(&QuotaTotals) -> i64) -> Option<Value> {
    let quotas = facts.tree()?.quotas.iter();
    by_key(quotas.map(|(namespace, of)| (namespace.clone(), number(of))))
}

/// `None` if there is none: a family without samples cannot be shown.
fn by_key(numbers: impl Iterator<Item = (String, i64)>) -> Option<Value> {
    let numbers: Vec<_> = numbers.map(|(key, number)| (key.into(), number)).collect();
    (!numbers.is_empty()).then_some(Value::Labelled("key", numbers))
}

fn leads(facts: &Facts) -> bool {
    facts.leading_ms().is_some()
}

fn int(number: usize) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn or_minus_one(number: Option<u64>) -> Value {
    number.map_or(Value::Int(-1), |number| int(number as usize))
}

fn count(counter: &super::Counter) -> Option<Value> {
    Some(int(counter.value() as usize))
}

fn summary(summary: &Summary, divisor: f64) -> Option<Value> {
    Some(Value::Summary(summary.show(), divisor))
}

fn in_ms(micros: f64) -> f64 {
    // Four digits, as the reference rounds it.
    (micros * 10.0).round() / 10_000.0
}

impl Metrics {
    /// Mean latency in ms with up to four digits.
    pub(crate) fn latency_avg_ms(&self) -> f64 {
        in_ms(self.latency.average())
    }
}

impl Kind {
    /// How many of [`super::summary::QUANTILES`] are shown.
    pub(super) const fn quantiles(self) -> usize {
        match self {
            Self::Counter | Self::Gauge => 0,
            Self::Summary => 1,
            Self::AdvancedSummary => 3,
        }
    }

    #[cfg(test)]
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Summary | Self::AdvancedSummary => "summary",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::documents::{assert_table, names, rows};

    const DOCUMENT: &str = "docs/metrics.md";

    #[test]
    fn the_document_lists_the_catalog() {
        let mut want = "| name | type | meaning |\n|---|---|---|\n".to_owned();
        for Definition {
            name, kind, help, ..
        } in CATALOG
        {
            let label = if *name == "zk_server_role" {
                "{role=…}"
            } else {
                ""
            };
            writeln!(want, "| `{name}{label}` | {} | {help} |", kind.name()).unwrap();
        }
        assert_table(DOCUMENT, "metrics", &want);
    }

    #[test]
    fn what_the_document_misses_is_missing() {
        for row in rows(DOCUMENT, "metrics of the reference that are not here") {
            for name in names(&row[0]) {
                let known = CATALOG.iter().find(|it| it.name == name);
                assert!(known.is_none(), "{name} is there");
            }
        }
    }

    #[test]
    fn names_are_unique_and_sorted() {
        let by_origin = |name: &&str| (name.starts_with("zk_server_"), name.to_string());
        let names: Vec<_> = CATALOG.iter().map(|it| it.name).collect();
        let mut sorted = names.clone();
        sorted.sort_by_key(by_origin);
        sorted.dedup();
        let mut seen = names.clone();
        seen.sort_by_key(by_origin);
        assert_eq!(seen, sorted);
    }
}
