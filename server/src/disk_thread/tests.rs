use std::path::Path;
use std::task::Poll;
use std::time::Duration;

use zk_core::Input;
use zk_proto::client::OpCode;
use zk_proto::txn::{Txn, TxnHeader, encode_txn};
use zk_proto::{SessionId, Xid};

use super::worker::SYNC_AT_ONCE_MAX;
use super::*;
use crate::inbox::Event;
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
