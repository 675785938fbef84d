//! From request to transaction, on the leader (reference:
//! `PrepRequestProcessor` of 3.9.4). All checks run here, in the reference's
//! order, against the tree and the changes that are still outstanding; what
//! comes out is applied by every server without further questions.

mod budget;
mod create;
mod lists;
mod quota;

use std::borrow::Cow;
use std::mem;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use zk_proto::client::{
    CheckVersionRequest, CreateRequest, CreateTtlRequest, DeleteRequest, ErrorCode, Id, MultiOp,
    OpCode, ReconfigRequest, SetAclRequest, SetDataRequest, perms, read_multi,
};
use zk_proto::jute::Reader;
use zk_proto::txn::{SetAclTxn, SetDataTxn, Txn, TxnDigest, TxnHeader, encode_txn};
use zk_proto::{Epoch, SessionId, Xid, Zxid};

use self::budget::Budget;
use self::quota::QuotaLog;
pub use self::quota::Refused;
use super::pending::{Edit, Pending, Seen};
use crate::LogEntry;
use crate::auth::AuthConfig;
use crate::config::ZnodeConfig;
use crate::tree::{Owner, Tree, path};

/// A request that takes a zxid.
#[derive(Clone, Debug)]
pub struct WriteRequest<'r> {
    /// Whose; 0 for the server's own.
    pub session: SessionId,
    /// The client's number; 0 for the server's own.
    pub cxid: Xid,
    /// Operation code as it came.
    pub op: i32,
    /// Bytes after the request header.
    pub body: &'r Bytes,
    /// Identities of the client.
    pub ids: &'r [Id],
    /// What the session tracker says of session and owner.
    pub session_check: Result<(), ErrorCode>,
    /// Wall clock in ms.
    pub time_ms: i64,
}

/// Turns requests into transactions for one reign of a leader.
#[derive(Debug)]
pub struct Prep {
    last: Zxid,
    pending: Pending,
    auth: Arc<AuthConfig>,
    config: ZnodeConfig,
    quota_log: QuotaLog,
    budget: Budget,
    scratch: Vec<u8>,
    /// What short transactions share. They are kept and forgotten in order.
    chunk: BytesMut,
}

type Prepared<'a> = Result<Txn<'a>, ErrorCode>;

impl Prep {
    /// Starts numbering at the first zxid of `epoch`. `digest` is that of the
    /// tree, which holds all of the history.
    #[must_use]
    pub fn new(epoch: Epoch, digest: u64, auth: Arc<AuthConfig>, config: ZnodeConfig) -> Self {
        Self {
            last: Zxid::new(epoch, 0),
            pending: Pending::new(digest),
            auth,
            config,
            quota_log: QuotaLog::default(),
            budget: Budget::default(),
            scratch: Vec::new(),
            chunk: BytesMut::new(),
        }
    }

    /// Paths whose changes are proposed but not applied.
    #[must_use]
    pub fn outstanding_changes(&self) -> usize {
        self.pending.len()
    }

    /// Writes that were refused for a quota.
    #[must_use]
    pub const fn refused(&self) -> &Refused {
        self.quota_log.refused()
    }

    /// The zxid that the next request gets.
    #[must_use]
    pub const fn next_zxid(&self) -> Zxid {
        self.last.next()
    }

