//! Reads a snapshot of any size with bounded memory, and checks its seals.

use std::io::{self, Read};

use zk_proto::Zxid;
use zk_proto::jute::{DecodeError, Reason};
use zk_proto::snapshot::ImageScan;

use super::Compression;
use super::format::{self, HEADER, MAGIC_BYTES, SEAL_END};
use crate::checksum::Adler;

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

/// Takes the image in pieces of whole records. May leave any other buffer for
/// the next piece.
pub(super) type TakePiece<'a> = dyn FnMut(&mut Vec<u8>) -> Result<(), DecodeError> + 'a;

/// A snapshot file, read from its start on.
pub(super) struct Pieces<'a> {
    source: Box<dyn Read + Send + 'a>,
    compression: Compression,
    /// What was read and not yet understood.
    block: Vec<u8>,
    /// Holds the start of the next block while the last one is given away.
    rest: Vec<u8>,
    /// Bytes before `block` in the whole content.
    passed: u64,
    /// Of all bytes before `block`.
    checksum: Adler,
    /// The last bytes that were read.
    last: Vec<u8>,
    has_ended: bool,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(
        compression: Compression,
        file: impl Read + Send + 'a,
    ) -> Result<Self, SnapshotDefect> {
        let source = compression
            .reader(file)
            .map_err(|source| SnapshotDefect::Read {
                offset: 0,
                compression,
                source,
            })?;
        Ok(Self {
            source,
            compression,
            block: Vec::new(),
            rest: Vec::new(),
            passed: 0,
            checksum: Adler::default(),
            last: Vec::new(),
            has_ended: false,
        })
    }

    /// Reads the whole file. Pieces come before it is known that their seal
    /// matches; only a return without an error says that.
    pub(super) fn read(&mut self, take: &mut TakePiece<'_>) -> Result<SnapshotEnd, SnapshotDefect> {
        const NO_SNAPSHOT: &str = "it does not begin as a snapshot";
        let header: [u8; HEADER.len()] = self.bytes(NO_SNAPSHOT)?;
        if header[..MAGIC_BYTES] != HEADER[..MAGIC_BYTES] {
            return Err(self.damaged(0, NO_SNAPSHOT));
        }
        self.image(take)?;
        self.seal()?;
        let mut end = SnapshotEnd::default();
        self.fill(format::BOTH_PARTS_BYTES + 1)?;
        match self.block.len() {
            0 => {}
            format::ZXID_PART_BYTES => end.last_zxid = Some(self.last_zxid()?),
            format::DIGEST_PART_BYTES => end.digest = self.digest()?,
            format::BOTH_PARTS_BYTES => {
                end.digest = self.digest()?;
                end.last_zxid = Some(self.last_zxid()?);
            }
            more => {
                let what = format!("{more} bytes or more follow the image");
                return Err(self.damaged(self.passed, what));
            }
        }
        end.bytes = self.passed;
        Ok(end)
    }

    /// After a defect: does the file end as one that was written whole? The
    /// reference's quick test, which finds files that a crash cut short
    /// (`SnapStream.isValidSnapshot`).
    pub(super) fn ends_whole(&mut self) -> Result<bool, SnapshotDefect> {
        while !self.has_ended {
            self.passed += self.block.len() as u64;
            self.block.clear();
            self.read_block()?;
        }
        let bytes = self.passed + self.block.len() as u64;
        Ok(bytes >= BYTES_MIN && self.last == SEAL_END)
    }

    fn image(&mut self, take: &mut TakePiece<'_>) -> Result<(), SnapshotDefect> {
        let (mut scan, mut at) = (ImageScan::default(), 0);
        loop {
            let Err(DecodeError { offset, reason }) = scan.pass(&self.block, &mut at) else {
                return self.give(at, take);
            };
            let may_go_on = reason == Reason::Truncated
                && !self.has_ended
                && self.block.len() - at < RECORD_BYTES_MAX;
            let defect = self.damaged(self.passed + offset as u64, reason.to_string());
            self.give(at, take)?;
            at = 0;
            if !may_go_on {
                return Err(defect);
            }
            self.read_block()?;
        }
    }

    /// Gives the first bytes of the block away.
    fn give(&mut self, bytes: usize, take: &mut TakePiece<'_>) -> Result<(), SnapshotDefect> {
        if bytes == 0 {
            return Ok(());
        }
        self.rest.clear();
        self.rest.extend_from_slice(&self.block[bytes..]);
        self.block.truncate(bytes);
        self.checksum.write(&self.block);
        take(&mut self.block).map_err(|DecodeError { offset, reason }| {
            self.damaged(self.passed + offset as u64, reason.to_string())
        })?;
        self.passed += bytes as u64;
        self.block.clear();
        self.block.extend_from_slice(&self.rest);
        Ok(())
    }

    fn seal(&mut self) -> Result<(), SnapshotDefect> {
        let (start, want) = (self.passed, self.checksum.value());
        let seal: [u8; format::SEAL_BYTES] = self.bytes("a seal is cut off")?;
        let (value, end) = seal.split_at(8);
        if value != want.to_be_bytes() || end != SEAL_END {
            return Err(self.damaged(start, "a seal does not match"));
        }
        Ok(())
    }

    fn digest(&mut self) -> Result<Option<(Zxid, u64)>, SnapshotDefect> {
        const BYTES: usize = format::DIGEST_PART_BYTES - format::SEAL_BYTES;
        let digest = format::read_digest(&self.bytes::<BYTES>("a digest is cut off")?);
        self.seal()?;
        Ok(digest)
    }

    fn last_zxid(&mut self) -> Result<Zxid, SnapshotDefect> {
        let zxid = i64::from_be_bytes(self.bytes("a zxid is cut off")?);
        self.seal()?;
        Ok(Zxid(zxid))
    }

    fn bytes<const N: usize>(&mut self, cut_off: &str) -> Result<[u8; N], SnapshotDefect> {
        self.fill(N)?;
        let Some(bytes) = self.block.first_chunk().copied() else {
            return Err(self.damaged(self.passed, cut_off));
        };
        self.checksum.write(&bytes);
        self.passed += N as u64;
        self.block.drain(..N);
        Ok(bytes)
    }

    /// Gets this many bytes if the file has them.
    fn fill(&mut self, bytes: usize) -> Result<(), SnapshotDefect> {
        while self.block.len() < bytes && !self.has_ended {
            self.read_block()?;
        }
        Ok(())
    }

    /// Fills the block, or doubles it, so that a long record is tried a few
    /// times only.
    fn read_block(&mut self) -> Result<(), SnapshotDefect> {
        let have = self.block.len();
        let wanted = (2 * have).max(BLOCK_BYTES) - have;
        self.block.reserve_exact(wanted);
        let wanted = wanted as u64;
        let read = (&mut self.source)
            .take(wanted)
            .read_to_end(&mut self.block)
            .map_err(|source| SnapshotDefect::Read {
                offset: self.passed + self.block.len() as u64,
                compression: self.compression,
                source,
            })?;
        self.has_ended = (read as u64) < wanted;
        let new = &self.block[self.block.len() - read..];
        let kept = SEAL_END.len().saturating_sub(new.len());
        self.last.drain(..self.last.len().saturating_sub(kept));
        self.last
            .extend_from_slice(&new[new.len().saturating_sub(SEAL_END.len())..]);
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

/// Read at a time: small enough for a core's own cache.
pub(super) const BLOCK_BYTES: usize = 256 * 1024;
/// No record is longer: its lengths are positive ints. Some `jute.maxbuffer` may
/// have allowed any of them.
const RECORD_BYTES_MAX: usize = 1 << 31;
/// Smaller files are not looked at.
const BYTES_MIN: u64 = 10;

#[cfg(test)]
mod tests {
    use super::super::format::tests::file;
    use super::*;

    fn read(bytes: &[u8]) -> Result<SnapshotEnd, SnapshotDefect> {
        Pieces::new(Compression::None, bytes)?.read(&mut |_| Ok(()))
    }

    #[test]
    fn every_generation_is_read_and_every_other_length_refused() {
        let (whole, end) = file();
        assert_eq!(whole.len(), end + format::SEAL_BYTES + 54);
        let digest = Some((Zxid(7), 99));
        for cut in 0..=whole.len() {
            let mut pieces = Pieces::new(Compression::None, &whole[..cut]).unwrap();
            let got = pieces.read(&mut |_| Ok(()));
            let (want_digest, want_zxid) = match cut.checked_sub(end + format::SEAL_BYTES) {
                Some(0) => (None, None),
                Some(33) => (digest, None),
                Some(54) => (digest, Some(Zxid(7))),
                _ => {
                    got.expect_err("cut off");
                    let is_sealed = whole[..cut].ends_with(&SEAL_END) && cut >= 10;
                    assert_eq!(pieces.ends_whole().unwrap(), is_sealed, "{cut}");
                    continue;
                }
            };
            let want = SnapshotEnd {
                digest: want_digest,
                last_zxid: want_zxid,
                bytes: cut as u64,
            };
            assert_eq!(got.unwrap(), want);
        }
        let mut zxid_only = whole[..end + format::SEAL_BYTES].to_vec();
        zxid_only.extend(7_i64.to_be_bytes());
        let sum = crate::checksum::adler(&zxid_only);
        zxid_only.extend(sum.to_be_bytes());
        zxid_only.extend(SEAL_END);
        let got = read(&zxid_only).unwrap();
        assert_eq!((got.digest, got.last_zxid), (None, Some(Zxid(7))));
    }

    #[test]
    fn no_flipped_bit_is_overlooked() {
        let (whole, _) = file();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            read(&bytes).expect_err("a flipped bit");
        }
    }
}
