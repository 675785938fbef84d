//! What the driver counts of what goes through it.

use zk_core::{LogEntry, Role};
use zk_proto::jute::Reader;
use zk_proto::quorum::{PacketKind, QuorumPacket};
use zk_proto::txn::TxnHeader;

use super::Driver;
use crate::metrics::Summary;

impl Driver {
    pub(super) fn count(&self, packet: &QuorumPacket, wall_ms: i64) {
        let metrics = &self.parts.metrics;
        match packet.known_kind() {
            Some(PacketKind::Proposal) => {
                metrics.proposals_received.add(1);
                let header = packet.data.as_deref().map(Reader::new);
                if let Some(Ok(header)) = header.map(|mut it| TxnHeader::read(&mut it))
                    && self.is_serving
                {
                    record_since(&metrics.proposal_latency, header.time_ms, wall_ms, 1);
                }
            }
            Some(PacketKind::Commit) => metrics.commits_received.add(1),
            Some(PacketKind::Revalidate) if self.role == Role::Leading => {
                metrics.revalidations.add(1);
            }
            _ => {}
        }
    }

    /// A transaction is applied in the batch in which it is committed, which a
    /// leader does as soon as a quorum has it.
    pub(super) fn count_applied(&self, wall_ms: i64) {
        if !self.is_serving {
            return;
        }
        let metrics = &self.parts.metrics;
        let committed = match self.role {
            Role::Leading => self
                .parts
                .mesh
                .as_ref()
                .map(|_| &metrics.quorum_ack_latency),
            Role::Following => Some(&metrics.commit_propagation_latency),
            Role::Looking => None,
        };
        for (at, count) in self.parts.replica.applied_at() {
            record_since(&metrics.propagation_latency, *at, wall_ms, *count);
            if let Some(committed) = committed {
                record_since(committed, *at, wall_ms, *count);
            }
        }
    }

    pub(super) fn count_proposals(&self, entries: &[LogEntry]) {
        self.parts.metrics.proposals.add(entries.len() as u64);
        for entry in entries {
            self.parts
                .metrics
                .proposal_bytes
                .record(entry.data.len() as u64, 1);
        }
    }
}

/// Records the ms since a time of the leader's clock. If the clocks differ,
/// nothing may be left of them; the reference leaves such ones out.
fn record_since(summary: &Summary, at_ms: i64, now_ms: i64, times: u64) {
    if let Ok(ms) = u64::try_from(now_ms - at_ms) {
        summary.record(ms, times);
    }
}
