//! A leader sends its history to each learner without a hole.

use zk_proto::Zxid;

use super::{Invariants, Violation};

/// A proposal comes to a learner that has got everything up to `before`. What
/// a tree contains already may be repeated.
pub(crate) fn follows(
    sid: usize,
    before: Option<Zxid>,
    zxid: Zxid,
    checks: &Invariants,
) -> Result<(), Violation> {
    let Some(before) = before else {
        let detail = format!("server {sid} gets {zxid} before DIFF, TRUNC or SNAP");
        return Err(Violation::new("a link has no hole", detail));
    };
    match checks.parent(zxid) {
        Some(parent) if zxid > before && parent != before => {
            let detail = format!("server {sid} gets {zxid} after {before}, not after {parent}");
            Err(Violation::new("a link has no hole", detail))
        }
        Some(_) | None => Ok(()),
    }
}
