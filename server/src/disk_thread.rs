//! The thread that owns the [`Store`]: takes all that has queued, appends it
//! as one batch with one sync, and tells the driver in order.
//!
//! Periodic snapshots are written by a second thread, so that they do not
//! keep the log waiting. After the first error nothing more is done: the
//! driver is told and ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use zk_core::{EpochFile, Input, LogEntry, RebuildError, Recovered, TreeCut};
use zk_proto::{Epoch, Zxid};
use zk_store::{EpochName, RealDisk, Store, StoreConfig, StoreError};

use crate::clock::Clock;
use crate::config::ServerConfig;
use crate::inbox::{Event, Inbox};
use crate::metrics::Metrics;

/// What the driver asks of the disk.
pub(crate) enum DiskOp {
    Append(Vec<LogEntry>),
    SaveEpoch(EpochFile, Epoch),
    Truncate(Zxid),
    Install(Arc<TreeCut>),
    SaveSnapshot(Arc<TreeCut>),
}

/// The driver's end of the queue. What may be queued is bounded by what the
/// replica lets be outstanding. Dropping it ends the thread once all is done.
pub(crate) struct Disk {
    ops: Option<Sender<DiskOp>>,
    thread: Option<JoinHandle<()>>,
    health: Arc<DiskHealth>,
}

/// Since when the disk is at work, for the probe.
#[derive(Default)]
pub(crate) struct DiskHealth {
    /// ms since the start plus one; 0 while idle or at work that may be long.
    busy_since_ms: AtomicU64,
}

impl DiskHealth {
    /// For how long the thread has been at one piece of work that should be short.
    pub(crate) fn busy_ms(&self, clock: Clock) -> u64 {
        match self.busy_since_ms.load(Ordering::Relaxed) {
            0 => 0,
            since => (clock.mono().0 + 1).saturating_sub(since),
        }
    }
}

/// What starting from a disk can run into.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
}

/// Opens the store and loads what it holds. Blocks, for minutes if there is much.
pub(crate) fn load(
    config: &ServerConfig,
    metrics: &Metrics,
) -> Result<(Store<RealDisk>, Recovered), LoadError> {
    let start = Instant::now();
    let mut store = Store::open(
        RealDisk,
        StoreConfig {
            pre_alloc_kib: config.log_prealloc_bytes / 1024,
            force_sync: config.force_sync,
            data_dir: config.data_dir.clone(),
            log_dir: config.data_log_dir.clone(),
            trust_empty_snapshot: config.storage.trust_empty_snapshot,
            snapshot_compression: config.storage.snapshot_compression,
            create_dirs: config.storage.create_dirs,
            create_database: config.storage.create_database,
            log_bytes_max: config.storage.log_size_limit_bytes,
        },
    )?;
    let recovered = recover(&mut store, config.commit_log_count, metrics)?;
    metrics.load_time.record_time(start.elapsed(), 1);
    let zxid = recovered.last_zxid;
    tracing::info!(%zxid, elapsed_ms = start.elapsed().as_millis(), "data loaded");
    Ok((store, recovered))
}

fn recover(
    store: &mut Store<RealDisk>,
    tail_max: usize,
    metrics: &Metrics,
) -> Result<Recovered, LoadError> {
    let loaded = store.recover(tail_max)?;
    let entry = |(zxid, data)| LogEntry { zxid, data };
    metrics.txns_loaded.record(loaded.entries.len() as u64, 1);
    let is_fresh = loaded.snapshot.is_none() && loaded.entries.is_empty();
    let recovered = Recovered::rebuild(
        loaded
            .snapshot
            .map(|snapshot| (snapshot.zxid, snapshot.image)),
        loaded.entries.into_iter().map(entry),
        loaded.tail.into_iter().map(entry).collect(),
        loaded.accepted_epoch,
        loaded.current_epoch,
    )?;
    if is_fresh {
        let tree = &recovered.tree;
        store.save_snapshot(recovered.last_zxid, &tree.image(), tree.digest())?;
    }
    Ok(recovered)
}

