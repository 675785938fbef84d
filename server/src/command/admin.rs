//! Commands of the admin server, key by key those of the reference
//! (`org.apache.zookeeper.server.admin.Commands` of 3.9.4).

use std::net::IpAddr;

use axum::http::StatusCode;
use zk_proto::client::perms;

use super::environment::environment;
use super::json::Json;
use super::{Commands, NOT_SERVING, VERSION, connections, four_letter, watches};
use crate::config::{AdminAccess, system_properties, without_secrets};
use crate::metrics::{Range, monitor};
use crate::net::ShownConn;
use crate::probe::Facts;

mod ensemble;

/// What a command is asked with.
pub(crate) struct Asked<'a> {
    pub(crate) name: &'a str,
    /// Value of the query's `traceMask`.
    pub(crate) trace_mask: Option<&'a str>,
    /// The header `Authorization`.
    pub(crate) authorization: Option<&'a str>,
    pub(crate) remote: IpAddr,
    pub(crate) is_post: bool,
}

/// The answer to a command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// JSON.
    pub(crate) body: String,
}

/// A command under all its names, the one that is shown first.
struct Command {
    names: &'static [&'static str],
    /// Answered only while this server takes clients.
    needs_service: bool,
    needs_permission: bool,
    is_post: bool,
    audience: Audience,
}

/// Whom a command is for where [`AdminAccess::StatusFromOutside`] is set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Audience {
    /// Other hosts, too: it tells how the server is.
    All,
    /// This host: it shows sessions, paths, addresses of clients or
    /// configuration, or changes something.
    ThisHost,
}

/// Members of the answer, or why there are none.
type Members = Result<Vec<(String, Json)>, String>;

