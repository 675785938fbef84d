//! Whose place is given up when strangers have taken all of them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// What one owner has: an address of IPv4, 2^64 addresses of IPv6.
pub(crate) fn owner(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            Ipv6Addr::from_bits(network).into()
        }
    }
}

/// Who of these, by number, gives up its place: the first one of the owner that
/// has most of them. So a crowd takes no place of others, wherever it stands in
/// line. Absent if there is nobody.
pub(crate) fn gives_way<T: Copy>(waiting: impl Iterator<Item = (T, IpAddr)>) -> Option<T> {
    let mut owners = HashMap::<IpAddr, (usize, usize, T)>::new();
    for (at, (who, owner)) in waiting.enumerate() {
        owners.entry(owner).or_insert((0, at, who)).0 += 1;
    }
    let crowd = owners
        .into_values()
        .max_by_key(|(count, at, _)| (*count, usize::MAX - at));
    crowd.map(|(_, _, who)| who)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_to_go(owners: &[&str]) -> Option<usize> {
        let owners = owners.iter().map(|it| owner(it.parse().unwrap()));
        gives_way(owners.enumerate())
    }

    #[test]
    fn the_oldest_of_the_largest_crowd_gives_way() {
        assert_eq!(first_to_go(&[]), None);
        assert_eq!(first_to_go(&["10.0.0.1", "10.0.0.2"]), Some(0));
        let crowd = ["10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.3"];
        assert_eq!(first_to_go(&crowd), Some(1));
        let networks = ["2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:1::2"];
        assert_eq!(first_to_go(&networks), Some(1));
        assert_eq!(first_to_go(&["1.2.3.4", "::1", "::ffff:1.2.3.4"]), Some(0));
    }
}
