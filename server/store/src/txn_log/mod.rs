//! Transaction logs (reference: `FileTxnLog`, `FilePadding`).
//!
//! | offset | size | type | meaning |
//! |---|---|---|---|
//! | 0 | 4 | int | magic, "ZKLG" |
//! | 4 | 4 | int | version, 2 |
//! | 8 | 8 | long | database id: what the file follows and whether batches are marked, or 0 |
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
//! lost. Bit 62 is cleared in a file whose batches say what was synced before
//! them ([`mark`]).

mod end;
mod entry;
mod mark;
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

/// What the header of a log tells besides that it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    /// The zxid that the history ended with when the file was begun; `None`
    /// if the file does not tell, as those of the reference.
    follows: Option<Zxid>,
    /// Does each batch say what was synced when it was written?
    is_marked: bool,
}

/// Cleared in the database id of a log with marks. A zxid reaches it at epoch
/// 2^30; from there on a log tells nothing, as those of the reference.
const UNMARKED: i64 = 1 << 62;

impl Header {
    /// Of a log whose first entry comes after `last`.
    fn after(last: Zxid, is_marked: bool) -> Self {
        let follows = (last.0 < UNMARKED).then_some(last);
        Self {
            follows,
            is_marked: is_marked && follows.is_some(),
        }
    }

    fn bytes(self) -> [u8; HEADER_BYTES] {
        let id = match (self.follows, self.is_marked) {
            (None, _) => 0,
            (Some(last), false) => !last.0,
            (Some(last), true) => !last.0 & !UNMARKED,
        };
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&HEADER_START);
        bytes[8..].copy_from_slice(&id.to_be_bytes());
        bytes
    }

    /// Reads the database id; the bytes before it were checked.
    fn read(bytes: &[u8; HEADER_BYTES]) -> Self {
        let [.., a, b, c, d, e, f, g, h] = *bytes;
        let id = i64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let is_ours = id < 0;
        Self {
            follows: is_ours.then_some(Zxid(!(id | UNMARKED))),
            is_marked: is_ours && id & UNMARKED == 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_tells_what_was_written_into_it() {
        for last in [0, 1, 0x7_0000_0003, UNMARKED - 1] {
            for is_marked in [false, true] {
                let header = Header::after(Zxid(last), is_marked);
                assert_eq!(
                    (header.follows, header.is_marked),
                    (Some(Zxid(last)), is_marked)
                );
                assert_eq!(Header::read(&header.bytes()), header);
            }
        }
        for last in [UNMARKED, i64::MAX] {
            let header = Header::after(Zxid(last), true);
            assert_eq!((header.follows, header.is_marked), (None, false));
            assert_eq!(Header::read(&header.bytes()), header);
        }
    }
}
