//! No session ends of which its leader has heard in time.

use zk_proto::SessionId;

use super::{Life, Violation};

/// A leader closes a session because its time is over. `heard_us` is when it
/// was last told of the session, `timeout_ms` what was negotiated.
pub(crate) fn is_due(
    who: Life,
    session: SessionId,
    heard_us: u64,
    timeout_ms: u64,
    now_us: u64,
) -> Result<(), Violation> {
    let silent_us = now_us.saturating_sub(heard_us);
    // The clock of the servers has whole milliseconds.
    if silent_us + 1_000 >= timeout_ms * 1000 {
        return Ok(());
    }
    let detail = format!(
        "{who} lets {session} expire after {} of {timeout_ms} ms",
        silent_us / 1000
    );
    Err(Violation::new(
        "no session that was heard of expires",
        detail,
    ))
}
