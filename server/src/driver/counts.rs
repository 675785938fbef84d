//! What the driver counts of what goes through it, and how long roles take.

use std::sync::atomic::Ordering;
use std::time::Instant;

use zk_core::{LogEntry, Role};
use zk_proto::jute::Reader;
use zk_proto::quorum::{PacketKind, QuorumPacket};
use zk_proto::txn::TxnHeader;
use zk_proto::{Epoch, Sid};

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

    pub(super) fn role_changed(
        &mut self,
        role: Role,
        serving: bool,
        epoch: Epoch,
        leader: Option<Sid>,
    ) {
        let metrics = &self.parts.metrics;
        if let Some(mesh) = &self.parts.mesh {
            mesh.set_looking(role == Role::Looking);
        }
        if role == Role::Looking && self.role != Role::Looking {
            metrics.looking.add(1);
            self.looking_since = Some(Instant::now());
        }
        if role != Role::Looking
            && let Some(since) = self.looking_since.take()
        {
            metrics.elections.record_time(since.elapsed(), 1);
        }
        if serving && !self.is_serving {
            if let Some(since) = self.unavailable_since.take() {
                metrics.unavailable.record_time(since.elapsed(), 1);
                if role == Role::Leading {
                    metrics.leader_unavailable.record_time(since.elapsed(), 1);
                }
            }
            if let Some(since) = self.syncing_since.take()
                && role == Role::Following
            {
                metrics.follower_syncs.record_time(since.elapsed(), 1);
            }
        } else if !serving && self.is_serving {
            self.unavailable_since = Some(Instant::now());
        }
        let leads = role == Role::Leading && serving;
        let since = if leads {
            self.parts.clock.mono().0 + 1
        } else {
            0
        };
        metrics.leading_since_ms.store(since, Ordering::Relaxed);
        self.role = role;
        self.is_serving = serving;
        let (sid, leader) = (self.parts.sid.0, leader.map(|leader| leader.0));
        tracing::info!(sid, ?role, serving, epoch = epoch.0, leader, "role");
    }
}

/// Records the ms since a time of the leader's clock. If the clocks differ,
/// nothing may be left of them; the reference leaves such ones out.
fn record_since(summary: &Summary, at_ms: i64, now_ms: i64, times: u64) {
    if let Ok(ms) = u64::try_from(now_ms - at_ms) {
        summary.record(ms, times);
    }
}
