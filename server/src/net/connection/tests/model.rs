//! A model of everything around connections: sockets that take and give what
//! they like, a driver that answers when it likes, and tasks that are polled
//! only when something has woken them.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use parking_lot::Mutex;
use tokio::io::ReadBuf;
use tokio::runtime::Runtime;
use zk_core::request::{Reply, SharedView, write_event, write_reply};
use zk_core::tree::Tree;
use zk_core::{ConnId, Frames, ToClient};
use zk_proto::client::{EventKind, OpCode, PathWatchRequest, StatPersisted, WatcherEvent};
use zk_proto::jute::Put;
use zk_proto::snapshot::{NodeRecord, OPEN_ACL_REF, write_acl_table, write_end, write_sessions};

use super::super::*;
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
pub(super) struct Wire {
    pub(super) to_server: VecDeque<u8>,
    reader: Option<Waker>,
    /// So many bytes more are taken before the socket is full.
    room: usize,
    writer: Option<Waker>,
    from_server: Vec<u8>,
}

#[derive(Clone, Default)]
pub(super) struct Socket(pub(super) Arc<Mutex<Wire>>);

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
    pub(super) fn deliver(&self, bytes: &[u8]) {
        let mut wire = self.0.lock();
        wire.to_server.extend(bytes);
        wire.reader.take().into_iter().for_each(Waker::wake);
    }

    pub(super) fn make_room(&self, bytes: usize) {
        let mut wire = self.0.lock();
        wire.room += bytes;
        wire.writer.take().into_iter().for_each(Waker::wake);
    }
}

/// A task that was woken.
pub(super) struct Flag(pub(super) AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A client, its connection and what it is still to get.
pub(super) struct Peer {
    pub(super) connection: Connection<Socket>,
    pub(super) socket: Socket,
    pub(super) woken: Arc<Flag>,
    /// Sent by the client, not yet in the server's socket.
    unsent: VecDeque<u8>,
    next_xid: i32,
    /// Xids of all requests, in order.
    asked: Vec<i32>,
    is_open: bool,
    /// Writes that the driver has taken.
    owed: VecDeque<Xid>,
}

pub(super) struct Model {
    /// Which run it is, to be told when it fails.
    label: String,
    pub(super) clients: Arc<Clients>,
    pub(super) peers: Vec<Peer>,
    random: Random,
    /// Bytes that the writes of connections outside the model take.
    of_others: i64,
    /// Its clock stands still but for the model's steps; `None` in a test that
    /// has a runtime of its own.
    pub(super) time: Option<Runtime>,
}

impl Model {
    pub(super) fn new(seed: u64, zoo_cfg: &str) -> Self {
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
    pub(super) fn step(&mut self) {
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
    pub(super) fn others_take(&mut self, bytes: i64) {
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

    pub(super) fn ask(&mut self, at: usize) {
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
    pub(super) fn answer(&mut self, at: usize, max: usize) {
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

    pub(super) fn poll(&mut self, at: usize) {
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
    pub(super) fn settle(&mut self) {
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
    pub(super) fn ask(&mut self, op: OpCode, body: &[u8]) {
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

    pub(super) fn send(&mut self, count: usize) {
        let count = count.min(self.unsent.len());
        if count == 0 {
            // Nothing comes, so nothing may wake the connection.
            return;
        }
        let bytes: Vec<u8> = self.unsent.drain(..count).collect();
        self.socket.deliver(&bytes);
    }

    pub(super) fn deliver(&self, frames: impl Into<Frames>, replies: u32, events: u32) {
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
    pub(super) fn take_replies(&self) -> Vec<i32> {
        let bytes = std::mem::take(&mut self.socket.0.lock().from_server);
        let xids = frames(&bytes).map(|frame| i32::from_be_bytes(*frame.first_chunk().unwrap()));
        xids.filter(|xid| *xid != -1).collect()
    }
}

pub(super) fn path_watch(path: &str) -> Vec<u8> {
    let mut body = Vec::new();
    PathWatchRequest {
        path: path.into(),
        watch: false,
    }
    .write(&mut body);
    body
}

/// The body of a getAllChildrenNumber.
pub(super) fn walk_body(path: &str) -> Vec<u8> {
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
