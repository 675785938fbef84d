use super::*;
use zk_proto::client::perms;

fn id(scheme: &str, id: &str) -> Id {
    new_id(scheme, id.to_owned())
}

fn entry(perms: i32, scheme: &str, text: &str) -> Acl {
    Acl {
        perms,
        id: id(scheme, text),
    }
}

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3));
/// From the reference server's own `generateDigest`.
const BOB: &str = "bob:0ezhUayTjEymfNB3K9C0+wkMLMo=";
const SUPER_TEST: &str = "super:D/InIHSb7yEEbrWz8b9l71RjZJU=";

#[test]
fn digest_takes_any_text() {
    let auth = AuthConfig::default();
    let prove = |payload: &[u8]| auth.authenticate("digest", Some(payload), HERE).unwrap();
    assert_eq!(prove(b"bob:bobpw"), [id("digest", BOB)]);
    assert_eq!(prove(b"super:test"), [id("digest", SUPER_TEST)]);
    // The hash is over all, the user ends at the first colon.
    let more = prove(b"bob:bobpw:more")[0].id.clone();
    assert!(more.starts_with("bob:") && more != BOB);
    assert!(prove(b"nobody")[0].id.starts_with("nobody:"));
    assert!(prove(b"")[0].id.starts_with(':'));
    assert_eq!(prove(b"\xff:x"), prove("\u{fffd}:x".as_bytes()));
}

#[test]
fn what_fails() {
    let auth = AuthConfig::default();
    let without = AuthConfig {
        digest_enabled: false,
        ..AuthConfig::default()
    };
    for (auth, scheme, payload) in [
        (&auth, "digest", None),
        (&auth, "world", Some(&b"anyone"[..])),
        (&auth, "auth", Some(b"")),
        (&auth, "super", Some(b"")),
        (&auth, "sasl", Some(b"")),
        (&auth, "", Some(b"")),
        (&without, "digest", Some(b"bob:bobpw")),
    ] {
        let got = auth.authenticate(scheme, payload, HERE);
        assert_eq!(got, Err(AuthFailed), "{scheme}");
    }
    assert_eq!(
        auth.authenticate("ip", None, HERE),
        Ok(vec![id("ip", "10.1.2.3")])
    );
}

#[test]
fn the_super_digest_proves_two_ids() {
    let auth = AuthConfig {
        super_digest: Some(SUPER_TEST.into()),
        ..AuthConfig::default()
    };
    let got = auth.authenticate("digest", Some(b"super:test"), HERE);
    assert_eq!(got, Ok(vec![id("super", ""), id("digest", SUPER_TEST)]));
    let got = auth.authenticate("digest", Some(b"super:guess"), HERE);
    assert_eq!(got.unwrap().len(), 1);
}

#[test]
fn algorithms_by_their_java_names() {
    for (name, bytes) in [
        ("sha1", 20),
        ("SHA-224", 28),
        ("SHA-256", 32),
        ("SHA-384", 48),
        ("SHA-512", 64),
        ("SHA3-224", 28),
        ("SHA3-256", 32),
        ("SHA3-384", 48),
        ("SHA3-512", 64),
    ] {
        let hash = name.parse::<DigestAlg>().unwrap().id(b"u:p");
        let base64_chars = usize::div_ceil(bytes, 3) * 4;
        assert_eq!(hash.len(), "u:".len() + base64_chars, "{name}");
    }
    // echo -n bob:bobpw | openssl sha256 -binary | base64
    assert_eq!(
        DigestAlg::Sha256.id(b"bob:bobpw"),
        "bob:pzbtNYeY7mdMZ7Gn/sNAEDxJx2/LBGEuppu5aWLKRmg="
    );
    assert_eq!(
        DigestAlg::Sha3_256.id(b"bob:bobpw"),
        "bob:IAVyFiYSlqX2CzgkImtwkLlLMeE4HMy633hNmW1AQjw="
    );
    let error = "MD4".parse::<DigestAlg>().unwrap_err().to_string();
    assert!(error.starts_with("MD4 is not one of SHA1"), "{error}");
}

