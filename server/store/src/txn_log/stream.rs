//! Reads a log of any length through a window: the one reader of a start, of
//! a truncation and of the tools, which may meet files of running servers.

use std::io::{self, Read};

use zk_proto::Zxid;

use super::end::{LogEnd, Rest, SECTOR_BYTES, headless, is_zero};
use super::entry::{self, Found};
use super::mark;
use super::{HEADER_BYTES, HEADER_START, Header, MAGIC_BYTES};

/// A log, read entry by entry.
#[derive(Debug)]
pub struct LogStream<R> {
    window: Window<R>,
    header: Header,
    last: Option<Zxid>,
}

/// What [`LogStream::read`] has found.
#[derive(Debug)]
pub enum LogItem<'a> {
    /// A whole entry with the right checksum.
    Entry {
        /// Where it begins in the file, in bytes.
        offset: u64,
        /// In its header.
        zxid: Zxid,
        /// What it came right after when it was written; `None` where the file
        /// does not prove it. The reference may have copied a tree from a
        /// leader between any two entries, this server goes on in another file
        /// then.
        predecessor: Option<Zxid>,
        /// Header, body and digest of the transaction.
        data: &'a [u8],
    },
    /// There is no further entry.
    End {
        /// Where the whole entries end.
        offset: u64,
        /// What follows.
        end: LogEnd,
    },
}

impl<R: Read> LogStream<R> {
    /// Reads from the start of a file.
    pub const fn new(file: R) -> Self {
        Self {
            window: Window::new(file),
            header: Header {
                follows: None,
                is_marked: false,
            },
            last: None,
        }
    }

    /// The next entry, or how the file ends. Not to be called after that.
    pub fn read(&mut self) -> io::Result<LogItem<'_>> {
        let window = &mut self.window;
        if window.at == 0 && window.base == 0 {
            window.fill(HEADER_BYTES)?;
            let header = window.rest();
            let whole = header.first_chunk::<HEADER_BYTES>();
            let Some(header) =
                whole.filter(|header| header.starts_with(&HEADER_START[..MAGIC_BYTES]))
            else {
                let end = match window.fill_all(0)? {
                    true => headless(&window.buffer),
                    false => LogEnd::Damaged("it does not begin as a transaction log"),
                };
                return Ok(LogItem::End { offset: 0, end });
            };
            self.header = Header::read(header);
            window.at = HEADER_BYTES;
        }
        window.slide();
        window.fill(entry::HEAD_BYTES)?;
        // Any length is read: it was written, so it was allowed once. No more
        // memory is taken than the file has bytes.
        let length = entry::length(window.rest()).unwrap_or(0);
        window.fill(entry::HEAD_BYTES + length + 1)?;
        let offset = window.base + window.at as u64;
        match entry::read(&window.buffer, window.at) {
            Found::Entry { zxid, data } => {
                window.at = data.end + 1;
                let last = self.last.replace(zxid);
                let data = &window.buffer[data];
                Ok(LogItem::Entry {
                    offset,
                    zxid,
                    predecessor: self.header.follows.map(|follows| last.unwrap_or(follows)),
                    data: mark::split(data).map_or(data, |(txn, _)| txn),
                })
            }
            _ if !window.fill_all(length)? => Ok(LogItem::End {
                offset,
                end: LogEnd::Damaged("an entry cannot be read, and much follows it"),
            }),
            _ => {
                let found = entry::read(&window.buffer, window.at);
                let rest = Rest {
                    bytes: &window.buffer,
                    base: window.base,
                    at: window.at,
                    is_marked: self.header.is_marked,
                    last: self.last,
                };
                let end = rest.judge(&found);
                Ok(LogItem::End { offset, end })
            }
        }
    }
}

/// The part of a file that is looked at.
#[derive(Debug)]
struct Window<R> {
    file: R,
    buffer: Vec<u8>,
    /// Where `buffer` begins in the file; a multiple of a sector, because a
    /// torn entry is known by its sectors.
    base: u64,
    /// Up to where `buffer` was read as entries.
    at: usize,
    has_ended: bool,
}

