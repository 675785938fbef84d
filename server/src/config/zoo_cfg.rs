//! zoo.cfg to [`ServerConfig`] (reference: `QuorumPeerConfig.parseProperties`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;
use zk_core::Ensemble;
use zk_proto::Sid;

use super::member;
use super::properties::{self, Property};
use super::{CommandWhitelist, HttpAddress, ServerConfig};

/// A configuration and the names of keys that have no effect.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What was read.
    pub config: ServerConfig,
    /// Keys that this implementation does not know, each with its line.
    pub unknown_keys: Vec<(String, usize)>,
}

/// Why a server cannot start with its configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {file}", file = .file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line is no property.
    #[error("{file}:{line}: {reason}", file = .file.display())]
    Syntax {
        /// Of which file.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// What is allowed.
        reason: &'static str,
    },
    /// A value is not allowed.
    #[error("{file}:{line}: {key}={value} {reason}", file = .file.display())]
    Value {
        /// Of which file.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// Which key.
        key: String,
        /// As written.
        value: String,
        /// What is allowed.
        reason: String,
    },
    /// A key is missing.
    #[error("{file}: {key} is missing: {reason}", file = .file.display())]
    Missing {
        /// From which file.
        file: PathBuf,
        /// Which key.
        key: &'static str,
        /// When it is needed.
        reason: &'static str,
    },
    /// The myid file does not name this server.
    #[error("{file}: {reason}", file = .file.display())]
    MyId {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl ServerConfig {
    /// Reads a zoo.cfg and, in quorum mode, the myid file beside the data.
    pub fn load(file: &Path) -> Result<Loaded, ConfigError> {
        Self::read(file, &text_of(file)?, None)
    }

    /// Reads the text of a zoo.cfg. `file` is for messages; `sid` replaces the
    /// myid file.
    pub fn read(file: &Path, text: &str, sid: Option<Sid>) -> Result<Loaded, ConfigError> {
        Reader {
            file,
            values: BTreeMap::new(),
            members: BTreeMap::new(),
        }
        .run(properties_of(file, text)?, sid)
    }

    /// `dataDir` of a zoo.cfg that is otherwise not looked at.
    pub fn data_dir_of(file: &Path) -> Result<PathBuf, ConfigError> {
        let properties = properties_of(file, &text_of(file)?)?;
        let dir = properties.into_iter().rev().find(|p| p.key == "dataDir");
        dir.map(|p| PathBuf::from(p.value))
            .ok_or_else(|| missing_data_dir(file))
    }
}

fn text_of(file: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(file).map_err(|source| ConfigError::Unreadable {
        file: file.to_owned(),
        source,
    })
}

fn properties_of(file: &Path, text: &str) -> Result<Vec<Property>, ConfigError> {
    properties::read(text).map_err(|error| ConfigError::Syntax {
        file: file.to_owned(),
        line: error.line,
        reason: error.reason,
    })
}

struct Reader<'a> {
    file: &'a Path,
    /// By the name without a `zookeeper.` prefix.
    values: BTreeMap<String, Property>,
    members: BTreeMap<Sid, (zk_core::Member, usize)>,
}

