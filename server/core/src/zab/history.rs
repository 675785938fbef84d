//! What this server has of the common history: on its disk, on the way there,
//! and delivered to the tree.

use std::collections::VecDeque;

use zk_proto::txn::{TxnDigest, decode_txn};
use zk_proto::{Epoch, Zxid};

use super::committed_log::{CommittedLog, follows};
use super::event::{Effects, ZabEvent, ZabState};
use super::past::header_of;
use super::reigns::Reigns;
use crate::{EpochFile, LogEntry, Output};

/// Names one write of an epoch file, so that its completion is not taken for
/// that of an earlier write of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// The log, the epoch files and the end of what was delivered.
///
/// The disk works in order and reports in order. So an epoch file that was
/// asked for after entries is durable only after they are.
#[derive(Debug)]
pub(super) struct History {
    accepted_epoch: Epoch,
    current_epoch: Epoch,
    end: Zxid,
    durable: Zxid,
    delivered: Zxid,
    open: VecDeque<LogEntry>,
    committed: CommittedLog,
    /// Of what was delivered.
    reigns: Reigns,
    /// Zxid and digest of the tree that a start has loaded, while it is part of
    /// this history.
    loaded: Option<(Zxid, u64)>,
    to_append: Vec<LogEntry>,
    unsynced: VecDeque<Zxid>,
    saving: VecDeque<Saving>,
    next_ticket: u64,
}

#[derive(Debug)]
struct Saving {
    file: EpochFile,
    epoch: Epoch,
    ticket: Ticket,
    log_end: Zxid,
}

impl History {
    pub(super) fn new(state: ZabState, commit_log_count: usize) -> Self {
        assert_eq!(
            state.applied, state.last_zxid,
            "recovery applies the whole log"
        );
        let mut committed = CommittedLog::new(commit_log_count);
        committed.reset(state.tail, state.last_zxid);
        Self {
            accepted_epoch: state
                .accepted_epoch
                .max(state.current_epoch)
                .max(state.last_zxid.epoch()),
            current_epoch: state.current_epoch,
            end: state.last_zxid,
            durable: state.last_zxid,
            delivered: state.last_zxid,
            open: VecDeque::new(),
            committed,
            reigns: state.reigns,
            loaded: state.digest.map(|digest| (state.applied, digest)),
            to_append: Vec::new(),
            unsynced: VecDeque::new(),
            saving: VecDeque::new(),
            next_ticket: 0,
        }
    }

    /// The newest epoch that the file holds or will hold.
    pub(super) const fn accepted_epoch(&self) -> Epoch {
        self.accepted_epoch
    }

    /// The newest epoch that the file holds or will hold.
    pub(super) const fn current_epoch(&self) -> Epoch {
        self.current_epoch
    }

    /// End of the log, durable or not: this is what votes and ACKEPOCH report.
    pub(super) const fn end(&self) -> Zxid {
        self.end
    }

    /// Everything up to here is durable.
    pub(super) const fn durable(&self) -> Zxid {
        self.durable
    }

    /// Everything up to here is in the tree, or on the way there as an event.
    pub(super) const fn delivered(&self) -> Zxid {
        self.delivered
    }

    /// Logged and not delivered, in order.
    pub(super) const fn open(&self) -> &VecDeque<LogEntry> {
        &self.open
    }

    /// The newest delivered entries, in order.
    pub(super) fn committed(&self) -> impl Iterator<Item = &LogEntry> {
        self.committed.iter()
    }

    /// What this history may have in common with one that ends at `end`: the
    /// header of a transaction that is in both if any is, and how far both go
    /// if it is. `None` where nothing is known.
    pub(super) fn common(&self, end: Zxid) -> Option<(&[u8], Zxid)> {
        let all = self.committed.iter().chain(&self.open);
        let newest = all.take_while(|entry| entry.zxid <= end).last();
        let in_memory = newest.map(|entry| (header_of(entry), entry.zxid));
        in_memory.or_else(|| self.reigns.common(end))
    }

    /// Header of the transaction with this zxid, as far as it is known.
    pub(super) fn header(&self, zxid: Zxid) -> Option<&[u8]> {
        let all = self.committed.iter().chain(&self.open);
        let in_memory = all
            .take_while(|entry| entry.zxid <= zxid)
            .find(|entry| entry.zxid == zxid);
        let in_memory = in_memory.map(header_of);
        in_memory.or_else(|| self.reigns.header(zxid))
    }

    /// Digest of the tree after the transaction with this zxid, as far as it is
    /// known.
    pub(super) fn digest(&self, zxid: Zxid) -> Option<u64> {
        let all = self.committed.iter().chain(&self.open);
        let in_memory = all
            .take_while(|entry| entry.zxid <= zxid)
            .find(|entry| entry.zxid == zxid)
            .and_then(|entry| decode_txn(&entry.data).ok()?.2)
            .filter(|digest| digest.version == TxnDigest::VERSION);
        let loaded = self.loaded.filter(|(at, _)| *at == zxid);
        in_memory
            .map(|digest| digest.tree_digest)
            .or_else(|| loaded.map(|(_, digest)| digest))
    }

