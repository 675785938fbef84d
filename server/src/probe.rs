//! A look at the server from outside of the driver: for probes, metrics and
//! four-letter words.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::ops::Bound;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;
use zk_core::request::SharedView;
use zk_core::tree::QuotaTotals;
use zk_core::watch::WatchSummary;
use zk_core::{Millis, Role, Status};
use zk_proto::{Epoch, SessionId, Zxid};

use crate::clock::Clock;
use crate::config::ServerConfig;
use crate::disk_thread::DiskHealth;
use crate::driver::Heartbeat;
use crate::inbox::{Event, Inbox};
use crate::metrics::Metrics;
use crate::net::{Mesh, Registry};

/// Asks how the server is. There from the first moment, before data is loaded.
pub(crate) struct Probe {
    config: ServerConfig,
    clock: Clock,
    metrics: Arc<Metrics>,
    registry: Arc<Registry>,
    running: OnceLock<Running>,
    client_address: OnceLock<SocketAddr>,
    /// Absent without peers, and before their ports are bound.
    mesh: OnceLock<Arc<Mesh>>,
    /// The newest answer of the replica, for windows that cannot wait.
    last_status: Mutex<Option<Status>>,
}

/// What exists once data is loaded.
pub(crate) struct Running {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) view: SharedView,
    pub(crate) heartbeat: Arc<Heartbeat>,
    pub(crate) disk: Arc<DiskHealth>,
}

/// What the probe found at one moment.
pub(crate) struct Facts {
    probe: Arc<Probe>,
    status: Option<Status>,
    tree: Option<TreeFacts>,
    files: Option<Files>,
}

pub(crate) struct TreeFacts {
    pub(crate) znodes: usize,
    pub(crate) ephemerals: usize,
    pub(crate) watches: usize,
    pub(crate) data_bytes: u64,
    pub(crate) digest_mismatches: u64,
    /// By the first name of the path.
    pub(crate) quotas: BTreeMap<String, QuotaTotals>,
}

pub(crate) struct Files {
    pub(crate) open: usize,
    pub(crate) max: usize,
}

/// All roles that a server can have.
pub(crate) const ROLES: [&str; 4] = ["follower", "leader", "looking", "standalone"];

/// The name of a role for people, one of [`ROLES`].
pub(crate) const fn role_name(role: Role, is_standalone: bool) -> &'static str {
    match role {
        Role::Looking => "looking",
        Role::Leading | Role::Following if is_standalone => "standalone",
        Role::Leading => "leader",
        Role::Following => "follower",
    }
}

impl Probe {
    pub(crate) fn new(
        config: ServerConfig,
        clock: Clock,
        metrics: Arc<Metrics>,
        registry: Arc<Registry>,
    ) -> Arc<Self> {
        Arc::new(Self {
            config,
            clock,
            metrics,
            registry,
            running: OnceLock::new(),
            client_address: OnceLock::new(),
            mesh: OnceLock::new(),
            last_status: Mutex::default(),
        })
    }

    /// Clients may connect here.
    pub(crate) fn set_client_address(&self, address: SocketAddr) {
        // Called once, by the start of the server.
        let _ = self.client_address.set(address);
    }

    /// The ports for peers are bound.
    pub(crate) fn set_mesh(&self, mesh: Arc<Mesh>) {
        // Called once, by the start of the server.
        let _ = self.mesh.set(mesh);
    }

    /// Data is loaded and the driver is about to run.
    pub(crate) fn set_running(&self, running: Running) {
        // Called once, by the start of the server.
        let _ = self.running.set(running);
    }

    /// Do the tasks answer without which the server is of no use? Loading,
    /// however long, and looking for a leader are no reason to say no.
    pub(crate) fn is_live(&self) -> bool {
        self.running.get().is_none_or(|running| {
            running.heartbeat.silent_ms(self.clock) < SILENCE_MAX_MS
                && running.disk.busy_ms(self.clock) < SILENCE_MAX_MS
        })
    }

