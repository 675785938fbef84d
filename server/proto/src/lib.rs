//! Bytes to types and back: the records of Apache ZooKeeper's client protocol,
//! peer protocol and disk formats (3.5 to 3.9).
//!
//! What must never happen here: a panic on input, an allocation sized by a
//! length field that was not first compared with the bytes at hand, or any
//! I/O. The crate knows no clock, socket or file.
//!
//! Entry points: [`jute::Reader`] and [`jute::Put`] for primitives,
//! [`client`] for what clients send and get, [`quorum`] for the election and
//! learner ports, [`txn`] for transactions, [`snapshot`] for tree images.
//!
//! ```
//! use zk_proto::jute::{Put, Reader};
//! let mut out = Vec::new();
//! out.put_str("/a");
//! assert_eq!(Reader::new(&out).str().unwrap(), "/a");
//! ```
#![warn(missing_docs)]
#![cfg_attr(not(test), deny(clippy::unwrap_used))]

pub mod client;
mod ids;
pub mod jute;
pub mod quorum;
pub mod snapshot;
pub mod txn;

pub use ids::{Epoch, Round, SessionId, Sid, Xid, Zxid};
pub use jute::DecodeError;
