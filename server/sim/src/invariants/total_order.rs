//! All servers deliver the same transactions in the same order (`Zab.tla`:
//! TotalOrder, GlobalPrimaryOrder).

use zk_proto::Zxid;

use super::ledger::Ledger;
use super::{Life, Violation};

/// A server has delivered `zxid` and everything before it in its log.
pub(super) fn deliver(ledger: &mut Ledger, who: Life, zxid: Zxid) -> Result<(), Violation> {
    if ledger.is_committed(zxid) {
        return Ok(());
    }
    let tip = ledger.tip();
    let mut path = Vec::new();
    let mut at = zxid;
    while at > tip {
        path.push(at);
        at = ledger
            .proposal(at)
            .map_or(Zxid::ZERO, |proposal| proposal.parent);
    }
    if at != tip {
        let detail = format!(
            "{who} delivers {zxid}, whose history leads to {at} without {tip}, which was delivered before"
        );
        return Err(Violation::new("total order", detail));
    }
    ledger.commit(&path);
    Ok(())
}
