//! Admin commands about the server's files and its place in the ensemble.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use tokio::task::spawn_blocking;
use zk_core::Member;

use super::{Members, named};
use crate::command::Commands;
use crate::command::configuration::{BACKLOG_DEFAULT, server_id, versioned};
use crate::command::json::Json;
use crate::config::ServerConfig;
use crate::probe::Facts;

impl Commands {
    pub(super) fn configuration(&self) -> Vec<(String, Json)> {
        let config = self.probe.config();
        let path = |path: &Path| Json::Text(versioned(path).display().to_string());
        let per_address = config.limits.connections_per_address_max as u64;
        named([
            ("client_port", i64::from(self.client_port()).into()),
            ("data_dir", path(&config.data_dir)),
            ("data_log_dir", path(&config.data_log_dir)),
            ("tick_time", config.tick_ms.into()),
            ("max_client_cnxns", per_address.into()),
            (
                "min_session_timeout",
                i64::from(config.session_timeout_min_ms).into(),
            ),
            (
                "max_session_timeout",
                i64::from(config.session_timeout_max_ms).into(),
            ),
            ("server_id", server_id(config).into()),
            (
                "client_port_listen_backlog",
                i64::from(BACKLOG_DEFAULT).into(),
            ),
        ])
    }

    /// The newest snapshot file and when it was written.
    pub(super) async fn last_snapshot(&self) -> Vec<(String, Json)> {
        let dir = versioned(&self.probe.config().data_dir);
        let newest = spawn_blocking(move || newest_snapshot(&dir)).await;
        let (zxid, timestamp) = newest.ok().flatten().unwrap_or((-1, -1));
        named([
            ("zxid", format!("{zxid:x}").into()),
            ("timestamp", timestamp.into()),
        ])
    }

    pub(super) fn leader(&self, facts: &Facts) -> Members {
        if facts.is_standalone() {
            return Err("server is not initialized".into());
        }
        let leader = facts.status().and_then(|status| status.leader);
        let members = &self.probe.config().ensemble.members;
        let host = leader.and_then(|leader| members.get(&leader));
        let host = host.map_or_else(String::new, |member| member.host.clone());
        Ok(named([
            ("is_leader", (facts.role() == "leader").into()),
            ("leader_id", leader.map_or(-1, |leader| leader.0).into()),
            ("leader_ip", host.into()),
        ]))
    }

    pub(super) fn voting_view(&self) -> Vec<(String, Json)> {
        let config = self.probe.config();
        if config.standalone {
            return named([("current_config", Json::Object(Vec::new()))]);
        }
        let members = config.ensemble.members.iter().map(|(sid, member)| {
            let address = |port| Json::texts([host_port(&member.host, port)]);
            let client = match &member.client {
                _ if *sid == config.sid => self.own_client_address(config),
                Some(client) if client.contains(':') => client.clone(),
                Some(port) => format!("0.0.0.0:{port}"),
                None => String::new(),
            };
            let view = Json::object([
                ("server_addresses", address(member.quorum_port)),
                ("election_addresses", address(member.election_port)),
                ("client_address", client.into()),
                ("learner_type", "participant".into()),
            ]);
            (sid.0.to_string(), view)
        });
        named([("current_config", Json::Object(members.collect()))])
    }

    pub(super) fn zab_state(&self, facts: &Facts) -> Vec<(String, Json)> {
        let config = self.probe.config();
        let status = facts.status().filter(|status| status.is_serving);
        let (Some(status), false) = (status, config.standalone) else {
            return named([("voting", false.into()), ("zabstate", "".into())]);
        };
        let Member {
            host,
            quorum_port,
            election_port,
            ..
        } = &config.ensemble.members[&config.sid];
        let zxid = status.last_zxid.0;
        named([
            ("myid", config.sid.0.into()),
            ("is_leader", (facts.role() == "leader").into()),
            ("quorum_address", addresses(host, *quorum_port)),
            ("election_address", addresses(host, *election_port)),
            ("client_address", self.own_client_address(config).into()),
            ("voting", true.into()),
            ("last_zxid", format!("0x{zxid:x}").into()),
            ("zab_epoch", (zxid >> 32).into()),
            ("zab_counter", (zxid & 0xffff_ffff).into()),
            ("zabstate", status.phase.into()),
        ])
    }

    fn own_client_address(&self, config: &ServerConfig) -> String {
        let host = config.client_address.as_deref().unwrap_or("0.0.0.0");
        host_port(host, self.client_port())
    }
}

/// The reference's `MultipleAddresses` with one address, which is taken for
/// reachable: it is this server's own.
fn addresses(host: &str, port: u16) -> Json {
    let address = host_port(host, port);
    let list = || Json::texts([address.clone()]);
    let text = || Json::Text(address.clone());
    Json::object([
        ("empty", false.into()),
        ("all_addresses", list()),
        (
            "wildcard_addresses",
            Json::texts([host_port("0.0.0.0", port)]),
        ),
        ("all_ports", Json::List(vec![i64::from(port).into()])),
        ("all_host_strings", Json::texts([host.to_owned()])),
        ("reachable_address", text()),
        ("all_reachable_addresses", list()),
        ("all_reachable_addresses_or_all", list()),
        ("reachable_or_one", text()),
        ("one", text()),
    ])
}

fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Its zxid, and when it was written in seconds since 1970.
fn newest_snapshot(dir: &Path) -> Option<(i64, i64)> {
    let files = fs::read_dir(dir).ok()?.filter_map(Result::ok);
    let snapshots = files.filter_map(|file| {
        let name = file.file_name().into_string().ok()?;
        let (kind, zxid) = name.split_once('.')?;
        let zxid = zxid.split('.').next()?;
        let zxid = i64::from_str_radix(zxid, 16).ok()?;
        (kind == "snapshot").then_some((zxid, file))
    });
    let (zxid, file) = snapshots.max_by_key(|(zxid, _)| *zxid)?;
    let written = file.metadata().ok()?.modified().ok()?;
    let seconds = written.duration_since(UNIX_EPOCH).ok()?.as_secs();
    Some((zxid, i64::try_from(seconds).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_snapshot_counts() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(newest_snapshot(dir.path()), None);
        for name in [
            "snapshot.9",
            "snapshot.1f.gz",
            "log.ff",
            "tmp.snapshot.fff",
            "snapshot.x",
        ] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        let (zxid, seconds) = newest_snapshot(dir.path()).unwrap();
        assert_eq!(zxid, 0x1f);
        assert!(seconds > 1_700_000_000);
    }
}
