//! Snapshot files (reference: `FileSnap`, `SnapStream`).

mod compression;
mod files;
mod format;
mod pieces;
mod sink;
mod snappy;
mod stream;
mod writer;

pub use compression::Compression;
pub(crate) use files::{Choice, choose, is_whole};
pub use files::{LoadedSnapshot, Snapshots, load_snapshot};
pub use pieces::{SnapshotDefect, SnapshotEnd};
pub use sink::Collect;
pub(crate) use sink::Discard;
pub use sink::ImageSink;
pub use stream::{SnapshotRecord, read_snapshot};
pub use writer::SnapshotWriter;