impl<R: Read> Window<R> {
    const fn new(file: R) -> Self {
        Self {
            file,
            buffer: Vec::new(),
            base: 0,
            at: 0,
            has_ended: false,
        }
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.at..]
    }

    /// Gets this many bytes behind `at` if the file has them.
    fn fill(&mut self, bytes: usize) -> io::Result<()> {
        while self.rest().len() < bytes && !self.has_ended {
            self.read_block()?;
        }
        Ok(())
    }

    fn read_block(&mut self) -> io::Result<usize> {
        let read = (&mut self.file)
            .take(BLOCK_BYTES)
            .read_to_end(&mut self.buffer)?;
        self.has_ended = (read as u64) < BLOCK_BYTES;
        Ok(read)
    }

    /// Forgets what was read as entries.
    fn slide(&mut self) {
        let done = self.at - self.at % SECTOR_BYTES;
        if done >= BLOCK_BYTES as usize {
            self.buffer.drain(..done);
            self.base += done as u64;
            self.at -= done;
        }
    }

    /// Gets all the rest without the zeros at its end. False if that is too
    /// much to look at behind an entry that claims to have so many bytes.
    fn fill_all(&mut self, claimed: usize) -> io::Result<bool> {
        let bytes_max = claimed.saturating_add(REST_BYTES_MAX);
        let mut zeros = 0;
        while !self.has_ended {
            if self.rest().len() > bytes_max {
                return Ok(false);
            }
            let start = self.buffer.len();
            let read = self.read_block()?;
            if is_zero(&self.buffer[start..]) {
                zeros += read;
                self.buffer.truncate(start);
            } else if zeros > 0 {
                if self.rest().len() + zeros > bytes_max {
                    return Ok(false);
                }
                self.buffer
                    .splice(start..start, std::iter::repeat_n(0, zeros));
                zeros = 0;
            }
        }
        Ok(true)
    }
}

/// Read at a time.
const BLOCK_BYTES: u64 = 1 << 20;
/// How much behind an entry that cannot be read is searched for others.
const REST_BYTES_MAX: usize = 320 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::txn_log::LogFile;
    use crate::txn_log::reader::tests::log;

    #[test]
    fn long_logs_are_read_through_a_window() {
        let mut bytes = log(4000, 3000);
        let end = bytes.len() as u64;
        bytes.resize(bytes.len() + (5 << 20), 0);
        let mut stream = LogStream::new(&bytes[..]);
        let mut want = 1;
        let (offset, state) = loop {
            match stream.read().unwrap() {
                LogItem::Entry {
                    offset, zxid, data, ..
                } => {
                    assert_eq!((zxid, data.len()), (Zxid(want), 3000));
                    assert_eq!(offset, 16 + (want as u64 - 1) * 3013);
                    want += 1;
                }
                LogItem::End { offset, end } => break (offset, end),
            }
            assert!(stream.window.buffer.len() < 4 << 20);
        };
        assert_eq!((want, offset, state), (4001, end, LogEnd::Clean));
        let middle = 6 << 20;
        let at = (middle - 16) / 3013;
        let read = |bytes: &[u8]| {
            let log = LogFile::read(bytes).unwrap();
            assert_eq!(log.entries.len(), at);
            assert_eq!(log.end, 16 + at as u64 * 3013);
            log.tail
        };
        bytes[middle] ^= 1;
        assert!(matches!(read(&bytes), LogEnd::Damaged(_)));
        bytes[middle..].fill(0);
        assert!(matches!(read(&bytes), LogEnd::Torn(_)));
        let end = bytes.len();
        bytes[end - 1] = 1;
        assert!(matches!(read(&bytes), LogEnd::Torn(_)));
    }

    /// Entries of any length were allowed by some `jute.maxbuffer`, and so is
    /// what one request makes of others.
    #[test]
    fn a_long_entry_is_read_and_a_longer_one_is_torn() {
        const BYTES: usize = 5 << 20;
        let bytes = log(2, BYTES);
        let read = LogFile::read(&bytes[..]).unwrap();
        let lengths: Vec<_> = read.entries.iter().map(|entry| entry.data.len()).collect();
        assert_eq!((lengths, read.tail), (vec![BYTES; 2], LogEnd::Clean));
        let mut cut = bytes[..bytes.len() - 9].to_vec();
        cut.resize(bytes.len() + (3 << 20), 0);
        let read = LogFile::read(&cut[..]).unwrap();
        assert_eq!(read.entries.len(), 1);
        assert!(matches!(read.tail, LogEnd::Torn(_)), "{:?}", read.tail);
    }
}
