//! Reading the text of `srvr` and `mntr`, as `ServerStats` and `MonitorCommand` of Apache ZooKeeper 3.9.4 print it.

use super::AskError;
use crate::ensemble::{Role, Zxid};

/// Role and last zxid from the text of `srvr`.
pub(super) fn parse_srvr(text: &str) -> Result<(Role, Zxid), AskError> {
    if text.trim_end() == NOT_SERVING {
        return Ok((Role::Looking, Zxid::default()));
    }
    let role = field(text, "Mode: ")
        .and_then(role)
        .ok_or(AskError::Malformed {
            command: "srvr",
            field: "Mode",
        })?;
    let zxid = field(text, "Zxid: ")
        .and_then(|value| value.parse().ok())
        .ok_or(AskError::Malformed {
            command: "srvr",
            field: "Zxid",
        })?;
    Ok((role, zxid))
}

/// Number of synchronized followers from the text of a leader's `mntr`.
///
/// A whole number, but a server with the Prometheus provider prints every gauge with a decimal point: `2.0`.
pub(super) fn parse_synced_followers(text: &str) -> Result<usize, AskError> {
    field(text, "zk_synced_followers\t")
        .and_then(|value| value.strip_suffix(".0").unwrap_or(value).parse().ok())
        .ok_or(AskError::Malformed {
            command: "mntr",
            field: "zk_synced_followers",
        })
}

fn field<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(prefix))
        .map(str::trim)
}

fn role(mode: &str) -> Option<Role> {
    match mode {
        "leader" => Some(Role::Leader),
        "follower" => Some(Role::Follower),
        "standalone" => Some(Role::Standalone),
        _ => None,
    }
}

/// What a server says to every command but `ruok` while it has no part in a quorum.
const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";

#[cfg(test)]
mod tests {
    use super::*;

    const SRVR_LEADER: &str = "\
Zookeeper version: 3.9.4-7246445ec281f3dbf53dc54e970c914f39713903, built on 2025-08-19 19:53 UTC
Latency min/avg/max: 0/0.0/0
Received: 4
Sent: 3
Connections: 1
Outstanding: 0
Zxid: 0x300000012
Mode: leader
Node count: 5
Proposal sizes last/min/max: -1/-1/-1
";

    #[test]
    fn role_and_zxid_are_read_from_srvr() {
        assert_eq!(
            parse_srvr(SRVR_LEADER).unwrap(),
            (Role::Leader, Zxid::new(3, 0x12))
        );
        let follower = SRVR_LEADER.replace("leader", "follower");
        assert_eq!(parse_srvr(&follower).unwrap().0, Role::Follower);
        let standalone = SRVR_LEADER.replace("leader", "standalone");
        assert_eq!(parse_srvr(&standalone).unwrap().0, Role::Standalone);
    }

    #[test]
    fn a_server_without_a_quorum_is_looking() {
        let text = "This ZooKeeper instance is not currently serving requests\n";
        assert_eq!(parse_srvr(text).unwrap(), (Role::Looking, Zxid::default()));
    }

    #[test]
    fn other_text_is_malformed() {
        for text in [
            "",
            "srvr is not executed because it is not in the whitelist.\n",
            "Mode: leader\n",
            "Zxid: 0x1\n",
            "Zxid: 17\nMode: leader\n",
            "Zxid: 0x1\nMode: king\n",
        ] {
            assert!(parse_srvr(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn synced_followers_are_read_from_mntr() {
        let text =
            "zk_version\t3.9.4\nzk_server_state\tleader\nzk_synced_followers\t2\nzk_learners\t2\n";
        assert_eq!(parse_synced_followers(text).unwrap(), 2);
        assert_eq!(
            parse_synced_followers("zk_learners\t2.0\nzk_synced_followers\t2.0\n").unwrap(),
            2
        );
        for value in ["many", "", "2.5", "-1", "NaN"] {
            assert!(
                parse_synced_followers(&format!("zk_synced_followers\t{value}\n")).is_err(),
                "{value:?}"
            );
        }
        assert!(parse_synced_followers("zk_server_state\tfollower\n").is_err());
    }
}