    /// The replica's own view of itself, unless it is too busy to tell.
    pub(crate) async fn status(&self) -> Option<Status> {
        let running = self.running.get()?;
        let (asker, answer) = oneshot::channel();
        running.inbox.push(Event::Status(asker));
        let status = timeout(PATIENCE, answer).await.ok()?.ok()?;
        *self.last_status.lock() = Some(status.clone());
        Some(status)
    }

    /// Sessions of the ensemble by the time of their expiry, asked of a leader
    /// in slices, so that clients wait for none of it. `None` if this server
    /// is no leader or too busy.
    pub(crate) async fn sessions_by_expiry(&self) -> Option<Vec<(Millis, SessionId)>> {
        let running = self.running.get()?;
        let mut sessions: Vec<(Millis, SessionId)> = Vec::new();
        loop {
            let (asker, answer) = oneshot::channel();
            let after = sessions.last().copied();
            let max = SLICE;
            running.inbox.push(Event::Sessions { after, max, asker });
            let slice = timeout(PATIENCE, answer).await.ok()?.ok()??;
            let is_last = slice.len() < SLICE;
            sessions.extend(slice);
            if is_last {
                return Some(sessions);
            }
        }
    }

    /// Sessions of the ensemble and their timeouts in ms.
    pub(crate) fn sessions(&self) -> Vec<(SessionId, i32)> {
        let mut sessions: Vec<(SessionId, i32)> = Vec::new();
        let Some(running) = self.running.get() else {
            return sessions;
        };
        loop {
            let after = sessions.last().map(|(session, _)| *session);
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let before = sessions.len();
            let guard = running.view.read();
            let later = guard.tree().sessions().range((from, Bound::Unbounded));
            sessions.extend(later.take(SLICE).map(|(id, timeout_ms)| (*id, *timeout_ms)));
            drop(guard);
            if sessions.len() - before < SLICE {
                return sessions;
            }
        }
    }

    /// Ephemerals by the session that owns them.
    pub(crate) fn ephemerals(&self) -> Vec<(SessionId, Vec<String>)> {
        let Some(running) = self.running.get() else {
            return Vec::new();
        };
        let owners: Vec<_> = running.view.read().tree().ephemeral_owners().collect();
        let mut ephemerals = Vec::with_capacity(owners.len());
        for slice in owners.chunks(OWNERS_SLICE) {
            let guard = running.view.read();
            ephemerals.extend(slice.iter().filter_map(|session| {
                let paths: Vec<_> = guard
                    .tree()
                    .ephemerals(*session)
                    .map(str::to_owned)
                    .collect();
                (!paths.is_empty()).then_some((*session, paths))
            }));
        }
        ephemerals
    }

    /// Paths whose data is watched, by session.
    pub(crate) fn watches(&self) -> Vec<(SessionId, Vec<String>)> {
        let Some(running) = self.running.get() else {
            return Vec::new();
        };
        running.view.data_watches().into_iter().collect()
    }

    /// How many watch how much.
    pub(crate) fn watch_summary(&self) -> WatchSummary {
        let running = self.running.get();
        running.map_or_else(WatchSummary::default, |running| {
            running.view.watch_summary()
        })
    }

    /// Digests of the tree at some zxids.
    pub(crate) fn digests(&self) -> Vec<(Zxid, u64)> {
        let Some(running) = self.running.get() else {
            return Vec::new();
        };
        running.view.read().tree().digest_log().iter().collect()
    }

    /// What clients read, once it is loaded.
    pub(crate) fn view(&self) -> Option<&SharedView> {
        self.running.get().map(|running| &running.view)
    }

    /// What the server was told at its start.
    pub(crate) const fn config(&self) -> &ServerConfig {
        &self.config
    }

    /// The client connections.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What is counted.
    pub(crate) const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The server's clocks.
    pub(crate) const fn clock(&self) -> Clock {
        self.clock
    }

    /// Where clients connect, once they can.
    pub(crate) fn client_address(&self) -> Option<SocketAddr> {
        self.client_address.get().copied()
    }

