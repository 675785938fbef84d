//! Reads, answered where the client is connected (reference:
//! `FinalRequestProcessor`).

use std::borrow::Cow;
use std::sync::Arc;

use parking_lot::lock_api::ArcRwLockWriteGuard;
use parking_lot::{Mutex, RawRwLock, RwLock, RwLockReadGuard};
use zk_proto::client::{
    ErrorCode, EventKind, Id, OpCode, PathWatchRequest, ReplyHeader, SetWatches, WatcherEvent,
    perms, special_xid, write_children,
};
use zk_proto::jute::{Put, Reader};
use zk_proto::{DecodeError, Xid, Zxid};

use super::reply::{frame, write_event};
use crate::ConnId;
use crate::auth::AuthConfig;
use crate::tree::{Tree, ZnodeRef};
use crate::watch::{WatchSummary, WatchTable};

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

/// What to do with the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// Go on.
    Answered,
    /// Send what was appended, then close.
    Close,
}

impl SharedView {
    /// A view of this tree, without watches.
    #[must_use]
    pub fn new(tree: Tree, auth: Arc<AuthConfig>) -> Self {
        Self {
            tree: Arc::new(RwLock::new(tree)),
            watches: Arc::new(Mutex::new(WatchTable::new(auth.clone()))),
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

    /// Watches on data in numbers.
    #[must_use]
    pub fn watch_summary(&self) -> WatchSummary {
        self.watches.lock().data_summary()
    }

    /// Paths whose data this connection watches, sorted.
    #[must_use]
    pub fn watched_paths(&self, conn: ConnId) -> Vec<String> {
        let watches = self.watches.lock();
        let mut paths: Vec<_> = watches.data_paths(conn).map(str::to_owned).collect();
        drop(watches);
        paths.sort_unstable();
        paths
    }

    /// Number of watches of all connections.
    #[must_use]
    pub fn watch_count(&self) -> usize {
        self.watches.lock().count()
    }
}

impl ReadGuard<'_> {
    /// The tree.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Appends the framed reply to one request that is not a write. `ids` are
    /// the connection's, `body` is what follows the request header. A code
    /// that has no meaning here is answered with Unimplemented and ends the
    /// connection (reference: `UnimplementedRequestProcessor`).
    pub fn serve(
        &self,
        conn: ConnId,
        ids: &[Id],
        xid: Xid,
        op: i32,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> ReadOutcome {
        let read = Read {
            tree: &self.tree,
            watches: self.watches,
            auth: self.auth,
            conn,
            ids,
            xid,
        };
        let mut body = Reader::new(body);
        let served = match OpCode::from_code(op) {
            Some(OpCode::GetData) => read.get_data(&mut body, out),
            Some(OpCode::Exists) => read.exists(&mut body, out),
            Some(OpCode::GetChildren) => read.get_children(&mut body, false, out),
            Some(OpCode::GetChildren2) => read.get_children(&mut body, true, out),
            Some(OpCode::SetWatches) => read.set_watches(&mut body, out),
            Some(OpCode::Ping) => {
                frame(
                    out,
                    ReplyHeader {
                        xid: special_xid::PING,
                        ..read.header(ErrorCode::Ok)
                    },
                    |_| {},
                );
                return ReadOutcome::Answered;
            }
            Some(OpCode::Auth) => return auth(&mut body, xid, out),
            // Only servers open sessions this way.
            Some(OpCode::CreateSession) => return ReadOutcome::Close,
            _ => {
                let err = ErrorCode::Unimplemented.code();
                frame(
                    out,
                    ReplyHeader {
                        xid,
                        zxid: Zxid(-1),
                        err,
                    },
                    |_| {},
                );
                return ReadOutcome::Close;
            }
        };
        match served {
            Ok(()) => ReadOutcome::Answered,
            Err(Refusal::Error(error)) => {
                frame(out, read.header(error), |_| {});
                ReadOutcome::Answered
            }
            Err(Refusal::TooManyWatches) => {
                tracing::warn!(?conn, "a connection has too many watches and is closed");
                ReadOutcome::Close
            }
        }
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

impl<'a> Read<'a> {
    fn get_data(&self, body: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let PathWatchRequest { path, watch } = PathWatchRequest::read(body)?;
        let node = self.readable(&path)?;
        if watch {
            self.watch_data(&path)?;
        }
        frame(out, self.header(ErrorCode::Ok), |out| {
            out.put_opt_buffer(node.data());
            node.stat().write(out);
        });
        Ok(())
    }

    /// The watch stays even when there is no znode.
    fn exists(&self, body: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let PathWatchRequest { path, watch } = PathWatchRequest::read(body)?;
        if path.contains('\0') {
            return Err(ErrorCode::BadArguments.into());
        }
        let node = self.readable(&path);
        if matches!(node, Err(ErrorCode::NoAuth)) {
            return Err(ErrorCode::NoAuth.into());
        }
        if watch {
            self.watch_data(&path)?;
        }
        let stat = node?.stat();
        frame(out, self.header(ErrorCode::Ok), |out| stat.write(out));
        Ok(())
    }

    fn get_children(
        &self,
        body: &mut Reader<'_>,
        with_stat: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let PathWatchRequest { path, watch } = PathWatchRequest::read(body)?;
        let node = self.readable(&path)?;
        if watch && !self.watches.lock().add_child(&path, self.conn) {
            return Err(Refusal::TooManyWatches);
        }
        frame(out, self.header(ErrorCode::Ok), |out| {
            write_children(out, node.child_count(), node.children());
            if with_stat {
                node.stat().write(out);
            }
        });
        Ok(())
    }

    /// What has happened since the client's last zxid is told at once, with
    /// the zxid -1 and without a look at ACLs; what has not is watched again
    /// (reference: `DataTree.setWatches`).
    fn set_watches(&self, body: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let SetWatches {
            relative_zxid,
            data_watches,
            exist_watches,
            child_watches,
            ..
        } = SetWatches::read(body)?;
        let mut watches = self.watches.lock();
        let mut missed = |path: &str, kind| write_event(out, Zxid(-1), WatcherEvent { kind, path });
        let each = |paths: &[Cow<'_, str>],
                    visit: &mut dyn FnMut(&str, Option<ZnodeRef<'_>>) -> bool| {
            paths.iter().all(|path| visit(path, self.tree.znode(path)))
        };
        let all = each(&data_watches, &mut |path, node| {
            match node {
                None => missed(path, EventKind::NodeDeleted),
                Some(node) if node.stat_persisted().mzxid > relative_zxid => {
                    missed(path, EventKind::NodeDataChanged)
                }
                Some(_) => return watches.add_data(path, self.conn),
            }
            true
        }) && each(&exist_watches, &mut |path, node| {
            match node {
                None => return watches.add_data(path, self.conn),
                Some(_) => missed(path, EventKind::NodeCreated),
            }
            true
        }) && each(&child_watches, &mut |path, node| {
            match node {
                None => missed(path, EventKind::NodeDeleted),
                Some(node) if node.stat_persisted().pzxid > relative_zxid => {
                    missed(path, EventKind::NodeChildrenChanged);
                }
                Some(_) => return watches.add_child(path, self.conn),
            }
            true
        });
        if !all {
            return Err(Refusal::TooManyWatches);
        }
        frame(out, self.header(ErrorCode::Ok), |_| {});
        Ok(())
    }

    fn readable(&self, path: &str) -> Result<ZnodeRef<'a>, ErrorCode> {
        let node = self.tree.znode(path).ok_or(ErrorCode::NoNode)?;
        if self.auth.allows(node.acl(), self.ids, perms::READ) {
            Ok(node)
        } else {
            Err(ErrorCode::NoAuth)
        }
    }

    fn watch_data(&self, path: &str) -> Result<(), Refusal> {
        if self.watches.lock().add_data(path, self.conn) {
            Ok(())
        } else {
            Err(Refusal::TooManyWatches)
        }
    }

    const fn header(&self, err: ErrorCode) -> ReplyHeader {
        ReplyHeader {
            xid: self.xid,
            zxid: self.tree.last_zxid(),
            err: err.code(),
        }
    }
}

/// A connection has its `ip` already, so asking for it succeeds and adds
/// nothing; no other scheme is known (reference:
/// `ZooKeeperServer.processPacket`, `IPAuthenticationProvider`).
fn auth(body: &mut Reader<'_>, xid: Xid, out: &mut Vec<u8>) -> ReadOutcome {
    let scheme = body.i32().and_then(|_type| body.str());
    let (err, outcome) = match scheme.as_deref() {
        Ok("ip") => (ErrorCode::Ok, ReadOutcome::Answered),
        Ok(_) => (ErrorCode::AuthFailed, ReadOutcome::Close),
        // The reference drops a connection whose packet it cannot read.
        Err(_) => return ReadOutcome::Close,
    };
    frame(
        out,
        ReplyHeader {
            xid,
            zxid: Zxid::ZERO,
            err: err.code(),
        },
        |_| {},
    );
    outcome
}

#[cfg(test)]
mod tests;
