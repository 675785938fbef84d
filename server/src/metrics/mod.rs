//! What is counted, and how it is shown: as Prometheus text and as `mntr`.

mod catalog;
mod mntr;
mod ops;
mod prometheus;
mod summary;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

pub(crate) use mntr::{Number, double, monitor};
pub(crate) use ops::{OpCounts, OpRun};
pub(crate) use prometheus::text;
pub(crate) use summary::Summary;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicI64);

impl Gauge {
    pub(crate) fn add(&self, n: i64) -> i64 {
        self.0.fetch_add(n, Ordering::Relaxed) + n
    }

    pub(crate) fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Lowest, highest, sum and number of values, since the start.
#[derive(Debug)]
pub(crate) struct Range {
    count: Counter,
    sum: Counter,
    min: AtomicU64,
    max: AtomicU64,
    last: AtomicU64,
}

impl Default for Range {
    fn default() -> Self {
        Self {
            count: Counter::default(),
            sum: Counter::default(),
            min: AtomicU64::new(u64::MAX),
            max: AtomicU64::default(),
            last: AtomicU64::default(),
        }
    }
}

impl Range {
    pub(crate) fn record(&self, value: u64, times: u64) {
        self.count.add(times);
        self.sum.add(value.saturating_mul(times));
        // A load is cheaper than a read-modify-write, and rarely are they due.
        if value < self.min.load(Ordering::Relaxed) {
            self.min.fetch_min(value, Ordering::Relaxed);
        }
        if value > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(value, Ordering::Relaxed);
        }
        self.last.store(value, Ordering::Relaxed);
    }

    /// Adds values that were gathered apart.
    pub(crate) fn record_all(&self, values: &Values) {
        let Values {
            count,
            sum,
            min,
            max,
            last,
        } = *values;
        if count == 0 {
            return;
        }
        self.record(last, 1);
        self.count.add(count - 1);
        self.sum.add(sum - last);
        if min < self.min.load(Ordering::Relaxed) {
            self.min.fetch_min(min, Ordering::Relaxed);
        }
        if max > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(max, Ordering::Relaxed);
        }
    }

    /// Of all values.
    pub(crate) fn sum(&self) -> u64 {
        self.sum.value()
    }

    /// Forgets everything.
    pub(crate) fn reset(&self) {
        self.count.reset();
        self.sum.reset();
        self.min.store(u64::MAX, Ordering::Relaxed);
        self.max.store(0, Ordering::Relaxed);
        self.last.store(0, Ordering::Relaxed);
    }

    /// `None` before the first value.
    pub(crate) fn min(&self) -> Option<u64> {
        let min = self.min.load(Ordering::Relaxed);
        (min != u64::MAX).then_some(min)
    }

    pub(crate) fn max(&self) -> Option<u64> {
        self.min().map(|_| self.max.load(Ordering::Relaxed))
    }

    pub(crate) fn last(&self) -> Option<u64> {
        self.min().map(|_| self.last.load(Ordering::Relaxed))
    }

    /// 0 before the first value.
    pub(crate) fn average(&self) -> f64 {
        match self.count.value() {
            0 => 0.0,
            count => self.sum.value() as f64 / count as f64,
        }
    }
}

/// Values on their way to a [`Range`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Values {
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
    last: u64,
}

impl Values {
    pub(crate) fn add(&mut self, value: u64) {
        self.min = if self.count == 0 {
            value
        } else {
            self.min.min(value)
        };
        self.max = self.max.max(value);
        self.last = value;
        self.sum += value;
        self.count += 1;
    }
}

