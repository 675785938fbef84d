//! zoo.cfg to [`ServerConfig`] (reference: `QuorumPeerConfig.parseProperties`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zk_core::config::ZnodeConfig;
use zk_core::{Ensemble, Member};
use zk_proto::Sid;

use super::error::ConfigError;
use super::limits::ClientLimits;
use super::peers::PeerConfig;
use super::properties::{self, Property};
use super::storage::StorageConfig;
use super::values::{Values, Warning};
use super::{
    AdminAccess, AdminConfig, CommandWhitelist, HttpAddress, LoggingConfig, ServerConfig, auth,
    member, review,
};

/// A configuration and what to say about its file.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What was read.
    pub config: ServerConfig,
    /// Keys that have no effect, in the order of their lines.
    pub warnings: Vec<Warning>,
}

impl ServerConfig {
    /// Reads a zoo.cfg and, in quorum mode, the myid file beside the data.
    pub fn load(file: &Path) -> Result<Loaded, ConfigError> {
        Self::read(file, &text_of(file)?, None)
    }

    /// Reads a zoo.cfg as this server, whatever myid file there is or is not.
    pub fn load_as(file: &Path, sid: Sid) -> Result<Loaded, ConfigError> {
        Self::read(file, &text_of(file)?, Some(sid))
    }

    /// Reads the text of a zoo.cfg. `file` is for messages; `sid` replaces the
    /// myid file.
    pub fn read(file: &Path, text: &str, sid: Option<Sid>) -> Result<Loaded, ConfigError> {
        let (values, mut warnings) = Values::check(file, properties_of(file, text)?)?;
        let members = members(&values)?;
        let reader = Reader {
            text,
            values,
            members,
        };
        let config = reader.config(sid)?;
        warnings.extend(review::warnings(&reader.values, &config));
        warnings.sort_by_key(|warning| warning.line);
        Ok(Loaded { config, warnings })
    }

    /// `dataDir` of a zoo.cfg that is otherwise not looked at.
    pub fn data_dir_of(file: &Path) -> Result<PathBuf, ConfigError> {
        let properties = properties_of(file, &text_of(file)?)?;
        let dir = properties.into_iter().rev().find(|p| p.key == "dataDir");
        dir.map(|p| PathBuf::from(p.value))
            .ok_or_else(|| ConfigError::Missing {
                file: file.to_owned(),
                key: "dataDir",
                reason: DATA_DIR_NEEDED,
            })
    }
}

/// Properties files are ISO 8859-1, whatever the locale. Editors of Windows put
/// a mark before a text of UTF-8, which is left out.
fn text_of(file: &Path) -> Result<String, ConfigError> {
    let bytes = fs::read(file).map_err(|source| ConfigError::Unreadable {
        file: file.to_owned(),
        source,
    })?;
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(ConfigError::Syntax {
            file: file.to_owned(),
            line: 1,
            reason: "the file is text in UTF-16; save it as UTF-8",
        });
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    Ok(text.iter().copied().map(char::from).collect())
}

/// A host or address; an address of IPv6 may stand in brackets.
fn host_of(written: &str) -> &str {
    let inner = written
        .strip_prefix('[')
        .and_then(|it| it.strip_suffix(']'));
    inner.unwrap_or(written)
}

fn properties_of(file: &Path, text: &str) -> Result<Vec<Property>, ConfigError> {
    properties::read(text).map_err(|error| ConfigError::Syntax {
        file: file.to_owned(),
        line: error.line,
        reason: error.reason,
    })
}

fn members(values: &Values<'_>) -> Result<BTreeMap<Sid, Member>, ConfigError> {
    let mut members = BTreeMap::new();
    for (number, property) in values.family("server.") {
        let sid = match number.parse::<i64>() {
            Ok(sid) if (SID_MIN..=SID_MAX).contains(&sid) => Sid(sid),
            _ => {
                return Err(values.refused(
                    property,
                    format!("has the server id {number:?}; allowed is {SID_MIN} to {SID_MAX}"),
                ));
            }
        };
        let member =
            member::read(&property.value).map_err(|reason| values.refused(property, reason))?;
        members.insert(sid, member);
    }
    Ok(members)
}