    /// Can an entry with this zxid come next?
    pub(super) fn is_next(&self, zxid: Zxid) -> bool {
        follows(zxid, self.end)
    }

    /// Logs an entry; it reaches the disk with the next [`Self::flush`].
    pub(super) fn append(&mut self, entry: LogEntry) {
        assert!(
            self.is_next(entry.zxid),
            "{} was logged after {}",
            entry.zxid,
            self.end
        );
        self.end = entry.zxid;
        self.unsynced.push_back(entry.zxid);
        self.to_append.push(entry.clone());
        self.open.push_back(entry);
    }

    /// Hands to the disk what was logged since the last time.
    pub(super) fn flush(&mut self, fx: &mut Effects) {
        if !self.to_append.is_empty() {
            let entries = std::mem::take(&mut self.to_append);
            fx.outputs.push(Output::Append(entries));
        }
    }

    /// Entries are durable. Returns which ones were not so far.
    pub(super) fn appended(&mut self, through: Zxid) -> Vec<Zxid> {
        let position = self.unsynced.iter().position(|zxid| *zxid == through);
        let count = 1 + position.expect("a zxid that was handed to the disk");
        self.durable = through;
        self.unsynced.drain(..count).collect()
    }

    /// Writes an epoch file, behind everything that was logged.
    pub(super) fn save_epoch(&mut self, file: EpochFile, epoch: Epoch, fx: &mut Effects) -> Ticket {
        self.flush(fx);
        match file {
            EpochFile::Accepted => {
                assert!(epoch >= self.accepted_epoch, "a promise is not taken back");
                self.accepted_epoch = epoch;
            }
            EpochFile::Current => {
                assert!(
                    epoch >= self.current_epoch && epoch <= self.accepted_epoch,
                    "an epoch is accepted before it becomes current"
                );
                self.current_epoch = epoch;
            }
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let log_end = self.end;
        self.saving.push_back(Saving {
            file,
            epoch,
            ticket,
            log_end,
        });
        fx.outputs.push(Output::SaveEpoch(file, epoch));
        ticket
    }

    /// An epoch file is durable.
    pub(super) fn epoch_saved(&mut self, file: EpochFile, epoch: Epoch) -> Ticket {
        let saved = self.saving.pop_front().expect("a write was asked for");
        assert_eq!(
            (saved.file, saved.epoch),
            (file, epoch),
            "the disk answers in order"
        );
        assert!(
            !self.unsynced.contains(&saved.log_end),
            "the log is durable before an epoch file that follows it"
        );
        saved.ticket
    }

    /// Delivers what is logged up to and including this zxid.
    pub(super) fn deliver_through(&mut self, zxid: Zxid, fx: &mut Effects) {
        while self.open.front().is_some_and(|entry| entry.zxid <= zxid) {
            let entry = self.open.pop_front().expect("it has a front");
            assert!(entry.zxid > self.delivered, "delivery is in order");
            self.delivered = entry.zxid;
            self.reigns.note(&entry);
            self.committed.push(entry.clone());
            fx.events.push_back(ZabEvent::Deliver(entry));
        }
    }

    /// Asks the disk to drop what is after this zxid. Until the completion
    /// nothing may be logged.
    pub(super) fn truncate(&mut self, zxid: Zxid, fx: &mut Effects) {
        self.flush(fx);
        fx.outputs.push(Output::Truncate(zxid));
    }

    /// The log ends at `last_zxid` now, and so does the tree.
    pub(super) fn truncated(&mut self, last_zxid: Zxid, tail: Vec<LogEntry>) {
        self.restart_at(last_zxid);
        self.durable = last_zxid;
        self.reigns.cut_after(last_zxid);
        self.loaded = self.loaded.filter(|(at, _)| *at <= last_zxid);
        self.committed.reset(tail, last_zxid);
    }

    /// A snapshot takes the place of everything. Until the disk has it nothing
    /// may be logged.
    pub(super) fn replace(&mut self, zxid: Zxid, fx: &mut Effects) {
        self.flush(fx);
        self.restart_at(zxid);
        self.reigns = Reigns::default();
        self.loaded = None;
        self.committed.reset(Vec::new(), zxid);
    }

    /// The snapshot is durable.
    pub(super) fn replaced(&mut self, zxid: Zxid) {
        assert_eq!(
            zxid, self.end,
            "nothing is logged while a snapshot is installed"
        );
        assert!(self.unsynced.is_empty(), "the disk answers in order");
        self.durable = zxid;
    }

    fn restart_at(&mut self, zxid: Zxid) {
        self.end = zxid;
        self.delivered = zxid;
        self.open.clear();
    }
}
