//! Transaction logs (reference: `FileTxnLog`, `FilePadding`).
//!
//! | offset | size | type | meaning |
//! |---|---|---|---|
//! | 0 | 4 | int | magic, "ZKLG" |
//! | 4 | 4 | int | version, 2 |
//! | 8 | 8 | long | database id, 0 |
//! | 16 | | | entries, each of 13 + n bytes |
//! | | | | zeros up to the end of the file |
//!
//! The layout of an entry is in [`entry`]. A file is named by the zxid of its
//! first entry and is not written again after it has been closed, other than
//! by cutting off its end.

mod entry;
mod reader;
mod stream;
mod truncate;
mod writer;

pub(crate) use reader::{LogScan, Tail, read_log, scan};
pub use stream::{LogEnd, LogItem, LogStream};
pub(crate) use truncate::{cut, drop_after};
pub(crate) use writer::LogWriter;

/// What every log begins with. Readers check the magic only, as the reference.
const HEADER: [u8; 16] = *b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0";
const MAGIC_BYTES: usize = 4;
