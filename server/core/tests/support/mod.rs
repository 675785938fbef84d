//! Transactions for the tests of this directory.
#![allow(dead_code, reason = "each test file uses a part")]

use zk_core::request::{Applied, apply};
use zk_core::tree::Tree;
use zk_core::watch::WatchTable;
use zk_proto::client::{Acl, EventKind, Id};
use zk_proto::txn::{
    CreateTxn, SetAclTxn, SetDataTxn, Txn, TxnDigest, TxnHeader, encode_txn, node_digest,
};
use zk_proto::{SessionId, Xid, Zxid};

/// To whom, what, and at which path.
pub(crate) type Event = (u64, EventKind, String);

/// A tree with watches, and what was told to whom.
pub(crate) struct Replica {
    pub(crate) tree: Tree,
    pub(crate) watches: WatchTable,
    pub(crate) events: Vec<Event>,
}

pub(crate) const SESSION: SessionId = SessionId(0x0100_0000_0000_0007);

impl Replica {
    pub(crate) fn new() -> Self {
        Self {
            tree: Tree::new(),
            watches: WatchTable::default(),
            events: Vec::new(),
        }
    }

    /// Applies at the next zxid; the time is a thousand times the zxid.
    pub(crate) fn apply(&mut self, txn: &Txn<'_>) -> Applied {
        self.apply_entry(&entry(self.tree.last_zxid().next(), SESSION, txn, None))
    }

    pub(crate) fn apply_entry(&mut self, entry: &[u8]) -> Applied {
        let Self {
            tree,
            watches,
            events,
        } = self;
        apply(tree, watches, entry, &mut |conn, kind, path| {
            events.push((conn.0, kind, path.to_owned()))
        })
        .unwrap()
    }
}

pub(crate) fn entry(zxid: Zxid, session: SessionId, txn: &Txn<'_>, digest: Option<u64>) -> Vec<u8> {
    let header = TxnHeader {
        session,
        cxid: Xid(1),
        zxid,
        time_ms: zxid.0 * 1000,
        kind: txn.op().code(),
    };
    let digest = digest.map(|tree_digest| TxnDigest {
        version: TxnDigest::VERSION,
        tree_digest,
    });
    let mut out = Vec::new();
    encode_txn(&mut out, &header, txn, digest.as_ref());
    out
}

/// Open ACL, persistent, data "d", the parent counts one more.
pub(crate) fn create_txn(path: &str) -> CreateTxn<'_> {
    CreateTxn {
        path: path.into(),
        data: Some(b"d"),
        acl: vec![Acl::open()],
        ephemeral: false,
        parent_cversion: -1,
    }
}

pub(crate) fn create(path: &str) -> Txn<'_> {
    Txn::Create(create_txn(path))
}

pub(crate) fn ephemeral(path: &str) -> Txn<'_> {
    Txn::Create(CreateTxn {
        ephemeral: true,
        ..create_txn(path)
    })
}

pub(crate) fn set_data<'a>(path: &'a str, data: Option<&'a [u8]>, version: i32) -> Txn<'a> {
    Txn::SetData(SetDataTxn {
        path: path.into(),
        data,
        version,
    })
}

pub(crate) fn set_acl(path: &str, acl: Vec<Acl>, version: i32) -> Txn<'_> {
    Txn::SetAcl(SetAclTxn {
        path: path.into(),
        acl,
        version,
    })
}

pub(crate) fn grant(perms: i32, ip: &str) -> Acl {
    Acl {
        perms,
        id: Id {
            scheme: "ip".into(),
            id: ip.into(),
        },
    }
}

/// Digest, ephemerals and size as a walk over the tree finds them.
pub(crate) fn check_sums(tree: &Tree) {
    let (mut digest, mut bytes, mut count) = (0_u64, 0, 0);
    let mut open = vec![String::new()];
    while let Some(path) = open.pop() {
        let znode = tree.znode(&path).unwrap();
        let here = node_digest(&znode.path(), znode.data(), znode.stat_persisted());
        assert_eq!(here, znode.digest(), "{path}");
        digest = digest.wrapping_add(here);
        bytes += znode.path().len() + znode.data().map_or(0, <[u8]>::len);
        count += 1;
        open.extend(znode.children().map(|name| format!("{path}/{name}")));
    }
    assert_eq!(tree.digest(), digest);
    assert_eq!(tree.approximate_data_size(), bytes as u64);
    assert_eq!(tree.znode_count(), count);
    let owned: usize = tree
        .ephemeral_owners()
        .map(|session| tree.ephemerals(session).count())
        .sum();
    assert_eq!(tree.ephemerals_count(), owned);
}
