//! Jute: big-endian primitives, length-prefixed buffers and vectors
//! (reference: `BinaryInputArchive`, `BinaryOutputArchive`).

mod de;
mod en;

pub use de::{DecodeError, Reader, Reason};
pub use en::Put;