    /// Everything there is to show. A replica that is too busy to answer is
    /// shown as it was when it last did.
    pub(crate) async fn facts(self: &Arc<Self>) -> Facts {
        let status = match self.status().await {
            Some(status) => Some(status),
            None => self.last_status.lock().clone(),
        };
        let tree = self.running.get().map(|running| {
            let guard = running.view.read();
            let tree = guard.tree();
            // `DataTree` of 3.9.4 keeps the root under two names and counts both.
            let (znodes, ephemerals) = (tree.znode_count() + 1, tree.ephemerals_count());
            let data_bytes = tree.approximate_data_size();
            let digest_mismatches = tree.digest_mismatches();
            let quotas = tree.quotas_by_namespace();
            drop(guard);
            TreeFacts {
                znodes,
                ephemerals,
                watches: running.view.watch_count(),
                data_bytes,
                digest_mismatches,
                quotas,
            }
        });
        Facts {
            probe: self.clone(),
            status,
            tree,
            files: files(),
        }
    }

    /// `leader`, `follower`, `standalone` or `looking`.
    pub(crate) fn role(&self, status: Option<&Status>) -> &'static str {
        let role = status.map_or(Role::Looking, |status| status.role);
        role_name(role, self.config.standalone)
    }

    /// `loading`, `electing`, `synchronizing` or `serving`.
    pub(crate) fn state(&self, status: Option<&Status>) -> &'static str {
        match status {
            None => "loading",
            Some(status) if status.is_serving => "serving",
            Some(status) if status.role == Role::Looking => "electing",
            Some(_) => "synchronizing",
        }
    }

    /// The body of both probes.
    pub(crate) fn json(&self, status: Option<&Status>) -> serde_json::Value {
        let epoch = status.map_or(Epoch(0), |status| status.epoch);
        let zxid = status.map_or(Zxid::ZERO, |status| status.last_zxid);
        let mut json = serde_json::json!({
            "state": self.state(status),
            "role": self.role(status),
            "sid": self.config.sid.0,
            "epoch": epoch.0,
            "zxid": zxid.to_string(),
            "problem": status.and_then(|status| status.problem).map(|problem| problem.to_string()),
        });
        if let Some(mesh) = self.mesh.get()
            && !status.is_some_and(|status| status.is_serving)
        {
            let servers = mesh.unreachable().into_iter();
            let servers = servers.map(|(sid, why)| (sid.0.to_string(), why.into()));
            json["unreachable"] = servers.collect::<serde_json::Map<_, _>>().into();
        }
        json
    }
}

impl Facts {
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.probe.metrics
    }

    pub(crate) fn status(&self) -> Option<&Status> {
        self.status.as_ref()
    }

    pub(crate) fn tree(&self) -> Option<&TreeFacts> {
        self.tree.as_ref()
    }

    pub(crate) fn files(&self) -> Option<&Files> {
        self.files.as_ref()
    }

    pub(crate) fn is_standalone(&self) -> bool {
        self.probe.config.standalone
    }

    /// Does this server take clients?
    pub(crate) fn is_serving(&self) -> bool {
        self.status().is_some_and(|status| status.is_serving)
    }

    pub(crate) fn probe(&self) -> &Probe {
        &self.probe
    }

    pub(crate) fn role(&self) -> &'static str {
        self.probe.role(self.status())
    }

    pub(crate) fn uptime_ms(&self) -> u64 {
        self.probe.clock.mono().0
    }

    /// For how long this server has led an ensemble, if it does.
    pub(crate) fn leading_ms(&self) -> Option<u64> {
        if self.probe.config.standalone {
            return None;
        }
        match self.probe.metrics.leading_since_ms.load(Ordering::Relaxed) {
            0 => None,
            since => Some((self.uptime_ms() + 1).saturating_sub(since)),
        }
    }
}

/// Open files of this process and their limit, where the system tells.
fn files() -> Option<Files> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))?;
    let max = line.split_whitespace().nth(3)?.parse().ok()?;
    Some(Files { open, max })
}

/// A probe waits this long for the driver.
const PATIENCE: Duration = Duration::from_millis(800);
/// Sessions that are copied at once.
const SLICE: usize = 4096;
/// Sessions whose ephemerals are copied at once.
const OWNERS_SLICE: usize = 64;
/// A driver or disk that is silent for longer is taken for dead.
const SILENCE_MAX_MS: u64 = 30_000;
