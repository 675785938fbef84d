//! What is done for each operation, on the disk's thread or on the one that runs the tasks.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use zk_core::{EpochFile, Input, LogEntry, TreeCut};
use zk_store::{EpochName, RealDisk, Store};

use super::background::{self, Background, SNAPSHOT_PAUSE, SnapshotJob};
use super::{DiskHealth, DiskOp};
use crate::clock::Clock;
use crate::config::ServerConfig;
use crate::inbox::{Event, Inbox};
use crate::load::{LoadError, truncate};
use crate::metrics::Metrics;

/// The store and what is told of it; at an error it stops for good.
pub(super) struct Worker {
    store: Store<RealDisk>,
    inbox: Arc<Inbox>,
    metrics: Arc<Metrics>,
    clock: Clock,
    health: Arc<DiskHealth>,
    tail_max: usize,
    snapshots_kept: usize,
    purge_interval: Option<Duration>,
    sync_warning: Duration,
    snapshot: Option<Background>,
    purge: Option<Background>,
    /// How long to wait after a snapshot that could not be written.
    pub(super) snapshot_pause: Duration,
    /// How long syncs have taken lately.
    pub(super) usual_sync: Duration,
    has_failed: bool,
}

impl Worker {
    pub(super) fn new(
        store: Store<RealDisk>,
        config: &ServerConfig,
        inbox: Arc<Inbox>,
        metrics: Arc<Metrics>,
        clock: Clock,
        health: Arc<DiskHealth>,
    ) -> Self {
        Self {
            store,
            inbox,
            metrics,
            clock,
            health,
            tail_max: config.commit_log_count,
            snapshots_kept: config.snapshots_kept,
            purge_interval: (config.purge_interval_hours > 0)
                .then(|| Duration::from_secs(config.purge_interval_hours * 3600)),
            sync_warning: Duration::from_millis(config.storage.sync_warning_ms),
            snapshot: None,
            purge: None,
            snapshot_pause: SNAPSHOT_PAUSE,
            usual_sync: FAST_SYNC_MAX,
            has_failed: false,
        }
    }

    /// Syncs have been short lately.
    pub(super) fn is_fast(&self) -> bool {
        self.usual_sync < FAST_SYNC_MAX
    }

    pub(super) fn purge_interval(&self) -> Option<Duration> {
        self.purge_interval
    }

    /// Tells the driver when the thread that holds it unwinds.
    pub(super) fn report_panic(&self) -> ReportPanic {
        ReportPanic(self.inbox.clone())
    }

    /// After an error nothing more is done, and the driver is about to end.
    pub(super) fn perform_or_report(&mut self, batch: &mut Vec<DiskOp>) {
        if self.has_failed {
            batch.clear();
            return;
        }
        // Also if this panics.
        self.has_failed = true;
        match self.perform(batch) {
            Ok(()) => self.has_failed = false,
            Err(error) => self.inbox.push(Event::DiskFailed(error.into())),
        }
    }

    /// Has a thread remove what no restart needs, unless one still does: it
    /// reads whole snapshots, for which the log must not wait.
    pub(super) fn start_purge(&mut self) {
        let is_at_it = self.purge.as_ref().is_some_and(|it| !it.is_finished());
        if self.has_failed || is_at_it {
            return;
        }
        let (purger, kept) = (self.store.purger(), self.snapshots_kept);
        let work = move |stop: &_| background::purge(&purger, kept, stop);
        match Background::start("purge", self.inbox.clone(), work) {
            Ok(thread) => self.purge = Some(thread),
            Err(error) => {
                tracing::warn!(%error, "cannot start a thread; this purge is skipped");
            }
        }
    }

