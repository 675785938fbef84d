//! Committed transactions change the tree, trigger watches and become replies
//! (reference: `DataTree.processTxn`, `FinalRequestProcessor`).

use std::borrow::Cow;

use zk_proto::client::{ErrorCode, EventKind, MultiResult};
use zk_proto::txn::{CreateTxn, Txn, TxnDigest, TxnHeader, decode_txn};
use zk_proto::{DecodeError, SessionId};

use super::reply::Reply;
use crate::ConnId;
use crate::tree::{NewZnode, Owner, Tree, path};
use crate::watch::WatchTable;

/// What has come of a committed transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its header.
    pub header: TxnHeader,
    /// Code for the reply's header. A batch that failed has 0 here and its
    /// codes in the results, except SessionMoved, upon which the reference
    /// closes the connection.
    pub err: i32,
    /// Body of the reply.
    pub reply: Reply,
    /// The session that is gone.
    pub closed_session: Option<SessionId>,
    /// The new session and its timeout in ms.
    pub opened_session: Option<(SessionId, i32)>,
    /// What the leader's digest of the tree is above ours, wrapping around; 0
    /// if they agree. Absent if the transaction has none.
    pub digest_error: Option<u64>,
}

/// Applies one committed entry and reports each watch event in order.
///
/// # Errors
/// When the entry is no transaction; the tree is as before.
pub fn apply(
    tree: &mut Tree,
    watches: &mut WatchTable,
    entry: &[u8],
    on_event: &mut dyn FnMut(ConnId, EventKind, &str),
) -> Result<Applied, DecodeError> {
    let (header, txn, digest) = decode_txn(entry)?;
    let mut applied = Change {
        tree,
        watches,
        on_event,
        header,
    }
    .run(txn);
    applied.digest_error = check_digest(tree, digest);
    Ok(applied)
}

/// Applies an entry of a log at start: no watches, no comparison of digests,
/// because the snapshot may hold parts of later transactions already.
///
/// # Errors
/// When the entry is no transaction.
pub fn replay(tree: &mut Tree, entry: &[u8]) -> Result<TxnHeader, DecodeError> {
    replay_compared(tree, entry).map(|(header, _)| header)
}

/// The same. Also by how much the digest that the entry carries is above the
/// one that the tree then should have; `None` if it carries none.
pub(crate) fn replay_compared(
    tree: &mut Tree,
    entry: &[u8],
) -> Result<(TxnHeader, Option<u64>), DecodeError> {
    let (header, txn, digest) = decode_txn(entry)?;
    let watches = &mut WatchTable::default();
    Change {
        tree,
        watches,
        on_event: &mut |_, _, _| {},
        header,
    }
    .run(txn);
    let digest = digest.filter(|digest| digest.version == TxnDigest::VERSION);
    let above = |digest: TxnDigest| digest.tree_digest.wrapping_sub(tree.leader_digest());
    Ok((header, digest.map(above)))
}

/// Reference: `DataTree.compareDigest`. A difference is reported, never fatal.
fn check_digest(tree: &mut Tree, digest: Option<TxnDigest>) -> Option<u64> {
    let digest = digest.filter(|digest| digest.version == TxnDigest::VERSION)?;
    let above = digest.tree_digest.wrapping_sub(tree.leader_digest());
    if above != 0 {
        tree.count_digest_mismatch();
    }
    Some(above)
}

/// One transaction under way.
struct Change<'a> {
    tree: &'a mut Tree,
    watches: &'a mut WatchTable,
    on_event: &'a mut dyn FnMut(ConnId, EventKind, &str),
    header: TxnHeader,
}

