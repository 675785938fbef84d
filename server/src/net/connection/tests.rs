//! Connections whose sockets, driver and time are a model.

mod model;

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use zk_core::request::write_event;
use zk_proto::client::{EventKind, OpCode, WatcherEvent};

use super::*;
use crate::net::client::OUTSTANDING_BYTES_MAX;
use model::{Model, path_watch, walk_body};

#[test]
fn no_connection_sleeps_with_work_that_nothing_wakes() {
    for (zoo_cfg, seeds) in [
        ("", 0..8),
        ("globalOutstandingLimit=2\n", 8..11),
        ("request_throttle_max_requests=1\n", 11..14),
    ] {
        for seed in seeds {
            let mut model = Model::new(seed, zoo_cfg);
            let time = Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            let handle = time.handle().clone();
            let _time = handle.enter();
            model.time = Some(time);
            for _ in 0..3 {
                (0..70).for_each(|_| model.step());
                model.settle();
            }
        }
    }
}

/// A session that is open, and whose client has asked for nothing yet.
fn opened(zoo_cfg: &str) -> Model {
    let mut model = Model::new(1, zoo_cfg);
    model.poll(0);
    model.answer(0, 0);
    model.poll(0);
    model
}

impl Model {
    fn ask_and_poll(&mut self, op: OpCode, body: &[u8]) {
        self.peers[0].ask(op, body);
        self.peers[0].send(usize::MAX);
        self.run();
    }

    fn run(&mut self) {
        while self.peers[0].woken.0.load(Ordering::Relaxed) {
            self.poll(0);
        }
    }

    /// Does the driver, a while later, hear of the client's next ping?
    fn hears_a_ping(&mut self) -> bool {
        std::thread::sleep(Duration::from_millis(3));
        let asked = self.clients.clock.mono();
        self.ask_and_poll(OpCode::Ping, &[]);
        let now = self.clients.clock.mono();
        self.peers[0].connection.stats.mailbox.last_active(now) >= asked
    }
}

#[tokio::test]
async fn a_client_is_heard_whatever_its_requests_wait_for() {
    // For the driver, which has a write of its own.
    let mut model = opened("");
    model.ask_and_poll(OpCode::SetData, &path_watch("/small"));
    assert!(model.hears_a_ping());
    // So much is sent behind it that the socket is not read any more.
    for _ in 0..14_000 {
        model.peers[0].ask(OpCode::GetData, &path_watch("/small"));
    }
    model.peers[0].send(usize::MAX);
    model.run();
    let unread = model.peers[0].socket.0.lock().to_server.len();
    assert!(unread > 0, "all is read");
    assert!(model.hears_a_ping());
    // The driver is done: the next silence is the client's own.
    model.settle();
    std::thread::sleep(Duration::from_millis(3));
    let now = model.clients.clock.mono();
    let heard = model.peers[0].connection.stats.mailbox.last_active(now);
    assert!(heard < now);

    // For a place among the writes in work, or among all outstanding ones.
    for zoo_cfg in [
        "request_throttle_max_requests=1\n",
        "globalOutstandingLimit=1\n",
    ] {
        let mut model = opened(zoo_cfg);
        for _ in 0..3 {
            model.ask_and_poll(OpCode::SetData, &path_watch("/small"));
        }
        assert!(model.hears_a_ping(), "{zoo_cfg}");
        model.settle();
    }

    // For the client to take replies.
    let mut model = opened("");
    model.peers[0].socket.make_room(1000);
    std::thread::sleep(Duration::from_millis(3));
    let before = model.clients.clock.mono();
    let mut event = Vec::new();
    let (kind, path) = (EventKind::NodeDataChanged, "/small");
    write_event(&mut event, Zxid(9), WatcherEvent { kind, path });
    model.peers[0].deliver(event, 0, 1);
    model.poll(0);
    let now = model.clients.clock.mono();
    let heard = model.peers[0].connection.stats.mailbox.last_active(now);
    assert!(heard < before, "the system has taken it, not the client");
    model.ask_and_poll(OpCode::GetChildren, &path_watch("/many"));
    model.ask_and_poll(OpCode::GetChildren, &path_watch("/many"));
    assert!(model.hears_a_ping());
    std::thread::sleep(Duration::from_millis(3));
    let before = model.clients.clock.mono();
    model.peers[0].socket.make_room(1000);
    model.poll(0);
    let heard = model.peers[0].connection.stats.mailbox.last_active(before);
    assert!(heard >= before, "what it takes shows that it is there");
    model.settle();

    // For the rest of a long request.
    let mut model = opened("");
    model.peers[0].ask(OpCode::SetData, &vec![0; 500_000]);
    model.peers[0].send(1000);
    model.poll(0);
    std::thread::sleep(Duration::from_millis(3));
    let before = model.clients.clock.mono();
    model.peers[0].send(1000);
    model.poll(0);
    let heard = model.peers[0].connection.stats.mailbox.last_active(before);
    assert!(heard >= before);
    model.settle();
}

/// Someone has asked for what takes many turns.
fn busy() -> Model {
    let mut model = opened("");
    for _ in 0..60_000 {
        model.peers[0].ask(OpCode::Exists, &path_watch("/small"));
    }
    model.peers[0].send(usize::MAX);
    model.peers[0].socket.make_room(1 << 30);
    model
}

