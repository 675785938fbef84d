//! What the stored `ephemeralOwner` of a znode means (reference:
//! `EphemeralType`).

use zk_proto::SessionId;

/// What makes a znode go away by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Nothing.
    Persistent,
    /// The end of this session.
    Session(SessionId),
    /// The deletion of its last child.
    Container,
    /// Time without children or new data, in ms; at most 40 bits.
    Ttl(i64),
}

impl Owner {
    /// The longest time to live in ms.
    pub const TTL_MS_MAX: i64 = TTL_VALUE_MASK;

    /// The meaning of a stored value.
    #[must_use]
    pub const fn from_stored(stored: i64) -> Self {
        match stored {
            0 => Self::Persistent,
            i64::MIN => Self::Container,
            _ if stored & !TTL_VALUE_MASK == TTL_MARK => Self::Ttl(stored & TTL_VALUE_MASK),
            _ => Self::Session(SessionId(stored)),
        }
    }

    /// The value to store. Of a time to live beyond 40 bits only those are
    /// kept; a leader refuses such a request.
    #[must_use]
    pub const fn stored(self) -> i64 {
        match self {
            Self::Persistent => 0,
            Self::Session(session) => session.0,
            Self::Container => i64::MIN,
            Self::Ttl(ms) => TTL_MARK | (ms & TTL_VALUE_MASK),
        }
    }
}

/// High byte set, two bytes of zeros.
const TTL_MARK: i64 = 0xff_u64.cast_signed() << 56;
const TTL_VALUE_MASK: i64 = 0xff_ffff_ffff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_values_are_those_of_the_reference() {
        for (owner, stored) in [
            (Owner::Persistent, 0),
            (
                Owner::Session(SessionId(0x0100_0abc_0000_0001)),
                0x0100_0abc_0000_0001,
            ),
            (Owner::Container, 0x8000_0000_0000_0000_u64.cast_signed()),
            (Owner::Ttl(10_000), 0xff00_0000_0000_2710_u64.cast_signed()),
            (
                Owner::Ttl(TTL_VALUE_MASK),
                0xff00_00ff_ffff_ffff_u64.cast_signed(),
            ),
            (Owner::Session(SessionId(-2)), -2),
        ] {
            assert_eq!(owner.stored(), stored);
            assert_eq!(Owner::from_stored(stored), owner);
        }
    }
}