impl Change<'_> {
    fn run(mut self, txn: Txn<'_>) -> Applied {
        let header = self.header;
        let mut applied = Applied {
            header,
            err: ErrorCode::Ok.code(),
            reply: Reply::None,
            closed_session: None,
            opened_session: None,
            digest_error: None,
        };
        match txn {
            Txn::CreateSession(timeout_ms) => {
                self.tree.open_session(header.session, timeout_ms);
                applied.opened_session = Some((header.session, timeout_ms));
            }
            Txn::CloseSession(paths) => {
                self.close_session(paths.as_deref().unwrap_or_default());
                applied.closed_session = Some(header.session);
            }
            Txn::Multi(txns) => {
                let results = self.multi(txns);
                let moved = MultiResult::Error(ErrorCode::SessionMoved.code());
                if results.contains(&moved) {
                    applied.err = ErrorCode::SessionMoved.code();
                }
                applied.reply = Reply::Multi(results);
            }
            Txn::Error(err) => applied.err = err,
            single => match self.single(single) {
                Ok(reply) => applied.reply = reply,
                Err(error) => applied.err = error.code(),
            },
        }
        if header.zxid > self.tree.last_zxid() {
            self.tree.set_last_zxid(header.zxid);
        }
        self.tree.log_digest();
        applied
    }

    /// With one failed operation in it nothing of a batch is done.
    fn multi(&mut self, txns: Vec<Txn<'_>>) -> Vec<MultiResult> {
        let mut results = Vec::with_capacity(txns.len());
        if txns.iter().any(|txn| matches!(txn, Txn::Error(_))) {
            let mut code = ErrorCode::Ok;
            for txn in txns {
                results.push(MultiResult::Error(match txn {
                    Txn::Error(err) => {
                        code = ErrorCode::RuntimeInconsistency;
                        err
                    }
                    _ => code.code(),
                }));
            }
            return results;
        }
        for txn in txns {
            // The reference stops at a kind that does not belong here.
            let as_result: fn(Reply) -> MultiResult = match &txn {
                Txn::Delete(_) | Txn::DeleteContainer(_) => |_| MultiResult::Delete,
                Txn::Check(..) => |_| MultiResult::Check,
                Txn::Create(_)
                | Txn::Create2(_)
                | Txn::CreateContainer(_)
                | Txn::CreateTtl(..)
                | Txn::SetData(_) => |reply| match reply {
                    Reply::Path(path) => MultiResult::Create(path),
                    Reply::PathStat(path, stat) => MultiResult::Create2(path, stat),
                    Reply::Stat(stat) => MultiResult::SetData(stat),
                    Reply::None | Reply::NullPath | Reply::Multi(_) => MultiResult::Check,
                },
                _ => break,
            };
            results.push(match self.single(txn) {
                Ok(reply) => as_result(reply),
                Err(error) => MultiResult::Error(error.code()),
            });
        }
        results
    }

    fn single(&mut self, txn: Txn<'_>) -> Result<Reply, ErrorCode> {
        let TxnHeader {
            session,
            zxid,
            time_ms,
            ..
        } = self.header;
        let owner = |create: &CreateTxn<'_>| {
            if create.ephemeral {
                Owner::from_stored(session.0)
            } else {
                Owner::Persistent
            }
        };
        match txn {
            Txn::Create(create) => {
                let created = self.create(&create, owner(&create));
                if created == Err(ErrorCode::NodeExists) {
                    // Only this kind counts for the parent when it is replayed.
                    self.tree
                        .raise_parent(&create.path, create.parent_cversion, zxid)?;
                }
                created?;
                Ok(Reply::Path(create.path.into_owned()))
            }
            Txn::Create2(create) => {
                let stat = self.create(&create, owner(&create))?;
                Ok(Reply::PathStat(create.path.into_owned(), stat))
            }
            Txn::CreateContainer(create) => {
                let stat = self.create(&create, Owner::Container)?;
                Ok(Reply::PathStat(create.path.into_owned(), stat))
            }
            Txn::CreateTtl(create, ttl_ms) => {
                let stat = self.create(&create, Owner::Ttl(ttl_ms))?;
                Ok(Reply::PathStat(create.path.into_owned(), stat))
            }
            Txn::Delete(path) | Txn::DeleteContainer(path) => {
                self.delete(&path).map(|()| Reply::None)
            }
            Txn::SetData(set) | Txn::Reconfig(set) => {
                let stat = self
                    .tree
                    .set_data(&set.path, set.data, set.version, zxid, time_ms)?;
                if let Some(node) = self.tree.znode(&set.path) {
                    self.watches
                        .data_changed(&set.path, node.acl(), self.on_event);
                }
                Ok(Reply::Stat(stat))
            }
            Txn::SetAcl(set) => self
                .tree
                .set_acl(&set.path, &set.acl, set.version)
                .map(Reply::Stat),
            Txn::Check(..)
            | Txn::Multi(_)
            | Txn::CreateSession(_)
            | Txn::CloseSession(_)
            | Txn::Error(_) => Ok(Reply::None),
        }
    }

    fn create(
        &mut self,
        create: &CreateTxn<'_>,
        owner: Owner,
    ) -> Result<zk_proto::client::Stat, ErrorCode> {
        let CreateTxn {
            path,
            data,
            acl,
            ephemeral: _,
            parent_cversion,
        } = create;
        let TxnHeader { zxid, time_ms, .. } = self.header;
        let new = NewZnode {
            path,
            data: *data,
            acl,
            owner,
            parent_cversion: *parent_cversion,
            zxid,
            time_ms,
        };
        let stat = self.tree.create(&new)?;
        if let Some(parent) = self.tree.znode(path::parent(path)) {
            self.watches
                .node_created(path, acl, parent.acl(), self.on_event);
        }
        Ok(stat)
    }

    fn delete(&mut self, path: &str) -> Result<(), ErrorCode> {
        let acl = self.tree.delete(path, self.header.zxid)?;
        if let Some(parent) = self.tree.znode(path::parent(path)) {
            self.watches
                .node_deleted(path, &acl, parent.acl(), self.on_event);
        }
        Ok(())
    }

    /// First what the transaction lists, then what the session owns besides.
    fn close_session(&mut self, listed: &[Cow<'_, str>]) {
        let session = self.header.session;
        for path in listed {
            // Missing ones were deleted before a fuzzy snapshot was taken.
            let _ = self.delete(path);
        }
        let left: Vec<String> = self.tree.ephemerals(session).map(Into::into).collect();
        for path in left {
            let _ = self.delete(&path);
        }
        self.tree.close_session(session);
    }
}
