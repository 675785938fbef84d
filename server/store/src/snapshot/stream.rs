//! Reads a snapshot of any size with bounded memory: for tools and for the
//! choice of what to purge.

use std::borrow::Cow;
use std::io::{self, Read};

use adler2::Adler32;
use zk_proto::Zxid;
use zk_proto::jute::{DecodeError, Reader, Reason};
use zk_proto::snapshot::{AclRecord, NodeRecord, SessionRecord, read_acl_record, read_session};

use super::Compression;
use super::format::{self, HEADER, MAGIC_BYTES};

/// A record of a snapshot, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotRecord<'a> {
    /// A session and its timeout.
    Session(SessionRecord),
    /// A list of the ACL table.
    Acl(AclRecord),
    /// A znode. The root's path is "".
    Znode(NodeRecord<'a>),
}

/// What follows the znodes of a whole snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotEnd {
    /// Digest of the tree and the zxid at which it had it, if it was written.
    pub digest: Option<(Zxid, u64)>,
    /// The last zxid in a part of its own (3.9 and later).
    pub last_zxid: Option<Zxid>,
    /// Length of the file in bytes, uncompressed.
    pub bytes: u64,
}

/// Why a snapshot cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotDefect {
    /// The bytes are not those of a snapshot.
    #[error("damaged at byte {offset}{form}: {what}", form = of_content(.compression))]
    Damaged {
        /// Where, in the uncompressed content.
        offset: u64,
        /// What was found.
        what: String,
        /// Whether the offset is that of the file.
        compression: Compression,
    },
    /// The file cannot be read or expanded.
    #[error("cannot read on at byte {offset}{form}", form = of_content(.compression))]
    Read {
        /// How much was read, in the uncompressed content.
        offset: u64,
        /// Whether the offset is that of the file.
        compression: Compression,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Reads a whole file and checks its seals.
///
/// # Errors
/// Where it is not whole. Records up to there have been visited.
pub fn read_snapshot(
    compression: Compression,
    file: impl Read + Send,
    visit: &mut dyn FnMut(SnapshotRecord<'_>),
) -> Result<SnapshotEnd, SnapshotDefect> {
    let source = compression
        .reader(file)
        .map_err(|source| SnapshotDefect::Read {
            offset: 0,
            compression,
            source,
        })?;
    let mut stream = Stream {
        source,
        compression,
        buffer: Vec::new(),
        at: 0,
        read: 0,
        checksum: Adler32::new(),
        has_ended: false,
    };
    stream.run(visit)
}

struct Stream<'a> {
    source: Box<dyn Read + Send + 'a>,
    compression: Compression,
    buffer: Vec<u8>,
    /// Up to where `buffer` was understood.
    at: usize,
    /// Bytes before `at` in the whole content.
    read: u64,
    /// Of all bytes before `at`.
    checksum: Adler32,
    has_ended: bool,
}

impl Stream<'_> {
    fn run(
        &mut self,
        visit: &mut dyn FnMut(SnapshotRecord<'_>),
    ) -> Result<SnapshotEnd, SnapshotDefect> {
        let header = self.record(|reader| reader.take(HEADER.len()).map(<[u8]>::to_vec))?;
        if header[..MAGIC_BYTES] != HEADER[..MAGIC_BYTES] {
            return Err(self.damaged(0, "it does not begin as a snapshot"));
        }
        for _ in 0..self.count()? {
            visit(SnapshotRecord::Session(self.record(read_session)?));
        }
        for _ in 0..self.count()? {
            visit(SnapshotRecord::Acl(self.record(read_acl_record)?));
        }
        while self.znode(visit)? {}
        self.seal()?;
        let mut end = SnapshotEnd::default();
        match self.left()? {
            0 => {}
            format::ZXID_PART_BYTES => end.last_zxid = Some(self.last_zxid()?),
            format::DIGEST_PART_BYTES => end.digest = self.digest()?,
            format::BOTH_PARTS_BYTES => {
                end.digest = self.digest()?;
                end.last_zxid = Some(self.last_zxid()?);
            }
            more => {
                let what = format!("{more} bytes or more follow the image");
                return Err(self.damaged(self.read, what));
            }
        }
        end.bytes = self.read;
        Ok(end)
    }

    fn znode(&mut self, visit: &mut dyn FnMut(SnapshotRecord<'_>)) -> Result<bool, SnapshotDefect> {
        self.record(|reader| match NodeRecord::read(reader)? {
            Some(record) => {
                visit(SnapshotRecord::Znode(record));
                Ok(true)
            }
            None => Ok(false),
        })
    }

    fn count(&mut self) -> Result<i32, SnapshotDefect> {
        self.record(|reader| reader.i32())
    }

    fn seal(&mut self) -> Result<(), SnapshotDefect> {
        let want = i64::from(self.checksum.checksum());
        let start = self.read;
        let (sum, end) =
            self.record(|reader| Ok((reader.i64()?, reader.str().map(Cow::into_owned)?)))?;
        if sum != want || end != "/" {
            return Err(self.damaged(start, "a seal does not match"));
        }
        Ok(())
    }

    fn digest(&mut self) -> Result<Option<(Zxid, u64)>, SnapshotDefect> {
        let bytes = format::DIGEST_PART_BYTES - format::SEAL_BYTES;
        let digest = self.record(|reader| Ok(format::read_digest(reader.take(bytes)?)))?;
        self.seal()?;
        Ok(digest)
    }

    fn last_zxid(&mut self) -> Result<Zxid, SnapshotDefect> {
        let zxid = self.record(|reader| reader.i64().map(Zxid))?;
        self.seal()?;
        Ok(zxid)
    }

    /// How many bytes are left; any number beyond the longest end counts as
    /// one more than that.
    fn left(&mut self) -> Result<usize, SnapshotDefect> {
        while self.buffer.len() - self.at <= format::BOTH_PARTS_BYTES && !self.has_ended {
            self.fill()?;
        }
        Ok((self.buffer.len() - self.at).min(format::BOTH_PARTS_BYTES + 1))
    }

    /// Reads one record, getting more of the file as long as it is cut off.
    fn record<T>(
        &mut self,
        mut read: impl FnMut(&mut Reader<'_>) -> Result<T, DecodeError>,
    ) -> Result<T, SnapshotDefect> {
        loop {
            let mut reader = Reader::new(&self.buffer[self.at..]);
            match read(&mut reader) {
                Ok(value) => {
                    let end = self.at + reader.offset();
                    self.checksum.write_slice(&self.buffer[self.at..end]);
                    self.read += (end - self.at) as u64;
                    self.at = end;
                    return Ok(value);
                }
                Err(DecodeError {
                    reason: Reason::Truncated,
                    ..
                }) if !self.has_ended && self.buffer.len() - self.at < RECORD_BYTES_MAX => {
                    self.fill()?;
                }
                Err(DecodeError { offset, reason }) => {
                    return Err(self.damaged(self.read + offset as u64, reason.to_string()));
                }
            }
        }
    }

    /// Gets about as many more bytes as are waiting, so that a long record is
    /// tried a few times only.
    fn fill(&mut self) -> Result<(), SnapshotDefect> {
        self.buffer.drain(..self.at);
        self.at = 0;
        let wanted = self.buffer.len().max(BLOCK_BYTES) as u64;
        let read = (&mut self.source)
            .take(wanted)
            .read_to_end(&mut self.buffer)
            .map_err(|source| SnapshotDefect::Read {
                offset: self.read,
                compression: self.compression,
                source,
            })?;
        self.has_ended = (read as u64) < wanted;
        Ok(())
    }

    fn damaged(&self, offset: u64, what: impl Into<String>) -> SnapshotDefect {
        SnapshotDefect::Damaged {
            offset,
            what: what.into(),
            compression: self.compression,
        }
    }
}

fn of_content(compression: &Compression) -> &'static str {
    match compression {
        Compression::None => "",
        Compression::Gzip | Compression::Snappy => " of the uncompressed content",
    }
}

/// Read at a time.
const BLOCK_BYTES: usize = 256 * 1024;
/// Longer records are not read.
const RECORD_BYTES_MAX: usize = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use zk_proto::SessionId;
    use zk_proto::client::{Acl, StatPersisted};
    use zk_proto::snapshot::{write_acl_table, write_end, write_sessions};

    fn file(znodes: usize, data: &[u8]) -> Vec<u8> {
        let mut out = HEADER.to_vec();
        write_sessions(&mut out, [(SessionId(5), 4000)].into_iter());
        write_acl_table(&mut out, [(3, &[Acl::open()][..])].into_iter());
        for n in 0..znodes {
            NodeRecord {
                path: format!("/{n}").into(),
                data: Some(data),
                acl_ref: 3,
                stat: StatPersisted::default(),
            }
            .write(&mut out);
        }
        write_end(&mut out);
        let mut checksum = Adler32::new();
        checksum.write_slice(&out);
        out.extend(format::trailer(checksum, Zxid(7), 99));
        out
    }

    #[test]
    fn it_agrees_with_the_reader_of_whole_files() {
        let whole = file(3, b"xyz");
        let read = |bytes: &[u8]| read_snapshot(Compression::None, bytes, &mut |_| {});
        for cut in 0..=whole.len() {
            let bytes = &whole[..cut];
            match (read(bytes), format::read(bytes)) {
                (Ok(end), Ok(parts)) => {
                    assert_eq!(end.digest, parts.digest);
                    assert_eq!(end.bytes, cut as u64);
                    assert_eq!(end.last_zxid.is_some(), cut == whole.len());
                }
                (Err(_), Err(_)) => {}
                (stream, slice) => panic!("{cut} bytes: {stream:?}, {slice:?}"),
            }
        }
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            read(&bytes).expect_err("a flipped bit");
        }
    }

    #[test]
    fn records_longer_than_the_window_are_read() {
        let data = vec![9; 3 * BLOCK_BYTES];
        let bytes = file(5, &data);
        let mut seen = Vec::new();
        read_snapshot(Compression::None, &bytes[..], &mut |record| match record {
            SnapshotRecord::Session(session) => assert_eq!(session, (SessionId(5), 4000)),
            SnapshotRecord::Acl(acl) => assert_eq!(acl, (3, vec![Acl::open()])),
            SnapshotRecord::Znode(znode) => {
                assert_eq!(znode.data, Some(&data[..]));
                seen.push(znode.path.into_owned());
            }
        })
        .unwrap();
        assert_eq!(seen, ["/0", "/1", "/2", "/3", "/4"]);
    }
}
