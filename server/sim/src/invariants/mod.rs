//! What must hold after every step: the properties of `Zab.tla` and what
//! clients rely on, one file each.

mod agreement;
mod completeness;
mod digests;
pub(crate) mod discovery;
mod durability;
mod ephemerals;
mod epochs;
pub(crate) mod expiry;
pub(crate) mod impostors;
mod integrity;
mod leadership;
mod ledger;
pub(crate) mod limits;
pub(crate) mod links;
pub(crate) mod moves;
pub(crate) mod owners;
mod prefix;
pub(crate) mod promises;
pub(crate) mod registers;
mod replaced;
pub(crate) mod replies;
pub(crate) mod syncs;
mod total_order;

use std::fmt;

use zk_core::tree::Tree;
use zk_proto::{Epoch, SessionId, Zxid};

use ledger::{Ledger, Proposal};

/// A property that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its name.
    pub property: &'static str,
    /// What was seen.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.property, self.detail)
    }
}

impl Violation {
    pub(crate) const fn new(property: &'static str, detail: String) -> Self {
        Self { property, detail }
    }
}

/// One life of one server: its sid and how often it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) sid: i64,
    pub(crate) life: u64,
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server {} (life {})", self.sid, self.life)
    }
}

/// All that was seen in a run, and the checks against it.
#[derive(Debug, Default)]
pub(crate) struct Invariants {
    ledger: Ledger,
    leadership: leadership::Leadership,
    digests: digests::Digests,
    subjects: replies::Subjects,
    pub(crate) owners: owners::Owners,
    pub(crate) registers: registers::Registers,
    acknowledged: syncs::Acknowledged,
}

impl Invariants {
    /// A server appends a transaction behind `tip`, the newest in its log.
    /// `leads` is the epoch in which it leads.
    pub(crate) fn append(
        &mut self,
        who: Life,
        tip: Zxid,
        zxid: Zxid,
        data: &[u8],
        leads: Option<Epoch>,
    ) -> Result<(), Violation> {
        let digest = ledger::digest(data);
        match (self.ledger.proposal(zxid), leads) {
            (None, Some(epoch)) => {
                agreement::new_proposal(who, tip, zxid, epoch)?;
                let parent = tip;
                self.ledger.propose(zxid, Proposal { parent, digest });
                Ok(())
            }
            (None, None) => integrity::unknown(who, zxid),
            (Some(known), _) => {
                agreement::same(who, zxid, known, digest, leads)?;
                prefix::follows(who, tip, zxid, known)
            }
        }
    }

    /// A server has loaded its log: what it holds was proposed at some time,
    /// in this order. Returns its newest transaction.
    pub(crate) fn recovered<'a>(
        &self,
        who: Life,
        snapshot: Zxid,
        entries: impl Iterator<Item = (Zxid, &'a [u8])>,
    ) -> Result<Zxid, Violation> {
        let mut tip = self.ledger.transaction(snapshot);
        for (zxid, data) in entries {
            let Some(known) = self.ledger.proposal(zxid) else {
                return integrity::unknown(who, zxid).map(|()| zxid);
            };
            agreement::same(who, zxid, known, ledger::digest(data), None)?;
            prefix::follows(who, tip, zxid, known)?;
            tip = zxid;
        }
        Ok(tip)
    }

    /// The newest transaction of a tree that stands at `zxid`, which may be
    /// the start of an epoch.
    pub(crate) fn transaction(&self, zxid: Zxid) -> Zxid {
        self.ledger.transaction(zxid)
    }

    /// A leader's tree takes the place of all that a server has, which ends
    /// with `tip`, and the server keeps nothing of it. The leader's own history
    /// ends with `known`.
    pub(crate) fn replaced(&self, who: Life, tip: Zxid, known: Zxid) -> Result<(), Violation> {
        replaced::is_in(&self.ledger, who, tip, known)
    }

    /// A leader is established with `tip` as the end of its log.
    pub(crate) fn established(
        &mut self,
        who: Life,
        epoch: Epoch,
        tip: Zxid,
    ) -> Result<(), Violation> {
        self.leadership.established(who, epoch)?;
        completeness::leader_has_all(who, epoch, tip, self.ledger.tip_before(epoch))?;
        self.ledger.start(epoch, tip);
        total_order::deliver(&mut self.ledger, who, tip)
    }

    /// The tree that a server shows to clients; `tip` is the end of its log.
    pub(crate) fn delivered(&mut self, who: Life, tree: &Tree, tip: Zxid) -> Result<(), Violation> {
        ephemerals::have_sessions(who, tree)?;
        let digest = tree.digest();
        let transaction = self.ledger.transaction(tree.last_zxid());
        prefix::is_logged(who, transaction, tip)?;
        total_order::deliver(&mut self.ledger, who, transaction)?;
        self.digests.tree(who, transaction, digest)
    }

    /// A leader proposes what this session has asked for.
    pub(crate) fn proposed(
        &mut self,
        session: SessionId,
        zxid: Zxid,
        subject: String,
    ) -> Result<(), Violation> {
        let check = self.owners.proposed(zxid.epoch(), session, &subject);
        self.subjects.proposed(zxid, subject);
        check
    }

    /// The transaction that comes before this one in every log.
    pub(crate) fn parent(&self, zxid: Zxid) -> Option<Zxid> {
        self.ledger.proposal(zxid).map(|proposal| proposal.parent)
    }

    /// A client was told that its write succeeded, which was to do `wanted`.
    pub(crate) fn acknowledged(&mut self, zxid: Zxid, wanted: &str) -> Result<(), Violation> {
        self.acknowledged.acknowledged(zxid);
        self.subjects.answered(zxid, wanted)?;
        durability::acknowledged(&self.ledger, zxid)
    }

    /// What clients were told up to now.
    pub(crate) fn acknowledged_so_far(&self) -> syncs::Acknowledged {
        self.acknowledged.clone()
    }

    /// At the end: a server's tree stands at `zxid`.
    pub(crate) fn is_complete(&self, who: Life, zxid: Zxid) -> Result<(), Violation> {
        durability::is_complete(&self.ledger, who, zxid)
    }

    /// A server found these epochs on its disk; `confirmed` are those that the
    /// disk had confirmed.
    pub(crate) fn epochs(
        who: Life,
        confirmed: (Epoch, Epoch),
        found: (Epoch, Epoch),
    ) -> Result<(), Violation> {
        epochs::never_fall(who, confirmed, found)
    }

    /// Transactions that were committed so far.
    pub(crate) fn committed(&self) -> usize {
        self.ledger.committed()
    }
}
