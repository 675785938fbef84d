//! What a log holds and in which state its end is.

use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use zk_proto::Zxid;

use super::entry::{self, Found};
use super::{HEADER, MAGIC_BYTES};
use crate::Disk;

/// A log's entries and the state of its end.
#[derive(Debug)]
pub(crate) struct LogScan {
    /// Zxid and place of each transaction, in the order of the file.
    pub(crate) entries: Vec<(Zxid, Range<usize>)>,
    /// Where the whole entries end; 0 if not even the header is whole.
    pub(crate) end: usize,
    /// What comes after them.
    pub(crate) tail: Tail,
}

/// What comes after a log's whole entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Nothing, or padding.
    Clean,
    /// The remains of a write that was never confirmed.
    Torn(&'static str),
    /// Something that no crash can leave behind.
    Damaged(&'static str),
}

/// The bytes of a file, but for the zeros at its end; of those at most a
/// block is there. Logs are preallocated, so that most of one may be zeros.
pub(crate) fn read_log<D: Disk>(disk: &D, path: &Path) -> io::Result<Vec<u8>> {
    let mut file = disk.reader(path)?;
    // What is not written to takes no memory, growing by copies does.
    let mut bytes = Vec::with_capacity(usize::try_from(disk.length(path)?).unwrap_or(0));
    let mut zeros = 0;
    loop {
        let start = bytes.len();
        let read = (&mut file).take(BLOCK_BYTES).read_to_end(&mut bytes)?;
        if read == 0 {
            return Ok(bytes);
        }
        if start > 0 && is_zero(&bytes[start..]) {
            bytes.truncate(start);
            zeros += read;
        } else if zeros > 0 {
            let block = bytes.split_off(start);
            bytes.resize(start + zeros, 0);
            bytes.extend_from_slice(&block);
            zeros = 0;
        }
    }
}

/// Finds the entries among the bytes of a whole file.
///
/// The reference takes anything odd for the end of the file, except a
/// mismatch of the checksum (`FileTxnIterator`); it loses the rest of a file
/// whose middle is damaged. Here such a file is `Damaged`.
pub(crate) fn scan(bytes: &[u8]) -> LogScan {
    let mut entries: Vec<(Zxid, Range<usize>)> = Vec::new();
    if bytes.len() < HEADER.len() || bytes[..MAGIC_BYTES] != HEADER[..MAGIC_BYTES] {
        let tail = headless(bytes);
        return LogScan {
            entries,
            end: 0,
            tail,
        };
    }
    let mut end = HEADER.len();
    let tail = loop {
        match entry::read(bytes, end) {
            Found::Entry { zxid, data } => {
                end = data.end + 1;
                entries.push((zxid, data));
            }
            other => {
                let last = entries.last().map(|(zxid, _)| *zxid);
                break tail(bytes, end, &other, last);
            }
        }
    };
    LogScan { entries, end, tail }
}

/// A file without a whole header was created and then lost its bytes, unless
/// it has others.
pub(super) fn headless(bytes: &[u8]) -> Tail {
    let header = &bytes[..bytes.len().min(HEADER.len())];
    let written = header
        .iter()
        .zip(HEADER)
        .take_while(|(a, b)| **a == *b)
        .count();
    if header[written..].iter().any(|byte| *byte != 0) || entry::find(bytes, 0, None).is_some() {
        return Tail::Damaged("it does not begin as a transaction log");
    }
    Tail::Torn("its header is not whole")
}

pub(super) fn tail(bytes: &[u8], offset: usize, found: &Found, last: Option<Zxid>) -> Tail {
    let rest = &bytes[offset..];
    let Some(length) = rest.iter().rposition(|byte| *byte != 0) else {
        return Tail::Clean;
    };
    let written = &bytes[..=offset + length];
    if entry::find(written, offset + 1, last).is_some() {
        return Tail::Damaged("an entry cannot be read, but later ones can");
    }
    match *found {
        Found::Mismatch { bytes: n } if !has_unwritten_sector(bytes, offset..offset + n) => {
            Tail::Damaged("the checksum of an entry does not match")
        }
        _ if entry::is_whole_but_for_its_length(bytes, offset, written.len()) => {
            Tail::Damaged("the length of an entry does not match")
        }
        Found::Other(what) => Tail::Torn(what),
        _ => Tail::Torn("an entry was written in part"),
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
        if bytes[start..next].iter().all(|byte| *byte == 0) {
            return true;
        }
        start = next;
    }
    false
}

/// Many at once, as most blocks of a preallocated log are.
fn is_zero(bytes: &[u8]) -> bool {
    let mut chunks = bytes.chunks(SECTOR_BYTES);
    chunks.all(|chunk| chunk.iter().fold(0, |any, byte| any | byte) == 0)
}

/// Read at a time; a multiple of a sector.
const BLOCK_BYTES: u64 = 256 * 1024;
/// Smallest unit that a disk writes whole.
pub(super) const SECTOR_BYTES: usize = 512;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::MemDisk;

    /// Entries 1 to `entries`, each of so many bytes.
    pub(in crate::txn_log) fn log(entries: i64, data_bytes: usize) -> Vec<u8> {
        let mut out = HEADER.to_vec();
        for n in 1..=entries {
            let mut data = vec![0x55; data_bytes];
            data[12..20].copy_from_slice(&n.to_be_bytes());
            entry::write(&mut out, &data);
        }
        out
    }

    #[test]
    fn only_zeros_at_the_end_are_left_out() {
        let (disk, path) = (MemDisk::default(), Path::new("/log.1"));
        let block = BLOCK_BYTES as usize;
        for written in [
            0,
            1,
            16,
            block - 1,
            block,
            block + 1,
            2 * block,
            3 * block + 9,
        ] {
            for padding in [0, 1, block - 1, block, 3 * block] {
                let mut bytes = vec![0; written + padding];
                // Whole blocks of zeros in the middle too.
                for at in [0, written / 2, written.saturating_sub(1)] {
                    bytes[..written]
                        .get_mut(at)
                        .into_iter()
                        .for_each(|byte| *byte = 9);
                }
                disk.plant(path, bytes.clone());
                let read = read_log(&disk, path).unwrap();
                assert!(
                    read.len() >= written && bytes.starts_with(&read),
                    "{written}"
                );
                assert!(
                    read.len() <= (written + block).min(bytes.len()),
                    "{written}"
                );
            }
        }
    }

    #[test]
    fn every_truncation_is_a_clean_end_or_a_torn_one() {
        let whole = log(3, 40);
        for padding in [0, 1, 600] {
            for cut in 0..whole.len() {
                let mut bytes = whole[..cut].to_vec();
                bytes.resize(cut + padding, 0);
                let scan = scan(&bytes);
                let entries = cut.saturating_sub(16) / 53;
                assert_eq!(scan.entries.len(), entries, "{cut} bytes");
                let border = cut >= 16 && (cut - 16).is_multiple_of(53);
                let is_zero = bytes[scan.end..].iter().all(|byte| *byte == 0);
                match scan.tail {
                    Tail::Clean => assert!(is_zero, "{cut} bytes"),
                    Tail::Torn(_) => assert!(!border, "{cut} bytes"),
                    Tail::Damaged(what) => panic!("{cut} bytes: {what}"),
                }
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_never_read_and_never_hides_what_follows() {
        let whole = log(4, 40);
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes.resize(bytes.len() + 100, 0);
            let scan = scan(&bytes);
            match bit / 8 {
                0..4 => assert!(matches!(scan.tail, Tail::Damaged(_)), "bit {bit}"),
                4..16 => assert_eq!((scan.entries.len(), scan.tail), (4, Tail::Clean)),
                byte => {
                    assert_eq!(scan.entries.len(), (byte - 16) / 53, "bit {bit}");
                    assert!(
                        matches!(scan.tail, Tail::Damaged(_)),
                        "bit {bit}: {:?}",
                        scan.tail
                    );
                }
            }
        }
    }

    #[test]
    fn a_lost_sector_at_the_end_is_a_torn_write() {
        let whole = log(2, 1600);
        let second = 16 + 1613;
        for sector in second / 512..whole.len() / 512 {
            let mut bytes = whole.clone();
            let start = (sector * 512).max(second);
            bytes[start..(sector + 1) * 512].fill(0);
            let scan = scan(&bytes);
            assert_eq!((scan.entries.len(), scan.end), (1, second));
            assert!(
                matches!(scan.tail, Tail::Torn(_)),
                "sector {sector}: {:?}",
                scan.tail
            );
        }
        let mut bytes = whole;
        bytes[100..1000].fill(0);
        assert!(matches!(scan(&bytes).tail, Tail::Damaged(_)));
    }
}
