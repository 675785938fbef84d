//! Nobody promises what its disk does not have yet: not to follow an epoch,
//! not to hold a history, not to hold a proposal.

use zk_proto::{Epoch, Zxid};

use super::{Life, Violation};

/// ACKEPOCH of a learner, LEADERINFO of a leader.
pub(crate) fn accepted(who: Life, durable: Epoch, promised: Epoch) -> Result<(), Violation> {
    if durable >= promised {
        return Ok(());
    }
    let detail = format!("{who} promises epoch {promised}, its disk has accepted {durable}");
    Err(Violation::new("promises are durable", detail))
}

/// The ACK of NEWLEADER, and NEWLEADER itself.
pub(crate) fn current(who: Life, durable: Epoch, promised: Epoch) -> Result<(), Violation> {
    if durable >= promised {
        return Ok(());
    }
    let detail = format!("{who} is in epoch {promised}, on its disk {durable} is current");
    Err(Violation::new("promises are durable", detail))
}

/// The ACK of a proposal or of the leader's history.
pub(crate) fn logged(who: Life, durable: Zxid, promised: Zxid) -> Result<(), Violation> {
    if durable >= promised {
        return Ok(());
    }
    let detail = format!("{who} acknowledges {promised}, its disk has confirmed {durable}");
    Err(Violation::new("promises are durable", detail))
}

/// A server has loaded its log: it ends with `tip`.
pub(crate) fn outlives(who: Life, durable: Zxid, tip: Zxid) -> Result<(), Violation> {
    if tip >= durable {
        return Ok(());
    }
    let detail = format!("{who} starts with {tip}, its disk had confirmed {durable}");
    Err(Violation::new("what is durable outlives a crash", detail))
}