    /// The transaction of a request, numbered and encoded. A request that is
    /// refused becomes an error transaction, so that order is kept.
    pub fn prepare(&mut self, tree: &Tree, request: &WriteRequest<'_>) -> LogEntry {
        let zxid = self.next_zxid();
        self.last = zxid;
        let edit = self.pending.edit(tree, zxid);
        let room = self.config.txn_bytes_max;
        let mut run = Run {
            auth: &self.auth,
            config: &self.config,
            quota_log: &mut self.quota_log,
            budget: &mut self.budget,
            edit,
            request,
            zxid,
            room,
            looked_at: 0,
        };
        let prepared = run.txn();
        let grown = (room - run.room).saturating_sub(request.body.len());
        run.budget.grown(zxid, grown);
        let mut edit = run.edit;
        let txn = prepared.unwrap_or_else(|error| {
            edit.roll_back();
            Txn::Error(error.code())
        });
        let mut data = mem::take(&mut self.scratch);
        data.reserve(TXN_BYTES + request.body.len());
        write(&mut data, request, zxid, &txn, edit.digest());
        if data.len() > self.config.txn_bytes_max {
            let txn = shorter(txn, &mut edit);
            data = Vec::new();
            write(&mut data, request, zxid, &txn, edit.digest());
        }
        edit.keep();
        if data.len() > COPIED_BYTES_MAX {
            let data = data.into();
            return LogEntry { zxid, data };
        }
        if self.chunk.capacity() < data.len() {
            self.chunk = BytesMut::with_capacity(CHUNK_BYTES);
        }
        self.chunk.extend_from_slice(&data);
        data.clear();
        self.scratch = data;
        let data = self.chunk.split().freeze();
        LogEntry { zxid, data }
    }

    /// The tree now holds everything up to `zxid`.
    pub fn applied(&mut self, zxid: Zxid) {
        self.pending.applied(zxid);
        self.budget.applied(zxid);
    }
}

/// One request on its way.
struct Run<'r, 'p> {
    auth: &'p AuthConfig,
    config: &'p ZnodeConfig,
    quota_log: &'p mut QuotaLog,
    budget: &'p mut Budget,
    edit: Edit<'p>,
    request: &'r WriteRequest<'r>,
    zxid: Zxid,
    /// Bytes that the lists of the transaction may still take.
    room: usize,
    /// Entries of lists that were looked at.
    looked_at: usize,
}