#[test]
fn who_passes() {
    let auth = AuthConfig::default();
    let ip = id("ip", "10.1.2.3");
    let bob = id("digest", "bob:x");
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
            vec![entry(31, "world", "me")],
            vec![id("world", "me")],
            read,
            false,
        ),
        (
            vec![entry(31, "auth", "")],
            vec![id("auth", "")],
            read,
            false,
        ),
        (
            vec![entry(31, "x509", "me")],
            vec![id("x509", "me")],
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
        (
            vec![entry(0, "digest", "bob:y")],
            vec![id("super", "")],
            read,
            true,
        ),
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
        let got = auth.allows(&acl, &ids, wanted);
        assert_eq!(got, want, "{acl:?} {ids:?} {wanted}");
    }
    let skip = AuthConfig {
        skip_acl: true,
        ..AuthConfig::default()
    };
    assert!(skip.allows(&[entry(0, "digest", "bob:y")], &[], perms::ALL));
}

#[test]
fn networks() {
    let full = "fe80:0:0:0:0:0:0:1";
    for (address, network, want) in [
        ("10.1.2.3", "10.1.2.3", true),
        ("10.1.2.3", "10.1.2.4", false),
        ("10.1.2.3", "10.1.0.0/16", true),
        ("10.1.2.3", "10.2.0.0/16", false),
        ("10.1.2.3", "10.1.2.3/32", true),
        ("10.1.2.3", "10.1.2.2/31", true),
        ("10.1.2.3", "9.9.9.9/0", true),
        ("10.1.2.3", "10.1.2.3/33", false),
        ("10.1.2.3", "10.1.2.3/-1", false),
        ("10.1.2.3", "10.1.2.3/x", false),
        ("10.1.2.3", "10.1.2.3/", false),
        ("10.1.2.3", "10.1.2.3/8/8", false),
        ("10.1.2.3", "010.+1.2.3", true),
        ("10.1.2.3", "10.1.2", false),
        ("10.1.2.3", "10.1.2.3.4", false),
        ("10.1.2.3", "10.1.2.256", false),
        (full, "fe80::/10", true),
        (full, "fe80::1", true),
        (full, "FE80:0::0:1", true),
        (full, "fe81::1", false),
        (full, "::/0", true),
        (full, "fe80::1/128", true),
        (full, "fe80::2/127", false),
        (full, "fe80::0/127", true),
        (full, "0.0.0.0/0", false),
        ("10.1.2.3", "::/0", false),
        ("10.1.2.3", "::ffff:10.1.2.3", false),
    ] {
        let is_in = ip::address(address).is_some_and(|it| it.is_in(network));
        assert_eq!(is_in, want, "{address} {network}");
    }
}

#[test]
fn what_an_entry_may_name() {
    let auth = AuthConfig::default();
    for (scheme, text, want) in [
        ("digest", "bob:hash", true),
        ("digest", ":hash", true),
        ("digest", "bob:hash:", true),
        ("digest", "bob:", false),
        ("digest", "bob", false),
        ("digest", "", false),
        ("digest", ":", false),
        ("digest", "a:b:c", false),
        ("ip", "10.0.0.1", true),
        ("ip", "10.0.0.1/8", true),
        ("ip", "10.0.0.1/33", false),
        ("ip", "10.0.0", false),
        ("ip", "host", false),
        ("ip", "", false),
        ("ip", "/8", false),
        ("ip", "1:2:3:4:5:6:7:8", true),
        ("ip", "1:2:3:4:5:6:7:8/129", false),
        ("ip", "1:2:3:4:5:6:7", false),
        ("ip", "1:2:3:4:5:6:7::", true),
        ("ip", "1:2:3:4:5:6:7::8", false),
        ("ip", "1::2::3", false),
        ("ip", ":::1", false),
        ("ip", "::", true),
        ("ip", "::12345", false),
        ("ip", "::-1", true),
        ("ip", "::g", false),
        ("ip", "fe80::1%eth0", false),
        ("world", "anyone", false),
        ("auth", "", false),
        ("super", "", false),
        ("x509", "CN=me", false),
    ] {
        assert_eq!(auth.is_valid(&id(scheme, text)), want, "{scheme}:{text}");
    }
    assert!(auth.is_authenticated("digest"));
    assert!(!auth.is_authenticated("ip"));
    assert!(!auth.is_authenticated("super"));
}

#[test]
fn addresses_as_java_writes_them() {
    for (address, want) in [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "0:0:0:0:0:0:0:1"),
        ("2001:db8::ff00:42:8329", "2001:db8:0:0:0:ff00:42:8329"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
    ] {
        assert_eq!(AuthConfig::ip_id(address.parse().unwrap()), id("ip", want));
    }
}