impl Reader<'_> {
    fn run(mut self, properties: Vec<Property>, sid: Option<Sid>) -> Result<Loaded, ConfigError> {
        for property in properties {
            let name = canonical(&property.key);
            if let Some(number) = name.strip_prefix("server.") {
                self.member(number, &property)?;
            } else {
                self.values.insert(name.to_owned(), property);
            }
        }
        self.refuse_unsupported()?;
        let config = self.config(sid)?;
        let unknown = self.values.into_iter();
        let mut unknown_keys: Vec<_> = unknown
            .filter(|(name, _)| !KNOWN.contains(&name.as_str()) && !is_provider_key(name))
            .map(|(_, property)| (property.key, property.line))
            .collect();
        unknown_keys.sort_by_key(|(_, line)| *line);
        Ok(Loaded {
            config,
            unknown_keys,
        })
    }

    fn member(&mut self, number: &str, property: &Property) -> Result<(), ConfigError> {
        let sid = match number.parse::<i64>() {
            Ok(sid) if (SID_MIN..=SID_MAX).contains(&sid) => Sid(sid),
            _ => {
                return Err(self.refused(
                    property,
                    format!("has the server id {number:?}; allowed is {SID_MIN} to {SID_MAX}"),
                ));
            }
        };
        let member =
            member::read(&property.value).map_err(|reason| self.refused(property, reason))?;
        self.members.insert(sid, (member, property.line));
        Ok(())
    }

    /// Keys that would weaken what their owner expects if they were ignored.
    fn refuse_unsupported(&self) -> Result<(), ConfigError> {
        for (name, reason) in UNSUPPORTED {
            if let Some(property) = self.values.get(*name)
                && !matches!(
                    property.value.to_ascii_lowercase().as_str(),
                    "false" | "" | "0" | "no"
                )
            {
                return Err(self.refused(property, (*reason).to_owned()));
            }
        }
        let role = self.values.get("peerType");
        match role.filter(|role| !role.value.eq_ignore_ascii_case("participant")) {
            Some(role) => {
                Err(self.refused(role, "is not supported; allowed is participant".into()))
            }
            None => Ok(()),
        }
    }

    fn config(&self, sid: Option<Sid>) -> Result<ServerConfig, ConfigError> {
        let data_dir = self
            .path("dataDir")
            .ok_or_else(|| missing_data_dir(self.file))?;
        let alone = self.members.len() <= 1;
        let standalone = alone && self.switch("standaloneEnabled", true)?;
        let quorum = !standalone && !self.members.is_empty();
        let tick_ms = self.number("tickTime", 3000, 1, 3_600_000)?;
        let limit = |key: &'static str, default| match (quorum, self.values.contains_key(key)) {
            (true, false) => Err(ConfigError::Missing {
                file: self.file.to_owned(),
                key,
                reason: "every server of an ensemble needs it, in ticks",
            }),
            _ => self.number::<u32>(key, default, 1, 1_000_000),
        };
        let (session_timeout_min_ms, session_timeout_max_ms) = self.session_timeouts(tick_ms)?;
        let sid = self.sid(sid, quorum, &data_dir)?;
        let (client_address, client_port) = self.client_address(sid)?;
        Ok(ServerConfig {
            sid,
            ensemble: self.ensemble(sid),
            standalone,
            tick_ms,
            init_limit: limit("initLimit", 10)?,
            sync_limit: limit("syncLimit", 5)?,
            data_log_dir: self.path("dataLogDir").unwrap_or_else(|| data_dir.clone()),
            data_dir,
            client_address,
            client_port,
            client_connections_per_address_max: self.number("maxClientCnxns", 60, 0, 1_000_000)?,
            session_timeout_min_ms,
            session_timeout_max_ms,
            quorum_listen_on_all_addresses: self.switch("quorumListenOnAllIPs", false)?,
            snap_count: self.number("snapCount", 100_000, 2, u64::from(u32::MAX))?,
            commit_log_count: self.number("commitLogCount", 500, 500, 1_000_000)?,
            log_prealloc_bytes: self.number::<u64>("preAllocSize", 65_536, 1, 2_097_151)? * 1024,
            force_sync: self.word("forceSync").is_none_or(|word| word != "no"),
            snapshots_kept: self.number("autopurge.snapRetainCount", 3, 3, 1_000_000)?,
            purge_interval_hours: self.number("autopurge.purgeInterval", 0, 0, 1_000_000)?,
            outstanding_max: self.number("globalOutstandingLimit", 1000, 1, 1_000_000)?,
            frame_bytes_max: self.number("jute.maxbuffer", 0xf_ffff, 1024, 1 << 30)?,
            admin: self.admin()?,
            metrics: self.metrics()?,
            commands: self.commands(),
            worker_threads: self.number("quorate.workerThreads", 0, 0, 1024)?,
        })
    }

    fn ensemble(&self, sid: Sid) -> Ensemble {
        let mut members: BTreeMap<_, _> = self
            .members
            .iter()
            .map(|(sid, (member, _))| (*sid, member.clone()))
            .collect();
        if members.is_empty() {
            let member = zk_core::Member {
                host: "localhost".into(),
                quorum_port: 2888,
                election_port: 3888,
                client: None,
            };
            members.insert(sid, member);
        }
        Ensemble {
            members,
            version: 0,
        }
    }

    fn sid(&self, given: Option<Sid>, quorum: bool, data_dir: &Path) -> Result<Sid, ConfigError> {
        let file = data_dir.join("myid");
        let refused = |reason: String| ConfigError::MyId {
            file: file.clone(),
            reason,
        };
        let sid = match given {
            Some(sid) => sid,
            None if !quorum => {
                return Ok(self.members.keys().next().copied().unwrap_or(Sid(1)));
            }
            None => {
                let text = fs::read_to_string(&file)
                    .map_err(|error| refused(format!("cannot read this server's id: {error}")))?;
                let line = text.lines().next().unwrap_or_default().trim();
                let number = line.parse::<i64>();
                Sid(number.map_err(|_| refused(format!("holds {line:?}; allowed is a number")))?)
            }
        };
        if quorum && !self.members.contains_key(&sid) {
            let list = self.file.display();
            return Err(refused(format!(
                "holds {sid}, but {list} has no server.{sid} line"
            )));
        }
        Ok(sid)
    }

    fn client_address(&self, sid: Sid) -> Result<(Option<String>, u16), ConfigError> {
        let own = self
            .members
            .get(&sid)
            .and_then(|(member, _)| member.client.as_deref());
        let listed_port = own.and_then(member::client_port);
        let listed_host = own.and_then(member::client_host);
        let port = match (self.values.get("clientPort"), listed_port) {
            (None, None) => {
                return Err(ConfigError::Missing {
                    file: self.file.to_owned(),
                    key: "clientPort",
                    reason: "give clientPort, or a client port after ';' in this server's line",
                });
            }
            (None, Some(port)) => port,
            (Some(property), listed) => {
                let port = self.number::<u16>("clientPort", 0, 0, u16::MAX)?;
                if let Some(listed) = listed.filter(|listed| *listed != port) {
                    let reason = format!("disagrees with the {listed} of server.{sid}");
                    return Err(self.refused(property, reason));
                }
                port
            }
        };
        let host = self.word("clientPortAddress").or(listed_host);
        let host = host.filter(|host| !matches!(*host, "0.0.0.0" | "::" | "*"));
        Ok((host.map(str::to_owned), port))
    }

    fn session_timeouts(&self, tick_ms: u64) -> Result<(i32, i32), ConfigError> {
        let in_ticks = |ticks: u64| i32::try_from(ticks * tick_ms).unwrap_or(i32::MAX);
        let given = |key, ticks| match self.number::<i32>(key, -1, -1, i32::MAX)? {
            -1 => Ok(in_ticks(ticks)),
            ms => Ok(ms),
        };
        let min = given("minSessionTimeout", 2)?;
        let max = given("maxSessionTimeout", 20)?;
        if min > max {
            let key = ["minSessionTimeout", "maxSessionTimeout"]
                .iter()
                .find_map(|key| self.values.get(*key));
            let key = key.expect("the defaults agree with each other");
            let reason = format!("makes the range of session timeouts empty: {min} to {max} ms");
            return Err(self.refused(key, reason));
        }
        Ok((min, max))
    }

    fn admin(&self) -> Result<Option<HttpAddress>, ConfigError> {
        if !self.switch("admin.enableServer", true)? {
            return Ok(None);
        }
        let host = self.word("admin.serverAddress").unwrap_or("0.0.0.0");
        Ok(Some(HttpAddress {
            host: host.to_owned(),
            port: self.number("admin.serverPort", 8080, 0, u16::MAX)?,
        }))
    }

    fn metrics(&self) -> Result<Option<HttpAddress>, ConfigError> {
        let Some(class) = self.values.get("metricsProvider.className") else {
            return Ok(None);
        };
        match class.value.as_str() {
            PROMETHEUS_PROVIDER => {
                let host = self.word("metricsProvider.httpHost").unwrap_or("0.0.0.0");
                Ok(Some(HttpAddress {
                    host: host.to_owned(),
                    port: self.number("metricsProvider.httpPort", 7000, 0, u16::MAX)?,
                }))
            }
            DEFAULT_PROVIDER | NULL_PROVIDER => Ok(None),
            _ => Err(self.refused(
                class,
                format!("is unknown; allowed are {PROMETHEUS_PROVIDER}, {DEFAULT_PROVIDER}"),
            )),
        }
    }

    fn commands(&self) -> CommandWhitelist {
        match self.word("4lw.commands.whitelist") {
            Some("*") => CommandWhitelist::All,
            list => CommandWhitelist::Names(
                list.unwrap_or_default()
                    .split(',')
                    .map(|name| name.trim().to_owned())
                    .filter(|name| !name.is_empty())
                    .collect(),
            ),
        }
    }

    fn word(&self, key: &str) -> Option<&str> {
        self.values
            .get(key)
            .map(|property| property.value.as_str())
            .filter(|value| !value.is_empty())
    }

    fn path(&self, key: &str) -> Option<PathBuf> {
        self.word(key).map(PathBuf::from)
    }

    fn switch(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        let Some(property) = self.values.get(key) else {
            return Ok(default);
        };
        match property.value.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.refused(property, "must be true or false".into())),
        }
    }

    fn number<T>(&self, key: &str, default: T, min: T, max: T) -> Result<T, ConfigError>
    where
        T: FromStr + PartialOrd + std::fmt::Display,
    {
        let Some(property) = self.values.get(key) else {
            return Ok(default);
        };
        match property.value.parse::<T>() {
            Ok(number) if number >= min && number <= max => Ok(number),
            _ => Err(self.refused(
                property,
                format!("must be a whole number from {min} to {max}"),
            )),
        }
    }

    fn refused(&self, property: &Property, reason: String) -> ConfigError {
        ConfigError::Value {
            file: self.file.to_owned(),
            line: property.line,
            key: property.key.clone(),
            value: property.value.clone(),
            reason,
        }
    }
}

