//! The thread that works on the [`Store`]: takes all that has queued, appends
//! it as one batch with one sync, and tells the driver in order. When it has
//! nothing to do, the driver may do a small piece of work itself.
//!
//! Periodic snapshots are written by a second thread, so that they do not
//! keep the log waiting. After the first error nothing more is done: the
//! driver is told and ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use zk_core::{EpochFile, Input, LogEntry, TreeCut};
use zk_proto::{Epoch, Zxid};
use zk_store::{EpochName, RealDisk, Store};

use crate::clock::Clock;
use crate::config::ServerConfig;
use crate::inbox::{Event, Inbox};
use crate::load::{LoadError, recover};
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
    /// Asked for since the last [`Disk::kick`].
    asked: Vec<DiskOp>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    health: Arc<DiskHealth>,
}

/// What driver and thread share.
struct Shared {
    queue: Mutex<Queue>,
    has_work: Condvar,
    /// Locked for each piece of work; by the driver only when the thread has none.
    worker: Mutex<Worker>,
}

#[derive(Default)]
struct Queue {
    ops: Vec<DiskOp>,
    /// The thread has taken work and not finished it.
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
    ) -> std::io::Result<Self> {
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
            usual_sync: SYNC_AT_ONCE_MAX,
            has_failed: false,
        };
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            has_work: Condvar::new(),
            worker: Mutex::new(worker),
        });
        let at_work = shared.clone();
        let thread = thread::Builder::new()
            .name("disk".into())
            .spawn(move || at_work.run())?;
        Ok(Self {
            asked: Vec::new(),
            shared,
            thread: Some(thread),
            health,
        })
    }

    /// Notes an operation for the next [`Self::kick`].
    pub(crate) fn ask(&mut self, op: DiskOp) {
        self.asked.push(op);
    }

    /// Nothing is asked for.
    pub(crate) fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }

    /// Has the thread do what was asked for.
    pub(crate) fn kick(&mut self) {
        self.shared.queue.lock().ops.append(&mut self.asked);
        self.shared.has_work.notify_one();
    }

    /// How many entries are asked for, if that is something for
    /// [`Self::work_at_once`]: they are few and nothing else, and the log is
    /// idle and usually fast.
    pub(crate) fn asked_at_once(&self) -> Option<u64> {
        let entries = entries_only(&self.asked)?;
        let queue = self.shared.queue.lock();
        let is_idle = !queue.is_working && queue.ops.is_empty();
        let is_small = (1..=ENTRIES_AT_ONCE_MAX).contains(&entries);
        let is_fast = || {
            let worker = self.shared.worker.try_lock();
            worker.is_some_and(|worker| worker.usual_sync < SYNC_AT_ONCE_MAX)
        };
        (is_small && is_idle && is_fast()).then_some(entries as u64)
    }

    /// Does what was asked for on the driver's thread. To wake a thread and to
    /// be woken by it takes about as long as a sync.
    pub(crate) fn work_at_once(&mut self) {
        // The thread takes work only from the queue, which is empty: nothing is overtaken.
        if let Some(mut worker) = self.shared.worker.try_lock() {
            worker.perform_or_report(&mut self.asked);
            return;
        }
        self.kick(); // it purges
    }

    pub(crate) fn health(&self) -> Arc<DiskHealth> {
        self.health.clone()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.kick();
        self.shared.queue.lock().is_closed = true;
        self.shared.has_work.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic was reported by the thread's own guard.
            let _ = thread.join();
        }
    }
}

/// How many entries are to be appended, if nothing else is asked for.
fn entries_only(ops: &[DiskOp]) -> Option<usize> {
    ops.iter()
        .map(|op| match op {
            DiskOp::Append(entries) => Some(entries.len()),
            _ => None,
        })
        .sum()
}

impl Shared {
    fn run(&self) {
        let guard = ReportPanic(self.worker.lock().inbox.clone());
        let mut purge_at = self.worker.lock().purge_interval.map(|_| Instant::now());
        let mut batch = Vec::new();
        while self.take(&mut batch, purge_at) {
            let mut worker = self.worker.lock();
            if batch.is_empty() {
                purge_at = worker
                    .purge_interval
                    .map(|interval| Instant::now() + interval);
                worker.purge_or_report();
            } else {
                worker.perform_or_report(&mut batch);
            }
        }
        self.worker.lock().finish_snapshot();
        std::mem::forget(guard);
    }

    /// Waits for work, or, when there is none, for the time to purge, which
    /// leaves the batch empty. False at the end.
    fn take(&self, batch: &mut Vec<DiskOp>, purge_at: Option<Instant>) -> bool {
        let mut queue = self.queue.lock();
        queue.is_working = false;
        loop {
            if !queue.ops.is_empty() {
                std::mem::swap(batch, &mut queue.ops);
                break;
            }
            if queue.is_closed {
                return false;
            }
            match purge_at {
                None => self.has_work.wait(&mut queue),
                Some(at) => {
                    if self.has_work.wait_until(&mut queue, at).timed_out() {
                        break;
                    }
                }
            }
        }
        queue.is_working = true;
        true
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
    /// How long syncs have taken lately.
    usual_sync: Duration,
    has_failed: bool,
}

impl Worker {
    /// After an error nothing more is done, and the driver is about to end.
    fn perform_or_report(&mut self, batch: &mut Vec<DiskOp>) {
        if self.has_failed {
            batch.clear();
        } else if let Err(error) = self.perform(batch) {
            self.fail(error);
        }
    }

