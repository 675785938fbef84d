//! The data tree: znodes, access control lists, sessions and the digest.
//!
//! What must never happen here: an effect that depends on anything but the
//! transactions applied so far, in their order. The tree knows neither
//! watches nor requests; those live beside it.

mod acl_table;
mod change;
mod charset;
mod chunk;
mod cow_vec;
mod cut;
mod data_tree;
mod digest_log;
mod expendable;
mod image;
mod index;
mod lineage;
mod nodes;
mod owner;
pub mod path;
mod quota;
mod record;
mod slab;
mod stats_track;
mod znode;

pub(crate) use change::NewZnode;
pub use charset::BeyondAscii;
pub use cut::{BLOCK_BYTES, ImageBlocks, TreeCut};
pub use data_tree::{CONFIG_PATH, Tree};
pub use digest_log::DigestLog;
pub use image::{TreeError, TreeLoader};
pub use owner::Owner;
pub use quota::QuotaTotals;
pub(crate) use quota::{NAMESPACE_BYTES_MAX, NAMESPACES_MAX, QuotaVerdict, quota_of_stats};
pub use znode::ZnodeRef;
