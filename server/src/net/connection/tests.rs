//! A model of everything around connections: sockets that take and give what
//! they like, a driver that answers when it likes, and tasks that are polled
//! only when something has woken them.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use parking_lot::Mutex;
use tokio::io::{AsyncWriteExt, ReadBuf};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use zk_core::request::{Reply, SharedView, write_event, write_reply};
use zk_core::tree::Tree;
use zk_core::{ConnId, Frames, ToClient};
use zk_proto::client::{EventKind, OpCode, PathWatchRequest, StatPersisted, WatcherEvent};
use zk_proto::jute::Put;
use zk_proto::snapshot::{NodeRecord, OPEN_ACL_REF, write_acl_table, write_end, write_sessions};

use super::*;
use crate::clock::Clock;
use crate::command::Commands;
use crate::config::ServerConfig;
use crate::inbox::{Event, Inbox};
use crate::metrics::Metrics;
use crate::net::client::OUTSTANDING_BYTES_MAX;
use crate::net::{Backlog, Registry, RequestThrottle, Walks};
use crate::probe::Probe;

/// Numbers that look random (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}

/// One socket, as the server's side sees it.
#[derive(Default)]
struct Wire {
    to_server: VecDeque<u8>,
    reader: Option<Waker>,
    /// So many bytes more are taken before the socket is full.
    room: usize,
    writer: Option<Waker>,
    from_server: Vec<u8>,
}

