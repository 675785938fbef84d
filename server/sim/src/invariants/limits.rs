//! What is bounded: the length of what a leader proposes, because its peers do
//! not read more, and how many sessions it closes at once, because a write that
//! comes then has to wait for them.

use std::collections::BTreeSet;

use zk_proto::Zxid;

use super::{Life, Violation};
use crate::scenario::{CLOSINGS_MAX, TXN_BYTES_MAX};

/// A leader proposes a transaction of this length.
pub(crate) fn is_readable(who: Life, zxid: Zxid, bytes: usize) -> Result<(), Violation> {
    if bytes <= TXN_BYTES_MAX {
        return Ok(());
    }
    let detail = format!("{who} proposes {zxid} of {bytes} bytes; peers read {TXN_BYTES_MAX}");
    Err(Violation::new("a peer can read what is proposed", detail))
}

/// Sessions that a leader closes because they have expired, until that is
/// applied.
#[derive(Debug, Default)]
pub(crate) struct Closings(BTreeSet<Zxid>);

impl Closings {
    /// The leader, whose tree is at `applied`, proposes to close one more.
    pub(crate) fn proposed(
        &mut self,
        who: Life,
        zxid: Zxid,
        applied: Zxid,
    ) -> Result<(), Violation> {
        self.0 = self.0.split_off(&applied.next());
        self.0.insert(zxid);
        if self.0.len() <= CLOSINGS_MAX {
            return Ok(());
        }
        let detail = format!("{who} closes {} sessions at once", self.0.len());
        Err(Violation::new("closings are bounded", detail))
    }
}
