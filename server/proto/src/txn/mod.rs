//! Transactions as they stand in PROPOSAL packets and in the log: header,
//! body, optional digest (reference: package `txn`, `SerializeUtils`).

mod digest;
mod header;
mod record;

pub use digest::{PathCharset, TREE_DIGEST_EMPTY, TxnDigest, node_digest};
pub use header::{TXN_HEADER_BYTES, TxnHeader};
pub use record::{CreateTxn, SetAclTxn, SetDataTxn, Txn, decode_txn, encode_txn};
