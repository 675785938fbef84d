//! First bytes on an election connection (reference: `QuorumCnxManager.InitialMessage`).
//!
//! | offset | field | type |
//! |---|---|---|
//! | 0 | protocol version, -65536 or -65535 | long |
//! | 8 | sid of the initiator | long |
//! | 16 | length n, 1 to 2048 | int |
//! | 20 | election address `host:port`, several joined by `\|` in the second version | n bytes |

use thiserror::Error;

use crate::Sid;
use crate::jute::Put;

/// The initiator's introduction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Who dials.
    pub sid: Sid,
    /// Where its election port is, as `host:port`; empty in the oldest form.
    pub addresses: Vec<String>,
}

/// Why an introduction is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HelloError {
    /// Neither a sid nor a known version.
    #[error("unknown protocol version {0}")]
    Version(i64),
    /// Length of the address part out of range.
    #[error("unreasonable address length {0}")]
    Length(i32),
    /// The address is not UTF-8.
    #[error("address is not text")]
    Text,
}

impl Hello {
    /// Longest address part.
    pub const ADDRESS_BYTES_MAX: usize = 2048;
    const VERSION_1: i64 = -65536;
    const VERSION_2: i64 = -65535;

    /// The whole message in the first version, to be sent with one write: the
    /// reference's acceptor reads the address with a single call.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let address = self.addresses.first().map_or("", String::as_str);
        let mut out = Vec::with_capacity(20 + address.len());
        out.put_i64(Self::VERSION_1);
        out.put_i64(self.sid.0);
        out.put_str(address);
        out
    }

    /// Reads from the front of `bytes`; `Ok(None)` asks for more bytes.
    /// Returns the message and its length in bytes.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, HelloError> {
        let Some(version) = long(bytes, 0) else {
            return Ok(None);
        };
        if version >= 0 {
            return Ok(Some((
                Self {
                    sid: Sid(version),
                    addresses: Vec::new(),
                },
                8,
            )));
        }
        if !matches!(version, Self::VERSION_1 | Self::VERSION_2) {
            return Err(HelloError::Version(version));
        }
        let (Some(sid), Some(length)) = (long(bytes, 8), bytes.get(16..20)) else {
            return Ok(None);
        };
        let length = i32::from_be_bytes([length[0], length[1], length[2], length[3]]);
        let n = usize::try_from(length)
            .ok()
            .filter(|n| (1..=Self::ADDRESS_BYTES_MAX).contains(n))
            .ok_or(HelloError::Length(length))?;
        let Some(text) = bytes.get(20..20 + n) else {
            return Ok(None);
        };
        let text = std::str::from_utf8(text).map_err(|_| HelloError::Text)?;
        let addresses = text.split('|').map(str::to_owned).collect();
        Ok(Some((
            Self {
                sid: Sid(sid),
                addresses,
            },
            20 + n,
        )))
    }
}

fn long(bytes: &[u8], at: usize) -> Option<i64> {
    let bytes = bytes.get(at..at + 8)?;
    Some(i64::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_example_reads_and_writes() {
        let hello = Hello {
            sid: Sid(3),
            addresses: vec!["h3:3888".into()],
        };
        let bytes = hello.encode();
        assert_eq!(
            bytes[..20],
            *b"\xff\xff\xff\xff\xff\xff\x00\x00\0\0\0\0\0\0\0\x03\0\0\0\x07"
        );
        assert_eq!(Hello::decode(&bytes).unwrap(), Some((hello, 27)));
        for cut in 0..bytes.len() {
            assert_eq!(Hello::decode(&bytes[..cut]).unwrap(), None, "{cut} bytes");
        }
        assert_eq!(Hello::decode(&[0xff; 16]), Err(HelloError::Version(-1)));
    }
}
