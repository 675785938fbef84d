//! Durable bytes of one server: transaction logs, snapshots and epoch files
//! in Apache ZooKeeper's formats (3.5 to 3.9), over a [`Disk`].
//!
//! What must never happen here: a damaged byte that is read as data, an entry
//! that is dropped because of damage before it, a file that a crash leaves
//! believable but incomplete, or a further write after a failed one. The
//! crate blocks, has no threads and knows nothing of the replica: whoever
//! owns the [`Store`] calls it in order. Network and clocks are absent.
//!
//! Entry types: [`Store`] for everything that has an order, [`Snapshots`] to
//! write a snapshot beside it, [`RealDisk`] and [`MemDisk`] to run on.
//!
//! ```
//! use std::path::Path;
//! use zk_proto::Zxid;
//! use zk_store::{MemDisk, Store, StoreConfig};
//!
//! let config = StoreConfig::at(Path::new("/data"));
//! let mut store = Store::open(MemDisk::default(), config).unwrap();
//! assert!(store.recover(500).unwrap().snapshot.is_none());
//! assert_eq!(store.last_zxid(), Zxid::ZERO);
//! ```
#![warn(missing_docs)]
#![cfg_attr(not(test), deny(clippy::unwrap_used))]

mod chain;
mod checksum;
mod disk;
mod epochs;
mod error;
mod layout;
mod mem;
mod purge;
mod real;
mod recover;
mod replaced;
mod snapshot;
mod store;
mod txn_log;

pub use chain::{Proof, Seam, Step, is_nothing};
pub use disk::{Disk, DiskFile};
pub use epochs::EpochName;
pub use error::StoreError;
pub use layout::{VERSION_DIR, zxid_in_name};
pub use mem::{MemDisk, MemFile};
pub use purge::Purger;
pub use real::{RealDisk, RealFile};
pub use recover::Loaded;
pub use snapshot::{
    Collect, Compression, ImageSink, LoadedSnapshot, SnapshotDefect, SnapshotEnd, SnapshotRecord,
    SnapshotWriter, Snapshots, load_snapshot, read_snapshot,
};
pub use store::{Store, StoreConfig};
pub use txn_log::{LogEnd, LogItem, LogStream, is_error};
