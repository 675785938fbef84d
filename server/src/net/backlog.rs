//! Bytes that wait because of clients, over all connections: requests that are
//! not taken yet, replies and watch events that their clients do not take.
//!
//! Each connection has bounds of its own, but many of them together may not
//! take more than one bound for all. Half of it used, who is slow to take
//! replies gets no more before it has taken them; all of it used, connections
//! are closed, those first for which most waits.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::registry::{ConnStats, Registry};
use super::work::Load;
use crate::metrics::Metrics;

/// What waits, and the bound.
pub(crate) struct Backlog {
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    max: i64,
}

impl Backlog {
    pub(crate) fn new(registry: Arc<Registry>, metrics: Arc<Metrics>, max: i64) -> Arc<Self> {
        Arc::new(Self {
            registry,
            metrics,
            max,
        })
    }

    /// Is more than half of the bound used?
    pub(super) fn is_high(&self) -> bool {
        self.metrics.backlog_bytes.value() > self.max / 2
    }

    /// Counts what waits in a connection whose task rests.
    pub(super) fn count(&self, stats: &ConnStats, load: &mut Load) {
        let waiting = load.inbox.len() + load.outbox.frames.held();
        let waiting = if waiting < UNCOUNTED_BYTES {
            0
        } else {
            waiting
        };
        if waiting == load.counted {
            return;
        }
        let more = waiting as i64 - load.counted as i64;
        let kib = u32::try_from(waiting >> 10).unwrap_or(u32::MAX);
        stats.backlog_kib.store(kib, Ordering::Relaxed);
        load.counted = waiting;
        self.metrics.backlog_bytes.add(more);
        if more > 0 {
            self.relieve(0);
        }
    }

    /// A connection is gone with what it had.
    pub(super) fn forget(&self, load: &Load) {
        self.metrics.backlog_bytes.add(-(load.counted as i64));
    }

    /// Closes connections until the rest is within the bound. `delivered`
    /// bytes were put into mailboxes and are not counted yet.
    pub(crate) fn relieve(&self, delivered: usize) {
        let total = self.metrics.backlog_bytes.value() + delivered as i64;
        if total <= self.max {
            return;
        }
        let mut waiting = self.registry.map(|stats| {
            let kib = stats.backlog_kib.load(Ordering::Relaxed) as usize;
            let bytes = (kib << 10) + stats.mailbox.bytes();
            (bytes, stats.clone())
        });
        waiting.sort_unstable_by_key(|(bytes, _)| Reverse(*bytes));
        let closing = waiting
            .iter()
            .filter(|(_, stats)| stats.mailbox.is_cut_off());
        let closing: usize = closing.map(|(bytes, _)| *bytes).sum();
        let mut excess = total - self.max - closing as i64;
        for (bytes, stats) in waiting {
            if excess <= 0 {
                return;
            }
            if stats.mailbox.is_cut_off() {
                continue;
            }
            excess -= bytes as i64;
            self.metrics.backlog_closed.add(1);
            let remote = stats.remote();
            let reason = "too many bytes wait for all clients, most of them for this one";
            tracing::warn!(%remote, bytes, reason, "client connection closed");
            if let Some(task) = stats.mailbox.cut_off() {
                task.wake();
            }
        }
    }
}

/// So little of a connection is not worth counting.
const UNCOUNTED_BYTES: usize = 4096;
