//! A leader's tree takes the place only of what that leader has as well, or of
//! what the server keeps.

use zk_proto::Zxid;

use super::ledger::Ledger;
use super::{Life, Violation};

/// The server drops a log that ends with `tip` for the tree of a leader whose
/// history ends with `known`.
pub(super) fn is_in(ledger: &Ledger, who: Life, tip: Zxid, known: Zxid) -> Result<(), Violation> {
    let mut at = known;
    while at > tip {
        at = ledger.proposal(at).map_or(Zxid::ZERO, |known| known.parent);
    }
    if at == tip {
        return Ok(());
    }
    let detail = format!(
        "{who} drops {tip} for the tree of a leader with {known}, which lacks it, and keeps nothing"
    );
    Err(Violation::new("replaced data is kept", detail))
}
