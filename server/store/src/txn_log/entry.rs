//! One entry of a log.
//!
//! | offset | size | type | meaning |
//! |---|---|---|---|
//! | 0 | 8 | long | Adler-32 of the transaction's bytes |
//! | 8 | 4 | int | n |
//! | 12 | n | bytes | transaction: header, body, digest, perhaps a [mark] |
//! | 12 + n | 1 | byte | 'B' |

use std::ops::Range;

use zk_proto::Zxid;
use zk_proto::jute::Put;
use zk_proto::txn::TXN_HEADER_BYTES;

use super::mark::{self, MARK_BYTES};
use crate::checksum::adler;

/// Checksum and length.
pub(super) const HEAD_BYTES: usize = 12;
/// Last byte of every entry.
const END: u8 = 0x42;
/// Offset of the zxid in a transaction's header.
const ZXID_OFFSET: usize = 12;
/// Offset of the operation code in a transaction's header.
const KIND_OFFSET: usize = 28;
/// Operation code of an error transaction.
const ERROR: i32 = -1;

/// What stands at an offset of a log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole entry.
    Entry {
        /// In its header.
        zxid: Zxid,
        /// Where its transaction lies.
        data: Range<usize>,
    },
    /// All that an entry has, but the checksum is another.
    Mismatch {
        /// Length of the entry with its head and its last byte.
        bytes: usize,
    },
    /// Not an entry, and why.
    Other(&'static str),
}

/// Appends an entry, with a mark if it is to say up to where the file is durable.
pub(super) fn write(out: &mut Vec<u8>, data: &[u8], synced: Option<u64>) {
    let start = out.len();
    out.put_i64(0);
    out.put_count(data.len() + synced.map_or(0, |_| MARK_BYTES));
    out.put_raw(data);
    if let Some(synced) = synced {
        mark::write(out, synced);
    }
    let (head, data) = out[start..].split_at_mut(HEAD_BYTES);
    head[..8].copy_from_slice(&adler(data).to_be_bytes());
    out.put_raw(&[END]);
}

/// The zxid in a transaction's header; `None` if it is cut off.
pub(super) fn zxid_of(data: &[u8]) -> Option<Zxid> {
    let bytes = data.get(ZXID_OFFSET..ZXID_OFFSET + 8)?;
    Some(Zxid(i64::from_be_bytes(bytes.try_into().ok()?)))
}

/// Is this an error transaction, which says that a request was refused and
/// changes nothing?
#[must_use]
pub fn is_error(data: &[u8]) -> bool {
    data.get(KIND_OFFSET..KIND_OFFSET + 4) == Some(&ERROR.to_be_bytes())
}

/// Reads what stands at `offset`.
pub(super) fn read(bytes: &[u8], offset: usize) -> Found {
    let rest = &bytes[offset..];
    let Some((checksum, length)) = head(rest) else {
        return Found::Other("it ends within the head of an entry");
    };
    if length < TXN_HEADER_BYTES {
        return Found::Other("an entry is too short for a transaction");
    }
    let Some(&end) = length.checked_add(HEAD_BYTES).and_then(|at| rest.get(at)) else {
        return Found::Other("it ends within an entry");
    };
    let data = &rest[HEAD_BYTES..HEAD_BYTES + length];
    let matches = adler(data) == checksum;
    match (end, zxid_of(data)) {
        (END, Some(zxid)) if matches => Found::Entry {
            zxid,
            data: offset + HEAD_BYTES..offset + HEAD_BYTES + length,
        },
        // The last byte is written last: only a zero can mean "not yet".
        (0, _) => Found::Other("the last byte of an entry is missing"),
        _ => Found::Mismatch {
            bytes: HEAD_BYTES + length + 1,
        },
    }
}