    fn purge_or_report(&mut self) {
        if self.has_failed {
            return;
        }
        match self.store.purge(self.snapshots_kept) {
            Ok(removed) => tracing::info!(removed, "old snapshots and logs purged"),
            Err(error) => self.fail(error.into()),
        }
    }

    fn fail(&mut self, error: LoadError) {
        self.has_failed = true;
        self.inbox.push(Event::DiskFailed(error.into()));
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

/// A log whose syncs usually take longer is left to the thread, so that the
/// driver does not stand still with it.
const SYNC_AT_ONCE_MAX: Duration = Duration::from_millis(1);
/// More entries than these are worth a thread: others queue up meanwhile.
const ENTRIES_AT_ONCE_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::task::Poll;

    use zk_proto::client::OpCode;
    use zk_proto::txn::{Txn, TxnHeader, encode_txn};
    use zk_proto::{SessionId, Xid};

    use super::*;
    use crate::load::load;

    struct Log {
        disk: Disk,
        inbox: Arc<Inbox>,
        zxid: Zxid,
        _dir: tempfile::TempDir,
    }

    impl Log {
        fn open() -> Self {
            let dir = tempfile::tempdir().unwrap();
            // What a sync takes is not of this test.
            let text = format!(
                "dataDir={}\nclientPort=0\nforceSync=no\n",
                dir.path().display()
            );
            let config = ServerConfig::read(Path::new("zoo.cfg"), &text, None).unwrap();
            let config = config.config;
            let (inbox, metrics) = (Arc::<Inbox>::default(), Arc::<Metrics>::default());
            let (store, _) = load(&config, &metrics).unwrap();
            let clock = Clock::start();
            let disk = Disk::start(store, &config, inbox.clone(), metrics, clock).unwrap();
            Self {
                disk,
                inbox,
                zxid: Zxid::new(Epoch(1), 0),
                _dir: dir,
            }
        }

        fn ask(&mut self, entries: usize) {
            let entries = (0..entries).map(|_| {
                self.zxid = self.zxid.next();
                let mut data = Vec::new();
                let header = TxnHeader {
                    session: SessionId(1),
                    cxid: Xid(1),
                    zxid: self.zxid,
                    time_ms: 1,
                    kind: OpCode::Error.code(),
                };
                encode_txn(&mut data, &header, &Txn::Error(-101), None);
                LogEntry {
                    zxid: self.zxid,
                    data: data.into(),
                }
            });
            self.disk.ask(DiskOp::Append(entries.collect()));
        }

        /// Waits until the driver is told of the last entry.
        fn wait(&self) {
            let end = Instant::now() + Duration::from_secs(10);
            let cx = std::task::Context::from_waker(std::task::Waker::noop());
            let mut batch = Vec::new();
            while Instant::now() < end {
                if self.inbox.poll_take(&cx, &mut batch) == Poll::Ready(())
                    && batch.drain(..).any(
                        |event| matches!(event, Event::Input(Input::Appended(it)) if it == self.zxid),
                    )
                {
                    return;
                }
                thread::sleep(Duration::from_millis(1));
            }
            panic!("{} was not synced", self.zxid);
        }

        fn by_thread(&mut self) {
            self.disk.kick();
            self.wait();
            // It tells before it waits again.
            while self.disk.shared.queue.lock().is_working {
                thread::yield_now();
            }
        }
    }

    #[test]
    fn the_driver_syncs_a_few_entries_of_an_idle_log_that_is_known_to_be_fast() {
        let mut log = Log::open();
        log.ask(1);
        assert_eq!(log.disk.asked_at_once(), None, "nothing is known of it");
        log.by_thread();
        for _ in 0..100 {
            log.ask(1);
            log.by_thread();
        }
        log.ask(2);
        log.ask(2);
        assert_eq!(log.disk.asked_at_once(), Some(4));
        log.disk.work_at_once();
        assert!(log.disk.is_idle());
        log.wait();
        log.ask(5);
        assert_eq!(log.disk.asked_at_once(), None, "too many");
        log.by_thread();
        log.ask(1);
        log.disk
            .ask(DiskOp::SaveEpoch(EpochFile::Current, Epoch(1)));
        assert_eq!(log.disk.asked_at_once(), None, "not only entries");
        log.by_thread();
    }

    #[test]
    fn a_log_that_was_slow_is_left_to_the_thread() {
        let mut log = Log::open();
        for _ in 0..100 {
            log.ask(1);
            log.by_thread();
        }
        log.disk.shared.worker.lock().usual_sync = SYNC_AT_ONCE_MAX;
        log.ask(1);
        assert_eq!(log.disk.asked_at_once(), None);
    }
}
