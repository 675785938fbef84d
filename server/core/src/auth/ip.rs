//! The scheme `ip`: the address of the client, and networks as an address with
//! an optional number of leading bits (reference: `IPAuthenticationProvider`).

use std::net::IpAddr;

/// As Java writes addresses: IPv6 in full, without leading zeros.
pub(super) fn text(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => address
            .segments()
            .map(|segment| format!("{segment:x}"))
            .join(":"),
    }
}

pub(super) fn is_valid(network: &str) -> bool {
    Network::parse(network).is_some()
}

/// The address that this text means, as [`text`] writes it or otherwise.
pub(super) fn address(text: &str) -> Option<Address> {
    Address::parse(text)
}

/// An address of 32 or 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    value: u128,
    bits: u32,
}

struct Network {
    address: Address,
    leading: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, leading) = match text.split_once('/') {
            Some((address, leading)) => (Address::parse(address)?, Some(leading)),
            None => (Address::parse(text)?, None),
        };
        let leading = match leading {
            Some(leading) => java_int(leading, 10)?.try_into().ok()?,
            None => address.bits,
        };
        (leading <= address.bits).then_some(Self { address, leading })
    }
}

impl Address {
    /// Is it within `network`? The two kinds of addresses never match each
    /// other.
    pub(super) fn is_in(self, network: &str) -> bool {
        Network::parse(network).is_some_and(|network| {
            self.bits == network.address.bits
                && (self.value ^ network.address.value)
                    .checked_shr(self.bits - network.leading)
                    .unwrap_or(0)
                    == 0
        })
    }

    fn parse(text: &str) -> Option<Self> {
        if text.contains(':') {
            v6(text).map(|value| Self { value, bits: 128 })
        } else {
            v4(text).map(|value| Self { value, bits: 32 })
        }
    }
}

fn v4(text: &str) -> Option<u128> {
    let mut parts = text.split('.');
    let mut value = 0;
    for _ in 0..4 {
        let part = u8::try_from(java_int(parts.next()?, 10)?).ok()?;
        value = value << 8 | u128::from(part);
    }
    parts.next().is_none().then_some(value)
}

fn v6(text: &str) -> Option<u128> {
    const SEGMENTS: usize = 8;
    let segments = |text: &str| -> Option<Vec<u16>> {
        if text.is_empty() {
            return Some(Vec::new());
        }
        text.split(':').map(segment).collect()
    };
    let (head, tail) = match text.split_once("::") {
        None => (segments(text)?, Vec::new()),
        Some((_, tail)) if tail.contains("::") => return None,
        Some((head, tail)) => (segments(head)?, segments(tail)?),
    };
    let given = head.len() + tail.len();
    let is_right = match text.contains("::") {
        true => given < SEGMENTS,
        false => given == SEGMENTS,
    };
    if !is_right {
        return None;
    }
    let zeros = std::iter::repeat_n(0, SEGMENTS - given);
    let all = head.into_iter().chain(zeros).chain(tail);
    Some(all.fold(0, |value, segment| value << 16 | u128::from(segment)))
}

/// At most four digits. A sign counts as one, and the low 16 bits of what
/// comes out are taken, as in the reference.
fn segment(text: &str) -> Option<u16> {
    if text.is_empty() || text.chars().count() > 4 {
        return None;
    }
    let [_, _, high, low] = java_int(text, 16)?.to_be_bytes();
    Some(u16::from_be_bytes([high, low]))
}

/// Java's `Integer.parseInt`, which takes a sign.
fn java_int(text: &str, radix: u32) -> Option<i32> {
    i32::from_str_radix(text, radix).ok()
}
