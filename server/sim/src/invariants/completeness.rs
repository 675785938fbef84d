//! An established leader has everything that was committed in earlier epochs
//! (`Zab.tla`: PrimaryIntegrity). A leader may learn late that it had a quorum,
//! when that has gone on to a later epoch; it can commit nothing then.

use zk_proto::{Epoch, Zxid};

use super::{Life, Violation};

/// `committed` is the newest transaction of earlier epochs that any server has
/// delivered. That it lies on the leader's path is for the total order to check.
pub(super) fn leader_has_all(
    who: Life,
    epoch: Epoch,
    tip: Zxid,
    committed: Zxid,
) -> Result<(), Violation> {
    if tip >= committed {
        return Ok(());
    }
    let detail = format!("{who} leads epoch {epoch} with {tip}, but {committed} was delivered");
    Err(Violation::new("leader completeness", detail))
}
