//! May this connection do that? (reference: `ZooKeeperServer.checkACL`,
//! `IPAuthenticationProvider`)

use std::net::IpAddr;

use zk_proto::client::{Acl, Id};

/// Does any entry grant one of the `wanted` permissions to one of `ids`? An
/// empty list grants everything, and so does an id of the scheme `super`.
#[must_use]
pub fn check(acl: &[Acl], ids: &[Id], wanted: i32) -> bool {
    acl.is_empty()
        || acl
            .iter()
            .any(|entry| entry.perms & wanted != 0 && is_anyone(&entry.id))
        || ids.iter().any(|id| id.scheme == "super")
        || acl.iter().any(|entry| {
            entry.perms & wanted != 0
                && ids.iter().any(|id| {
                    id.scheme == entry.id.scheme && matches(&entry.id.scheme, &id.id, &entry.id.id)
                })
        })
}

fn is_anyone(id: &Id) -> bool {
    id.scheme == "world" && id.id == "anyone"
}

fn matches(scheme: &str, id: &str, granted_to: &str) -> bool {
    match scheme {
        // No provider has these names; `world:anyone` was seen to before.
        "world" | "auth" | "super" => false,
        "ip" => ip_matches(id, granted_to),
        _ => id == granted_to,
    }
}

/// Is the address within `network`, an address with an optional number of
/// leading bits? The two kinds of addresses never match each other.
fn ip_matches(address: &str, network: &str) -> bool {
    let (network, bits) = match network.split_once('/') {
        Some((network, bits)) => match bits.parse::<u32>() {
            Ok(bits) => (network, bits),
            Err(_) => return false,
        },
        None => (network, u32::MAX),
    };
    match (address.parse(), network.parse()) {
        (Ok(IpAddr::V4(address)), Ok(IpAddr::V4(network))) => {
            let ignored = 32_u32.saturating_sub(bits);
            (address.to_bits() ^ network.to_bits())
                .checked_shr(ignored)
                .unwrap_or(0)
                == 0
        }
        (Ok(IpAddr::V6(address)), Ok(IpAddr::V6(network))) => {
            let ignored = 128_u32.saturating_sub(bits);
            (address.to_bits() ^ network.to_bits())
                .checked_shr(ignored)
                .unwrap_or(0)
                == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zk_proto::client::perms;

    fn entry(perms: i32, scheme: &str, id: &str) -> Acl {
        Acl {
            perms,
            id: Id {
                scheme: scheme.into(),
                id: id.into(),
            },
        }
    }

    #[test]
    fn who_passes() {
        let ip = entry(0, "ip", "10.1.2.3").id;
        let bob = entry(0, "digest", "bob:x").id;
        let root = entry(0, "super", "").id;
        let read = perms::READ;
        for (acl, ids, wanted, want) in [
            (vec![], vec![], read, true),
            (vec![Acl::open()], vec![], perms::ADMIN, true),
            (
                vec![entry(1, "world", "anyone")],
                vec![],
                perms::WRITE,
                false,
            ),
            (
                vec![entry(31, "world", "somebody")],
                vec![entry(0, "world", "somebody").id],
                read,
                false,
            ),
            (
                vec![entry(31, "auth", "")],
                vec![entry(0, "auth", "").id],
                read,
                false,
            ),
            (
                vec![entry(2, "digest", "bob:x")],
                vec![bob.clone()],
                read,
                false,
            ),
            (
                vec![entry(3, "digest", "bob:x")],
                vec![ip.clone(), bob.clone()],
                read,
                true,
            ),
            (vec![entry(3, "digest", "bob:y")], vec![bob], read, false),
            (vec![entry(0, "digest", "bob:y")], vec![root], read, true),
            (
                vec![entry(1, "ip", "10.1.0.0/16")],
                vec![ip.clone()],
                read,
                true,
            ),
            (
                vec![entry(16, "ip", "10.1.0.0/16")],
                vec![ip],
                read | perms::ADMIN,
                true,
            ),
        ] {
            assert_eq!(check(&acl, &ids, wanted), want, "{acl:?} {ids:?} {wanted}");
        }
    }

    #[test]
    fn networks() {
        for (address, network, want) in [
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("10.1.2.3", "10.1.2.0/24", true),
            ("10.1.3.3", "10.1.2.0/24", false),
            ("10.1.2.3", "0.0.0.0/0", true),
            ("10.1.2.3", "10.1.2.3/x", false),
            ("10.1.2.3", "10.1.2.3/-1", false),
            ("10.1.2.3", "::ffff:0a01:0203", false),
            ("::1", "0:0:0:0:0:0:0:1", true),
            ("fd00::1:5", "fd00::1:0/112", true),
            ("fd00::2:5", "fd00::1:0/112", false),
            ("fd00::2:5", "::/0", true),
            ("nonsense", "nonsense", false),
        ] {
            assert_eq!(ip_matches(address, network), want, "{address} {network}");
        }
    }
}
