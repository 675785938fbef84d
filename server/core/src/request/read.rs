//! Reads, answered where the client is connected (reference:
//! `FinalRequestProcessor`).

mod watches;
mod znodes;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::lock_api::ArcRwLockWriteGuard;
use parking_lot::{Mutex, RawRwLock, RwLock, RwLockReadGuard};
use zk_proto::client::{ErrorCode, Id, OpCode, ReplyHeader, perms, special_xid};
use zk_proto::jute::Reader;
use zk_proto::{DecodeError, SessionId, Xid, Zxid};

use super::client::{Client, ReadOutcome, sasl};
use super::reply::frame;
use crate::ConnId;
use crate::auth::AuthConfig;
use crate::tree::{Tree, ZnodeRef};
use crate::watch::{WatchKind, WatchSummary, WatchTable};

/// The state that connection tasks read without passing through the driver.
/// Changed by the apply step only. Who needs both locks takes the tree's first.
#[derive(Clone)]
pub struct SharedView {
    tree: Arc<RwLock<Tree>>,
    watches: Arc<Mutex<WatchTable>>,
    auth: Arc<AuthConfig>,
}

/// The right to read for a run of requests; nothing is applied while it lives.
pub struct ReadGuard<'a> {
    tree: RwLockReadGuard<'a, Tree>,
    watches: &'a Mutex<WatchTable>,
    auth: &'a AuthConfig,
}

impl SharedView {
    /// A view of this tree, without watches. `seed` is the watch table's.
    #[must_use]
    pub fn new(tree: Tree, auth: Arc<AuthConfig>, seed: u64) -> Self {
        let watches = WatchTable::new(auth.clone(), seed);
        Self {
            tree: Arc::new(RwLock::new(tree)),
            watches: Arc::new(Mutex::new(watches)),
            auth,
        }
    }

    /// Waits for a batch that is being applied, not for anything longer. One
    /// guard at a time per thread.
    #[must_use]
    pub fn read(&self) -> ReadGuard<'_> {
        ReadGuard {
            tree: self.tree.read(),
            watches: &self.watches,
            auth: &self.auth,
        }
    }

    /// Shuts all readers out.
    pub(crate) fn write_arc(&self) -> ArcRwLockWriteGuard<RawRwLock, Tree> {
        self.tree.write_arc()
    }

    /// The watches.
    pub(crate) fn watches(&self) -> &Mutex<WatchTable> {
        &self.watches
    }

    /// Who a client is and what it may do.
    #[must_use]
    pub fn auth(&self) -> &Arc<AuthConfig> {
        &self.auth
    }

    /// Number of watches of all connections.
    #[must_use]
    pub fn watch_count(&self) -> usize {
        self.watches.lock().count()
    }

    /// Data watches in numbers. Looks at every watch.
    #[must_use]
    pub fn watch_summary(&self) -> WatchSummary {
        self.watches.lock().data_summary()
    }

    /// The paths with data watches of each session, sorted. Looks at every
    /// watch.
    #[must_use]
    pub fn data_watches(&self) -> BTreeMap<SessionId, Vec<String>> {
        let mut by_session: BTreeMap<_, Vec<_>> = BTreeMap::new();
        self.watches
            .lock()
            .for_each_data_watch(&mut |path, sessions| {
                for session in sessions {
                    by_session
                        .entry(*session)
                        .or_default()
                        .push(path.to_owned());
                }
            });
        by_session.values_mut().for_each(|paths| paths.sort());
        by_session
    }
}