impl Disk {
    /// Starts the thread.
    pub(crate) fn start(
        store: Store<RealDisk>,
        config: &ServerConfig,
        inbox: Arc<Inbox>,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> std::io::Result<Self> {
        let (ops, queue) = channel();
        let health = Arc::new(DiskHealth::default());
        let worker = Worker {
            store,
            inbox,
            metrics,
            clock,
            health: health.clone(),
            tail_max: config.commit_log_count,
            snapshots_kept: config.snapshots_kept,
            purge_interval: (config.purge_interval_hours > 0)
                .then(|| Duration::from_secs(config.purge_interval_hours * 3600)),
            sync_warning: Duration::from_millis(config.storage.sync_warning_ms),
            snapshot: None,
        };
        let thread = thread::Builder::new()
            .name("disk".into())
            .spawn(move || worker.run(&queue))?;
        Ok(Self {
            ops: Some(ops),
            thread: Some(thread),
            health,
        })
    }

    /// Queues an operation.
    pub(crate) fn ask(&self, op: DiskOp) {
        if let Some(ops) = &self.ops {
            // A thread that has failed has told the driver, which is about to end.
            let _ = ops.send(op);
        }
    }

    pub(crate) fn health(&self) -> Arc<DiskHealth> {
        self.health.clone()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.ops = None;
        if let Some(thread) = self.thread.take() {
            // A panic was reported by the thread's own guard.
            let _ = thread.join();
        }
    }
}

struct Worker {
    store: Store<RealDisk>,
    inbox: Arc<Inbox>,
    metrics: Arc<Metrics>,
    clock: Clock,
    health: Arc<DiskHealth>,
    tail_max: usize,
    snapshots_kept: usize,
    purge_interval: Option<Duration>,
    sync_warning: Duration,
    snapshot: Option<JoinHandle<()>>,
}

impl Worker {
    fn run(mut self, queue: &Receiver<DiskOp>) {
        let guard = ReportPanic(self.inbox.clone());
        if let Err(error) = self.work(queue) {
            self.inbox.push(Event::DiskFailed(error.into()));
        }
        self.finish_snapshot();
        std::mem::forget(guard);
    }

    fn work(&mut self, queue: &Receiver<DiskOp>) -> Result<(), LoadError> {
        let mut purge_at = self.purge_interval.map(|_| Instant::now());
        let mut batch = Vec::new();
        loop {
            let first = match purge_at {
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => queue.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match first {
                Ok(op) => batch.push(op),
                Err(RecvTimeoutError::Timeout) => {
                    purge_at = self
                        .purge_interval
                        .map(|interval| Instant::now() + interval);
                    let removed = self.store.purge(self.snapshots_kept)?;
                    tracing::info!(removed, "old snapshots and logs purged");
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            batch.extend(queue.try_iter());
            self.perform(&mut batch)?;
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
                    self.store.truncate(zxid)?;
                    let left = recover(&mut self.store, self.tail_max, &self.metrics)?;
                    tracing::info!(to = %zxid, last = %left.last_zxid, "log truncated");
                    self.inbox.push_input(Input::Truncated(Box::new(left)));
                }
                DiskOp::Install(cut) => {
                    self.start_long_work();
                    let zxid = cut.zxid();
                    let mut blocks = cut.blocks();
                    let bytes = self
                        .store
                        .install_snapshot(zxid, cut.digest(), |out| blocks.append_next(out))?;
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
        self.inbox.push_input(Input::Appended(last.zxid));
        Ok(())
    }

    fn start_snapshot(&mut self, cut: Arc<TreeCut>) {
        self.finish_snapshot();
        let zxid = cut.zxid();
        let snapshots = self.store.snapshots();
        let (inbox, metrics) = (self.inbox.clone(), self.metrics.clone());
        let work = move || {
            let guard = ReportPanic(inbox.clone());
            let start = Instant::now();
            let mut blocks = cut.blocks();
            match snapshots.write_blocks(zxid, cut.digest(), |out| blocks.append_next(out)) {
                Ok(bytes) => {
                    metrics.snapshots.record_time(start.elapsed(), 1);
                    let elapsed_ms = start.elapsed().as_millis();
                    tracing::info!(%zxid, bytes, elapsed_ms, "snapshot written");
                    inbox.push_input(Input::SnapshotSaved(zxid));
                }
                Err(error) => inbox.push(Event::DiskFailed(error.into())),
            }
            std::mem::forget(guard);
        };
        match thread::Builder::new().name("snapshot".into()).spawn(work) {
            Ok(thread) => self.snapshot = Some(thread),
            Err(error) => {
                tracing::warn!(%error, "cannot start a thread; this snapshot is skipped");
                self.inbox.push_input(Input::SnapshotSaved(zxid));
            }
        }
    }

    /// Rewriting history and loading may take long without anything being wrong.
    fn start_long_work(&mut self) {
        self.health.busy_since_ms.store(0, Ordering::Relaxed);
        self.finish_snapshot();
    }

    fn finish_snapshot(&mut self) {
        if let Some(thread) = self.snapshot.take() {
            // Its guard has reported a panic.
            let _ = thread.join();
        }
    }
}

/// Tells the driver when a thread unwinds.
struct ReportPanic(Arc<Inbox>);

impl Drop for ReportPanic {
    fn drop(&mut self) {
        self.0
            .push(Event::DiskFailed("the disk thread has panicked".into()));
    }
}