/// The reference takes some keys only with the `zookeeper.` prefix (as system
/// properties) and some only without; both spellings are taken here.
fn canonical(key: &str) -> &str {
    key.strip_prefix("zookeeper.").unwrap_or(key)
}

fn is_provider_key(name: &str) -> bool {
    name.starts_with("metricsProvider.")
}

fn missing_data_dir(file: &Path) -> ConfigError {
    ConfigError::Missing {
        file: file.to_owned(),
        key: "dataDir",
        reason: "it names the directory of snapshots, logs and myid",
    }
}

/// Server ids that leave the sign of a session id alone.
const SID_MIN: i64 = 0;
const SID_MAX: i64 = 255;

const PROMETHEUS_PROVIDER: &str =
    "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider";
const DEFAULT_PROVIDER: &str = "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider";
const NULL_PROVIDER: &str = "org.apache.zookeeper.metrics.impl.NullMetricsProvider";

/// Keys with an effect here, and keys of the reference whose absence changes
/// nothing that a client or an operator could rely on.
const KNOWN: &[&str] = &[
    "tickTime",
    "initLimit",
    "syncLimit",
    "dataDir",
    "dataLogDir",
    "clientPort",
    "clientPortAddress",
    "maxClientCnxns",
    "minSessionTimeout",
    "maxSessionTimeout",
    "quorumListenOnAllIPs",
    "snapCount",
    "commitLogCount",
    "preAllocSize",
    "forceSync",
    "autopurge.snapRetainCount",
    "autopurge.purgeInterval",
    "globalOutstandingLimit",
    "jute.maxbuffer",
    "admin.enableServer",
    "admin.serverAddress",
    "admin.serverPort",
    "4lw.commands.whitelist",
    "standaloneEnabled",
    "reconfigEnabled",
    "peerType",
    "electionAlg",
    "quorate.workerThreads",
];

