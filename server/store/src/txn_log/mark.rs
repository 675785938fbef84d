//! What a batch says about everything before it.
//!
//! A disk writes the sectors of a batch in any order until it is synced. After
//! a power cut a sector may be missing although later ones are there. That is
//! no loss as long as the batch was not synced, since nobody has been told of
//! it. A sector that is missing before it, in what was synced, is damage.
//!
//! To tell the two apart, the first and the last entry of each batch carry a
//! mark behind their transaction:
//!
//! | size | type | meaning |
//! |---|---|---|
//! | 8 | bytes | "ZKSYNCED" |
//! | 8 | long | all before this offset of the file was durable when the entry was written |
//!
//! Two of them, because a sector that is lost where a batch begins takes the
//! first along. An entry that cannot have a mark may be the only one of its
//! batch, so behind a hole it counts as one that vouches.
//!
//! The reference ignores what stands behind the digest of a transaction. Where
//! there is no digest it takes the first bytes for the version of one, which it
//! does not know and so does not compare.
//!
//! Entries that are read come without their mark: peers never see it.

use zk_proto::jute::Put;
use zk_proto::txn::{Txn, decode_txn};

/// Bytes of a mark.
pub(super) const MARK_BYTES: usize = 16;
const MAGIC: [u8; 8] = *b"ZKSYNCED";
/// Longest transaction with a mark behind it. The reference reads 2 MiB by
/// default.
const TXN_BYTES_MAX: usize = 64 << 10;

/// May a mark stand behind this transaction? A closed session without a list
/// of paths has no body, and a reader would take the mark for one. What is long
/// might become longer than the reference reads, going by `jute.maxbuffer`.
pub(super) fn takes_mark(data: &[u8]) -> bool {
    if data.len() > TXN_BYTES_MAX {
        return false;
    }
    match decode_txn(data) {
        Ok((_, txn, _)) => !matches!(txn, Txn::CloseSession(None)),
        Err(_) => false,
    }
}

/// Appends the mark of an entry that was written when all before `synced` was
/// durable.
pub(super) fn write(out: &mut Vec<u8>, synced: u64) {
    out.put_raw(&MAGIC);
    out.put_raw(&synced.to_be_bytes());
}

/// The transaction before a mark, and up to where all was durable; `None` if
/// there is no mark. `data` is what an entry holds.
pub(super) fn split(data: &[u8]) -> Option<(&[u8], u64)> {
    let (data, synced) = data.split_last_chunk::<8>()?;
    let txn = data.strip_suffix(&MAGIC)?;
    // A body may end with any bytes that a client likes. It is cut short then,
    // and cannot be decoded.
    takes_mark(txn).then_some((txn, u64::from_be_bytes(*synced)))
}
