//! Snapshot files (reference: `FileSnap`, `SnapStream`).

mod files;
mod format;

pub(crate) use files::{Choice, choose, is_whole};
pub use files::{LoadedSnapshot, Snapshots};
