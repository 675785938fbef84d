//! What a server is told before it starts: zoo.cfg and myid.

mod auth;
mod catalogue;
mod error;
mod java_flag;
mod limits;
mod member;
mod peers;
mod properties;
mod review;
mod storage;
mod system_properties;
mod values;
mod zoo_cfg;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use zk_core::Ensemble;
use zk_core::auth::AuthConfig;
use zk_core::config::ZnodeConfig;
use zk_proto::Sid;

pub use error::{ConfigError, EMBEDDED};
pub use java_flag::java_flag;
pub use limits::{ClientLimits, ConnectionThrottle};
pub use peers::PeerConfig;
pub use storage::StorageConfig;
pub(crate) use system_properties::{system_properties, without_secrets};
pub use values::Warning;
pub use zoo_cfg::Loaded;

/// A validated zoo.cfg with its defaults filled in.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The zoo.cfg, or a word for one that is built in.
    pub file: PathBuf,
    /// The text that this was read from.
    pub text: Arc<str>,
    /// This server; 1 where there is no `server.N` line.
    pub sid: Sid,
    /// All `server.N` lines, or this server alone.
    pub ensemble: Ensemble,
    /// Name of the ensemble, such as `default/zk`; `None` where nobody has given
    /// it one. Servers of ensembles with other names are kept out.
    pub ensemble_name: Option<String>,
    /// Without peers: one voter, and `standaloneEnabled` is not false.
    pub standalone: bool,
    /// `tickTime`, ms.
    pub tick_ms: u64,
    /// `initLimit`, ticks.
    pub init_limit: u32,
    /// `syncLimit`, ticks.
    pub sync_limit: u32,
    /// `dataDir`: snapshots, epoch files, myid.
    pub data_dir: PathBuf,
    /// `dataLogDir`: transaction logs.
    pub data_log_dir: PathBuf,
    /// Host or address of the client port; `None` for all addresses.
    pub client_address: Option<String>,
    /// `clientPort`.
    pub client_port: u16,
    /// What clients may take.
    pub limits: ClientLimits,
    /// `minSessionTimeout`, ms.
    pub session_timeout_min_ms: i32,
    /// `maxSessionTimeout`, ms.
    pub session_timeout_max_ms: i32,
    /// `quorumListenOnAllIPs`.
    pub quorum_listen_on_all_addresses: bool,
    /// How the other servers are spoken to.
    pub peers: PeerConfig,
    /// `readonlymode.enabled`: `isro` is answered without being listed.
    pub read_only_mode: bool,
    /// How data is kept.
    pub storage: StorageConfig,
    /// Rules for znodes.
    pub znodes: ZnodeConfig,
    /// Who may do what.
    pub auth: AuthConfig,
    /// `snapCount`, transactions.
    pub snap_count: u64,
    /// `commitLogCount`, transactions.
    pub commit_log_count: usize,
    /// `preAllocSize` in bytes; zoo.cfg counts KiB.
    pub log_prealloc_bytes: u64,
    /// `forceSync`: make the log durable before acknowledging.
    pub force_sync: bool,
    /// `autopurge.snapRetainCount`.
    pub snapshots_kept: usize,
    /// `autopurge.purgeInterval`, hours; 0 for never.
    pub purge_interval_hours: u64,
    /// `jute.maxbuffer`, bytes: longest record.
    pub frame_bytes_max: usize,
    /// The admin port; `None` where `admin.enableServer=false`.
    pub admin: Option<AdminConfig>,
    /// The metrics port; `None` unless `metricsProvider.className` names the
    /// Prometheus provider.
    pub metrics: Option<HttpAddress>,
    /// `4lw.commands.whitelist`.
    pub commands: CommandWhitelist,
    /// What is logged.
    pub logging: LoggingConfig,
    /// `quorate.workerThreads`: threads that serve the network; 0 picks one on
    /// machines of up to two cores and one a core beyond.
    pub worker_threads: usize,
}

/// The admin port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Where it is.
    pub address: HttpAddress,
    /// `admin.commandURL`: path of the commands.
    pub command_url: String,
    /// `admin.idleTimeout`: a silent connection is closed after this.
    pub idle_max: Duration,
    /// Whether a server without this port ends. A member of an ensemble serves
    /// its clients without it and goes on trying, as its ensemble may need it;
    /// a standalone server ends, and so does a pod, which nobody could probe.
    pub is_required: bool,
    /// Who may run which commands.
    pub access: AdminAccess,
}

/// Who may run which commands of the admin port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminAccess {
    /// Whoever reaches the port runs all of them, as on Apache ZooKeeper.
    Everybody,
    /// From other hosts only those that show how the server is. Those that
    /// show sessions, paths or configuration, and those that change something,
    /// are for this host. `quorate pod` sets this.
    StatusFromOutside,
}

/// What is logged, and how; the command line and the environment go first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggingConfig {
    /// `quorate.log`: a level, or `target=level` pairs.
    pub filter: String,
    /// `quorate.logFormat` is `json`.
    pub is_json: bool,
}

/// Where an HTTP listener binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAddress {
    /// Host or address.
    pub host: String,
    /// Port; 0 lets the system choose.
    pub port: u16,
}

/// Which four-letter words are answered. `srvr` always is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandWhitelist {
    /// `*`.
    All,
    /// These.
    Names(Vec<String>),
}

impl CommandWhitelist {
    /// May this word be executed?
    #[must_use]
    pub fn allows(&self, word: &str) -> bool {
        match self {
            Self::All => true,
            Self::Names(names) => word == "srvr" || names.iter().any(|name| name == word),
        }
    }
}
