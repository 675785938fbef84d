//! Snapshot files (reference: `FileSnap`, `SnapStream`).

mod compression;
mod files;
mod format;
mod snappy;
mod stream;
mod writer;

pub use compression::Compression;
pub(crate) use files::{Choice, choose, is_whole};
pub use files::{LoadedSnapshot, Snapshots, load_snapshot};
pub use stream::{SnapshotDefect, SnapshotEnd, SnapshotRecord, read_snapshot};
pub use writer::SnapshotWriter;
