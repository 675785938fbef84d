//! A session has one connection. What it asked for on an older one does not
//! happen any more once something of a newer one has.

use std::collections::BTreeMap;

use zk_core::ConnId;
use zk_proto::{Epoch, SessionId};

use super::Violation;

/// On which connection each request was sent, and the newest connection of
/// each session whose request was proposed in an epoch. A leader that was
/// replaced and has not noticed may propose what comes late; nobody commits it.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    sent: BTreeMap<String, ConnId>,
    newest: BTreeMap<(Epoch, SessionId), ConnId>,
}

impl Owners {
    /// A client sends a request that no other request is like.
    pub(crate) fn sent(&mut self, subject: &str, conn: ConnId) {
        self.sent.insert(subject.to_owned(), conn);
    }

    /// A leader proposes what a session has asked for.
    pub(super) fn proposed(
        &mut self,
        epoch: Epoch,
        session: SessionId,
        subject: &str,
    ) -> Result<(), Violation> {
        let Some(conn) = self.sent.get(subject).copied() else {
            return Ok(());
        };
        let newest = self.newest.entry((epoch, session)).or_insert(conn);
        if conn < *newest {
            let detail = format!(
                "\"{subject}\" of {session} was sent on connection {}, after which a request of \
                 connection {} was proposed",
                conn.0, newest.0
            );
            return Err(Violation::new("a session has one owner", detail));
        }
        *newest = conn;
        Ok(())
    }
}

/// A server opens a session on a connection while it has another with it.
pub(crate) fn is_only_one(
    sid: usize,
    session: SessionId,
    conn: ConnId,
    other: Option<ConnId>,
) -> Result<(), Violation> {
    other.map_or(Ok(()), |other| {
        let detail = format!(
            "server {sid} has {session} on connections {} and {}",
            other.0, conn.0
        );
        Err(Violation::new("a session has one owner", detail))
    })
}
