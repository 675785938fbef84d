//! Reads a log of any length with bounded memory: for tools, which may meet
//! files of any size and of running servers.

use std::io::{self, Read};

use zk_proto::Zxid;

use super::entry::{self, Found};
use super::reader::{SECTOR_BYTES, Tail, headless, tail};
use super::{HEADER, MAGIC_BYTES};

/// A log, read entry by entry.
#[derive(Debug)]
pub struct LogStream<R> {
    window: Window<R>,
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

impl<R: Read> LogStream<R> {
    /// Reads from the start of a file.
    pub const fn new(file: R) -> Self {
        Self {
            window: Window::new(file),
            last: None,
        }
    }

    /// The next entry, or how the file ends. Not to be called after that.
    pub fn read(&mut self) -> io::Result<LogItem<'_>> {
        let window = &mut self.window;
        if window.at == 0 && window.base == 0 {
            window.fill(HEADER.len())?;
            let header = window.rest();
            if header.len() < HEADER.len() || header[..MAGIC_BYTES] != HEADER[..MAGIC_BYTES] {
                let end = match window.fill_all()? {
                    true => headless(&window.buffer),
                    false => Tail::Damaged("it does not begin as a transaction log"),
                };
                return Ok(LogItem::End {
                    offset: 0,
                    end: end.into(),
                });
            }
            window.at = HEADER.len();
        }
        window.slide();
        window.fill(entry::HEAD_BYTES)?;
        let length = entry::length(window.rest()).filter(|length| *length <= ENTRY_BYTES_MAX);
        window.fill(entry::HEAD_BYTES + length.unwrap_or(0) + 1)?;
        let offset = window.base + window.at as u64;
        match entry::read(&window.buffer, window.at) {
            Found::Entry { zxid, data } => {
                window.at = data.end + 1;
                self.last = Some(zxid);
                let data = &window.buffer[data];
                Ok(LogItem::Entry { offset, zxid, data })
            }
            _ if !window.fill_all()? => Ok(LogItem::End {
                offset,
                end: LogEnd::Damaged("an entry cannot be read, and much follows it"),
            }),
            _ => {
                let found = entry::read(&window.buffer, window.at);
                let end = tail(&window.buffer, window.at, &found, self.last).into();
                Ok(LogItem::End { offset, end })
            }
        }
    }
}

impl From<Tail> for LogEnd {
    fn from(tail: Tail) -> Self {
        match tail {
            Tail::Clean => Self::Clean,
            Tail::Torn(what) => Self::Torn(what),
            Tail::Damaged(what) => Self::Damaged(what),
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
    /// much to look at.
    fn fill_all(&mut self) -> io::Result<bool> {
        let mut zeros = 0;
        while !self.has_ended {
            if self.rest().len() > REST_BYTES_MAX {
                return Ok(false);
            }
            let start = self.buffer.len();
            let read = self.read_block()?;
            if self.buffer[start..].iter().all(|byte| *byte == 0) {
                zeros += read;
                self.buffer.truncate(start);
            } else if zeros > 0 {
                if self.rest().len() + zeros > REST_BYTES_MAX {
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
/// Longer entries are not read.
const ENTRY_BYTES_MAX: usize = 256 << 20;
/// How much behind an entry that cannot be read is searched for others.
const REST_BYTES_MAX: usize = 320 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::txn_log::reader::tests::log;
    use crate::txn_log::scan;

    /// Entries and end, as [`scan`] finds them in the whole file.
    fn assert_as_scan(bytes: &[u8]) {
        let scan = scan(bytes);
        let mut stream = LogStream::new(bytes);
        let mut entries = scan.entries.iter();
        loop {
            match stream.read().unwrap() {
                LogItem::Entry { offset, zxid, data } => {
                    let (want, range) = entries.next().unwrap();
                    assert_eq!((zxid, data), (*want, &bytes[range.clone()]));
                    assert_eq!(offset as usize + entry::HEAD_BYTES, range.start);
                }
                LogItem::End { offset, end } => {
                    assert_eq!(entries.next(), None);
                    assert_eq!((offset as usize, end), (scan.end, scan.tail.into()));
                    return;
                }
            }
        }
    }

    #[test]
    fn small_logs_are_read_as_a_start_reads_them() {
        let whole = log(4, 40);
        for cut in 0..whole.len() {
            let mut bytes = whole[..cut].to_vec();
            assert_as_scan(&bytes);
            bytes.resize(cut + 3000, 0);
            assert_as_scan(&bytes);
        }
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes.resize(bytes.len() + 100, 0);
            assert_as_scan(&bytes);
        }
    }

    #[test]
    fn long_logs_are_read_through_a_window() {
        let mut bytes = log(4000, 3000);
        bytes.resize(bytes.len() + (5 << 20), 0);
        assert_as_scan(&bytes);
        let mut stream = LogStream::new(&bytes[..]);
        while let LogItem::Entry { .. } = stream.read().unwrap() {
            assert!(stream.window.buffer.len() < 4 << 20);
        }
        let middle = 6 << 20;
        bytes[middle] ^= 1;
        assert_as_scan(&bytes);
        bytes[middle..].fill(0);
        assert_as_scan(&bytes);
        let end = bytes.len();
        bytes[end - 1] = 1;
        assert_as_scan(&bytes);
    }
}