impl Commands {
    /// Names of all commands, as the index shows them.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        COMMANDS.iter().map(|command| command.names[0])
    }

    /// Runs a command. `None` for a method that it does not have.
    pub(crate) async fn run(&self, asked: &Asked<'_>) -> Option<Answer> {
        let found = COMMANDS.iter().find(|it| it.names.contains(&asked.name));
        let Some(command) = found else {
            let error = format!("Unknown command: {}", asked.name);
            return Some(answer(StatusCode::OK, asked.name, Err(error)));
        };
        if command.audience == Audience::ThisHost && !self.is_trusted(asked.remote) {
            let error = "From another host only commands that show the state of the server are \
                         answered; in Kubernetes use kubectl port-forward";
            let error = Err(error.to_owned());
            return Some(answer(StatusCode::FORBIDDEN, asked.name, error));
        }
        let facts = self.probe.facts().await;
        if command.needs_service && !facts.is_serving() {
            let error = Err(NOT_SERVING.to_owned());
            return Some(answer(StatusCode::OK, asked.name, error));
        }
        let name = command.names[0];
        if command.needs_permission
            && let Err((status, error)) = self.check_permission(asked)
        {
            return Some(answer(status, asked.name, Err(error.to_owned())));
        }
        if command.is_post != asked.is_post {
            return None;
        }
        let status = match name {
            "snapshot" | "restore" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::OK,
        };
        let members = self.members(name, asked, &facts).await;
        Some(answer(status, name, members))
    }

    fn is_trusted(&self, remote: IpAddr) -> bool {
        let admin = self.probe.config().admin.as_ref();
        let access = admin.map_or(AdminAccess::Everybody, |admin| admin.access);
        access == AdminAccess::Everybody || remote.is_loopback()
    }

    async fn members(&self, name: &str, asked: &Asked<'_>, facts: &Facts) -> Members {
        let probe = &self.probe;
        Ok(match name {
            "configuration" => self.configuration(),
            "connection_stat_reset" => {
                probe.registry().reset_stats();
                Vec::new()
            }
            "connections" => client_connections(&probe.registry().list(), true),
            "dirs" => {
                let (data, log) = self.directory_sizes().await;
                named([("datadir_size", data.into()), ("logdir_size", log.into())])
            }
            "dump" => self.sessions().await,
            "environment" => {
                let list = environment().await.into_iter();
                list.map(|(name, value)| (name.to_owned(), value.into()))
                    .collect()
            }
            "get_trace_mask" => named([("tracemask", self.trace_mask().into())]),
            "hash" => digests(facts),
            "initial_configuration" => {
                let text = without_secrets(&probe.config().text);
                named([("initial_configuration", text.into())])
            }
            "is_read_only" => named([("read_only", false.into())]),
            "last_snapshot" => self.last_snapshot().await,
            "leader" => self.leader(facts)?,
            "monitor" => {
                let head = four_letter::head(facts).into_iter();
                let head = head.map(|(name, value)| (name.to_owned(), value.into()));
                let metrics = monitor(facts).into_iter();
                head.chain(metrics.map(|(name, number)| (name, number.into())))
                    .collect()
            }
            // There are no observers.
            "observers" => named([
                ("synced_observers", 0_i64.into()),
                ("observers", Json::List(Vec::new())),
            ]),
            "server_stats" => self.server_stats(facts).await,
            "set_trace_mask" => {
                let mask = trace_mask(asked.trace_mask)?;
                self.set_trace_mask(mask);
                named([("tracemask", mask.into())])
            }
            "stat_reset" => {
                self.reset_stats();
                Vec::new()
            }
            "stats" => {
                let mut stats = self.server_stats(facts).await;
                stats.extend(client_connections(&probe.registry().list(), false));
                stats
            }
            "system_properties" => self.system_properties().await,
            "voting_view" => self.voting_view(),
            "watch_summary" => {
                let summary = probe.watch_summary();
                let count = |count: usize| Json::from(count as u64);
                named([
                    ("num_connections", count(summary.connections)),
                    ("num_paths", count(summary.paths)),
                    ("num_total_watches", count(summary.watches)),
                ])
            }
            "watches" => {
                let watches = probe.watches().into_iter();
                let by_session = watches
                    .map(|(session, paths)| (session.0.to_string(), Json::texts(paths)))
                    .collect();
                named([("session_id_to_watched_paths", Json::Object(by_session))])
            }
            "watches_by_path" => {
                let ids = |ids: Vec<i64>| Json::List(ids.into_iter().map(Json::Int).collect());
                let by_path = watches::sessions_by_path(probe).into_iter();
                let by_path = by_path.map(|(path, sessions)| (path, ids(sessions)));
                named([("path_to_session_ids", Json::Object(by_path.collect()))])
            }
            "zabstate" => self.zab_state(facts),
            // `ruok` tells only that it is served; `snapshot` and `restore`
            // that they are off.
            _ => Vec::new(),
        })
    }

    /// Everything must be granted on the root (`Commands.handleAuthorization`).
    fn check_permission(&self, asked: &Asked<'_>) -> Result<(), (StatusCode, &'static str)> {
        let missing = (
            StatusCode::UNAUTHORIZED,
            "Auth info is missing for the command",
        );
        let unknown = (StatusCode::UNAUTHORIZED, "Not authenticated");
        let Some(text) = asked.authorization else {
            return Err(missing);
        };
        let view = self.probe.view().ok_or(unknown)?;
        let (scheme, data) = match text.split_once(' ') {
            Some((scheme, data)) => (scheme, Some(data)),
            None => (text, None),
        };
        if data.is_some_and(|data| data.contains(' ')) {
            return Err(unknown);
        }
        let auth = view.auth().clone();
        let payload = data.map(str::as_bytes);
        let ids = auth.authenticate(scheme, payload, asked.remote);
        let ids = ids.map_err(|_failed| unknown)?;
        let guard = view.read();
        let root = guard.tree().znode("/");
        let is_allowed = root.is_some_and(|root| {
            EVERY_PERMISSION
                .iter()
                .all(|wanted| auth.allows(root.acl(), &ids, *wanted))
        });
        if is_allowed {
            Ok(())
        } else {
            Err((StatusCode::FORBIDDEN, "Not authorized"))
        }
    }

    async fn sessions(&self) -> Vec<(String, Json)> {
        let mut by_expiry: Vec<(String, Json)> = Vec::new();
        // A follower does not know when a session expires.
        for (at, session) in self.probe.sessions_by_expiry().await.unwrap_or_default() {
            let (at, id) = (at.0.to_string(), Json::Int(session.0));
            match by_expiry.last_mut() {
                Some((last, Json::List(ids))) if *last == at => ids.push(id),
                _ => by_expiry.push((at, Json::List(vec![id]))),
            }
        }
        let ephemerals = self.probe.ephemerals().into_iter();
        let by_session = ephemerals
            .map(|(session, paths)| (session.0.to_string(), Json::texts(paths)))
            .collect();
        named([
            ("expiry_time_to_session_ids", Json::Object(by_expiry)),
            ("session_id_to_ephemeral_paths", Json::Object(by_session)),
        ])
    }

    async fn server_stats(&self, facts: &Facts) -> Vec<(String, Json)> {
        let metrics = facts.metrics();
        let (data_bytes, log_bytes) = self.directory_sizes().await;
        let ms = |micros: Option<u64>| Json::from(micros.unwrap_or(0) / 1000);
        let zxid = facts.status().map_or(0, |status| status.last_zxid.0);
        let stats = Json::object([
            ("packets_sent", metrics.packets_sent.value().into()),
            ("packets_received", metrics.packets_received.value().into()),
            (
                "fsync_threshold_exceed_count",
                metrics.slow_syncs.value().into(),
            ),
            ("client_response_stats", sizes(&metrics.response_bytes)),
            ("provider_null", false.into()),
            ("server_state", facts.role().into()),
            ("uptime", facts.uptime_ms().into()),
            ("outstanding_requests", metrics.outstanding.value().into()),
            ("min_latency", ms(metrics.latency.min())),
            ("avg_latency", Json::Double(metrics.latency_avg_ms())),
            ("max_latency", ms(metrics.latency.max())),
            ("data_dir_size", data_bytes.into()),
            ("log_dir_size", log_bytes.into()),
            ("last_processed_zxid", zxid.into()),
            (
                "num_alive_client_connections",
                metrics.connections.value().into(),
            ),
            ("auth_failed_count", metrics.auth_failed.value().into()),
            // There is no TLS, so there are no connections that lack it.
            ("non_mtlsremote_conn_count", 0_i64.into()),
            ("non_mtlslocal_conn_count", 0_i64.into()),
        ]);
        let mut members = named([
            ("version", VERSION.into()),
            ("read_only", false.into()),
            ("server_stats", stats),
            ("client_response", sizes(&metrics.response_bytes)),
        ]);
        if facts.role() == "leader" {
            members.extend(named([("proposal_stats", sizes(&metrics.proposal_bytes))]));
        }
        let znodes = facts.tree().map_or(0, |tree| tree.znodes as u64);
        members.extend(named([("node_count", znodes.into())]));
        members
    }

    /// The environment under its names as properties, and the keys of zoo.cfg
    /// that the reference keeps as such.
    async fn system_properties(&self) -> Vec<(String, Json)> {
        let environment = environment().await.into_iter();
        let mut properties: Vec<(String, Json)> = environment
            .filter(|(name, _)| !name.starts_with("os.memory") && !OF_ZOOKEEPER.contains(name))
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        let keys = system_properties(&self.probe.config().text).into_iter();
        properties.extend(keys.map(|(name, value)| (name, value.into())));
        properties.sort_by(|(a, _), (b, _)| a.cmp(b));
        properties.dedup_by(|(a, _), (b, _)| a == b);
        properties
    }
}