/// Everything that one server counts by itself. The rest is asked of the replica.
#[derive(Default)]
pub(crate) struct Metrics {
    pub(crate) packets_received: Counter,
    pub(crate) packets_sent: Counter,
    /// Replies without their length, but for those to connect requests.
    pub(crate) response_bytes: Range,
    pub(crate) watch_bytes: Counter,
    pub(crate) auth_failed: Counter,
    pub(crate) ops: OpCounts,
    pub(crate) bytes_received: Counter,
    pub(crate) connections: Gauge,
    pub(crate) connections_rejected: Counter,
    pub(crate) connections_dropped: Counter,
    pub(crate) connection_requests: Counter,
    pub(crate) connection_token_deficit: Summary,
    /// Bits of a float from 0 to 1.
    pub(crate) connection_drop_probability: AtomicU64,
    /// Connect requests for a session that exists already.
    pub(crate) sessions_renewed: Counter,
    /// As a leader: questions of followers about such a session.
    pub(crate) revalidations: Counter,
    pub(crate) silent_connections_expired: Counter,
    pub(crate) connections_closed_while_not_serving: Counter,
    pub(crate) requests_too_large: Counter,
    pub(crate) large_requests_rejected: Counter,
    pub(crate) large_request_bytes: Gauge,
    /// Requests that had to wait for a place, and how long, in µs.
    pub(crate) request_throttle_waits: Counter,
    pub(crate) request_throttle_time: Summary,
    /// Requests that waited for a place when their connection ended.
    pub(crate) stale_requests_dropped: Counter,
    pub(crate) throttled_ops: Counter,
    /// Writes of this server's clients without a reply, and their bytes.
    pub(crate) outstanding: Gauge,
    pub(crate) outstanding_bytes: Gauge,
    /// Requests, replies and events that wait in client connections, and
    /// connections that were closed because it was too much.
    pub(crate) backlog_bytes: Gauge,
    pub(crate) backlog_closed: Counter,
    /// HTTP connections that had to go for others.
    pub(crate) http_connections_displaced: Counter,
    /// Whole requests, in µs.
    pub(crate) latency: Range,
    pub(crate) read_latency: Summary,
    pub(crate) update_latency: Summary,
    pub(crate) proposals: Counter,
    pub(crate) proposal_bytes: Range,
    pub(crate) proposals_received: Counter,
    pub(crate) commits_received: Counter,
    /// From the leader's clock in a transaction to here, in ms.
    pub(crate) proposal_latency: Summary,
    pub(crate) quorum_ack_latency: Summary,
    pub(crate) commit_propagation_latency: Summary,
    pub(crate) propagation_latency: Summary,
    pub(crate) looking: Counter,
    pub(crate) elections: Summary,
    pub(crate) unavailable: Summary,
    pub(crate) leader_unavailable: Summary,
    pub(crate) follower_syncs: Summary,
    pub(crate) syncs: Summary,
    /// Those that took longer than `fsync.warningthresholdms`.
    pub(crate) slow_syncs: Counter,
    pub(crate) sync_batches: Summary,
    pub(crate) snapshots: Summary,
    pub(crate) snapshots_sent: Counter,
    pub(crate) diffs_sent: Counter,
    /// Start-up: time to load, in µs, and transactions replayed.
    pub(crate) load_time: Summary,
    pub(crate) txns_loaded: Summary,
    /// Since when this server leads, ms since its start plus one; 0 if it does not.
    pub(crate) leading_since_ms: AtomicU64,
    /// Inputs that the driver has taken, and batches that they came in.
    pub(crate) driver_inputs: Counter,
    pub(crate) driver_batches: Summary,
}

impl Metrics {
    /// Starts anew what `srst` starts anew (`StatResetCommand`): latency,
    /// packets and proposals, and with `all` every counter and summary, too.
    pub(crate) fn reset(&self, all: bool) {
        self.packets_received.reset();
        self.packets_sent.reset();
        self.latency.reset();
        self.proposal_bytes.reset();
        self.response_bytes.reset();
        if !all {
            return;
        }
        let Self {
            packets_received: _,
            packets_sent: _,
            response_bytes: _,
            latency: _,
            // What is now, not what has happened.
            connections: _,
            outstanding: _,
            outstanding_bytes: _,
            backlog_bytes: _,
            large_request_bytes: _,
            leading_since_ms: _,
            connection_drop_probability: _,
            proposal_bytes: _,
            bytes_received,
            connections_rejected,
            connections_dropped,
            connection_requests,
            sessions_renewed,
            revalidations,
            silent_connections_expired,
            connections_closed_while_not_serving,
            requests_too_large,
            proposals,
            proposals_received,
            commits_received,
            looking,
            snapshots_sent,
            diffs_sent,
            driver_inputs,
            slow_syncs,
            large_requests_rejected,
            request_throttle_waits,
            stale_requests_dropped,
            throttled_ops,
            watch_bytes,
            auth_failed,
            backlog_closed,
            http_connections_displaced,
            ops,
            connection_token_deficit,
            request_throttle_time,
            read_latency,
            update_latency,
            proposal_latency,
            quorum_ack_latency,
            commit_propagation_latency,
            propagation_latency,
            elections,
            unavailable,
            leader_unavailable,
            follower_syncs,
            syncs,
            sync_batches,
            snapshots,
            load_time,
            txns_loaded,
            driver_batches,
        } = self;
        for counter in [
            bytes_received,
            connections_rejected,
            connections_dropped,
            connection_requests,
            sessions_renewed,
            revalidations,
            silent_connections_expired,
            connections_closed_while_not_serving,
            requests_too_large,
            proposals,
            proposals_received,
            commits_received,
            looking,
            snapshots_sent,
            diffs_sent,
            driver_inputs,
            slow_syncs,
            large_requests_rejected,
            request_throttle_waits,
            stale_requests_dropped,
            throttled_ops,
            watch_bytes,
            auth_failed,
            backlog_closed,
            http_connections_displaced,
        ] {
            counter.reset();
        }
        ops.reset();
        for summary in [
            connection_token_deficit,
            request_throttle_time,
            read_latency,
            update_latency,
            proposal_latency,
            quorum_ack_latency,
            commit_propagation_latency,
            propagation_latency,
            elections,
            unavailable,
            leader_unavailable,
            follower_syncs,
            syncs,
            sync_batches,
            snapshots,
            load_time,
            txns_loaded,
            driver_batches,
        ] {
            summary.reset();
        }
    }

    /// `n` reads were answered after this long.
    pub(crate) fn reads_answered(&self, elapsed: Duration, n: u64) {
        self.latency.record(micros(elapsed), n);
        self.read_latency.record(micros(elapsed), n);
    }

    /// `n` writes were answered after this long.
    pub(crate) fn writes_answered(&self, elapsed: Duration, n: u64) {
        self.latency.record(micros(elapsed), n);
        self.update_latency.record(micros(elapsed), n);
    }
}

fn micros(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
}
