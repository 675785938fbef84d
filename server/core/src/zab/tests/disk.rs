//! What a server's disk holds.

use std::collections::VecDeque;

use zk_proto::{Epoch, Zxid};

use super::super::{Reigns, ZabInput, ZabState};
use crate::{EpochFile, LogEntry};

/// The whole history of a tree, as zxids.
pub(super) type Tree = Vec<Zxid>;

#[derive(Clone, Debug)]
pub(super) enum Operation {
    Append(Vec<LogEntry>),
    SaveEpoch(EpochFile, Epoch),
    Truncate(Zxid),
    Install(Zxid, Tree),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub(super) snapshot: (Zxid, Tree),
    pub(super) log: Vec<LogEntry>,
    pub(super) accepted: Epoch,
    pub(super) current: Epoch,
    /// Asked for and not done; lost in a crash.
    pub(super) waiting: VecDeque<Operation>,
    /// Done and not reported.
    pub(super) done: VecDeque<ZabInput>,
    /// How many of the newest entries a server keeps in memory.
    pub(super) tail_max: usize,
}

impl Disk {
    pub(super) fn end(&self) -> Zxid {
        self.log
            .last()
            .map_or(self.snapshot.0, |entry| entry.zxid.max(self.snapshot.0))
    }

    /// Everything that a restart would have in its tree.
    pub(super) fn tree(&self) -> Tree {
        let mut tree = self.snapshot.1.clone();
        let after = |entry: &&LogEntry| entry.zxid > self.snapshot.0;
        tree.extend(self.log.iter().filter(after).map(|entry| entry.zxid));
        tree
    }

    fn tail(&self) -> Vec<LogEntry> {
        let from = self.log.len().saturating_sub(self.tail_max);
        self.log[from..].to_vec()
    }

    /// Does the oldest operation.
    pub(super) fn step(&mut self) {
        let done = match self.waiting.pop_front().expect("there is work") {
            Operation::Append(entries) => {
                let last = entries.last().expect("no empty append").zxid;
                self.log.extend(entries);
                ZabInput::Appended(last)
            }
            Operation::SaveEpoch(file, epoch) => {
                match file {
                    EpochFile::Accepted => self.accepted = epoch,
                    EpochFile::Current => self.current = epoch,
                }
                ZabInput::EpochSaved(file, epoch)
            }
            Operation::Truncate(zxid) => {
                let mut left = self.clone();
                if left.snapshot.0 > zxid {
                    // An older snapshot and the log before it.
                    let tree = &mut left.snapshot.1;
                    tree.retain(|kept| *kept <= zxid);
                    left.snapshot.0 = tree.last().copied().unwrap_or_default();
                }
                left.log.retain(|entry| entry.zxid <= zxid);
                // Nothing is dropped if the log does not lead to that zxid.
                if left.end() == zxid {
                    *self = left;
                }
                let (last_zxid, tail) = (self.end(), self.tail());
                ZabInput::Truncated { last_zxid, tail }
            }
            Operation::Install(zxid, tree) => {
                self.log.clear();
                self.snapshot = (zxid, tree);
                ZabInput::SnapshotInstalled(zxid)
            }
        };
        self.done.push_back(done);
    }

    /// Loses what was not done and reads the rest.
    pub(super) fn restart(&mut self) -> ZabState {
        self.waiting.clear();
        self.done.clear();
        let mut reigns = Reigns::default();
        self.log.iter().for_each(|entry| reigns.note(entry));
        ZabState {
            reigns,
            last_zxid: self.end(),
            accepted_epoch: self.accepted,
            current_epoch: self.current,
            tail: self.tail(),
            applied: self.end(),
            digest: None,
        }
    }
}

pub(super) fn image(tree: &Tree) -> Vec<u8> {
    tree.iter().flat_map(|zxid| zxid.0.to_be_bytes()).collect()
}

pub(super) fn tree(image: &[u8]) -> Tree {
    let zxid = |bytes: &[u8]| Zxid(i64::from_be_bytes(bytes.try_into().unwrap()));
    image.chunks(8).map(zxid).collect()
}