/// Members by name.
fn named<const N: usize>(members: [(&str, Json); N]) -> Vec<(String, Json)> {
    members.map(|(name, value)| (name.to_owned(), value)).into()
}

fn answer(status: StatusCode, name: &str, members: Members) -> Answer {
    let (mut members, error) = match members {
        Ok(members) => (members, Json::Null),
        Err(error) => (Vec::new(), error.into()),
    };
    members.extend(named([("command", name.into()), ("error", error)]));
    Answer {
        status,
        body: Json::Object(members).print(),
    }
}

fn client_connections(shown: &[ShownConn], is_long: bool) -> Vec<(String, Json)> {
    let connections = shown.iter().map(|shown| connection(shown, is_long));
    named([
        ("connections", Json::List(connections.collect())),
        ("secure_connections", Json::List(Vec::new())),
    ])
}

fn connection(shown: &ShownConn, is_long: bool) -> Json {
    let interest_ops = connections::interest_ops(shown);
    let mut members = named([
        (
            "remote_socket_address",
            connections::address(shown.remote).into(),
        ),
        ("interest_ops", i64::from(interest_ops).into()),
        ("outstanding_requests", i64::from(shown.queued).into()),
        ("packets_received", shown.received.into()),
        ("packets_sent", shown.sent.into()),
    ]);
    if is_long {
        members.extend(named([
            ("session_id", shown.session.0.into()),
            (
                "last_operation",
                connections::operation(shown.last_op).into(),
            ),
            ("established", shown.established_ms.into()),
            ("session_timeout", i64::from(shown.timeout_ms).into()),
            ("last_cxid", i64::from(shown.last_cxid).into()),
            ("last_zxid", shown.last_zxid.into()),
            ("last_response_time", shown.last_response_ms.into()),
            ("last_latency", i64::from(shown.last_latency_ms).into()),
            ("min_latency", i64::from(shown.min_latency_ms).into()),
            ("avg_latency", shown.avg_latency_ms.into()),
            ("max_latency", i64::from(shown.max_latency_ms).into()),
        ]));
    }
    Json::Object(members)
}

