//! Snapshot files (reference: `FileSnap`, `SnapStream`).

mod compression;
mod files;
mod format;
mod snappy;
mod writer;

pub use compression::Compression;
pub(crate) use files::{Choice, choose, is_whole};
pub use files::{LoadedSnapshot, Snapshots};
pub use writer::SnapshotWriter;