    fn perform(&mut self, batch: &mut Vec<DiskOp>) -> Result<(), LoadError> {
        let mut ops = batch.drain(..).peekable();
        while let Some(op) = ops.next() {
            self.health
                .busy_since_ms
                .store(self.clock.mono().0 + 1, Ordering::Relaxed);
            match op {
                DiskOp::Append(mut entries) => {
                    while let Some(DiskOp::Append(more)) =
                        ops.next_if(|next| matches!(next, DiskOp::Append(_)))
                    {
                        entries.extend(more);
                    }
                    self.append(&entries)?;
                }
                DiskOp::SaveEpoch(file, epoch) => {
                    let name = match file {
                        EpochFile::Accepted => EpochName::Accepted,
                        EpochFile::Current => EpochName::Current,
                    };
                    self.store.save_epoch(name, epoch)?;
                    self.inbox.push_input(Input::EpochSaved(file, epoch));
                }
                DiskOp::SaveSnapshot(cut) => {
                    self.store.roll()?;
                    self.start_snapshot(cut);
                }
                DiskOp::Truncate(zxid) => {
                    self.start_long_work();
                    let left = truncate(&mut self.store, zxid, self.tail_max, &self.metrics)?;
                    if left.last_zxid == zxid {
                        tracing::info!(to = %zxid, "log truncated");
                    } else {
                        tracing::warn!(to = %zxid, last = %left.last_zxid, "log not truncated: the leader is asked for its whole tree");
                    }
                    self.inbox.push_input(Input::Truncated(Box::new(left)));
                }
                DiskOp::Install { cut, keeps_old } => {
                    self.start_long_work();
                    let zxid = cut.zxid();
                    let mut blocks = cut.blocks();
                    let bytes =
                        self.store
                            .install_snapshot(zxid, cut.digest(), keeps_old, |out| {
                                blocks.append_next(out)
                            })?;
                    tracing::info!(%zxid, bytes, "the leader's snapshot installed");
                    self.inbox.push_input(Input::SnapshotInstalled(zxid));
                }
            }
            self.health.busy_since_ms.store(0, Ordering::Relaxed);
        }
        Ok(())
    }

    fn append(&mut self, entries: &[LogEntry]) -> Result<(), LoadError> {
        let Some(last) = entries.last() else {
            return Ok(());
        };
        let start = Instant::now();
        self.store
            .append(entries.iter().map(|entry| (entry.zxid, &entry.data[..])))?;
        self.store.sync()?;
        let elapsed = start.elapsed();
        // One slow sync counts at once, and is forgotten after some fast ones.
        self.usual_sync = elapsed.max((self.usual_sync * 7 + elapsed) / 8);
        self.metrics.syncs.record_time(elapsed, 1);
        self.metrics.sync_batches.record(entries.len() as u64, 1);
        if elapsed >= self.sync_warning {
            self.metrics.slow_syncs.add(1);
            let elapsed_ms = elapsed.as_millis();
            tracing::warn!(
                elapsed_ms,
                entries = entries.len(),
                "syncing the log is slow"
            );
        }
        self.inbox.disk_wrote(super::bytes_of(entries));
        self.inbox.push_input(Input::Appended(last.zxid));
        Ok(())
    }

    fn start_snapshot(&mut self, cut: Arc<TreeCut>) {
        if let Some(before) = self.snapshot.take() {
            before.end();
        }
        let zxid = cut.zxid();
        let job = SnapshotJob {
            cut,
            snapshots: self.store.snapshots(),
            inbox: self.inbox.clone(),
            metrics: self.metrics.clone(),
            pause: self.snapshot_pause,
        };
        let work = move |stop: &_| job.run(stop);
        match Background::start("snapshot", self.inbox.clone(), work) {
            Ok(thread) => self.snapshot = Some(thread),
            Err(error) => {
                tracing::warn!(%error, "cannot start a thread; this snapshot is skipped");
                self.inbox.push_input(Input::SnapshotSaved(zxid));
            }
        }
    }

    /// Rewriting history and loading may take long without anything being
    /// wrong. A snapshot that is being written would only make it longer.
    fn start_long_work(&mut self) {
        self.health.busy_since_ms.store(0, Ordering::Relaxed);
        self.end_background();
    }

    /// No other thread works on the files when this returns.
    pub(super) fn end_background(&mut self) {
        let threads = [self.purge.take(), self.snapshot.take()];
        threads.into_iter().flatten().for_each(Background::end);
    }
}

/// Tells the driver when a thread unwinds.
pub(super) struct ReportPanic(pub(super) Arc<Inbox>);

impl Drop for ReportPanic {
    fn drop(&mut self) {
        self.0
            .push(Event::DiskFailed("the disk thread has panicked".into()));
    }
}

/// A log whose syncs usually take longer is left to the thread, so that the
/// tasks do not stand still with it.
pub(super) const FAST_SYNC_MAX: Duration = Duration::from_millis(1);
