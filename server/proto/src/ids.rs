//! Numbers that must not mix.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);
    };
}

number! {
    /// Transaction id: epoch in the high 32 bits, counter in the low 32.
    Zxid(i64)
}
number! {
    /// Number of a leader's reign; the high half of its zxids.
    Epoch(i64)
}
number! {
    /// Logical clock of an election.
    Round(i64)
}
number! {
    /// Server id, the `N` of `server.N`.
    Sid(i64)
}
number! {
    /// Client session id.
    SessionId(i64)
}
number! {
    /// Client request number within a connection.
    Xid(i32)
}

impl Zxid {
    /// No transaction at all.
    pub const ZERO: Self = Self(0);

    /// The zxid with this epoch and counter.
    #[must_use]
    pub const fn new(epoch: Epoch, counter: u32) -> Self {
        Self((epoch.0 << 32) | counter as i64)
    }

    /// High half, sign extended as in the reference (`ZxidUtils`).
    #[must_use]
    pub const fn epoch(self) -> Epoch {
        Epoch(self.0 >> 32)
    }

    /// Low half.
    #[must_use]
    pub const fn counter(self) -> u32 {
        (self.0 & 0xffff_ffff) as u32
    }

    /// The following zxid of the same epoch.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zxid_splits_into_epoch_and_counter() {
        let zxid = Zxid::new(Epoch(3), 7);
        assert_eq!(zxid.0, 0x3_0000_0007);
        assert_eq!((zxid.epoch(), zxid.counter()), (Epoch(3), 7));
        assert_eq!(zxid.to_string(), "0x300000007");
    }
}
