//! The value of a `server.N` line.

use zk_core::Member;

/// Reads `host:quorumPort:electionPort[:participant][;[clientHost:]clientPort]`.
/// The error says what is allowed.
pub(super) fn read(value: &str) -> Result<Member, String> {
    let (peer, client) = match value.split_once(';') {
        Some((peer, client)) => (peer.trim(), Some(client.trim())),
        None => (value.trim(), None),
    };
    if peer.contains('|') {
        return Err("must name one address; several joined by '|' are not supported".into());
    }
    let (host, rest) = host_and_rest(peer).ok_or_else(form)?;
    let mut parts = rest.split(':');
    let quorum_port = port(parts.next())?;
    let election_port = port(parts.next())?;
    if quorum_port == election_port {
        return Err("must have different ports for quorum and election".into());
    }
    match parts.next() {
        None => {}
        Some(role) if role.eq_ignore_ascii_case("participant") => {}
        Some(role) if role.eq_ignore_ascii_case("observer") => {
            return Err("must be a participant; observers are planned".into());
        }
        Some(role) => return Err(format!("has the role {role:?}; allowed is participant")),
    }
    if parts.next().is_some() {
        return Err(form());
    }
    let client = client.map(client_part).transpose()?;
    Ok(Member {
        host,
        quorum_port,
        election_port,
        client,
    })
}

/// Port of a member's client part.
pub(super) fn client_port(client: &str) -> Option<u16> {
    client.rsplit(':').next()?.parse().ok()
}

/// Host of a member's client part, without brackets.
pub(super) fn client_host(client: &str) -> Option<&str> {
    let (host, _) = client.rsplit_once(':')?;
    Some(host.trim_start_matches('[').trim_end_matches(']'))
}

fn client_part(text: &str) -> Result<String, String> {
    if text.contains(';') {
        return Err("must have one client address; a secure one is not supported yet".into());
    }
    if text.parse::<u16>().is_ok_and(|port| port > 0) {
        return Ok(text.to_owned());
    }
    let (host, rest) = host_and_rest(text).ok_or_else(form)?;
    let port = port(Some(rest))?;
    Ok(if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    })
}

/// The host without brackets, and what follows its colon.
fn host_and_rest(text: &str) -> Option<(String, &str)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, rest.strip_prefix(':')?)
        }
        None => text.split_once(':')?,
    };
    let is_host = !host.is_empty() && !host.contains(char::is_whitespace);
    is_host.then(|| (host.to_owned(), rest))
}

fn port(text: Option<&str>) -> Result<u16, String> {
    let text = text.ok_or_else(form)?;
    match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("has the port {text:?}; allowed is 1 to 65535")),
    }
}

fn form() -> String {
    "must be host:quorumPort:electionPort[:participant][;clientPort], \
     an IPv6 address in brackets"
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_forms() {
        for (text, host, quorum, election, client) in [
            ("h:1:2", "h", 1, 2, None),
            ("h:1:2:participant", "h", 1, 2, None),
            ("h:1:2;2181", "h", 1, 2, Some("2181")),
            (
                "h:1:2:PARTICIPANT;0.0.0.0:2181",
                "h",
                1,
                2,
                Some("0.0.0.0:2181"),
            ),
            ("[::1]:1:2;[::]:3", "::1", 1, 2, Some("[::]:3")),
        ] {
            let client = client.map(str::to_owned);
            let want = Member {
                host: host.into(),
                quorum_port: quorum,
                election_port: election,
                client,
            };
            assert_eq!(read(text).unwrap(), want, "{text}");
        }
        assert_eq!(client_port("[::]:3"), Some(3));
        assert_eq!(client_host("[::]:3"), Some("::"));
        assert_eq!(client_host("3"), None);
    }

    #[test]
    fn refused_forms() {
        for text in [
            "",
            "h",
            "h:1",
            "h:1:1",
            "h:0:1",
            "h:1:70000",
            "h:1:2:observer",
            "h:1:2:leader",
            "h:1:2:participant:x",
            "::1:1:2",
            "[nonsense]:1:2",
            "h:1:2;",
            "h:1:2;x",
            "h:1:2|i:1:2",
            "h:1:2;1;2",
        ] {
            read(text).expect_err(text);
        }
    }
}
