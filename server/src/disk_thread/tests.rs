use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::task::Poll;
use std::time::Duration;

use zk_core::Input;
use zk_core::tree::Tree;
use zk_proto::client::OpCode;
use zk_proto::txn::{Txn, TxnHeader, encode_txn};
use zk_proto::{SessionId, Xid};

use super::worker::SYNC_AT_ONCE_MAX;
use super::*;
use crate::inbox::{Event, UNWRITTEN_BYTES_MAX};
use crate::load::load;

struct Log {
    disk: Disk,
    inbox: Arc<Inbox>,
    zxid: Zxid,
    dir: tempfile::TempDir,
}

impl Log {
    fn open() -> Self {
        Self::open_with("", |_| {})
    }

    /// With further keys, and with something done after the start.
    fn open_with(keys: &str, after_start: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // What a sync takes is not of this test.
        let text = format!(
            "dataDir={}\nclientPort=0\nforceSync=no\n{keys}",
            dir.path().display()
        );
        let config = ServerConfig::read(Path::new("zoo.cfg"), &text, None).unwrap();
        let config = config.config;
        let (inbox, metrics) = (Arc::<Inbox>::default(), Arc::<Metrics>::default());
        let (store, _) = load(&config, &metrics).unwrap();
        after_start(&dir.path().join("version-2"));
        let clock = Clock::start();
        let disk = Disk::start(store, &config, inbox.clone(), metrics, clock).unwrap();
        Self {
            disk,
            inbox,
            zxid: Zxid::new(Epoch(1), 0),
            dir,
        }
    }

    fn ask(&mut self, entries: usize) {
        let entries = (0..entries).map(|_| self.next_entry()).collect();
        self.disk.ask(DiskOp::Append(entries));
    }

    fn next_entry(&mut self) -> LogEntry {
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
    }

    /// Waits until the driver is told of the last entry.
    fn wait(&self) {
        self.wait_for(
            |event| matches!(event, Event::Input(Input::Appended(it)) if *it == self.zxid),
        );
    }

    /// Waits until the driver is told of such a thing, and of no failure.
    fn wait_for(&self, is_it: impl Fn(&Event) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        let cx = std::task::Context::from_waker(std::task::Waker::noop());
        let mut batch = Vec::new();
        while Instant::now() < end {
            if self.inbox.poll_take(&cx, &mut batch) == Poll::Ready(()) {
                for event in batch.drain(..) {
                    if let Event::DiskFailed(error) = &event {
                        panic!("{error}");
                    }
                    if is_it(&event) {
                        return;
                    }
                }
            }
            thread::sleep(Duration::from_millis(1));
        }
        panic!(
            "the driver was told nothing, {} is the last entry",
            self.zxid
        );
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("version-2").join(name)
    }

    fn by_thread(&mut self) {
        self.disk.kick();
        self.wait();
        // It tells before it waits again.
        let end = Instant::now() + Duration::from_secs(20);
        while self.disk.shared.queue.lock().is_working {
            assert!(Instant::now() < end, "the thread is at something else");
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

/// Lets who reads this pipe come to its end, also where a test fails.
struct Pipe(PathBuf);

impl Drop for Pipe {
    fn drop(&mut self) {
        let path = self.0.clone();
        // It waits for somebody who reads; where a test fails, nobody may.
        thread::spawn(|| fs::OpenOptions::new().write(true).open(path));
    }
}

/// A snapshot that is read for longer than anybody waits: a pipe.
#[test]
fn the_log_does_not_wait_for_a_purge() {
    let pipe = |dir: &Path| {
        let made = Command::new("mkfifo")
            .arg(dir.join("snapshot.ffff"))
            .status();
        assert!(made.unwrap().success());
    };
    let mut log = Log::open_with("autopurge.purgeInterval=1\n", pipe);
    let _pipe = Pipe(log.path("snapshot.ffff"));
    for _ in 0..3 {
        log.ask(1);
        log.by_thread();
    }
}

#[test]
fn a_snapshot_that_cannot_be_written_is_tried_again() {
    let mut log = Log::open();
    fs::remove_file(log.path("snapshot.0")).unwrap();
    // In the way of the unfinished file.
    let obstacle = log.path("tmp.snapshot.0");
    for is_taken_away in [false, true] {
        fs::create_dir_all(&obstacle).unwrap();
        let pause_ms = if is_taken_away { 300 } else { 1 };
        log.disk.shared.worker.lock().snapshot_pause = Duration::from_millis(pause_ms);
        let cut = Arc::new(Tree::new().cut());
        log.disk.ask(DiskOp::SaveSnapshot(cut));
        log.ask(1);
        log.by_thread();
        assert!(!log.path("snapshot.0").exists());
        if is_taken_away {
            fs::remove_dir(&obstacle).unwrap();
        }
        log.wait_for(|event| matches!(event, Event::Input(Input::SnapshotSaved(_))));
        assert_eq!(log.path("snapshot.0").exists(), is_taken_away);
    }
}

/// While the others commit, a server is sent more and more that its disk, which
/// hangs, does not take.
#[test]
fn peers_are_not_read_while_the_disk_is_far_behind() {
    let mut log = Log::open();
    let cx = std::task::Context::from_waker(std::task::Waker::noop());
    let shared = log.disk.shared.clone();
    let hanging = shared.worker.lock();
    // So much was asked for before; each entry has 36 bytes.
    log.inbox.disk_asked(UNWRITTEN_BYTES_MAX - 100);
    log.ask(2);
    log.disk.kick();
    assert!(log.inbox.poll_room(&cx).is_ready());
    log.ask(1);
    log.disk.kick();
    assert!(log.inbox.poll_room(&cx).is_pending());
    drop(hanging);
    log.wait();
    assert!(
        log.inbox.poll_room(&cx).is_ready(),
        "the entries are written"
    );
}