fn digests(facts: &Facts) -> Vec<(String, Json)> {
    let digests = facts.probe().digests().into_iter().map(|(zxid, digest)| {
        Json::object([
            ("zxid", zxid.0.into()),
            // Java's numbers are signed.
            ("digest", digest.cast_signed().into()),
            ("digest_version", 2_i64.into()),
        ])
    });
    named([("digests", Json::List(digests.collect()))])
}

fn sizes(range: &Range) -> Json {
    let size = |size: Option<u64>| size.map_or(Json::Int(-1), Json::from);
    Json::object([
        ("last_buffer_size", size(range.last())),
        ("min_buffer_size", size(range.min())),
        ("max_buffer_size", size(range.max())),
    ])
}

fn trace_mask(given: Option<&str>) -> Result<i64, String> {
    let wanted = "setTraceMask requires long traceMask argument";
    let text = given.ok_or_else(|| wanted.to_owned())?;
    text.parse()
        .map_err(|_not_a_number| format!("{wanted}, got {text}"))
}

const fn asks(names: &'static [&'static str]) -> Command {
    Command {
        names,
        needs_service: true,
        needs_permission: false,
        is_post: false,
        audience: Audience::ThisHost,
    }
}

/// A command that other hosts may run, too.
const fn shown(names: &'static [&'static str]) -> Command {
    Command {
        audience: Audience::All,
        ..asks(names)
    }
}

/// A command that is answered at any time.
const fn always(names: &'static [&'static str]) -> Command {
    Command {
        needs_service: false,
        ..asks(names)
    }
}

/// A command for those who may do everything.
const fn guarded(names: &'static [&'static str], is_post: bool) -> Command {
    Command {
        needs_permission: true,
        is_post,
        ..asks(names)
    }
}

/// All commands by their names. `monitor` needs a server here, which the
/// reference forgets to ask for.
const COMMANDS: [Command; 28] = [
    asks(&["configuration", "conf", "config"]),
    asks(&["connection_stat_reset", "crst"]),
    asks(&["connections", "cons"]),
    shown(&["dirs"]),
    asks(&["dump"]),
    always(&["environment", "env", "envi"]),
    always(&["get_trace_mask", "gtmk"]),
    shown(&["hash"]),
    asks(&["initial_configuration", "icfg"]),
    shown(&["is_read_only", "isro"]),
    shown(&["last_snapshot", "lsnp"]),
    shown(&["leader", "lead"]),
    shown(&["monitor", "mntr"]),
    asks(&["observer_connection_stat_reset", "orst"]),
    shown(&["observers", "obsr"]),
    guarded(&["restore", "rest"], true),
    shown(&["ruok"]),
    shown(&["server_stats", "srvr"]),
    always(&["set_trace_mask", "stmk"]),
    guarded(&["snapshot", "snap"], false),
    asks(&["stat_reset", "srst"]),
    asks(&["stats", "stat"]),
    always(&["system_properties", "sysp"]),
    shown(&["voting_view"]),
    shown(&["watch_summary", "wchs"]),
    asks(&["watches", "wchc"]),
    asks(&["watches_by_path", "wchp"]),
    Command {
        audience: Audience::All,
        ..always(&["zabstate"])
    },
];

