//! How snapshot files are compressed (reference: `SnapStream`, 3.6 and later).

use std::io::{self, Read, Write};

use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::snappy::{SnappyReader, SnappyWriter};

/// How snapshot files are compressed: `snapshot.compression.method`. Reading
/// goes by the file's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compression {
    /// Not at all; the name ends with the zxid.
    #[default]
    None,
    /// gzip; `.gz`.
    Gzip,
    /// The stream format of snappy-java; `.snappy`.
    Snappy,
}

impl Compression {
    /// The value of `snapshot.compression.method`: "", "gz" or "snappy".
    #[must_use]
    pub fn from_method(method: &str) -> Option<Self> {
        [Self::None, Self::Gzip, Self::Snappy]
            .into_iter()
            .find(|compression| compression.method() == method)
    }

    /// The other way round.
    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => "gz",
            Self::Snappy => "snappy",
        }
    }

    /// What the bytes of a file stand for, piece by piece.
    pub(super) fn reader<'a>(
        self,
        file: impl Read + Send + 'a,
    ) -> io::Result<Box<dyn Read + Send + 'a>> {
        Ok(match self {
            Self::None => Box::new(file),
            Self::Gzip => Box::new(GzDecoder::new(file)),
            Self::Snappy => Box::new(SnappyReader::new(file)?),
        })
    }
}

/// Compresses what is written to it. Call [`Self::finish`] at the end.
#[derive(Debug)]
pub(super) enum Encoder<W: Write> {
    None(W),
    Gzip(GzEncoder<W>),
    Snappy(SnappyWriter<W>),
}

impl<W: Write> Encoder<W> {
    pub(super) fn new(compression: Compression, file: W) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::None(file),
            Compression::Gzip => Self::Gzip(GzEncoder::new(file, flate2::Compression::default())),
            Compression::Snappy => Self::Snappy(SnappyWriter::new(file)?),
        })
    }

    pub(super) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::None(file) => file.write_all(bytes),
            Self::Gzip(encoder) => encoder.write_all(bytes),
            Self::Snappy(encoder) => encoder.write_all(bytes),
        }
    }

    pub(super) fn finish(self) -> io::Result<W> {
        match self {
            Self::None(file) => Ok(file),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Snappy(encoder) => encoder.finish(),
        }
    }
}
