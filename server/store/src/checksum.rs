//! The Adler-32 that seals logs and snapshots.

use std::fmt;

/// Adler-32 of bytes that come piece by piece.
#[derive(Clone, Default)]
pub(crate) struct Adler(simd_adler32::Adler32);

impl Adler {
    /// Goes on with these bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// Of all bytes so far, as files hold it.
    pub(crate) fn value(&self) -> i64 {
        self.0.finish().into()
    }
}

impl fmt::Debug for Adler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Adler").field(&self.value()).finish()
    }
}

/// Adler-32 of all these bytes, as files hold it.
pub(crate) fn adler(bytes: &[u8]) -> i64 {
    simd_adler32::adler32(&bytes).into()
}
