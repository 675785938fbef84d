//! What follows the whole entries of a log: padding, what a crash leaves, or
//! damage.
//!
//! The reference takes anything odd for the end of the file, except a
//! mismatch of the checksum (`FileTxnIterator`); it loses the rest of a file
//! whose middle is damaged. Here such a file is damaged.

use std::ops::Range;

use zk_proto::Zxid;

use super::entry::{self, Found};
use super::mark;
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

/// What follows the whole entries of a log, where no further one stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest<'a> {
    /// A part of the file that begins with a sector and reaches to its end;
    /// zeros at the end may be missing.
    pub(super) bytes: &'a [u8],
    /// Where that part begins in the file, in bytes.
    pub(super) base: u64,
    /// Where in it an entry was looked for.
    pub(super) at: usize,
    /// Does the file say of each batch what was synced before it?
    pub(super) is_marked: bool,
    /// Zxid of the entry before; `None` if there is none.
    pub(super) last: Option<Zxid>,
}

impl Rest<'_> {
    /// Judges it, given what stands where the entry was looked for.
    pub(super) fn judge(&self, found: &Found) -> LogEnd {
        let Self { bytes, at, .. } = *self;
        let Some(length) = bytes[at..].iter().rposition(|byte| *byte != 0) else {
            return LogEnd::Clean;
        };
        let written = &bytes[..=at + length];
        if let Some(later) = entry::find(written, at + 1, self.last) {
            return self.judge_hole(found, written, later);
        }
        match *found {
            Found::Mismatch { bytes: n } if !has_unwritten_sector(bytes, at..at + n) => {
                LogEnd::Damaged("the checksum of an entry does not match")
            }
            Found::Entry { .. } | Found::Mismatch { .. } | Found::Other(_)
                if entry::is_whole_but_for_its_length(bytes, at, written.len()) =>
            {
                LogEnd::Damaged("the length of an entry does not match")
            }
            Found::Other(what) => LogEnd::Torn(what),
            Found::Entry { .. } | Found::Mismatch { .. } => {
                LogEnd::Torn("an entry was written in part")
            }
        }
    }

    /// Judges a place that cannot be read, before an entry that can be.
    fn judge_hole(&self, found: &Found, written: &[u8], later: usize) -> LogEnd {
        let is_flipped = match *found {
            Found::Mismatch { bytes } => entry::lacks_one_bit(&self.bytes[self.at..][..bytes]),
            Found::Entry { .. } | Found::Other(_) => false,
        };
        if is_flipped || !has_unwritten_sector(self.bytes, self.at..later) {
            return LogEnd::Damaged("an entry cannot be read, but later ones can");
        }
        match self.is_marked {
            false => LogEnd::Damaged(
                "a sector of zeros stands before entries that are whole; a power cut leaves this in the last write, \
                 which then was not acknowledged, and a disk that has lost a sector leaves it, too",
            ),
            true if self.may_have_been_synced(written, later) => LogEnd::Damaged(
                "a sector of zeros stands before entries that may have been written when it had been synced",
            ),
            true => LogEnd::Torn("a sector of the last write is missing"),
        }
    }

    /// Does an entry from `later` on say that the unreadable place had been
    /// synced, or is it one that cannot say so?
    fn may_have_been_synced(&self, written: &[u8], later: usize) -> bool {
        let mut found = Some(later);
        while let Some(at) = found {
            let next = match entry::read(written, at) {
                Found::Entry { data, .. } => {
                    let end = data.end;
                    let data = &written[data];
                    let vouches = match mark::split(data) {
                        Some((_, synced)) => synced > self.base + self.at as u64,
                        None => !mark::takes_mark(data),
                    };
                    if vouches {
                        return true;
                    }
                    end + 1
                }
                Found::Mismatch { .. } | Found::Other(_) => at + 1,
            };
            found = entry::find(written, next, self.last);
        }
        false
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

/// Smallest unit that a disk writes whole.
pub(super) const SECTOR_BYTES: usize = 512;