fn znodes(values: &Values<'_>) -> ZnodeConfig {
    ZnodeConfig {
        extended_types_enabled: values.is_on("extendedTypesEnabled"),
        enforce_quota: values.is_on("enforceQuota"),
        container_check_interval_ms: values.int("znode.container.checkIntervalMs"),
        container_max_per_minute: values.int("znode.container.maxPerMinute"),
        container_max_never_used_interval_ms: values.int("znode.container.maxNeverUsedIntervalMs"),
        close_session_lists: values.is_on("closeSessionTxn.enabled"),
        ..ZnodeConfig::default()
    }
}

struct Reader<'a> {
    text: &'a str,
    values: Values<'a>,
    members: BTreeMap<Sid, Member>,
}

impl Reader<'_> {
    fn config(&self, sid: Option<Sid>) -> Result<ServerConfig, ConfigError> {
        let values = &self.values;
        let data_dir = values.path("dataDir");
        let data_dir = data_dir.ok_or_else(|| values.missing("dataDir", DATA_DIR_NEEDED))?;
        let alone = self.members.len() <= 1;
        let standalone = alone && values.is_on("standaloneEnabled");
        let quorum = !standalone && !self.members.is_empty();
        for key in ["initLimit", "syncLimit"] {
            match values.given(key) {
                _ if !quorum => {}
                None => {
                    let reason = "every server of an ensemble needs it, in ticks";
                    return Err(values.missing(key, reason));
                }
                Some(property) if values.int::<i64>(key) < 1 => {
                    let reason = "must be at least 1 tick in an ensemble".to_owned();
                    return Err(values.refused(property, reason));
                }
                Some(_) => {}
            }
        }
        let tick_ms = values.int("tickTime");
        // A standalone server uses neither limit, so any number will do.
        let ticks = |key| values.int::<i64>(key).clamp(1, TICKS_MAX) as u32;
        let (session_timeout_min_ms, session_timeout_max_ms) = self.session_timeouts(tick_ms)?;
        let sid = self.sid(sid, quorum, &data_dir)?;
        let (client_address, client_port) = self.client_address(sid)?;
        let ensemble = self.ensemble(sid);
        Ok(ServerConfig {
            file: self.values.file.to_owned(),
            text: self.text.into(),
            sid,
            standalone,
            tick_ms,
            init_limit: ticks("initLimit"),
            sync_limit: ticks("syncLimit"),
            data_log_dir: values
                .path("dataLogDir")
                .unwrap_or_else(|| data_dir.clone()),
            data_dir,
            client_address,
            client_port,
            limits: ClientLimits::of(values, ensemble.members.len()),
            ensemble,
            ensemble_name: None,
            session_timeout_min_ms,
            session_timeout_max_ms,
            quorum_listen_on_all_addresses: values.is_on("quorumListenOnAllIPs"),
            peers: PeerConfig::of(values),
            read_only_mode: values.is_on("readonlymode.enabled"),
            storage: StorageConfig::of(values),
            znodes: znodes(values),
            auth: auth::of(values)?,
            snap_count: values.int("snapCount"),
            commit_log_count: values.int("commitLogCount"),
            log_prealloc_bytes: values.int::<u64>("preAllocSize") * 1024,
            force_sync: values.is_on("forceSync"),
            snapshots_kept: values.int("autopurge.snapRetainCount"),
            purge_interval_hours: values.int("autopurge.purgeInterval"),
            frame_bytes_max: values.int("jute.maxbuffer"),
            admin: self.admin(standalone),
            metrics: self.metrics()?,
            commands: self.commands(),
            logging: LoggingConfig {
                filter: values.text("quorate.log").to_owned(),
                is_json: values
                    .text("quorate.logFormat")
                    .eq_ignore_ascii_case("json"),
            },
            worker_threads: values.int("quorate.workerThreads"),
        })
    }

    fn ensemble(&self, sid: Sid) -> Ensemble {
        let mut members = self.members.clone();
        if members.is_empty() {
            let member = Member {
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
        // A server that was told its id otherwise is to find it as well: what it
        // writes to its volume stays there.
        if (quorum || !self.members.is_empty()) && !self.members.contains_key(&sid) {
            let list = self.values.file.display();
            return Err(match given {
                None => refused(format!("holds {sid}, but {list} has no server.{sid} line")),
                Some(_) => ConfigError::NotListed {
                    file: self.values.file.to_owned(),
                    sid,
                },
            });
        }
        Ok(sid)
    }

    fn client_address(&self, sid: Sid) -> Result<(Option<String>, u16), ConfigError> {
        let own = self.members.get(&sid);
        let own = own.and_then(|member| member.client.as_deref());
        let listed_port = own.and_then(member::client_port);
        let listed_host = own.and_then(member::client_host);
        let port = match (self.values.given("clientPort"), listed_port) {
            (None, None) => {
                return Err(self.values.missing(
                    "clientPort",
                    "give clientPort, or a client port after ';' in this server's line",
                ));
            }
            (None, Some(port)) => port,
            (Some(property), listed) => {
                let port = self.values.int("clientPort");
                if let Some(listed) = listed.filter(|listed| *listed != port) {
                    let reason = format!("disagrees with the {listed} of server.{sid}");
                    return Err(self.values.refused(property, reason));
                }
                port
            }
        };
        let host = self.values.word("clientPortAddress").map(host_of);
        let host = host.or(listed_host);
        let host = host.filter(|host| !matches!(*host, "0.0.0.0" | "::" | "*"));
        Ok((host.map(str::to_owned), port))
    }

    fn session_timeouts(&self, tick_ms: u64) -> Result<(i32, i32), ConfigError> {
        let in_ticks = |ticks: u64| i32::try_from(ticks * tick_ms).unwrap_or(i32::MAX);
        let ms = |key, ticks| {
            let given = self.values.int_unless_off(key);
            given.unwrap_or_else(|| in_ticks(ticks))
        };
        let (min, max) = (ms("minSessionTimeout", 2), ms("maxSessionTimeout", 20));
        if min > max {
            let key = ["minSessionTimeout", "maxSessionTimeout"]
                .iter()
                .find_map(|key| self.values.given(key));
            let key = key.expect("the defaults agree with each other");
            let reason = format!("makes the range of session timeouts empty: {min} to {max} ms");
            return Err(self.values.refused(key, reason));
        }
        Ok((min, max))
    }

    fn admin(&self, is_required: bool) -> Option<AdminConfig> {
        let values = &self.values;
        let address = || HttpAddress {
            host: host_of(values.text("admin.serverAddress")).to_owned(),
            port: values.int("admin.serverPort"),
        };
        values.is_on("admin.enableServer").then(|| AdminConfig {
            address: address(),
            command_url: values.text("admin.commandURL").to_owned(),
            is_required,
            idle_max: Duration::from_millis(match values.int("admin.idleTimeout") {
                0 => IDLE_MAX_MS,
                ms => ms,
            }),
            access: AdminAccess::Everybody,
        })
    }

    fn metrics(&self) -> Result<Option<HttpAddress>, ConfigError> {
        let Some(class) = self.values.given("metricsProvider.className") else {
            return Ok(None);
        };
        match class.value.as_str() {
            PROMETHEUS_PROVIDER => Ok(Some(HttpAddress {
                host: host_of(self.values.text("metricsProvider.httpHost")).to_owned(),
                port: self.values.int("metricsProvider.httpPort"),
            })),
            DEFAULT_PROVIDER | NULL_PROVIDER => Ok(None),
            _ => Err(self.values.refused(
                class,
                format!("is unknown; allowed are {PROMETHEUS_PROVIDER}, {DEFAULT_PROVIDER}"),
            )),
        }
    }

    fn commands(&self) -> CommandWhitelist {
        match self.values.text("4lw.commands.whitelist") {
            "*" => CommandWhitelist::All,
            list => CommandWhitelist::Names(
                list.split(',')
                    .map(|name| name.trim().to_owned())
                    .filter(|name| !name.is_empty())
                    .collect(),
            ),
        }
    }
}

const DATA_DIR_NEEDED: &str = "it names the directory of snapshots, logs and myid";

/// Server ids that leave the sign of a session id alone.
const SID_MIN: i64 = 0;
const SID_MAX: i64 = 255;

/// Stands for "never" where an idle time-out is switched off.
const IDLE_MAX_MS: u64 = i32::MAX as u64;
/// Longest `initLimit` and `syncLimit`: with the longest tick they still fit
/// into 64 bits of milliseconds.
const TICKS_MAX: i64 = 1_000_000;

const PROMETHEUS_PROVIDER: &str =
    "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider";
const DEFAULT_PROVIDER: &str = "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider";
const NULL_PROVIDER: &str = "org.apache.zookeeper.metrics.impl.NullMetricsProvider";

#[cfg(test)]
mod tests;
