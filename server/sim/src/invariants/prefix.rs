//! Every log is the beginning of a leader's log (`Zab.tla`: PrefixConsistency,
//! GlobalPrimaryOrder).

use zk_proto::Zxid;

use super::ledger::Proposal;
use super::{Life, Violation};

/// `zxid` comes after `tip` in this server's log.
pub(super) fn follows(who: Life, tip: Zxid, zxid: Zxid, known: Proposal) -> Result<(), Violation> {
    if known.parent == tip {
        return Ok(());
    }
    let parent = known.parent;
    let detail = format!("{who} has {zxid} after {tip}, its leader had it after {parent}");
    Err(Violation::new("prefix consistency", detail))
}

/// Nothing is delivered that is not in the server's own log.
pub(super) fn is_logged(who: Life, delivered: Zxid, tip: Zxid) -> Result<(), Violation> {
    if delivered <= tip {
        return Ok(());
    }
    let detail = format!("{who} delivers {delivered}, its log ends at {tip}");
    Err(Violation::new("log before delivery", detail))
}
