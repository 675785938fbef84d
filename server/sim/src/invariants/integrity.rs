//! Only what a leader has proposed is accepted (`Zab.tla`: Integrity).

use zk_proto::Zxid;

use super::{Life, Violation};

/// A server holds a transaction that nobody has proposed.
pub(super) fn unknown(who: Life, zxid: Zxid) -> Result<(), Violation> {
    let detail = format!("{who} holds {zxid}, which no leader has proposed");
    Err(Violation::new("integrity", detail))
}