/// Keys that must not be set to anything but "off", and why.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("reconfigEnabled", "is not supported yet; allowed is false"),
    (
        "dynamicConfigFile",
        "is not supported yet; list the servers in this file",
    ),
    (
        "secureClientPort",
        "is not supported yet; TLS for clients is not available",
    ),
    (
        "sslQuorum",
        "is not supported yet; TLS between servers is not available",
    ),
    (
        "portUnification",
        "is not supported yet; TLS between servers is not available",
    ),
    (
        "client.portUnification",
        "is not supported yet; TLS for clients is not available",
    ),
    (
        "quorum.auth.enableSasl",
        "is not supported; allowed is false",
    ),
    (
        "quorum.auth.learnerRequireSasl",
        "is not supported; allowed is false",
    ),
    (
        "quorum.auth.serverRequireSasl",
        "is not supported; allowed is false",
    ),
    (
        "sessionRequireClientSASLAuth",
        "is not supported; allowed is false",
    ),
    (
        "enforce.auth.enabled",
        "is not supported yet; allowed is false",
    ),
    ("multiAddress.enabled", "is not supported; allowed is false"),
    (
        "localSessionsEnabled",
        "is not supported yet; allowed is false",
    ),
    ("observerMasterPort", "is not supported; allowed is 0"),
    ("oraclePath", "is not supported"),
];

#[cfg(test)]
mod tests;
