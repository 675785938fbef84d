//! The stream format of snappy-java, which the reference uses for snapshots
//! (`SnappyOutputStream`, `SnappyInputStream`). It is not the framing format
//! of the snappy project.
//!
//! | part | size | layout |
//! |---|---|---|
//! | magic | 8 | 0x82 "SNAPPY" 0x00 |
//! | version | 4 | int 1 |
//! | oldest version that can read it | 4 | int 1 |
//! | blocks | | int n, then n bytes in snappy's raw format |
//!
//! Streams may be joined: the 16 bytes of a header may stand between blocks.

use std::io::{self, Read, Write};

use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

/// First bytes of a stream.
const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
const VERSIONS: [u8; 8] = *b"\0\0\0\x01\0\0\0\x01";
/// The first half of the magic, where the length of a block could stand.
const MAGIC_AS_LENGTH: [u8; 4] = [MAGIC[0], MAGIC[1], MAGIC[2], MAGIC[3]];
/// Bytes in a block before compression, as `SnappyOutputStream` has them.
const BLOCK_BYTES: usize = 32 * 1024;
/// Longer blocks are not read; snappy-java makes none (`MAX_BLOCK_SIZE`).
const BLOCK_BYTES_MAX: usize = 512 * 1024 * 1024;
/// No raw block holds more than this many times its length: three bytes stand
/// for at most 64.
const EXPANSION_MAX: usize = 64;

/// Reads a stream.
pub(super) struct SnappyReader<R> {
    inner: R,
    block: Vec<u8>,
    compressed: Vec<u8>,
    /// Up to where `block` was given out.
    given: usize,
}

impl<R: Read> SnappyReader<R> {
    /// Reads the header.
    pub(super) fn new(mut inner: R) -> io::Result<Self> {
        let mut header = [0; 16];
        inner.read_exact(&mut header)?;
        if header[..8] != MAGIC {
            return Err(invalid("it does not begin as a snappy stream"));
        }
        Ok(Self {
            inner,
            block: Vec::new(),
            compressed: Vec::new(),
            given: 0,
        })
    }

    /// Makes the next block the current one; false at the end of the stream.
    fn next_block(&mut self) -> io::Result<bool> {
        let mut length = [0; 4];
        loop {
            let first = self.inner.read(&mut length[..1])?;
            if first == 0 {
                return Ok(false);
            }
            self.inner.read_exact(&mut length[1..])?;
            if length != MAGIC_AS_LENGTH {
                break;
            }
            self.inner.read_exact(&mut [0; 12])?;
        }
        let compressed = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if compressed > BLOCK_BYTES_MAX {
            return Err(invalid("a block is too long"));
        }
        self.compressed.clear();
        // Grows with what is there, not with what the length claims.
        let read = (&mut self.inner)
            .take(compressed as u64)
            .read_to_end(&mut self.compressed)?;
        if read < compressed {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = decompress_len(&self.compressed).map_err(invalid)?;
        if length > BLOCK_BYTES_MAX.min(compressed.saturating_mul(EXPANSION_MAX)) {
            return Err(invalid("a block claims an impossible length"));
        }
        self.block.resize(length, 0);
        let written = Decoder::new()
            .decompress(&self.compressed, &mut self.block)
            .map_err(invalid)?;
        self.block.truncate(written);
        self.given = 0;
        Ok(true)
    }
}

impl<R: Read> Read for SnappyReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        while self.given == self.block.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let rest = &self.block[self.given..];
        let n = rest.len().min(out.len());
        out[..n].copy_from_slice(&rest[..n]);
        self.given += n;
        Ok(n)
    }
}

/// Writes a stream. Call [`Self::finish`] at its end.
#[derive(Debug)]
pub(super) struct SnappyWriter<W> {
    inner: W,
    block: Vec<u8>,
    compressed: Vec<u8>,
}

impl<W: Write> SnappyWriter<W> {
    pub(super) fn new(mut inner: W) -> io::Result<Self> {
        inner.write_all(&MAGIC)?;
        inner.write_all(&VERSIONS)?;
        Ok(Self {
            inner,
            block: Vec::with_capacity(BLOCK_BYTES),
            compressed: vec![0; max_compress_len(BLOCK_BYTES)],
        })
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        self.write_block()?;
        Ok(self.inner)
    }

    fn write_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let compressed = Encoder::new().compress(&self.block, &mut self.compressed);
        let compressed = compressed.map_err(invalid)?;
        self.block.clear();
        self.inner.write_all(&(compressed as u32).to_be_bytes())?;
        self.inner.write_all(&self.compressed[..compressed])
    }
}

impl<W: Write> Write for SnappyWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(BLOCK_BYTES - self.block.len());
        self.block.extend_from_slice(&bytes[..n]);
        if self.block.len() == BLOCK_BYTES {
            self.write_block()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(content: &[u8]) -> Vec<u8> {
        let mut writer = SnappyWriter::new(Vec::new()).unwrap();
        writer.write_all(content).unwrap();
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        SnappyReader::new(bytes)?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn what_was_written_is_read_and_streams_may_be_joined() {
        let content: Vec<u8> = (0..100_000_u32)
            .flat_map(|n| (n / 7).to_be_bytes())
            .collect();
        let mut bytes = stream(&content);
        assert!(bytes.len() < content.len() * 3 / 4, "{}", bytes.len());
        assert_eq!(read(&bytes).unwrap(), content);
        bytes.extend(stream(b"more"));
        assert_eq!(read(&bytes).unwrap(), [&content[..], b"more"].concat());
        assert_eq!(read(&stream(b"")).unwrap(), b"");
    }

    #[test]
    fn a_stream_that_is_cut_ends_at_a_block_or_is_an_error() {
        let content = vec![7; 3 * BLOCK_BYTES];
        let whole = stream(&content);
        for cut in 0..whole.len() {
            if let Ok(read) = read(&whole[..cut]) {
                assert!(read.len().is_multiple_of(BLOCK_BYTES) && read.len() < content.len());
            }
        }
    }

    #[test]
    fn no_length_is_believed_before_the_bytes_are_there() {
        for length in [i32::MAX, -1, BLOCK_BYTES_MAX as i32] {
            let mut bytes = stream(b"");
            bytes.extend(length.to_be_bytes());
            bytes.extend([1; 50]);
            read(&bytes).unwrap_err();
        }
        // A raw block that claims 2^32 - 1 bytes.
        let mut bytes = stream(b"");
        bytes.extend(*b"\0\0\0\x06\xff\xff\xff\xff\x0f\0");
        read(&bytes).unwrap_err();
    }
}