#[derive(Clone, Default)]
struct Socket(Arc<Mutex<Wire>>);

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut wire = self.0.lock();
        if wire.to_server.is_empty() {
            wire.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = wire.to_server.len().min(buf.remaining());
        let bytes: Vec<u8> = wire.to_server.drain(..count).collect();
        buf.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut wire = self.0.lock();
        if wire.room == 0 {
            wire.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = wire.room.min(bytes.len());
        wire.room -= count;
        wire.from_server.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Socket {
    fn deliver(&self, bytes: &[u8]) {
        let mut wire = self.0.lock();
        wire.to_server.extend(bytes);
        wire.reader.take().into_iter().for_each(Waker::wake);
    }

    fn make_room(&self, bytes: usize) {
        let mut wire = self.0.lock();
        wire.room += bytes;
        wire.writer.take().into_iter().for_each(Waker::wake);
    }
}

/// A task that was woken.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A client, its connection and what it is still to get.
struct Peer {
    connection: Connection<Socket>,
    socket: Socket,
    woken: Arc<Flag>,
    /// Sent by the client, not yet in the server's socket.
    unsent: VecDeque<u8>,
    next_xid: i32,
    /// Xids of all requests, in order.
    asked: Vec<i32>,
    is_open: bool,
    /// Writes that the driver has taken.
    owed: VecDeque<Xid>,
}

struct Model {
    /// Which run it is, to be told when it fails.
    label: String,
    clients: Arc<Clients>,
    peers: Vec<Peer>,
    random: Random,
    /// Bytes that the writes of connections outside the model take.
    of_others: i64,
    /// Its clock stands still but for the model's steps; `None` in a test that
    /// has a runtime of its own.
    time: Option<Runtime>,
}

impl Model {
    fn new(seed: u64, zoo_cfg: &str) -> Self {
        let clients = clients(zoo_cfg);
        let peers = (1..=2).map(|conn| {
            let socket = Socket::default();
            let stats = clients
                .registry
                .open(ConnId(conn), ([127, 0, 0, 1], 1).into(), 0);
            let client = Client::new(ConnId(conn), [127, 0, 0, 1].into());
            Peer {
                connection: Connection::new(
                    client,
                    socket.clone(),
                    clients.clone(),
                    stats,
                    BytesMut::new(),
                ),
                socket,
                woken: Arc::new(Flag(AtomicBool::new(true))),
                unsent: VecDeque::new(),
                next_xid: 0,
                asked: Vec::new(),
                is_open: false,
                owed: VecDeque::new(),
            }
        });
        Self {
            label: format!("seed {seed} {zoo_cfg}"),
            peers: peers.collect(),
            clients,
            random: Random(seed),
            of_others: 0,
            time: None,
        }
    }

    /// Something happens.
    fn step(&mut self) {
        let at = self.random.below(self.peers.len());
        match self.random.below(11) {
            0 => self.ask(at),
            1 | 2 => {
                let max = [3, 100, 20_000, 400_000][self.random.below(4)];
                let count = self.random.below(max);
                self.peers[at].send(count);
            }
            3 => {
                let max = [10, 50_000, 3_000_000][self.random.below(3)];
                let room = self.random.below(max);
                self.peers[at].socket.make_room(room);
            }
            4 => self.answer(at, 3),
            5 => self.tell(at),
            6 => {
                let bytes = [0, OUTSTANDING_BYTES_MAX, 2 * OUTSTANDING_BYTES_MAX];
                let bytes = bytes[self.random.below(3)];
                self.others_take(bytes);
            }
            7 => {
                let ms = 1 + self.random.below(10) as u64;
                self.pass(Duration::from_millis(ms));
            }
            _ => self.poll(at),
        }
    }

    /// The writes of connections outside the model take so many bytes now.
    fn others_take(&mut self, bytes: i64) {
        let more = bytes - self.of_others;
        self.clients.metrics.outstanding_bytes.add(more);
        self.of_others = bytes;
    }

    /// Time passes, and wakes who has waited for it.
    fn pass(&self, time: Duration) {
        if let Some(runtime) = &self.time {
            runtime.block_on(tokio::time::advance(time));
        }
    }

    fn ask(&mut self, at: usize) {
        // So many long replies are ready at once that there is no room for all.
        if self.random.below(6) == 0 {
            for _ in 0..8 + self.random.below(8) {
                let path = ["/some", "/small"][self.random.below(2)];
                self.peers[at].ask(OpCode::GetChildren, &path_watch(path));
            }
            return;
        }
        let count = match self.random.below(8) {
            0 => 1000,
            _ => 1 + self.random.below(5),
        };
        for _ in 0..count {
            let data = vec![7; [0, 100, 90_000][self.random.below(3)]];
            let (op, body) = match self.random.below(if count > 100 { 5 } else { 8 }) {
                0..=2 => (OpCode::GetData, path_watch("/small")),
                3 => (OpCode::Ping, Vec::new()),
                4 => (OpCode::SetData, path_watch("/small")),
                5 => (OpCode::GetChildren, path_watch("/many")),
                6 => (OpCode::GetAllChildrenNumber, walk_body("/some")),
                _ => (OpCode::SetData, data),
            };
            self.peers[at].ask(op, &body);
        }
    }

    /// The driver takes what has come and answers some of it.
    fn answer(&mut self, at: usize, max: usize) {
        let mut batch = Vec::new();
        let cx = Context::from_waker(Waker::noop());
        let _ = self.clients.inbox.poll_take(&cx, &mut batch);
        for event in batch {
            if let Event::Input(Input::ClientWrites { conn, writes }) = event {
                let peer = &mut self.peers[conn.0 as usize - 1];
                peer.owed.extend(writes.iter().map(|write| write.xid));
            }
        }
        let peer = &mut self.peers[at];
        let mailbox = &peer.connection.stats.mailbox;
        if !peer.is_open {
            peer.is_open = true;
            let opened = mailbox.opened(Vec::new());
            opened.into_iter().for_each(Waker::wake);
        }
        let count = peer.owed.len().min(max);
        let mut frames = Vec::new();
        for xid in peer.owed.drain(..count) {
            write_reply(&mut frames, xid, Zxid(9), 0, &Reply::None);
        }
        if count > 0 {
            peer.deliver(frames, count as u32, 0);
        }
    }

    /// Watch events come, many of them now and then.
    fn tell(&mut self, at: usize) {
        if !self.peers[at].is_open {
            return;
        }
        let mut count = [1, 3, 15_000][self.random.below(3)];
        let mut event = Vec::new();
        let kind = EventKind::NodeDataChanged;
        let path = "/a/path/of/some/length/that/is/watched";
        write_event(&mut event, Zxid(9), WatcherEvent { kind, path });
        let mut frames = Frames::from(event.repeat(count as usize));
        // The events of long paths are shared.
        for _ in 0..[0, 1, 40][self.random.below(3)] {
            frames.share(event.clone().into());
            count += 1;
        }
        self.peers[at].deliver(frames, 0, count);
    }

    fn poll(&mut self, at: usize) {
        let peer = &mut self.peers[at];
        if peer.woken.0.swap(false, Ordering::Relaxed) {
            let waker = Waker::from(peer.woken.clone());
            match peer.connection.take_turn(&mut Context::from_waker(&waker)) {
                Poll::Pending => {}
                Poll::Ready(None) => peer.woken.0.store(true, Ordering::Relaxed),
                Poll::Ready(Some(ended)) => panic!("{ended:?}"),
            }
        }
    }

    /// Sockets take all, the driver answers all, the writes of others are
    /// answered and time passes: nothing may be left then, or a task sleeps
    /// that nobody will ever wake.
    fn settle(&mut self) {
        self.others_take(0);
        loop {
            for at in 0..self.peers.len() {
                let peer = &mut self.peers[at];
                peer.send(usize::MAX);
                peer.socket.make_room(1 << 30);
                self.answer(at, usize::MAX);
                self.poll(at);
            }
            // The driver takes what came last.
            self.answer(0, 0);
            // Longer than any pause.
            self.pass(Duration::from_secs(1));
            let is_busy =
                |peer: &Peer| peer.woken.0.load(Ordering::Relaxed) || !peer.owed.is_empty();
            if !self.peers.iter().any(is_busy) {
                break;
            }
        }
        for peer in &mut self.peers {
            peer.socket.0.lock().room = 0;
            let replies = peer.take_replies();
            let asked = std::mem::take(&mut peer.asked);
            let label = &self.label;
            assert_eq!(replies.len(), asked.len(), "not all is answered, {label}");
            assert_eq!(replies, asked, "{label}");
            let is_idle = peer.connection.work.get().is_none();
            assert!(is_idle, "something is kept, {label}");
        }
    }
}

impl Peer {
    fn ask(&mut self, op: OpCode, body: &[u8]) {
        self.next_xid += 1;
        let xid = if op == OpCode::Ping {
            -2
        } else {
            self.next_xid
        };
        let mut frame = Vec::new();
        frame.put_i32(xid);
        frame.put_i32(op.code());
        frame.extend_from_slice(body);
        let mut framed = Vec::new();
        framed.put_buffer(&frame);
        self.unsent.extend(framed);
        self.asked.push(xid);
    }

    fn send(&mut self, count: usize) {
        let count = count.min(self.unsent.len());
        if count == 0 {
            // Nothing comes, so nothing may wake the connection.
            return;
        }
        let bytes: Vec<u8> = self.unsent.drain(..count).collect();
        self.socket.deliver(&bytes);
    }

    fn deliver(&self, frames: impl Into<Frames>, replies: u32, events: u32) {
        let woken = self.connection.stats.mailbox.deliver(ToClient {
            conn: ConnId(0),
            frames: frames.into(),
            replies,
            events,
            close: false,
        });
        woken.into_iter().for_each(Waker::wake);
    }

    /// Xids of all replies that have come.
    fn take_replies(&self) -> Vec<i32> {
        let bytes = std::mem::take(&mut self.socket.0.lock().from_server);
        let xids = frames(&bytes).map(|frame| i32::from_be_bytes(*frame.first_chunk().unwrap()));
        xids.filter(|xid| *xid != -1).collect()
    }
}

fn path_watch(path: &str) -> Vec<u8> {
    let mut body = Vec::new();
    PathWatchRequest {
        path: path.into(),
        watch: false,
    }
    .write(&mut body);
    body
}

/// The body of a getAllChildrenNumber.
fn walk_body(path: &str) -> Vec<u8> {
    let mut body = Vec::new();
    body.put_str(path);
    body
}

/// "/small", "/some" with 3000 children, and "/many", whose list of children is
/// longer than what a connection may keep.
fn view() -> SharedView {
    static VIEW: OnceLock<SharedView> = OnceLock::new();
    let view = VIEW.get_or_init(|| {
        let many = (0..3000).map(|n| format!("/many/{n:0400}"));
        let some = (0..3000).map(|n| format!("/some/{n:0100}"));
        let paths = ["", "/small", "/many", "/some"].map(str::to_owned);
        let mut image = Vec::new();
        write_sessions(&mut image, [].into_iter());
        write_acl_table(&mut image, [].into_iter());
        for path in paths.into_iter().chain(many).chain(some) {
            NodeRecord {
                path: path.into(),
                data: Some(b"data"),
                acl_ref: OPEN_ACL_REF,
                stat: StatPersisted::default(),
            }
            .write(&mut image);
        }
        write_end(&mut image);
        SharedView::new(
            Tree::from_image(&image, Zxid(9)).unwrap(),
            Arc::default(),
            1,
        )
    });
    view.clone()
}

fn clients(zoo_cfg: &str) -> Arc<Clients> {
    let text = format!("dataDir=/nowhere\nclientPort=0\n{zoo_cfg}");
    let config = ServerConfig::read("zoo.cfg".as_ref(), &text, None);
    let config = config.unwrap().config;
    let clock = Clock::start();
    let metrics = Arc::new(Metrics::default());
    let registry = Arc::new(Registry::default());
    let probe = Probe::new(config.clone(), clock, metrics.clone(), registry.clone());
    let limits = config.limits;
    let (of, max) = (registry.clone(), limits.backlog_bytes_max);
    Arc::new(Clients {
        backlog: Backlog::new(of, metrics.clone(), max),
        walks: Walks::default(),
        inbox: Arc::new(Inbox::default()),
        view: view(),
        metrics,
        registry,
        clock,
        commands: Arc::new(Commands::new(probe)),
        request_throttle: RequestThrottle::new(&limits),
        limits,
        is_stopping: AtomicBool::new(false),
    })
}

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
