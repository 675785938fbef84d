//! Work beside the log, each piece on a thread of its own: the log never waits
//! for it. Neither a snapshot nor a purge that fails ends the process: nothing
//! was promised of them, and both are tried again.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use zk_core::{Input, TreeCut};
use zk_store::{Purger, RealDisk, Snapshots, StoreError};

use super::worker::ReportPanic;
use crate::inbox::Inbox;
use crate::metrics::Metrics;

/// A thread that can be asked to end early.
pub(super) struct Background {
    thread: JoinHandle<()>,
    stop: Stop,
}

impl Background {
    /// Starts a thread. If it panics, the driver is told and ends the process.
    pub(super) fn start(
        name: &str,
        inbox: Arc<Inbox>,
        work: impl FnOnce(&Stop) + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Stop::default();
        let stopped = stop.clone();
        let work = move || {
            let guard = ReportPanic(inbox);
            work(&stopped);
            std::mem::forget(guard);
        };
        let thread = thread::Builder::new().name(name.into()).spawn(work)?;
        Ok(Self { thread, stop })
    }

    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Asks the thread to end, and waits for that. A snapshot that is being
    /// written is given up within one of its parts: the log holds everything.
    pub(super) fn end(self) {
        self.stop.set();
        // Its guard has reported a panic.
        let _ = self.thread.join();
    }
}

/// Tells a thread to end.
#[derive(Clone, Default)]
pub(super) struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    fn set(&self) {
        let (is_set, changed) = &*self.0;
        *is_set.lock() = true;
        changed.notify_all();
    }

    fn is_set(&self) -> bool {
        *self.0.0.lock()
    }

    /// Waits for so long, or until the thread is to end. Returns whether it is.
    fn wait(&self, time: Duration) -> bool {
        let (is_set, changed) = &*self.0;
        let end = Instant::now() + time;
        let mut is_set = is_set.lock();
        while !*is_set && !changed.wait_until(&mut is_set, end).timed_out() {}
        *is_set
    }
}

/// A periodic snapshot.
pub(super) struct SnapshotJob {
    pub(super) cut: Arc<TreeCut>,
    pub(super) snapshots: Snapshots<RealDisk>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) metrics: Arc<Metrics>,
    /// How long to wait after a failure.
    pub(super) pause: Duration,
}

impl SnapshotJob {
    /// Writes the snapshot. If that fails, for want of space or descriptors,
    /// it is tried a few times more; then the next one that is due will do,
    /// since the log holds everything. Nothing is left of one that is given up.
    pub(super) fn run(self, stop: &Stop) {
        let Self {
            cut,
            snapshots,
            inbox,
            metrics,
            pause,
        } = self;
        let zxid = cut.zxid();
        for attempt in 1..=ATTEMPTS_MAX {
            let start = Instant::now();
            let mut blocks = cut.blocks();
            let written = snapshots.write_blocks(zxid, cut.digest(), |out| match stop.is_set() {
                true => Err(StoreError::Stopped),
                false => Ok(blocks.append_next(out)),
            });
            let error = match written {
                Ok(bytes) => {
                    metrics.snapshots.record_time(start.elapsed(), 1);
                    let elapsed_ms = start.elapsed().as_millis();
                    tracing::info!(%zxid, bytes, elapsed_ms, "snapshot written");
                    break;
                }
                Err(StoreError::Stopped) => {
                    tracing::info!(%zxid, "snapshot given up before its end; the log is kept");
                    break;
                }
                Err(error) => anyhow::Error::from(error),
            };
            if attempt == ATTEMPTS_MAX || stop.wait(pause) {
                tracing::error!(%zxid, attempt, error = format!("{error:#}"), "cannot write a snapshot; the log is kept and grows until the next one");
                break;
            }
            tracing::warn!(%zxid, attempt, error = format!("{error:#}"), "cannot write a snapshot; it will be tried again");
        }
        inbox.push_input(Input::SnapshotSaved(zxid));
    }
}

/// Removes old snapshots and logs.
pub(super) fn purge(purger: &Purger<RealDisk>, snapshots_kept: usize, stop: &Stop) {
    match purger.purge(snapshots_kept, &|| stop.is_set()) {
        Ok(removed) => tracing::info!(removed, "old snapshots and logs purged"),
        Err(error) => {
            let error = anyhow::Error::from(error);
            tracing::warn!(
                error = format!("{error:#}"),
                "cannot purge old snapshots and logs; it will be tried again at the next interval"
            );
        }
    }
}

/// How often one snapshot is tried.
const ATTEMPTS_MAX: u32 = 5;
/// How long to wait after a failure. The tree of the snapshot is kept meanwhile.
pub(super) const SNAPSHOT_PAUSE: Duration = Duration::from_secs(5);
