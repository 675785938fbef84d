//! A promise that was made durable is never forgotten.

use zk_proto::Epoch;

use super::{Life, Violation};

/// Accepted and current epoch never fall, whatever happens to the server.
pub(super) fn never_fall(
    who: Life,
    confirmed: (Epoch, Epoch),
    found: (Epoch, Epoch),
) -> Result<(), Violation> {
    if found.0 >= confirmed.0 && found.1 >= confirmed.1 {
        return Ok(());
    }
    let detail = format!(
        "{who} has accepted epoch {} and current epoch {}, but had confirmed {} and {}",
        found.0, found.1, confirmed.0, confirmed.1
    );
    Err(Violation::new("epochs never fall", detail))
}