/// The first offset in `from..` at which a whole entry after `last` stands,
/// to tell an unfinished tail from damage in the middle.
pub(super) fn find(bytes: &[u8], from: usize, last: Option<Zxid>) -> Option<usize> {
    (from..bytes.len().saturating_sub(HEAD_BYTES + TXN_HEADER_BYTES)).find(|&offset| {
        // The upper half of the checksum is zero; a cheap first sieve.
        if bytes[offset..offset + 4] != [0; 4] || bytes[offset + 8..offset + 12] == [0; 4] {
            return false;
        }
        let Some((_, length)) = head(&bytes[offset..]) else {
            return false;
        };
        let end = length.checked_add(offset + HEAD_BYTES);
        if end.and_then(|end| bytes.get(end)) != Some(&END) {
            return false;
        }
        let is_later = zxid_of(&bytes[offset + HEAD_BYTES..]) > last;
        is_later && matches!(read(bytes, offset), Found::Entry { .. })
    })
}

/// Would one other bit in the transaction of this entry make its checksum
/// right? A power cut does not do that, a disk or memory that fails does.
pub(super) fn lacks_one_bit(entry: &[u8]) -> bool {
    const MODULUS: i64 = 65_521;
    let Some((checksum, _)) = head(entry) else {
        return false;
    };
    let data = &entry[HEAD_BYTES..entry.len() - 1];
    let found = adler(data);
    let missing =
        |shift: u32| ((checksum >> shift & 0xffff) - (found >> shift & 0xffff)).rem_euclid(MODULUS);
    let (low, high) = (missing(0), missing(16));
    // A byte counts once in the low half, and as often in the high half as there
    // are bytes from it to the end.
    (1..=data.len()).any(|to_end| {
        let byte = data[data.len() - to_end];
        let is_explained = |bit: u32| {
            let change = if byte >> bit & 1 == 0 {
                1 << bit
            } else {
                -(1 << bit)
            };
            let weighted = change * (to_end as i64 % MODULUS);
            i64::rem_euclid(change, MODULUS) == low && weighted.rem_euclid(MODULUS) == high
        };
        (0..8).any(is_explained)
    })
}

/// Is there an entry whose length alone is damaged? `end` is where the bytes
/// other than padding end.
pub(super) fn is_whole_but_for_its_length(bytes: &[u8], offset: usize, end: usize) -> bool {
    let Some((checksum, _)) = head(&bytes[offset..]) else {
        return false;
    };
    end > offset + HEAD_BYTES + TXN_HEADER_BYTES
        && bytes[end - 1] == END
        && adler(&bytes[offset + HEAD_BYTES..end - 1]) == checksum
}

/// The length that an entry's head claims.
pub(super) fn length(rest: &[u8]) -> Option<usize> {
    head(rest).map(|(_, length)| length)
}

fn head(rest: &[u8]) -> Option<(i64, usize)> {
    let checksum = i64::from_be_bytes(rest.get(..8)?.try_into().ok()?);
    let length = i32::from_be_bytes(rest.get(8..HEAD_BYTES)?.try_into().ok()?);
    // A negative length is too short like any other below the header's.
    Some((checksum, usize::try_from(length).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_entries_are_written_and_read() {
        let hex = "0000000097060994000000300100000000000001000000000000000100000001\
                   0000018bcfe56800fffffff6000075300000000200000000\
                   51c6d66042";
        let bytes: Vec<u8> = (0..hex.len() / 2)
            .map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap())
            .collect();
        let mut out = Vec::new();
        write(&mut out, &bytes[12..60], None);
        assert_eq!(out, bytes);
        let entry = Found::Entry {
            zxid: Zxid(0x1_0000_0001),
            data: 12..60,
        };
        assert_eq!(read(&bytes, 0), entry);
        for cut in 0..bytes.len() {
            assert!(
                matches!(read(&bytes[..cut], 0), Found::Other(_)),
                "{cut} bytes"
            );
        }
        let mut later = vec![7; 100];
        later.extend_from_slice(&bytes);
        assert_eq!(find(&later, 0, Some(Zxid(5))), Some(100));
        assert_eq!(find(&later, 0, Some(Zxid(0x1_0000_0001))), None);
    }
}
