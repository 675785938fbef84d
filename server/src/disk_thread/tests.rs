use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use zk_core::Input;
use zk_core::tree::Tree;
use zk_proto::client::{OpCode, StatPersisted};
use zk_proto::snapshot::{NodeRecord, OPEN_ACL_REF, write_acl_table, write_end, write_sessions};
use zk_proto::txn::{Txn, TxnHeader, encode_txn};
use zk_proto::{SessionId, Xid};

use super::worker::FAST_SYNC_MAX;
use super::*;
use crate::inbox::{Event, UNWRITTEN_BYTES_MAX};
use crate::load::load;

struct Log {
    disk: Disk,
    between_tasks: BetweenTasks,
    inbox: Arc<Inbox>,
    zxid: Zxid,
    dir: tempfile::TempDir,
    /// What the driver was told and nobody has waited for yet.
    told: RefCell<Vec<Event>>,
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
        let between_tasks = BetweenTasks::of_no_runtime();
        let lent = Some(between_tasks.clone());
        let disk = Disk::start(store, &config, inbox.clone(), metrics, clock, lent).unwrap();
        Self {
            disk,
            between_tasks,
            inbox,
            zxid: Zxid::new(Epoch(1), 0),
            dir,
            told: RefCell::default(),
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

    /// A log that is known to be fast.
    fn open_fast() -> Self {
        let mut log = Self::open();
        for _ in 0..100 {
            log.ask(1);
            log.by_thread();
        }
        log
    }

    /// Asks for an entry, to be appended between two tasks.
    fn ask_between_tasks(&mut self) {
        self.ask(1);
        assert_eq!(self.disk.asked_between_tasks(), Some(1));
        self.disk.work_between_tasks();
        assert!(self.disk.is_idle());
    }

    /// Nothing was told to the driver.
    fn expect_nothing(&self) {
        let cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(self.inbox.poll_take(&cx, &mut Vec::new()).is_pending());
    }

    /// Waits until the driver is told of the last entry.
    fn wait(&self) {
        self.wait_for(
            |event| matches!(event, Event::Input(Input::Appended(it)) if *it == self.zxid),
        );
    }

    /// Waits until the driver is told of such a thing, and of no failure. What
    /// else it is told can be waited for later.
    fn wait_for(&self, is_it: impl Fn(&Event) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        let cx = std::task::Context::from_waker(std::task::Waker::noop());
        let mut told = self.told.borrow_mut();
        while Instant::now() < end {
            let mut batch = Vec::new();
            if self.inbox.poll_take(&cx, &mut batch).is_ready() {
                told.append(&mut batch);
            }
            for event in &*told {
                if let Event::DiskFailed(error) = event {
                    panic!("{error}");
                }
            }
            if let Some(at) = told.iter().position(&is_it) {
                told.remove(at);
                return;
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
fn few_entries_of_an_idle_log_that_is_known_to_be_fast_are_synced_between_tasks() {
    let mut log = Log::open();
    log.ask(1);
    assert_eq!(log.disk.asked_between_tasks(), None, "nothing is known");
    log.by_thread();
    let mut log = Log::open_fast();
    log.ask(2);
    log.ask(2);
    assert_eq!(log.disk.asked_between_tasks(), Some(4));
    log.disk.work_between_tasks();
    log.between_tasks.do_asked();
    log.wait();
    log.ask(5);
    assert_eq!(log.disk.asked_between_tasks(), None, "too many");
    log.by_thread();
    log.ask(1);
    log.disk
        .ask(DiskOp::SaveEpoch(EpochFile::Current, Epoch(1)));
    assert_eq!(log.disk.asked_between_tasks(), None, "not only entries");
    log.by_thread();
}

#[test]
fn a_log_that_was_slow_is_left_to_the_thread() {
    let mut log = Log::open_fast();
    log.disk.shared.worker.lock().usual_sync = FAST_SYNC_MAX;
    log.ask(1);
    assert_eq!(log.disk.asked_between_tasks(), None);
}

/// The tasks go on meanwhile, and ask for more.
#[test]
fn what_comes_while_a_sync_between_tasks_hangs_is_done_after_it_by_the_thread() {
    let mut log = Log::open_fast();
    let (shared, lent) = (log.disk.shared.clone(), log.between_tasks.clone());
    log.ask_between_tasks();
    let hanging = shared.worker.lock();
    let other = thread::spawn(move || lent.do_asked());
    while !shared.queue.lock().is_working {
        thread::yield_now();
    }
    for _ in 0..3 {
        log.ask(1);
        assert_eq!(log.disk.asked_between_tasks(), None);
        log.disk.kick();
    }
    log.expect_nothing();
    drop(hanging);
    log.wait();
    other.join().unwrap();
}

#[test]
fn what_has_become_too_much_before_it_is_begun_is_left_to_the_thread() {
    let mut log = Log::open_fast();
    log.ask_between_tasks();
    log.ask(5);
    log.disk.kick();
    thread::sleep(Duration::from_millis(20));
    log.expect_nothing();
    log.between_tasks.do_asked();
    log.wait();
}

/// The thread that runs the tasks is the one that stops the server.
#[test]
fn what_was_to_be_done_between_tasks_is_done_before_the_end() {
    let mut log = Log::open_fast();
    log.ask_between_tasks();
    let Log {
        disk,
        inbox,
        between_tasks,
        ..
    } = log;
    drop(disk);
    let cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut batch = Vec::new();
    assert!(inbox.poll_take(&cx, &mut batch).is_ready());
    assert!(matches!(
        batch[..],
        [Event::Input(Input::Appended(it))] if it == log.zxid
    ));
    between_tasks.do_asked();
    assert!(inbox.poll_take(&cx, &mut Vec::new()).is_pending());
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

/// A tree that takes long to write, at this zxid.
fn large_tree(zxid: Zxid) -> Tree {
    let data = vec![7; 1 << 20];
    let paths = (0..64).map(|n| format!("/{n}"));
    let mut image = Vec::new();
    write_sessions(&mut image, [].into_iter());
    write_acl_table(&mut image, [].into_iter());
    for path in std::iter::once(String::new()).chain(paths) {
        NodeRecord {
            path: (&*path).into(),
            data: Some(&data),
            acl_ref: OPEN_ACL_REF,
            stat: StatPersisted::default(),
        }
        .write(&mut image);
    }
    write_end(&mut image);
    Tree::from_image(&image, zxid).unwrap()
}

/// Before a log is cut or a leader's tree takes the place of everything, the
/// ensemble waits for this server.
#[test]
fn a_snapshot_is_given_up_for_work_that_others_wait_for() {
    let at = Zxid::new(Epoch(1), 1);
    let cut = Arc::new(large_tree(at).cut());
    for installs in [false, true] {
        let mut log = Log::open_with("preAllocSize=64\n", |_| {});
        log.ask(3);
        log.by_thread();
        log.disk.ask(DiskOp::SaveSnapshot(cut.clone()));
        let keeps_old = false;
        log.disk.ask(match installs {
            false => DiskOp::Truncate(at.next()),
            true => DiskOp::Install {
                cut: Arc::new(Tree::new().cut()),
                keeps_old,
            },
        });
        log.disk.kick();
        log.wait_for(|event| match event {
            Event::Input(Input::Truncated(left)) => !installs && left.last_zxid == at.next(),
            Event::Input(Input::SnapshotInstalled(_)) => installs,
            _ => false,
        });
        // The replica waits for that before it asks for another one.
        log.wait_for(|event| matches!(event, Event::Input(Input::SnapshotSaved(_))));
        assert!(!log.path("snapshot.100000001").exists());
        assert!(!log.path("tmp.snapshot.100000001").exists());
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
