//! Reading primitives out of a byte slice.

use std::borrow::Cow;

use thiserror::Error;

/// Why and where bytes could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{reason} at byte {offset}")]
pub struct DecodeError {
    /// Distance in bytes from the start of the record.
    pub offset: usize,
    /// What was wrong.
    pub reason: Reason,
}

/// The ways in which bytes can be malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Reason {
    /// The record goes on where the bytes end.
    #[error("record is cut off")]
    Truncated,
    /// A length is negative (other than -1) or beyond the limit.
    #[error("unreasonable length {0}")]
    Length(i32),
    /// A field holds a value that the format does not know.
    #[error("{what} has the unknown value {value}")]
    Value {
        /// Field name.
        what: &'static str,
        /// The value found.
        value: i64,
    },
    /// A field that may not be null is.
    #[error("{0} is null")]
    Null(&'static str),
}

/// A cursor over the bytes of one record.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// A cursor at the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// Bytes read so far.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// Bytes not read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.offset..]
    }

    /// An error at the current place.
    #[must_use]
    pub const fn error(&self, reason: Reason) -> DecodeError {
        DecodeError {
            offset: self.offset,
            reason,
        }
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let rest = self.rest();
        if rest.len() < n {
            return Err(self.error(Reason::Truncated));
        }
        self.offset += n;
        Ok(&rest[..n])
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take(1)?[0])
    }

    /// One byte; anything but zero is true.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.u8()? != 0)
    }

    /// Four bytes, big endian.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(self.take(4)?);
        Ok(i32::from_be_bytes(bytes))
    }

    /// Eight bytes, big endian.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.take(8)?);
        Ok(i64::from_be_bytes(bytes))
    }

    /// A length-prefixed buffer; `None` for the length -1.
    pub fn opt_buffer(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        let start = self.offset;
        let length = self.i32()?;
        match usize::try_from(length) {
            Ok(n) => Ok(Some(self.take(n)?)),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(DecodeError {
                offset: start,
                reason: Reason::Length(length),
            }),
        }
    }

    /// A buffer in which null counts as empty.
    pub fn buffer(&mut self) -> Result<&'a [u8], DecodeError> {
        Ok(self.opt_buffer()?.unwrap_or_default())
    }

    /// A string; invalid UTF-8 becomes U+FFFD as in the reference's reader.
    pub fn opt_str(&mut self) -> Result<Option<Cow<'a, str>>, DecodeError> {
        // The lossy way looks at each character even where all is well.
        Ok(self.opt_buffer()?.map(|bytes| match str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(bytes),
        }))
    }

    /// A string that may not be null.
    pub fn str(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        self.opt_str()?.ok_or(DecodeError {
            offset: self.offset,
            reason: Reason::Null("string"),
        })
    }

    /// The element count of a vector; null and other negative counts are zero.
    /// Bounded by the bytes left, given that each element takes at least
    /// `element_bytes_min` bytes.
    pub fn count(&mut self, element_bytes_min: usize) -> Result<usize, DecodeError> {
        let start = self.offset;
        let count = self.i32()?;
        let n = usize::try_from(count).unwrap_or(0);
        if n > self.rest().len() / element_bytes_min.max(1) {
            return Err(DecodeError {
                offset: start,
                reason: Reason::Length(count),
            });
        }
        Ok(n)
    }

    /// A vector of strings.
    pub fn strings(&mut self) -> Result<Vec<Cow<'a, str>>, DecodeError> {
        let n = self.count(4)?;
        (0..n).map(|_| self.str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_huge_length_is_refused_before_anything_is_allocated() {
        let mut reader = Reader::new(&[0x7f, 0xff, 0xff, 0xff, 1]);
        assert_eq!(
            reader.clone().buffer().unwrap_err().reason,
            Reason::Truncated
        );
        assert_eq!(
            reader.count(1).unwrap_err().reason,
            Reason::Length(i32::MAX)
        );
    }

    #[test]
    fn null_and_empty_differ() {
        let null = [0xff; 4];
        assert_eq!(Reader::new(&null).opt_buffer().unwrap(), None);
        assert_eq!(Reader::new(&[0; 4]).opt_buffer().unwrap(), Some(&[][..]));
        assert_eq!(
            Reader::new(&[0xff, 0xff, 0xff, 0xfe])
                .opt_buffer()
                .unwrap_err()
                .reason,
            Reason::Length(-2)
        );
    }
}