#[test]
fn a_connection_may_need_a_scheme() {
    let ids = |scheme: &str| vec![id("ip", "10.1.2.3"), id(scheme, "bob:x")];
    let enforce = |schemes: &[&str]| AuthConfig {
        enforce_auth_enabled: true,
        enforce_auth_schemes: schemes.iter().map(|s| s.to_string()).collect(),
        ..AuthConfig::default()
    };
    assert!(AuthConfig::default().admits(&[]));
    assert!(enforce(&["digest"]).admits(&ids("digest")));
    assert!(enforce(&["sasl", "digest"]).admits(&ids("digest")));
    assert!(!enforce(&["digest"]).admits(&ids("super")));
    assert_eq!(enforce(&["digest"]).check(), Ok(()));
    assert_eq!(enforce(&[]).check(), Err(AuthConfigError::NoSchemes));
    let sasl = AuthConfig {
        session_require_client_sasl_auth: true,
        ..enforce(&["digest"])
    };
    assert!(!sasl.admits(&ids("digest")));
    assert_eq!(
        sasl.check(),
        Err(AuthConfigError::NotAvailable("sasl".into()))
    );
    let off = AuthConfig {
        enforce_auth_enabled: false,
        ..enforce(&["nonsense"])
    };
    assert!(off.admits(&[]));
    assert_eq!(off.check(), Ok(()));
}

#[test]
fn how_ids_are_shown() {
    let auth = AuthConfig::default();
    for (whole, user, hidden) in [
        (id("digest", BOB), "bob", "bob:x"),
        (id("digest", ":hash"), "", ":x"),
        (id("digest", "a:b\nc:d\n"), "a", "a:x\nc:x\n"),
        (id("digest", "plain"), "plain", "plain"),
        (
            id("ip", "0:0:0:0:0:0:0:1"),
            "0:0:0:0:0:0:0:1",
            "0:0:0:0:0:0:0:1",
        ),
        (id("super", ""), "", ""),
        (id("x509", "CN=a:b"), "", "CN=a:b"),
    ] {
        assert_eq!(auth.user_name(&whole), user);
        assert_eq!(redacted(&whole).id, hidden);
    }
}

/// A connection with many ids is judged as one with few.
#[test]
fn many_ids_are_compared_like_few() {
    let auth = AuthConfig::default();
    let entry = |perms, scheme: &str, id: &str| Acl {
        perms,
        id: new_id(scheme, id.to_owned()),
    };
    let list = [
        entry(1, "ip", "10.0.0.0/8"),
        entry(2, "digest", "bob:hash"),
        entry(4, "sasl", "bob"),
    ];
    let mut ids = vec![
        new_id("ip", "10.1.2.3".to_owned()),
        new_id("digest", "bob:hash".to_owned()),
        new_id("sasl", "bob".to_owned()),
    ];
    let mut list = list.to_vec();
    for more in [0, FEW, 2 * FEW] {
        ids.extend((0..more).map(|n| new_id("digest", format!("user{n}:hash"))));
        list.extend((0..more).map(|n| entry(8, "digest", &format!("other{n}:hash"))));
        let allows = |perms| auth.allows(&list, &ids, perms);
        assert_eq!([1, 2, 4, 8].map(allows), [true, true, false, false]);
        let others = &ids[3..];
        assert!(!auth.allows(&list, others, 31), "{more}");
    }
    let costs = [1, FEW, 10 * FEW]
        .map(|ids_len| AuthConfig::cost(&list[..2], &vec![ids[0].clone(); ids_len]));
    assert_eq!(costs, [2, 4, 22]);
}

#[test]
fn ids_are_a_bounded_set() {
    let mut ids = vec![AuthConfig::ip_id(HERE)];
    assert!(add_id(&mut ids, id("digest", "a:b")));
    assert!(add_id(&mut ids, id("digest", "a:b")));
    assert_eq!(ids.len(), 2);
    for n in 2..IDS_PER_CONNECTION_MAX {
        assert!(add_id(&mut ids, id("digest", &format!("{n}:x"))));
    }
    assert!(!add_id(&mut ids, id("digest", "one:more")));
    assert!(add_id(&mut ids, id("digest", "a:b")), "it is there");
    assert_eq!(ids.len(), IDS_PER_CONNECTION_MAX);
}
