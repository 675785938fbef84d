//! What a leader sends to a learner that it synchronizes.

use bytes::Bytes;
use zk_proto::quorum::QuorumPacket;
use zk_proto::txn::TXN_HEADER_BYTES;
use zk_proto::{Epoch, Zxid};

use super::leader::Phase;
use super::peer::Peer;
use crate::LogEntry;

/// The leader's history as a learner gets it.
pub(super) struct Past<'a> {
    /// To be sent with commits.
    pub(super) certain: Vec<&'a LogEntry>,
    /// To be sent without.
    pub(super) outstanding: Vec<&'a LogEntry>,
    pub(super) last_processed: Zxid,
}

impl<'a> Past<'a> {
    pub(super) fn of(peer: &'a Peer, phase: Phase, epoch: Epoch, applied: Zxid) -> Self {
        let history = &peer.history;
        let committed = history.committed();
        if phase == Phase::Serving {
            let start = QuorumPacket::epoch_zxid(epoch);
            assert_eq!(
                applied,
                history.delivered().max(start),
                "all deliveries are applied before learners are synchronized"
            );
            return Self {
                certain: committed.collect(),
                outstanding: history.open().iter().collect(),
                last_processed: applied,
            };
        }
        // Before it serves, all that a leader has logged is its history, which
        // is committed by the same quorum that establishes the leader.
        Self {
            certain: committed.chain(history.open()).collect(),
            outstanding: Vec::new(),
            last_processed: history.end(),
        }
    }

    /// Header of the transaction that a learner has as the last one before it
    /// gets the entries from this index on. It goes into DIFF and TRUNC, whose
    /// data the reference leaves empty and does not read.
    pub(super) fn header_before(&self, from: usize) -> Option<Bytes> {
        let last = self.certain[..from].last()?;
        Some(last.data.slice_ref(header_of(last)))
    }
}

/// The header of a transaction. With the session and the time in it no two
/// transactions have the same one.
pub(super) fn header_of(entry: &LogEntry) -> &[u8] {
    &entry.data[..TXN_HEADER_BYTES.min(entry.data.len())]
}
