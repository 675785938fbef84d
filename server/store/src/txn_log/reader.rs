//! A whole log in memory, as a start reads it.

use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use zk_proto::Zxid;

use super::LogEnd;
use super::stream::{LogItem, LogStream};
use crate::Disk;

/// A log's entries and the state of its end.
#[derive(Debug)]
pub(crate) struct LogFile {
    /// In the order of the file.
    pub(crate) entries: Vec<LogEntry>,
    /// Where the whole entries end, in bytes; 0 if not even the header is whole.
    pub(crate) end: u64,
    /// What comes after them.
    pub(crate) tail: LogEnd,
}

/// A transaction in a log.
#[derive(Clone, Debug)]
pub(crate) struct LogEntry {
    /// Where the entry begins in the file, in bytes.
    pub(crate) offset: u64,
    /// In its header.
    pub(crate) zxid: Zxid,
    /// What it came right after when it was written; `None` where the file
    /// does not prove it.
    pub(crate) predecessor: Option<Zxid>,
    /// Header, body and digest.
    pub(crate) data: Bytes,
}

impl LogFile {
    /// Reads from the start of a file.
    pub(crate) fn read(file: impl Read) -> io::Result<Self> {
        let mut stream = LogStream::new(file);
        let mut entries = Vec::new();
        loop {
            match stream.read()? {
                LogItem::Entry {
                    offset,
                    zxid,
                    predecessor,
                    data,
                } => entries.push(LogEntry {
                    offset,
                    zxid,
                    predecessor,
                    data: Bytes::copy_from_slice(data),
                }),
                LogItem::End { offset, end } => {
                    return Ok(Self {
                        entries,
                        end: offset,
                        tail: end,
                    });
                }
            }
        }
    }
}

/// Reads a whole log.
pub(crate) fn read_log<D: Disk>(disk: &D, path: &Path) -> io::Result<LogFile> {
    LogFile::read(disk.reader(path)?)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::txn_log::{Header, entry};

    fn scan(bytes: &[u8]) -> LogFile {
        LogFile::read(bytes).unwrap()
    }

    /// Entries 1 to `entries`, each of so many bytes.
    pub(in crate::txn_log) fn log(entries: i64, data_bytes: usize) -> Vec<u8> {
        let mut out = Header::after(Zxid(0), false).bytes().to_vec();
        for n in 1..=entries {
            let mut data = vec![0x55; data_bytes];
            data[12..20].copy_from_slice(&n.to_be_bytes());
            entry::write(&mut out, &data, None);
        }
        out
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
                let is_zero = bytes[scan.end as usize..].iter().all(|byte| *byte == 0);
                match scan.tail {
                    LogEnd::Clean => assert!(is_zero, "{cut} bytes"),
                    LogEnd::Torn(_) => assert!(!border, "{cut} bytes"),
                    LogEnd::Damaged(what) => panic!("{cut} bytes: {what}"),
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
                0..4 => assert!(matches!(scan.tail, LogEnd::Damaged(_)), "bit {bit}"),
                4..16 => assert_eq!((scan.entries.len(), scan.tail), (4, LogEnd::Clean)),
                byte => {
                    assert_eq!(scan.entries.len(), (byte - 16) / 53, "bit {bit}");
                    assert!(
                        matches!(scan.tail, LogEnd::Damaged(_)),
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
            assert_eq!((scan.entries.len(), scan.end), (1, second as u64));
            assert!(
                matches!(scan.tail, LogEnd::Torn(_)),
                "sector {sector}: {:?}",
                scan.tail
            );
        }
        let told = |bytes: &[u8]| match scan(bytes).tail {
            LogEnd::Damaged(what) => what,
            tail => panic!("{tail:?}"),
        };
        let mut bytes = whole;
        bytes[1000] ^= 1;
        assert!(!told(&bytes).contains("power cut"), "a bit was flipped");
        bytes[100..1200].fill(0);
        assert!(told(&bytes).contains("power cut"), "a sector is not there");
    }
}
