//! A leader's tree takes the place only of what that leader has as well, or of
//! what the server keeps.

use zk_proto::Zxid;

use super::ledger::Ledger;
use super::{Life, Violation};

/// The server drops a log that ends with `tip` for a tree whose newest
/// transaction is `new`.
pub(super) fn is_in(ledger: &Ledger, who: Life, tip: Zxid, new: Zxid) -> Result<(), Violation> {
    let mut at = new;
    while at > tip {
        at = ledger.proposal(at).map_or(Zxid::ZERO, |known| known.parent);
    }
    if at == tip {
        return Ok(());
    }
    let detail =
        format!("{who} drops {tip} for the tree at {new}, which lacks it, and keeps nothing");
    Err(Violation::new("replaced data is kept", detail))
}
