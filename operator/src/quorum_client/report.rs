//! Reading the answers of the admin port, as `SrvrCommand` and `MonitorCommand` of Apache ZooKeeper 3.9.4 write them.

use serde_json::Value;

use super::AskError;
use super::picked::Picked;
use crate::ensemble::{Role, Zxid};

/// Role and last zxid from the answer to `server_stats`.
pub(super) fn parse_server_stats(body: &[u8]) -> Result<(Role, Zxid), AskError> {
    let malformed = |field| AskError::Malformed {
        command: "server_stats",
        field,
    };
    let answer: Value = serde_json::from_slice(body).map_err(|_error| malformed("JSON"))?;
    if answer["error"] == NOT_SERVING {
        return Ok((Role::Looking, Zxid::default()));
    }
    let stats = &answer["server_stats"];
    let role = stats["server_state"]
        .as_str()
        .and_then(role)
        .ok_or_else(|| malformed("server_state"))?;
    // Java's long: an epoch above 2^31 makes it negative.
    let zxid = stats["last_processed_zxid"]
        .as_i64()
        .ok_or_else(|| malformed("last_processed_zxid"))?;
    Ok((role, Zxid(zxid.cast_unsigned())))
}

/// What the answer to `monitor` adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Monitor {
    /// Followers that are synchronized with a leader; absent for other roles.
    pub(super) synced_followers: Option<usize>,
    /// Transactions after which the tree differed from the leader's; 0 if the server does not count them.
    pub(super) digest_mismatches: u64,
}

/// Fields of the answer to `monitor` that matter of a server with this role.
pub(super) fn monitor_fields(role: Role) -> &'static [&'static str] {
    match role {
        Role::Leader => &["digest_mismatches_count", "synced_followers"],
        Role::Follower | Role::Standalone | Role::Looking => &["digest_mismatches_count"],
    }
}

/// Reads [`monitor_fields`] of the answer of a server with this role to `monitor`.
pub(super) fn read_monitor(picked: Picked, role: Role) -> Result<Monitor, AskError> {
    let malformed = |field| AskError::Malformed {
        command: "monitor",
        field,
    };
    let answer = picked.fields().ok_or_else(|| malformed("JSON"))?;
    let synced_followers = match role {
        Role::Leader => {
            let count = whole_number(&answer["synced_followers"]);
            Some(
                count
                    .and_then(|count| usize::try_from(count).ok())
                    .ok_or_else(|| malformed("synced_followers"))?,
            )
        }
        Role::Follower | Role::Standalone | Role::Looking => None,
    };
    Ok(Monitor {
        synced_followers,
        digest_mismatches: whole_number(&answer["digest_mismatches_count"]).unwrap_or(0),
    })
}

/// What a server that does not serve says of itself at `/ready`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// Why it keeps itself out of the ensemble, if it does.
    pub(super) problem: Option<String>,
    /// Servers without a connection, such as "zk-1:3888 (connection refused)".
    pub(super) unreachable: Vec<String>,
}

/// Reads what it can: these are words for people.
pub(super) fn parse_ready(body: &[u8]) -> Words {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let servers = answer["unreachable"].as_object();
    let servers = servers.into_iter().flat_map(|servers| servers.values());
    Words {
        problem: answer["problem"].as_str().map(str::to_owned),
        unreachable: servers
            .filter_map(|text| Some(unreachable(text.as_str()?)))
            .collect(),
    }
}

/// The name of a pod is enough for people, who know the rest of its host name.
fn unreachable(text: &str) -> String {
    let parts = text.split_once(": ").and_then(|(address, why)| {
        let (host, port) = address.rsplit_once(':')?;
        Some((host.split('.').next()?, port, why))
    });
    match parts {
        Some((pod, port, why)) => format!("{pod}:{port} ({})", without_duration(why)),
        None => text.to_owned(),
    }
}

