//! The four kinds of create (reference: `PrepRequestProcessor.pRequest2TxnCreate`).

use std::borrow::Cow;

use zk_proto::client::{
    CreateMode, CreateRequest, CreateTtlRequest, ErrorCode, OpCode, StatPersisted, perms,
};
use zk_proto::txn::{CreateTxn, Txn};

use super::{Prepared, Run, is_ephemeral, parent_of};
use crate::tree::{Owner, path, quota_of_stats};

impl<'r> Run<'r, '_> {
    /// create, create2 and createContainer.
    pub(super) fn create(&mut self, op: OpCode, create: CreateRequest<'r>) -> Prepared<'r> {
        let mode = self.mode(create.flags)?;
        // There is no time to live in these requests.
        if mode.is_ttl() {
            return Err(ErrorCode::BadArguments);
        }
        // The code decides what is made. The flags of another kind count for
        // the name and, in create and create2, for the end of the session. The
        // reference computes the digest of such a mixture from the flags, so
        // that its servers report a difference; this one is right.
        let owner = match op {
            OpCode::CreateContainer => Owner::Container,
            _ if mode.is_ephemeral() => Owner::Session(self.request.session),
            _ => Owner::Persistent,
        };
        let txn = self.new_znode(create, mode, owner)?;
        Ok(match op {
            OpCode::CreateContainer => Txn::CreateContainer(txn),
            OpCode::Create2 => Txn::Create2(txn),
            _ => Txn::Create(txn),
        })
    }

    pub(super) fn create_ttl(&mut self, request: CreateTtlRequest<'r>) -> Prepared<'r> {
        let CreateTtlRequest { create, ttl } = request;
        let mode = self.mode(create.flags)?;
        // Other kinds with a negative time pass in the reference, and the
        // transaction then fails on every server that applies it.
        if !mode.is_ttl() || !(1..=Owner::TTL_MS_MAX).contains(&ttl) {
            return Err(ErrorCode::BadArguments);
        }
        let txn = self.new_znode(create, mode, Owner::Ttl(ttl))?;
        Ok(Txn::CreateTtl(txn, ttl))
    }

    fn mode(&self, flags: i32) -> Result<CreateMode, ErrorCode> {
        let mode = CreateMode::from_flags(flags).ok_or(ErrorCode::BadArguments)?;
        if mode.is_ttl() && !self.config.extended_types_enabled {
            return Err(ErrorCode::Unimplemented);
        }
        Ok(mode)
    }

    fn new_znode(
        &mut self,
        create: CreateRequest<'r>,
        mode: CreateMode,
        owner: Owner,
    ) -> Result<CreateTxn<'r>, ErrorCode> {
        self.request.session_check?;
        let parent_path = parent_of(&create.path)?.to_owned();
        let list = self.fix_up(create.acl)?;
        let mut parent = self.edit.see(&parent_path).ok_or(ErrorCode::NoNode)?;
        self.permit(&parent_path, perms::CREATE)?;
        let path = if mode.is_sequential() {
            Cow::Owned(format!("{}{:010}", create.path, parent.stat.cversion))
        } else {
            create.path
        };
        path::validate(&path).map_err(|_| ErrorCode::BadArguments)?;
        if self.edit.see(&path).is_some() {
            return Err(ErrorCode::NodeExists);
        }
        if is_ephemeral(&parent) {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        let bytes = create.data.map_or(0, |data| data.len() as i64);
        self.ask_quota(&path, 1, bytes)?;
        if let Some(of) = quota_of_stats(&path) {
            let top = self.edit.tree().znode(of);
            let applied = || top.map_or(0, |top| 1 + top.descendant_count());
            let cost = || applied() + self.edit.outstanding();
            self.budget.count(self.request.time_ms, cost)?;
        }
        let (zxid, time_ms) = (self.zxid, self.request.time_ms);
        parent.stat.cversion = parent.stat.cversion.wrapping_add(1);
        parent.stat.pzxid = zxid;
        parent.child_count += 1;
        let parent_cversion = parent.stat.cversion;
        let stat = StatPersisted {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: time_ms,
            mtime: time_ms,
            ephemeral_owner: owner.stored(),
            ..StatPersisted::default()
        };
        let data = create.data.map(|data| self.request.body.slice_ref(data));
        self.edit.change(&parent_path, parent, None);
        self.edit.create(&path, stat, data, list.clone());
        Ok(CreateTxn {
            path,
            data: create.data,
            acl: list,
            ephemeral: matches!(owner, Owner::Session(_)),
            parent_cversion,
        })
    }
}
