//! The thread that works on the [`Store`]: takes all that has queued, appends
//! it as one batch with one sync, and tells the driver in order. When it has
//! nothing to do, the thread that runs the tasks may do a small piece of work
//! between two of them.
//!
//! Periodic snapshots and purges have threads of their own, so that they do not
//! keep the log waiting. After the first error of the log nothing more is done:
//! the driver is told and ends the process.

mod background;
mod worker;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use zk_core::{EpochFile, LogEntry, TreeCut};
use zk_proto::{Epoch, Zxid};
use zk_store::{RealDisk, Store};

use self::worker::Worker;
use crate::between_tasks::{BetweenTasks, Work};
use crate::clock::Clock;
use crate::config::ServerConfig;
use crate::inbox::Inbox;
use crate::metrics::Metrics;

/// What the driver asks of the disk.
pub(crate) enum DiskOp {
    Append(Vec<LogEntry>),
    SaveEpoch(EpochFile, Epoch),
    Truncate(Zxid),
    Install { cut: Arc<TreeCut>, keeps_old: bool },
    SaveSnapshot(Arc<TreeCut>),
}

/// The driver's end of the queue. What may be queued is bounded by what clients
/// may have outstanding, and because peers are not read while there is much.
/// Dropping it ends the thread once all is done.
pub(crate) struct Disk {
    /// Asked for since the last [`Disk::kick`].
    asked: Vec<DiskOp>,
    shared: Arc<Shared>,
    /// Where the runtime does blocking work between its tasks, and what it does.
    between_tasks: Option<(BetweenTasks, Work)>,
    thread: Option<JoinHandle<()>>,
    health: Arc<DiskHealth>,
    inbox: Arc<Inbox>,
}

/// What driver and thread share.
struct Shared {
    queue: Mutex<Queue>,
    has_work: Condvar,
    /// Locked for each piece of work.
    worker: Mutex<Worker>,
}

#[derive(Default)]
struct Queue {
    ops: Vec<DiskOp>,
    /// Some of `ops` are to be done between two tasks; the thread is not woken for them.
    is_lent: bool,
    /// Work was taken and is not finished.
    is_working: bool,
    is_closed: bool,
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

impl Disk {
    /// Starts the thread.
    pub(crate) fn start(
        store: Store<RealDisk>,
        config: &ServerConfig,
        inbox: Arc<Inbox>,
        metrics: Arc<Metrics>,
        clock: Clock,
        between_tasks: Option<BetweenTasks>,
    ) -> std::io::Result<Self> {
        let health = Arc::new(DiskHealth::default());
        let worker = Worker::new(store, config, inbox.clone(), metrics, clock, health.clone());
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            has_work: Condvar::new(),
            worker: Mutex::new(worker),
        });
        let at_work = shared.clone();
        let thread = thread::Builder::new()
            .name("disk".into())
            .spawn(move || at_work.run())?;
        let between_tasks = between_tasks.map(|between_tasks| {
            let shared = shared.clone();
            let work: Work = Arc::new(move || shared.work_between_tasks());
            (between_tasks, work)
        });
        Ok(Self {
            asked: Vec::new(),
            shared,
            between_tasks,
            thread: Some(thread),
            health,
            inbox,
        })
    }

    /// Notes an operation for the next [`Self::kick`].
    pub(crate) fn ask(&mut self, op: DiskOp) {
        if let DiskOp::Append(entries) = &op {
            self.inbox.disk_asked(bytes_of(entries));
        }
        self.asked.push(op);
    }

    /// Nothing is asked for.
    pub(crate) fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }

    /// Has the thread do what was asked for. While others do work, the thread is
    /// woken when they are done.
    pub(crate) fn kick(&mut self) {
        let mut queue = self.shared.queue.lock();
        queue.ops.append(&mut self.asked);
        if !queue.is_lent && !queue.is_working {
            self.shared.has_work.notify_one();
        }
    }

    /// How many entries are asked for, if that is something for
    /// [`Self::work_between_tasks`]: they are few and nothing else, and the log
    /// is idle and usually fast.
    pub(crate) fn asked_between_tasks(&self) -> Option<u64> {
        self.between_tasks.as_ref()?;
        let entries = few_entries(&self.asked)?;
        let queue = self.shared.queue.lock();
        let is_idle = !queue.is_working && queue.ops.is_empty();
        let is_fast = || {
            let worker = self.shared.worker.try_lock();
            worker.is_some_and(|worker| worker.is_fast())
        };
        (is_idle && is_fast()).then_some(entries)
    }

    /// Has what was asked for done by the thread that runs the tasks, once what
    /// connections were given has left. To wake the disk's thread and to be woken
    /// by it takes about as long as a sync.
    pub(crate) fn work_between_tasks(&mut self) {
        let Some((between_tasks, work)) = &self.between_tasks else {
            return self.kick();
        };
        let mut queue = self.shared.queue.lock();
        queue.ops.append(&mut self.asked);
        queue.is_lent = true;
        drop(queue);
        between_tasks.ask(work.clone());
    }

    pub(crate) fn health(&self) -> Arc<DiskHealth> {
        self.health.clone()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let mut queue = self.shared.queue.lock();
        queue.ops.append(&mut self.asked);
        queue.is_closed = true;
        drop(queue);
        self.shared.has_work.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic was reported by the thread's own guard.
            let _ = thread.join();
        }
    }
}