/// The text without its end " for 8 s", which would make it another text at every look.
fn without_duration(why: &str) -> &str {
    let Some((rest, duration)) = why.rsplit_once(" for ") else {
        return why;
    };
    match duration.strip_suffix(" s") {
        Some(seconds) if seconds.chars().all(|c| c.is_ascii_digit()) => rest,
        Some(_) | None => why,
    }
}

/// A whole number, but a server with the Prometheus provider prints every gauge with a decimal point: `2.0`.
fn whole_number(value: &Value) -> Option<u64> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    text.strip_suffix(".0").unwrap_or(&text).parse().ok()
}

fn role(mode: &str) -> Option<Role> {
    match mode {
        "leader" => Some(Role::Leader),
        "follower" => Some(Role::Follower),
        "standalone" => Some(Role::Standalone),
        _ => None,
    }
}

/// What a server says to commands about its service while it has no part in a quorum.
const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";

#[cfg(test)]
mod tests {
    use super::*;

    fn monitor(text: &str, role: Role) -> Result<Monitor, AskError> {
        let mut picked = Picked::new(monitor_fields(role));
        picked.read(text.as_bytes());
        read_monitor(picked, role)
    }

    const LEADER: &str = r#"{
  "version" : "3.9.4-7246445ec281f3dbf53dc54e970c914f39713903, built on 2025-08-19 19:53 UTC",
  "read_only" : false,
  "server_stats" : {
    "packets_sent" : 3,
    "server_state" : "leader",
    "uptime" : 1000,
    "last_processed_zxid" : 12884901906
  },
  "node_count" : 5,
  "command" : "server_stats",
  "error" : null
}"#;

    #[test]
    fn role_and_zxid_are_read_from_server_stats() {
        let parse = |text: &str| parse_server_stats(text.as_bytes()).unwrap();
        assert_eq!(parse(LEADER), (Role::Leader, Zxid::new(3, 0x12)));
        assert_eq!(
            parse(&LEADER.replace("leader", "follower")).0,
            Role::Follower
        );
        assert_eq!(
            parse(&LEADER.replace("leader", "standalone")).0,
            Role::Standalone
        );
        let far = LEADER.replace("12884901906", "-9223372036854775807");
        assert_eq!(parse(&far).1, Zxid(0x8000_0000_0000_0001));
    }

    #[test]
    fn a_server_without_a_quorum_is_looking() {
        let text = r#"{"command":"server_stats","error":"This ZooKeeper instance is not currently serving requests"}"#;
        assert_eq!(
            parse_server_stats(text.as_bytes()).unwrap(),
            (Role::Looking, Zxid::default())
        );
    }

    #[test]
    fn other_text_is_malformed() {
        for text in [
            "",
            "<html>",
            "{}",
            r#"{"error":"Unknown command: server_stats"}"#,
            &LEADER.replace("leader", "king"),
            &LEADER.replace("12884901906", "\"0x1\""),
            &LEADER.replace("12884901906", "1.5"),
        ] {
            assert!(parse_server_stats(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn synced_followers_are_read_from_monitor() {
        let parse = |value: &str| {
            let text = format!("{{\"synced_followers\":{value}}}");
            monitor(&text, Role::Leader)
        };
        for value in ["2", "2.0", "\"2\"", "\"2.0\""] {
            assert_eq!(parse(value).unwrap().synced_followers, Some(2), "{value}");
        }
        for value in ["\"many\"", "\"\"", "2.5", "-1", "null", "\"NaN\""] {
            assert!(parse(value).is_err(), "{value}");
        }
        assert!(monitor(r#"{"server_state":"leader"}"#, Role::Leader).is_err());
    }

    #[test]
    fn digest_mismatches_are_read_from_every_role_and_may_be_absent() {
        let parse = |text: &str| monitor(text, Role::Follower).unwrap();
        let counted = parse(r#"{"digest_mismatches_count":18.0}"#);
        assert_eq!(
            (counted.digest_mismatches, counted.synced_followers),
            (18, None)
        );
        assert_eq!(parse("{}").digest_mismatches, 0);
    }
}
