//! A look at the server from outside of the driver: for probes, metrics and
//! four-letter words.

use std::fs;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use zk_core::request::SharedView;
use zk_core::{Role, Status};
use zk_proto::{Epoch, Sid, Zxid};

use crate::clock::Clock;
use crate::disk_thread::DiskHealth;
use crate::driver::Heartbeat;
use crate::inbox::{Event, Inbox};
use crate::metrics::Metrics;

/// Asks how the server is. There from the first moment, before data is loaded.
pub(crate) struct Probe {
    sid: Sid,
    is_standalone: bool,
    clock: Clock,
    metrics: Arc<Metrics>,
    running: OnceLock<Running>,
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
}

pub(crate) struct Files {
    pub(crate) open: usize,
    pub(crate) max: usize,
}

/// All roles that a server can have.
pub(crate) const ROLES: [&str; 4] = ["follower", "leader", "looking", "standalone"];

impl Probe {
    pub(crate) fn new(
        sid: Sid,
        is_standalone: bool,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        Arc::new(Self {
            sid,
            is_standalone,
            clock,
            metrics,
            running: OnceLock::new(),
        })
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
        running.inbox.push(Event::Report(asker));
        let report = timeout(PATIENCE, answer).await.ok()?.ok()?;
        Some(report.status)
    }

    /// Everything there is to show.
    pub(crate) async fn facts(self: &Arc<Self>) -> Facts {
        let status = self.status().await;
        let tree = self.running.get().map(|running| {
            let guard = running.view.read();
            let tree = guard.tree();
            // `DataTree` of 3.9.4 keeps the root under two names and counts both.
            let (znodes, ephemerals) = (tree.znode_count() + 1, tree.ephemerals_count());
            let data_bytes = tree.approximate_data_size();
            drop(guard);
            TreeFacts {
                znodes,
                ephemerals,
                watches: running.view.watch_count(),
                data_bytes,
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
        match status {
            Some(status) if status.is_serving || status.role != Role::Looking => {
                match status.role {
                    _ if self.is_standalone => "standalone",
                    Role::Leading => "leader",
                    Role::Following => "follower",
                    Role::Looking => "looking",
                }
            }
            _ => "looking",
        }
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
        serde_json::json!({
            "state": self.state(status),
            "role": self.role(status),
            "sid": self.sid.0,
            "epoch": epoch.0,
            "zxid": zxid.to_string(),
        })
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
        self.probe.is_standalone
    }

    pub(crate) fn role(&self) -> &'static str {
        self.probe.role(self.status())
    }

    pub(crate) fn uptime_ms(&self) -> u64 {
        self.probe.clock.mono().0
    }

    /// For how long this server has led an ensemble, if it does.
    pub(crate) fn leading_ms(&self) -> Option<u64> {
        if self.probe.is_standalone {
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
/// A driver or disk that is silent for longer is taken for dead.
const SILENCE_MAX_MS: u64 = 30_000;
