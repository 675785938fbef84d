//! Trees with the same last transaction are the same.

use std::collections::BTreeMap;

use zk_proto::Zxid;

use super::{Life, Violation};

/// The digest of the tree after each transaction.
#[derive(Debug, Default)]
pub(super) struct Digests {
    seen: BTreeMap<Zxid, (u64, Life)>,
}

impl Digests {
    pub(super) fn tree(&mut self, who: Life, zxid: Zxid, digest: u64) -> Result<(), Violation> {
        let (known, first) = *self.seen.entry(zxid).or_insert((digest, who));
        if known == digest {
            return Ok(());
        }
        let detail = format!("at {zxid} {who} has {digest:x}, {first} had {known:x}");
        Err(Violation::new("equal digests", detail))
    }
}
