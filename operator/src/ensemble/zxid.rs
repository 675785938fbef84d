//! Transaction ids as servers print them.

use std::fmt;
use std::str::FromStr;

/// A zxid: the epoch in the high 32 bits, a counter in the low 32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Zxid(pub u64);

impl Zxid {
    /// Puts a zxid together.
    pub fn new(epoch: u32, counter: u32) -> Self {
        Self(u64::from(epoch) << 32 | u64::from(counter))
    }

    /// Epoch of the leader that proposed it.
    pub fn epoch(self) -> u32 {
        u32::try_from(self.0 >> 32).expect("a u64 shifted by 32 bits fits a u32")
    }

    /// Number of the proposal within its epoch.
    pub fn counter(self) -> u32 {
        u32::try_from(self.0 & u64::from(u32::MAX)).expect("masked to 32 bits")
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Text that is no zxid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a zxid: {0:?}")]
pub struct ParseZxidError(String);

impl FromStr for Zxid {
    type Err = ParseZxidError;

    /// Reads `0x` and hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_prefix("0x")
            .filter(|digits| digits.chars().all(|c| c.is_ascii_hexdigit()))
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .map(Self)
            .ok_or_else(|| ParseZxidError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_text_agree() {
        let zxid: Zxid = "0x500000012".parse().unwrap();
        assert_eq!((zxid.epoch(), zxid.counter()), (5, 0x12));
        assert_eq!(zxid, Zxid::new(5, 0x12));
        assert_eq!(zxid.to_string(), "0x500000012");
        assert_eq!("0xffffffffffffffff".parse(), Ok(Zxid(u64::MAX)));
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "0x", "12", "0x+1", "0x10000000000000000", "0xg", "-0x1"] {
            assert!(text.parse::<Zxid>().is_err(), "{text:?}");
        }
    }
}