const EVERY_PERMISSION: [i32; 5] = [
    perms::READ,
    perms::WRITE,
    perms::CREATE,
    perms::DELETE,
    perms::ADMIN,
];

/// In the environment, but no properties.
const OF_ZOOKEEPER: [&str; 2] = ["zookeeper.version", "host.name"];

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Clock;
    use crate::config::ServerConfig;
    use crate::documents;
    use crate::probe::Probe;

    #[test]
    fn the_document_lists_every_command_under_all_its_names() {
        let rows = documents::rows("docs/compatibility.md", "admin commands");
        let listed: Vec<_> = rows.iter().map(|row| documents::names(&row[0])).collect();
        let wanted: Vec<_> = COMMANDS.iter().map(|it| it.names.to_vec()).collect();
        assert_eq!(listed, wanted);
    }

    #[test]
    fn names_are_unique_and_the_first_ones_sorted() {
        let mut all: Vec<_> = COMMANDS.iter().flat_map(|command| command.names).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(Commands::names().is_sorted());
    }

    #[tokio::test]
    async fn other_hosts_are_told_how_a_pod_is_and_no_more() {
        let text = "dataDir=/nowhere\nclientPort=0\n";
        let config = ServerConfig::read("zoo.cfg".as_ref(), text, None);
        let mut config = config.unwrap().config;
        let refused = async |config: &ServerConfig, remote: [u8; 4]| {
            let probe = Probe::new(
                config.clone(),
                Clock::start(),
                Arc::default(),
                Arc::default(),
            );
            let commands = Commands::new(probe);
            let mut refused = Vec::new();
            for command in &COMMANDS {
                for name in command.names {
                    let asked = Asked {
                        name,
                        trace_mask: None,
                        authorization: None,
                        remote: remote.into(),
                        is_post: command.is_post,
                    };
                    let answer = commands.run(&asked).await.unwrap();
                    if answer.status == StatusCode::FORBIDDEN {
                        refused.push(*name);
                    }
                }
            }
            refused.len()
        };
        let outside = [10, 0, 0, 1];
        assert_eq!(refused(&config, outside).await, 0, "as on Apache ZooKeeper");
        config.admin.as_mut().unwrap().access = AdminAccess::StatusFromOutside;
        assert_eq!(refused(&config, [127, 0, 0, 1]).await, 0);
        let all: usize = COMMANDS.iter().map(|command| command.names.len()).sum();
        let shown = COMMANDS.iter().filter(|it| it.audience == Audience::All);
        let shown: Vec<_> = shown.map(|it| it.names[0]).collect();
        let names: usize = COMMANDS
            .iter()
            .filter(|it| it.audience == Audience::All)
            .map(|it| it.names.len())
            .sum();
        assert_eq!(refused(&config, outside).await, all - names);
        let want = [
            "dirs",
            "hash",
            "is_read_only",
            "last_snapshot",
            "leader",
            "monitor",
            "observers",
            "ruok",
            "server_stats",
            "voting_view",
            "watch_summary",
            "zabstate",
        ];
        assert_eq!(shown, want);
    }

    #[test]
    fn an_answer_ends_with_its_command_and_error() {
        let answer = answer(
            StatusCode::OK,
            "nosuch",
            Err("Unknown command: nosuch".into()),
        );
        let want = "{\n  \"command\" : \"nosuch\",\n  \"error\" : \"Unknown command: nosuch\"\n}";
        assert_eq!(answer.body, want);
    }

    #[test]
    fn a_trace_mask_must_be_a_number() {
        assert_eq!(trace_mask(Some("-7")), Ok(-7));
        let error = trace_mask(Some("x")).unwrap_err();
        assert_eq!(
            error,
            "setTraceMask requires long traceMask argument, got x"
        );
    }
}