/// Length of all entries.
fn bytes_of(entries: &[LogEntry]) -> u64 {
    entries.iter().map(|entry| entry.data.len() as u64).sum()
}

/// How many entries are to be appended, if nothing else is asked for and they
/// are not worth a thread.
fn few_entries(ops: &[DiskOp]) -> Option<u64> {
    let entries: usize = ops
        .iter()
        .map(|op| match op {
            DiskOp::Append(entries) => Some(entries.len()),
            DiskOp::SaveEpoch(..)
            | DiskOp::Truncate(_)
            | DiskOp::Install { .. }
            | DiskOp::SaveSnapshot(_) => None,
        })
        .sum::<Option<_>>()?;
    let is_few = (1..=ENTRIES_BETWEEN_TASKS_MAX).contains(&entries);
    is_few.then_some(entries as u64)
}

impl Shared {
    fn run(&self) {
        let guard = self.worker.lock().report_panic();
        let purge_interval = self.worker.lock().purge_interval();
        let mut purge_at = purge_interval.map(|_| Instant::now());
        let mut batch = Vec::new();
        while self.take(&mut batch, purge_at) {
            if batch.is_empty() {
                purge_at = purge_interval.map(|interval| Instant::now() + interval);
                self.worker.lock().start_purge();
            } else {
                let _at_work = AtWork(self);
                self.worker.lock().perform_or_report(&mut batch);
            }
        }
        self.worker.lock().end_background();
        std::mem::forget(guard);
    }

    /// Waits for work, or, when there is none, for the time to purge, which
    /// leaves the batch empty. False at the end.
    fn take(&self, batch: &mut Vec<DiskOp>, purge_at: Option<Instant>) -> bool {
        let mut queue = self.queue.lock();
        loop {
            if queue.is_closed && queue.ops.is_empty() {
                return false;
            }
            if !queue.is_working && !queue.ops.is_empty() {
                std::mem::swap(batch, &mut queue.ops);
                queue.is_working = true;
                return true;
            }
            match purge_at {
                None => self.has_work.wait(&mut queue),
                Some(at) => {
                    if self.has_work.wait_until(&mut queue, at).timed_out() {
                        return true;
                    }
                }
            }
        }
    }

    /// Does what is queued, if that is still something for the thread that runs
    /// the tasks.
    fn work_between_tasks(&self) {
        let mut queue = self.queue.lock();
        queue.is_lent = false;
        if queue.is_working {
            return; // at the end, the thread takes everything
        }
        if few_entries(&queue.ops).is_none() {
            self.has_work.notify_one();
            return;
        }
        let mut batch = std::mem::take(&mut queue.ops);
        queue.is_working = true;
        drop(queue);
        let _at_work = AtWork(self);
        self.worker.lock().perform_or_report(&mut batch);
    }
}

/// Ends work, also where that unwinds, and wakes the thread if there is more.
struct AtWork<'a>(&'a Shared);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        queue.is_working = false;
        if !queue.ops.is_empty() {
            self.0.has_work.notify_one();
        }
    }
}

/// More entries than these are worth a thread: others queue up meanwhile.
const ENTRIES_BETWEEN_TASKS_MAX: usize = 4;
