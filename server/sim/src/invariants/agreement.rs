//! A zxid stands for one transaction, made once, by the leader of its epoch
//! (`Zab.tla`: Agreement, LocalPrimaryOrder).

use zk_proto::{Epoch, Zxid};

use super::ledger::Proposal;
use super::{Life, Violation};

/// A leader makes a proposal.
pub(super) fn new_proposal(
    who: Life,
    tip: Zxid,
    zxid: Zxid,
    epoch: Epoch,
) -> Result<(), Violation> {
    let in_order = if tip.epoch() == epoch {
        zxid == tip.next()
    } else {
        tip.epoch() < epoch && zxid == Zxid::new(epoch, 1)
    };
    if in_order {
        return Ok(());
    }
    let detail = format!("{who} leads epoch {epoch} and proposes {zxid} after {tip}");
    Err(Violation::new("local primary order", detail))
}

/// A server holds a transaction that was proposed before.
pub(super) fn same(
    who: Life,
    zxid: Zxid,
    known: Proposal,
    digest: u64,
    leads: Option<Epoch>,
) -> Result<(), Violation> {
    if known.digest != digest {
        let detail = format!("{who} holds another transaction {zxid} than was proposed");
        return Err(Violation::new("agreement", detail));
    }
    if let Some(epoch) = leads {
        let detail = format!("{who} leads epoch {epoch} and proposes {zxid} a second time");
        return Err(Violation::new("agreement", detail));
    }
    Ok(())
}
