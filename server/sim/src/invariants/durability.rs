//! What a client was told to be done stays done.

use zk_proto::Zxid;

use super::ledger::Ledger;
use super::{Life, Violation};

/// An acknowledged write is among the committed transactions, and those stay:
/// every later leader is checked to have them.
pub(super) fn acknowledged(ledger: &Ledger, zxid: Zxid) -> Result<(), Violation> {
    if ledger.is_committed(zxid) {
        return Ok(());
    }
    let detail = format!("a client was told that {zxid} succeeded, but nobody has delivered it");
    Err(Violation::new("acknowledged writes survive", detail))
}

/// At the end every server has everything.
pub(super) fn is_complete(ledger: &Ledger, who: Life, zxid: Zxid) -> Result<(), Violation> {
    let (tip, has) = (ledger.tip(), ledger.transaction(zxid));
    if has == tip {
        return Ok(());
    }
    let detail = format!("in the end {who} is at {has}, but {tip} was delivered");
    Err(Violation::new("acknowledged writes survive", detail))
}
