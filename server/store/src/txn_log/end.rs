//! What follows the whole entries of a log: padding, what a crash leaves, or
//! damage.
//!
//! The reference takes anything odd for the end of the file, except a
//! mismatch of the checksum (`FileTxnIterator`); it loses the rest of a file
//! whose middle is damaged. Here such a file is damaged.

use std::ops::Range;

use zk_proto::Zxid;

use super::entry::{self, Found};
use super::{HEADER_BYTES, HEADER_START};

/// What follows the whole entries of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEnd {
    /// Nothing, or padding.
    Clean,
    /// The remains of a write that was never confirmed. At the end of the
    /// newest log a start cuts them off.
    Torn(&'static str),
    /// Something that no crash can leave behind.
    Damaged(&'static str),
}

/// A file without a whole header was created and then lost its bytes, unless
/// it has others.
pub(super) fn headless(bytes: &[u8]) -> LogEnd {
    let header = &bytes[..bytes.len().min(HEADER_BYTES)];
    let written = header
        .iter()
        .zip(HEADER_START)
        .take_while(|(a, b)| **a == *b)
        .count();
    let is_begun = written == HEADER_START.len() || is_zero(&header[written..]);
    if !is_begun || entry::find(bytes, 0, None).is_some() {
        return LogEnd::Damaged("it does not begin as a transaction log");
    }
    LogEnd::Torn("its header is not whole")
}

/// Judges what stands at `offset`, where an entry was looked for after `last`.
pub(super) fn judge(bytes: &[u8], offset: usize, found: &Found, last: Option<Zxid>) -> LogEnd {
    let rest = &bytes[offset..];
    let Some(length) = rest.iter().rposition(|byte| *byte != 0) else {
        return LogEnd::Clean;
    };
    let written = &bytes[..=offset + length];
    if let Some(later) = entry::find(written, offset + 1, last) {
        return LogEnd::Damaged(if has_unwritten_sector(bytes, offset..later) {
            LOST_SECTOR
        } else {
            "an entry cannot be read, but later ones can"
        });
    }
    match *found {
        Found::Mismatch { bytes: n } if !has_unwritten_sector(bytes, offset..offset + n) => {
            LogEnd::Damaged("the checksum of an entry does not match")
        }
        _ if entry::is_whole_but_for_its_length(bytes, offset, written.len()) => {
            LogEnd::Damaged("the length of an entry does not match")
        }
        Found::Other(what) => LogEnd::Torn(what),
        _ => LogEnd::Torn("an entry was written in part"),
    }
}

/// Disks write whole sectors, in any order. An entry that was caught by a
/// crash lacks at least one, which still is as preallocation left it; an
/// entry that has them all was damaged later.
fn has_unwritten_sector(bytes: &[u8], range: Range<usize>) -> bool {
    // The upper half of the checksum is zero in good entries too.
    let mut start = range.start + 4;
    while start < range.end {
        let next = range.end.min((start / SECTOR_BYTES + 1) * SECTOR_BYTES);
        if is_zero(&bytes[start..next]) {
            return true;
        }
        start = next;
    }
    false
}

/// Many at once, as most blocks of a preallocated log are.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    let mut chunks = bytes.chunks(SECTOR_BYTES);
    chunks.all(|chunk| chunk.iter().fold(0, |any, byte| any | byte) == 0)
}

/// Nothing in the file tells the two apart: what is synced later would have to
/// say so durably, at the cost of another sync.
const LOST_SECTOR: &str = "a sector of zeros stands before entries that are whole; a power cut leaves this in the \
                           last write, which then was not acknowledged, and a disk that has lost a sector leaves it, too";
/// Smallest unit that a disk writes whole.
pub(super) const SECTOR_BYTES: usize = 512;
