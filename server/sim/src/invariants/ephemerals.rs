//! No ephemeral outlives its session.

use zk_core::tree::Tree;

use super::{Life, Violation};

/// One transaction takes a session and all its ephemerals, so no reader ever
/// sees one without the other.
pub(super) fn have_sessions(who: Life, tree: &Tree) -> Result<(), Violation> {
    let orphan = tree
        .ephemeral_owners()
        .find(|owner| !tree.sessions().contains_key(owner));
    orphan.map_or(Ok(()), |owner| {
        let detail = format!("{who} has ephemerals of {owner}, which is no session");
        Err(Violation::new("ephemerals go with their session", detail))
    })
}