impl ReadGuard<'_> {
    /// The tree.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Appends the framed reply to one request that is not a write. `body` is
    /// what follows the request header. A code that has no meaning here is
    /// answered with Unimplemented and ends the connection (reference:
    /// `UnimplementedRequestProcessor`).
    pub fn serve(
        &self,
        client: &mut Client,
        xid: Xid,
        op: i32,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> ReadOutcome {
        let mut body = Reader::new(body);
        client.has_looked_at(0);
        let op = OpCode::from_code(op);
        match op {
            Some(OpCode::Auth) => {
                let outcome = client.authenticate(self.auth, xid, &mut body, out);
                if outcome == ReadOutcome::Authenticated {
                    let mut watches = self.watches.lock();
                    watches.set_ids(client.conn(), client.ids().clone());
                }
                return outcome;
            }
            Some(OpCode::Sasl) => return sasl(xid, &mut body, out),
            // Only servers open sessions this way.
            Some(OpCode::CreateSession) => return ReadOutcome::Close,
            _ => {}
        }
        let read = Read {
            tree: &self.tree,
            watches: self.watches,
            auth: self.auth,
            conn: client.conn(),
            ids: client.ids(),
            xid,
            looked_at: Cell::new(0),
        };
        let body = &mut body;
        let served = match op {
            Some(OpCode::GetData) => read.get_data(body, out),
            Some(OpCode::Exists) => read.exists(body, out),
            Some(OpCode::GetChildren) => read.get_children(body, false, out),
            Some(OpCode::GetChildren2) => read.get_children(body, true, out),
            Some(OpCode::GetAcl) => read.get_acl(body, out),
            Some(OpCode::GetAllChildrenNumber) => read.get_all_children_number(body, out),
            Some(OpCode::GetEphemerals) => read.get_ephemerals(body, out),
            Some(OpCode::MultiRead) => read.multi_read(body, out),
            Some(OpCode::WhoAmI) => read.who_am_i(out),
            Some(OpCode::SetWatches) => read.set_watches(body, false, out),
            Some(OpCode::SetWatches2) => read.set_watches(body, true, out),
            Some(OpCode::AddWatch) => read.add_watch(body, out),
            Some(OpCode::CheckWatches) => read.check_watches(body, out),
            Some(OpCode::RemoveWatches) => read.remove_watches(body, out),
            Some(OpCode::Ping) => {
                let xid = special_xid::PING;
                read.reply_to(xid, out);
                Ok(())
            }
            _ => {
                read.unimplemented(out);
                return ReadOutcome::Close;
            }
        };
        let outcome = match served {
            Ok(()) => ReadOutcome::Answered,
            Err(Refusal::Error(error)) => {
                frame(out, read.header(error), |_| {});
                ReadOutcome::Answered
            }
            Err(Refusal::TooManyWatches) => {
                tracing::warn!(
                    conn = read.conn.0,
                    "too many watches, or bytes of watched paths"
                );
                ReadOutcome::Close
            }
        };
        let looked_at = read.looked_at.get();
        client.has_looked_at(looked_at);
        outcome
    }
}

/// One request under way.
struct Read<'a> {
    tree: &'a Tree,
    watches: &'a Mutex<WatchTable>,
    auth: &'a AuthConfig,
    conn: ConnId,
    ids: &'a [Id],
    xid: Xid,
    /// Entries of access lists, and ephemerals.
    looked_at: Cell<usize>,
}

enum Refusal {
    Error(ErrorCode),
    TooManyWatches,
}

impl From<ErrorCode> for Refusal {
    fn from(error: ErrorCode) -> Self {
        Self::Error(error)
    }
}

impl From<DecodeError> for Refusal {
    fn from(_: DecodeError) -> Self {
        Self::Error(ErrorCode::MarshallingError)
    }
}

type Served = Result<(), Refusal>;

impl<'a> Read<'a> {
    /// A znode that the client may read.
    fn readable(&self, path: &str) -> Result<ZnodeRef<'a>, ErrorCode> {
        let node = self.tree.znode(path).ok_or(ErrorCode::NoNode)?;
        self.permit(&node, perms::READ)?;
        Ok(node)
    }

    /// May the client do any of these to the znode?
    fn permit(&self, node: &ZnodeRef<'_>, wanted: i32) -> Result<(), ErrorCode> {
        let cost = AuthConfig::cost(node.acl(), self.ids);
        self.looked_at.update(|entries| entries + cost);
        if self.auth.allows(node.acl(), self.ids, wanted) {
            Ok(())
        } else {
            Err(ErrorCode::NoAuth)
        }
    }

    fn watch(&self, path: &str, kind: WatchKind) -> Served {
        if self.watches.lock().add(path, self.conn, kind) {
            Ok(())
        } else {
            Err(Refusal::TooManyWatches)
        }
    }

    /// A reply without a body.
    fn reply_to(&self, xid: Xid, out: &mut Vec<u8>) {
        let header = self.header(ErrorCode::Ok);
        frame(out, ReplyHeader { xid, ..header }, |_| {});
    }

    fn reply(&self, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
        frame(out, self.header(ErrorCode::Ok), body);
    }

    fn unimplemented(&self, out: &mut Vec<u8>) {
        let header = ReplyHeader {
            zxid: Zxid(-1),
            ..self.header(ErrorCode::Unimplemented)
        };
        frame(out, header, |_| {});
    }

    const fn header(&self, err: ErrorCode) -> ReplyHeader {
        ReplyHeader {
            xid: self.xid,
            zxid: self.tree.last_zxid(),
            err: err.code(),
        }
    }
}

#[cfg(test)]
mod tests;