#[test]
fn a_run_of_long_reads_lets_others_have_their_turn() {
    let mut model = busy();
    let mut turns = 0;
    while model.peers[0].woken.0.load(Ordering::Relaxed) {
        model.poll(0);
        turns += 1;
        // The driver may change the tree between two of them.
        drop(model.clients.view.read());
    }
    assert!(turns > 20, "{turns}");
    model.settle();
}

#[tokio::test]
async fn between_two_turns_the_sockets_of_others_are_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut other = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let mut accepted = listener.accept().await.unwrap().0;
    let turns = Arc::new(AtomicUsize::new(0));
    let turn = turns.clone();
    let mut peer = busy().peers.swap_remove(0);
    let task = tokio::spawn(poll_fn(move |cx| {
        turn.fetch_add(1, Ordering::Relaxed);
        peer.connection.poll(cx).map(drop)
    }));
    for _ in 0..4 {
        other.write_all(b"?").await.unwrap();
        let before = turns.load(Ordering::Relaxed);
        // With room for more, so that the next time the runtime has to tell.
        assert_eq!(accepted.read(&mut [0; 16]).await.unwrap(), 1);
        let meanwhile = turns.load(Ordering::Relaxed) - before;
        assert!(meanwhile < 10, "{meanwhile} turns");
    }
    task.abort();
}

#[tokio::test]
async fn a_connection_that_ends_does_not_wait_for_its_client_for_ever() {
    let ends = |farewell| {
        let mut model = opened("");
        model.ask_and_poll(OpCode::GetChildren, &path_watch("/many"));
        let mailbox = &model.peers[0].connection.stats.mailbox;
        let woken = mailbox.close(Vec::new(), farewell);
        woken.into_iter().for_each(Waker::wake);
        model
    };
    let mut cx = Context::from_waker(Waker::noop());
    let mut model = ends(Farewell::Reason(zk_core::CloseReason::SessionClosed));
    let connection = &mut model.peers[0].connection;
    assert!(connection.poll(&mut cx).is_ready(), "it ends at once");

    let mut model = ends(Farewell::Answered);
    let connection = &mut model.peers[0].connection;
    assert!(connection.poll(&mut cx).is_pending(), "a reply is left");
    connection.work.farewell = Some(Box::pin(sleep(Duration::ZERO)));
    sleep(Duration::from_millis(2)).await;
    assert!(connection.poll(&mut cx).is_ready(), "its time is over");
}

#[tokio::test]
async fn a_walk_through_znodes_waits_for_its_time() {
    let mut model = opened("");
    let clients = model.clients.clone();
    let walk = clients.walks.begin().ok().unwrap();
    model.ask_and_poll(OpCode::GetAllChildrenNumber, &walk_body("/many"));
    model.peers[0].socket.make_room(1 << 20);
    model.poll(0);
    assert!(model.peers[0].take_replies().is_empty(), "another walks");
    walk.end();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while model.peers[0].take_replies().is_empty() {
        assert!(std::time::Instant::now() < deadline, "nobody woke the task");
        sleep(Duration::from_millis(1)).await;
        model.poll(0);
    }
}

#[tokio::test]
async fn connections_for_which_most_waits_end_first() {
    let mut model = opened("quorate.clientBacklogMaxBytes=6000000\n");
    model.poll(1);
    model.answer(1, 0);
    model.poll(1);
    for _ in 0..31 {
        let frames = vec![0; 100_000];
        model.peers[1].deliver(frames, 0, 1);
        model.poll(1);
    }
    let waiting = model.clients.metrics.backlog_bytes.value();
    assert_eq!(waiting, 3_100_000);
    model.ask_and_poll(OpCode::GetChildren, &path_watch("/some"));
    let with_reply = model.clients.metrics.backlog_bytes.value();
    assert!((3_400_000..3_800_000).contains(&with_reply), "{with_reply}");
    // Half of the bound is used, so who has a reply to take gets no other.
    for _ in 0..100 {
        model.ask_and_poll(OpCode::GetData, &path_watch("/small"));
    }
    let later = model.clients.metrics.backlog_bytes.value();
    assert!(later - with_reply < 100 * 30, "{later}");
    for _ in 0..40 {
        let frames = vec![0; 100_000];
        model.peers[1].deliver(frames, 0, 1);
        if model.clients.metrics.backlog_closed.value() > 0 {
            break;
        }
        model.poll(1);
    }
    assert_eq!(model.clients.metrics.backlog_closed.value(), 1);
    let mut cx = Context::from_waker(Waker::noop());
    let ended = model.peers[1].connection.poll(&mut cx);
    assert!(
        matches!(ended, Poll::Ready(Ended::ByServer(Farewell::Backlog))),
        "{ended:?}"
    );
    model.peers.pop();
    let after = model.clients.metrics.backlog_bytes.value();
    assert!(after < 4_000_000, "{after}");
    model.settle();
    assert_eq!(model.clients.metrics.backlog_bytes.value(), 0);
}

#[tokio::test]
async fn the_bytes_of_all_writes_are_bounded() {
    let mut model = opened("");
    model.others_take(2 * OUTSTANDING_BYTES_MAX);
    model.ask_and_poll(OpCode::SetData, &path_watch("/small"));
    model.answer(0, 1);
    assert!(model.hears_a_ping());
    assert_eq!(model.peers[0].connection.work.outstanding, 0);
    model.others_take(0);
    while model.peers[0].connection.work.outstanding == 0 {
        yield_now().await;
        model.run();
    }
    model.settle();
}
