//! A session asks through one server. Once its leader has told a server that it
//! has the session, requests of that session through that server are taken, and
//! requests through any other are refused with SessionMoved.

use std::collections::{BTreeMap, VecDeque};

use zk_core::session::Owner;
use zk_proto::client::ErrorCode;
use zk_proto::txn::{Txn, TxnHeader};
use zk_proto::{SessionId, Xid};

use super::{Life, Violation};

/// What one leader has told of its sessions, and what it was asked for since.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    owners: BTreeMap<SessionId, Owner>,
    asked: VecDeque<Asked>,
}

/// A request that has come to the leader.
#[derive(Debug)]
struct Asked {
    session: SessionId,
    cxid: Xid,
    through: Owner,
    /// Who had the session then; `None` if the leader had told nobody yet.
    owner: Option<Owner>,
}

impl Moves {
    /// The leader has told this server that it has the session now.
    pub(crate) fn told(&mut self, session: SessionId, owner: Owner) {
        self.owners.insert(session, owner);
    }

    /// A request comes to the leader.
    pub(crate) fn asked(&mut self, session: SessionId, cxid: Xid, through: Owner) {
        let owner = self.owners.get(&session).copied();
        self.asked.push_back(Asked {
            session,
            cxid,
            through,
            owner,
        });
    }

    /// The leader proposes what came of the next request, which is not
    /// necessarily the oldest: some end without a proposal.
    pub(crate) fn proposed(
        &mut self,
        who: Life,
        header: &TxnHeader,
        txn: &Txn<'_>,
    ) -> Result<(), Violation> {
        let is_it = |asked: &Asked| (asked.session, asked.cxid) == (header.session, header.cxid);
        let Some(at) = self.asked.iter().position(is_it) else {
            return Ok(());
        };
        let Some(asked) = self.asked.drain(..=at).next_back() else {
            return Ok(());
        };
        let Some(owner) = asked.owner else {
            return Ok(());
        };
        let is_moved = is_error(txn, |code| code == ErrorCode::SessionMoved.code());
        let is_owner = asked.through == owner;
        let is_done = !is_error(txn, |_| true) && !is_empty(txn);
        if is_owner && is_moved || !is_owner && is_done {
            let outcome = if is_done { "was taken" } else { "was refused" };
            let detail = format!(
                "{}: request {} of {} through {:?} {outcome} by {who}, which has told {owner:?} \
                 that it has the session",
                header.zxid, asked.cxid.0, asked.session, asked.through
            );
            return Err(Violation::new("a session asks through one server", detail));
        }
        Ok(())
    }
}

/// A multi of no operations asks for no session, as in the reference.
fn is_empty(txn: &Txn<'_>) -> bool {
    matches!(txn, Txn::Multi(txns) if txns.is_empty())
}

/// Is this an error of that kind, perhaps as a multi that fails?
fn is_error(txn: &Txn<'_>, is_that: impl Fn(i32) -> bool) -> bool {
    let is_one = |txn: &Txn<'_>| matches!(txn, Txn::Error(code) if is_that(*code));
    match txn {
        Txn::Multi(txns) => txns.iter().any(is_one),
        one => is_one(one),
    }
}
