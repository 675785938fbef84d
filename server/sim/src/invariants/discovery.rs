//! How a leader gets its epoch (`Zab.tla`: LeaderProcessACKEPOCH): from a
//! quorum of fresh promises, none of which comes from a newer history.

use std::collections::BTreeSet;

use zk_proto::Epoch;

use super::{Life, Violation};

/// A leader makes `epoch` current. Only promises that were made to it count:
/// who had accepted the epoch before may have promised it to somebody else.
pub(crate) fn has_quorum(
    who: Life,
    epoch: Epoch,
    acks: &BTreeSet<usize>,
    servers: usize,
) -> Result<(), Violation> {
    if (acks.len() + 1) * 2 > servers {
        return Ok(());
    }
    let promised: Vec<_> = acks.iter().map(|server| server + 1).collect();
    let detail = format!("{who} leads epoch {epoch} with the promises of {promised:?} alone");
    Err(Violation::new("an epoch has a quorum of promises", detail))
}

/// A leader synchronizes a learner.
pub(crate) fn is_not_ahead(who: Life, is_ahead: bool) -> Result<(), Violation> {
    if !is_ahead {
        return Ok(());
    }
    let detail = format!("{who} took the promise of a learner whose history is newer");
    Err(Violation::new("nobody leads who is behind", detail))
}
