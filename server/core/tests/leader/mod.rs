//! A leader's prep and its tree without anything between them, and the bodies
//! of write requests.
#![allow(dead_code, reason = "each test file uses a part")]

use std::sync::Arc;

use bytes::Bytes;
use zk_core::LogEntry;
use zk_core::auth::AuthConfig;
use zk_core::config::ZnodeConfig;
use zk_core::request::{Applied, Prep, WriteRequest, apply};
use zk_core::tree::Tree;
use zk_core::watch::WatchTable;
use zk_proto::client::{
    Acl, CreateRequest, CreateTtlRequest, DeleteRequest, ErrorCode, Id, MultiHeader, OpCode,
    SetAclRequest, SetDataRequest,
};
use zk_proto::jute::Put;
use zk_proto::txn::{Txn, decode_txn};
use zk_proto::{Epoch, SessionId, Xid};

pub(crate) const SESSION: SessionId = SessionId(0x0100_0000_0000_0001);

pub(crate) struct Leader {
    pub(crate) tree: Tree,
    pub(crate) prep: Prep,
    pub(crate) unapplied: Vec<LogEntry>,
    /// Who asks.
    pub(crate) ids: Vec<Id>,
    /// Wall clock in ms.
    pub(crate) time_ms: i64,
}

impl Leader {
    pub(crate) fn new() -> Self {
        let znodes = ZnodeConfig {
            extended_types_enabled: true,
            ..ZnodeConfig::default()
        };
        Self::with(AuthConfig::default(), znodes)
    }

    pub(crate) fn with(auth: AuthConfig, znodes: ZnodeConfig) -> Self {
        let tree = Tree::new();
        let prep = Prep::new(Epoch(1), tree.digest(), Arc::new(auth), znodes);
        Self {
            tree,
            prep,
            unapplied: Vec::new(),
            ids: Vec::new(),
            time_ms: 1_700_000_000_000,
        }
    }

    pub(crate) fn propose_as(
        &mut self,
        check: Result<(), ErrorCode>,
        op: OpCode,
        body: Vec<u8>,
    ) -> LogEntry {
        let request = WriteRequest {
            session: SESSION,
            cxid: Xid(1),
            op: op.code(),
            body: &Bytes::from(body),
            ids: &self.ids,
            session_check: check,
            time_ms: self.time_ms,
        };
        let entry = self.prep.prepare(&self.tree, &request);
        self.unapplied.push(entry.clone());
        entry
    }

    pub(crate) fn propose(&mut self, op: OpCode, body: Vec<u8>) -> LogEntry {
        self.propose_as(Ok(()), op, body)
    }

    /// Applies the oldest transaction.
    pub(crate) fn apply_one(&mut self) -> Applied {
        let entry = self.unapplied.remove(0);
        let mut watches = WatchTable::default();
        let applied = apply(&mut self.tree, &mut watches, &entry.data, &mut |_, _, _| {}).unwrap();
        self.prep.applied(entry.zxid);
        assert_eq!(
            self.tree.digest_mismatches(),
            0,
            "after {:?}",
            decode_txn(&entry.data).unwrap()
        );
        applied
    }

    pub(crate) fn apply_all(&mut self) {
        while !self.unapplied.is_empty() {
            self.apply_one();
        }
    }

    /// Proposes and applies, with all that was left.
    pub(crate) fn run(&mut self, op: OpCode, body: Vec<u8>) -> Applied {
        self.propose(op, body);
        loop {
            let applied = self.apply_one();
            if self.unapplied.is_empty() {
                return applied;
            }
        }
    }

    /// The error of a proposed request; 0 for none.
    pub(crate) fn error(&mut self, op: OpCode, body: Vec<u8>) -> i32 {
        let entry = self.propose(op, body);
        match decode_txn(&entry.data).unwrap().1 {
            Txn::Error(error) => error,
            _ => 0,
        }
    }
}

pub(crate) fn create_with(path: &str, flags: i32, acl: Option<Vec<Acl>>) -> Vec<u8> {
    let mut body = Vec::new();
    CreateRequest {
        path: path.into(),
        data: Some(b"data"),
        acl,
        flags,
    }
    .write(&mut body);
    body
}

pub(crate) fn create(path: &str, flags: i32) -> Vec<u8> {
    create_with(path, flags, Some(vec![Acl::open()]))
}

pub(crate) fn create_ttl(path: &str, flags: i32, ttl: i64) -> Vec<u8> {
    let mut body = Vec::new();
    CreateTtlRequest {
        create: CreateRequest {
            path: path.into(),
            data: Some(b"data"),
            acl: Some(vec![Acl::open()]),
            flags,
        },
        ttl,
    }
    .write(&mut body);
    body
}

pub(crate) fn set_acl(path: &str, acl: Option<Vec<Acl>>, version: i32) -> Vec<u8> {
    let mut body = Vec::new();
    SetAclRequest {
        path: path.into(),
        acl,
        version,
    }
    .write(&mut body);
    body
}

pub(crate) fn path_only(path: &str) -> Vec<u8> {
    let mut body = Vec::new();
    body.put_str(path);
    body
}

pub(crate) fn delete(path: &str, version: i32) -> Vec<u8> {
    let mut body = Vec::new();
    DeleteRequest {
        path: path.into(),
        version,
    }
    .write(&mut body);
    body
}

pub(crate) fn set(path: &str, data: Option<&[u8]>, version: i32) -> Vec<u8> {
    let mut body = Vec::new();
    SetDataRequest {
        path: path.into(),
        data,
        version,
    }
    .write(&mut body);
    body
}

pub(crate) fn multi(ops: &[(OpCode, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (op, one) in ops {
        MultiHeader {
            op: op.code(),
            done: false,
            err: -1,
        }
        .write(&mut body);
        body.put_raw(one);
    }
    MultiHeader {
        op: -1,
        done: true,
        err: -1,
    }
    .write(&mut body);
    body
}
