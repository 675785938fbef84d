//! Transaction logs (reference: `FileTxnLog`, `FilePadding`).
//!
//! | offset | size | type | meaning |
//! |---|---|---|---|
//! | 0 | 4 | int | magic, "ZKLG" |
//! | 4 | 4 | int | version, 2 |
//! | 8 | 8 | long | database id: what the file follows, or 0 |
//! | 16 | | | entries, each of 13 + n bytes |
//! | | | | zeros up to the end of the file |
//!
//! The layout of an entry is in [`entry`]. A file is named by the zxid of its
//! first entry and is not written again after it has been closed, other than
//! by cutting off its end.
//!
//! The reference writes 0 as the database id and never reads it. Here it is
//! the complement (`!zxid`, so a negative number) of the zxid that the history
//! ended with when the file was begun. An epoch begins with counter 1 whatever
//! came before, so only this tells that a log or a snapshot before the file is
//! lost.

mod end;
mod entry;
mod reader;
mod stream;
mod truncate;
mod writer;

use zk_proto::Zxid;

pub use end::LogEnd;
pub use entry::is_error;
pub(crate) use reader::{LogEntry, LogFile, read_log};
pub use stream::{LogItem, LogStream};
pub(crate) use truncate::{cut, drop_after};
pub(crate) use writer::LogWriter;

/// Magic and version. Readers check the magic only, as the reference.
const HEADER_START: [u8; 8] = *b"ZKLG\0\0\0\x02";
const HEADER_BYTES: usize = 16;
const MAGIC_BYTES: usize = 4;

/// What a log begins with whose first entry comes after `last`.
fn header(last: Zxid) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&HEADER_START);
    header[8..].copy_from_slice(&(!last.0).to_be_bytes());
    header
}

/// The zxid that a log with this header follows; `None` if it does not say so.
fn followed(header: &[u8]) -> Option<Zxid> {
    let bytes = header.get(8..HEADER_BYTES)?.try_into().ok()?;
    let zxid = !i64::from_be_bytes(bytes);
    (zxid >= 0).then_some(Zxid(zxid))
}