impl<'r> Run<'r, '_> {
    fn txn(&mut self) -> Prepared<'r> {
        let request = self.request;
        let mut reader = Reader::new(request.body);
        let garbled = |_| ErrorCode::MarshallingError;
        match OpCode::from_code(request.op) {
            Some(op @ (OpCode::Create | OpCode::Create2 | OpCode::CreateContainer)) => {
                let create = CreateRequest::read(&mut reader).map_err(garbled)?;
                self.create(op, create)
            }
            Some(OpCode::CreateTtl) => {
                self.create_ttl(CreateTtlRequest::read(&mut reader).map_err(garbled)?)
            }
            Some(OpCode::DeleteContainer) => self.delete_container(reader.str().map_err(garbled)?),
            Some(OpCode::Delete) => self.delete(DeleteRequest::read(&mut reader).map_err(garbled)?),
            Some(OpCode::SetData) => {
                self.set_data(SetDataRequest::read(&mut reader).map_err(garbled)?)
            }
            Some(OpCode::SetAcl) => {
                self.set_acl(SetAclRequest::read(&mut reader).map_err(garbled)?)
            }
            Some(OpCode::Reconfig) => {
                ReconfigRequest::read(&mut reader).map_err(garbled)?;
                // The members cannot change while running.
                Err(ErrorCode::ReconfigDisabled)
            }
            Some(OpCode::Multi) => self.multi(read_multi(&mut reader).map_err(garbled)?),
            Some(OpCode::CreateSession) => {
                request.session_check?;
                Ok(Txn::CreateSession(reader.i32().map_err(garbled)?))
            }
            Some(OpCode::CloseSession) => {
                // The reference closes it for whoever asks: a request that an
                // older connection has left behind would end the newer one.
                if request.session_check == Err(ErrorCode::SessionMoved) {
                    return Err(ErrorCode::SessionMoved);
                }
                Ok(self.close_session())
            }
            _ => Err(ErrorCode::Unimplemented),
        }
    }

    fn delete(&mut self, delete: DeleteRequest<'r>) -> Prepared<'r> {
        self.request.session_check?;
        let parent_path = parent_of_deletable(&delete.path)?.to_owned();
        let parent = self.edit.see(&parent_path).ok_or(ErrorCode::NoNode)?;
        self.permit(&parent_path, perms::DELETE)?;
        let znode = self.edit.see(&delete.path).ok_or(ErrorCode::NoNode)?;
        expect_version(delete.version, znode.stat.version)?;
        if znode.child_count > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        self.remove(&parent_path, parent, &delete.path);
        Ok(Txn::Delete(delete.path))
    }

    /// What the cleaner asks for, and what the reference also takes from any
    /// client: no session is asked for, and any kind but an ephemeral is
    /// deleted. Of a client, other than there, the permission is wanted.
    fn delete_container(&mut self, path: Cow<'r, str>) -> Prepared<'r> {
        let parent_path = parent_of_deletable(&path)?.to_owned();
        let znode = self.edit.see(&path).ok_or(ErrorCode::NoNode)?;
        if self.request.session != CLEANER {
            self.permit(&parent_path, perms::DELETE)?;
        }
        if znode.child_count > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        if is_ephemeral(&znode) {
            return Err(ErrorCode::BadVersion);
        }
        let parent = self.edit.see(&parent_path).ok_or(ErrorCode::NoNode)?;
        self.remove(&parent_path, parent, &path);
        Ok(Txn::DeleteContainer(path))
    }

    fn set_acl(&mut self, set: SetAclRequest<'r>) -> Prepared<'r> {
        self.request.session_check?;
        path::validate(&set.path).map_err(|_| ErrorCode::BadArguments)?;
        let list = self.fix_up(set.acl)?;
        let mut znode = self.edit.see(&set.path).ok_or(ErrorCode::NoNode)?;
        self.permit(&set.path, perms::ADMIN)?;
        expect_version(set.version, znode.stat.aversion)?;
        znode.stat.aversion = znode.stat.aversion.wrapping_add(1);
        let version = znode.stat.aversion;
        self.edit.change_acl(&set.path, znode, list.clone());
        Ok(Txn::SetAcl(SetAclTxn {
            path: set.path,
            acl: list,
            version,
        }))
    }

    fn set_data(&mut self, set: SetDataRequest<'r>) -> Prepared<'r> {
        self.request.session_check?;
        path::validate(&set.path).map_err(|_| ErrorCode::BadArguments)?;
        let mut znode = self.edit.see(&set.path).ok_or(ErrorCode::NoNode)?;
        self.permit(&set.path, perms::WRITE)?;
        let bytes = |data: Option<&[u8]>| data.map_or(0, |data| data.len() as i64);
        let more = bytes(set.data) - bytes(self.edit.data(&set.path));
        self.ask_quota(&set.path, 0, more)?;
        expect_version(set.version, znode.stat.version)?;
        znode.stat.version = znode.stat.version.wrapping_add(1);
        znode.stat.mzxid = self.zxid;
        znode.stat.mtime = self.request.time_ms;
        let version = znode.stat.version;
        let data = set.data.map(|data| self.request.body.slice_ref(data));
        self.edit.change(&set.path, znode, Some(data));
        Ok(Txn::SetData(SetDataTxn {
            path: set.path,
            data: set.data,
            version,
        }))
    }

    fn check(&mut self, check: CheckVersionRequest<'r>) -> Prepared<'r> {
        self.request.session_check?;
        path::validate(&check.path).map_err(|_| ErrorCode::BadArguments)?;
        let znode = self.edit.see(&check.path).ok_or(ErrorCode::NoNode)?;
        self.permit(&check.path, perms::READ)?;
        expect_version(check.version, znode.stat.version)?;
        // The reference writes the version after this one; nobody reads it.
        Ok(Txn::Check(check.path, znode.stat.version.wrapping_add(1)))
    }

    /// All or nothing. A failing batch is still a transaction: what came
    /// before the failure as it is, then its code, then RuntimeInconsistency.
    fn multi(&mut self, ops: Vec<MultiOp<'r>>) -> Prepared<'r> {
        let mut failed = false;
        let mut txns = Vec::with_capacity(ops.len());
        for op in ops {
            if failed {
                txns.push(Txn::Error(ErrorCode::RuntimeInconsistency.code()));
                continue;
            }
            let prepared = match op {
                MultiOp::Create(op, create) => self.create(op, create),
                MultiOp::CreateTtl(create) => self.create_ttl(create),
                MultiOp::Delete(delete) => self.delete(delete),
                MultiOp::SetData(set) => self.set_data(set),
                MultiOp::Check(check) => self.check(check),
            };
            txns.push(prepared.unwrap_or_else(|error| {
                failed = true;
                Txn::Error(error.code())
            }));
        }
        if failed {
            self.edit.roll_back();
        }
        Ok(Txn::Multi(txns))
    }

    /// Takes the session's ephemerals along, those still outstanding included.
    fn close_session(&mut self) -> Txn<'r> {
        let paths = self.edit.ephemerals(self.request.session);
        for path in &paths {
            let parent_path = path::parent(path);
            if let Some(parent) = self.edit.see(parent_path) {
                self.remove(parent_path, parent, path);
            }
        }
        let lists = self.config.close_session_lists;
        Txn::CloseSession(lists.then(|| paths.into_iter().map(Cow::Owned).collect()))
    }

    fn remove(&mut self, parent_path: &str, mut parent: Seen, path: &str) {
        parent.stat.pzxid = self.zxid;
        parent.child_count = parent.child_count.saturating_sub(1);
        self.edit.change(parent_path, parent, None);
        self.edit.remove(path);
    }
}

/// Appends a transaction with its header. Neither an error transaction nor a
/// closeSession without its list carries a digest: the reference leaves it
/// out of the former, and takes the digest behind the latter for a list.
fn write(
    data: &mut Vec<u8>,
    request: &WriteRequest<'_>,
    zxid: Zxid,
    txn: &Txn<'_>,
    tree_digest: u64,
) {
    let header = TxnHeader {
        session: request.session,
        cxid: request.cxid,
        zxid,
        time_ms: request.time_ms,
        kind: txn.op().code(),
    };
    let digest = TxnDigest {
        version: TxnDigest::VERSION,
        tree_digest,
    };
    let has_digest = !matches!(txn, Txn::Error(_) | Txn::CloseSession(None));
    encode_txn(data, &header, txn, has_digest.then_some(&digest));
}

/// What takes the place of a transaction that other servers might refuse to
/// read. A session has to be closed: without the list every server deletes
/// the ephemerals that it has of the session, as those before 3.6 did. Anything
/// else is refused.
fn shorter(txn: Txn<'_>, edit: &mut Edit<'_>) -> Txn<'static> {
    if matches!(txn, Txn::CloseSession(_)) {
        return Txn::CloseSession(None);
    }
    edit.roll_back();
    Txn::Error(ErrorCode::MarshallingError.code())
}

/// Stands in the cleaner's own requests where clients have their session.
const CLEANER: SessionId = SessionId(0);

/// What a transaction may take beside the bytes of its request.
const TXN_BYTES: usize = 128;
/// A longer transaction has bytes of its own.
const COPIED_BYTES_MAX: usize = 1024;
/// Bytes that are taken at once for short ones.
const CHUNK_BYTES: usize = 16 * 1024;

/// Paths that cannot be deleted (`DataTree.isSpecialPath`).
const SPECIAL_PATHS: [&str; 4] = ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"];

/// The parent of a path that at least has one and no NUL.
fn parent_of(path: &str) -> Result<&str, ErrorCode> {
    if !path.contains('/') || path.contains('\0') {
        return Err(ErrorCode::BadArguments);
    }
    Ok(match path::parent(path) {
        "" => "/",
        parent => parent,
    })
}

/// The same of a path that can be deleted.
fn parent_of_deletable(path: &str) -> Result<&str, ErrorCode> {
    let parent = parent_of(path)?;
    if SPECIAL_PATHS.contains(&path) {
        return Err(ErrorCode::BadArguments);
    }
    Ok(parent)
}

const fn expect_version(expected: i32, found: i32) -> Result<(), ErrorCode> {
    if expected == -1 || expected == found {
        Ok(())
    } else {
        Err(ErrorCode::BadVersion)
    }
}

/// Does it go away with a session?
const fn is_ephemeral(znode: &Seen) -> bool {
    matches!(
        Owner::from_stored(znode.stat.ephemeral_owner),
        Owner::Session(_)
    )
}
