//! One connection on a quorum port: packets in, packets and images out.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use zk_core::tree::{ImageBlocks, TreeError, TreeLoader};
use zk_core::{Input, LinkId};
use zk_proto::DecodeError;
use zk_proto::jute::{Put, Reason};
use zk_proto::quorum::{PacketKind, QuorumPacket};
use zk_proto::snapshot::SNAP_SIGNATURE;

use crate::inbox::{Event, Inbox};

/// What the driver wants a link to send. Shared by the driver and the link's task.
#[derive(Default)]
pub(crate) struct LinkOutbox {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Chunk>,
    /// Bytes of packets in `chunks`.
    packet_bytes: usize,
    /// Why the driver has closed the link.
    closed: Option<&'static str>,
    waker: Option<Waker>,
}

enum Chunk {
    Packets(Vec<u8>),
    Image(Box<ImageBlocks>),
}

impl LinkOutbox {
    /// Adds encoded packets. False if the peer is so far behind that the link
    /// is to be given up.
    #[must_use]
    pub(crate) fn send(&self, packets: &[u8]) -> bool {
        let mut state = self.state.lock();
        state.packet_bytes += packets.len();
        if state.packet_bytes > UNSENT_BYTES_MAX {
            return false;
        }
        match state.chunks.back_mut() {
            Some(Chunk::Packets(last)) => last.extend_from_slice(packets),
            _ => state.chunks.push_back(Chunk::Packets(packets.to_vec())),
        }
        state.wake();
        true
    }

    /// Adds a tree image and the signature after it.
    pub(crate) fn send_image(&self, image: ImageBlocks) {
        let mut head = Vec::new();
        QuorumPacket::new(PacketKind::Snap, image.zxid(), None).write(&mut head);
        let mut signature = Vec::new();
        signature.put_str(SNAP_SIGNATURE);
        let mut state = self.state.lock();
        state.chunks.extend([
            Chunk::Packets(head),
            Chunk::Image(Box::new(image)),
            Chunk::Packets(signature),
        ]);
        state.wake();
    }

    /// Ends the link after one more attempt to send what is queued.
    pub(crate) fn close(&self, reason: &'static str) {
        let mut state = self.state.lock();
        state.closed = Some(reason);
        state.wake();
    }

    /// Waits until the driver has closed the link.
    pub(super) async fn closed(&self) {
        poll_fn(|cx| {
            let mut state = self.state.lock();
            state.waker = Some(cx.waker().clone());
            if state.closed.is_some() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Refills `unsent` once it is empty; until then packets wait here, where
    /// they are counted. Returns why the link is to end, if it is.
    fn take(&self, cx: &Context<'_>, unsent: &mut VecDeque<Chunk>) -> Option<&'static str> {
        let mut state = self.state.lock();
        if unsent.is_empty() {
            state.packet_bytes = 0;
            std::mem::swap(&mut state.chunks, unsent);
        }
        match &state.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => state.waker = Some(cx.waker().clone()),
        }
        state.closed
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A link that stands.
pub(super) struct Link {
    id: LinkId,
    stream: TcpStream,
    inbox: Arc<Inbox>,
    outbox: Arc<LinkOutbox>,
    data_bytes_max: usize,
    unsent: VecDeque<Chunk>,
    sent: usize,
    /// The piece that is being sent of the image in front of `unsent`.
    block: Vec<u8>,
    received: BytesMut,
    snap: Option<Box<TreeLoader>>,
    events: Vec<Event>,
    /// When the replica last heard that a long transfer moves.
    progress: Instant,
    has_moved: bool,
}

/// Why a link has ended.
#[derive(Debug)]
pub(super) enum LinkEnd {
    ByReplica(&'static str),
    ByPeer,
    Socket(std::io::Error),
    BadPacket(DecodeError),
    BadSnapshot(TreeError),
}

impl Link {
    pub(super) fn new(
        id: LinkId,
        stream: TcpStream,
        inbox: Arc<Inbox>,
        outbox: Arc<LinkOutbox>,
        data_bytes_max: usize,
    ) -> Self {
        Self {
            id,
            stream,
            inbox,
            outbox,
            data_bytes_max,
            unsent: VecDeque::new(),
            sent: 0,
            block: Vec::new(),
            received: BytesMut::with_capacity(READ_BYTES),
            snap: None,
            events: Vec::new(),
            progress: Instant::now(),
            has_moved: false,
        }
    }

    /// Carries packets until the link ends, and tells the driver unless it
    /// was the replica that ended it.
    pub(super) async fn run(mut self) -> LinkEnd {
        let end = poll_fn(|cx| self.poll(cx)).await;
        self.inbox.append(&mut self.events);
        if !matches!(end, LinkEnd::ByReplica(_)) {
            self.inbox.push_input(Input::LinkClosed(self.id));
        }
        end
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<LinkEnd> {
        loop {
            let closed = self.outbox.take(cx, &mut self.unsent);
            let is_idle = self.unsent.is_empty();
            let flushed = self.poll_flush(cx);
            if let Some(reason) = closed {
                return Poll::Ready(LinkEnd::ByReplica(reason));
            }
            match flushed {
                Poll::Ready(Err(error)) => return Poll::Ready(LinkEnd::Socket(error)),
                Poll::Ready(Ok(())) if !is_idle => {}
                _ => break,
            }
        }
        loop {
            if self.inbox.poll_room(cx).is_pending() {
                return Poll::Pending;
            }
            let read = self.poll_fill(cx);
            if let Poll::Ready(Ok(1..)) = read
                && let Err(end) = self.take_packets()
            {
                return Poll::Ready(end);
            }
            self.tell_progress();
            self.inbox.append(&mut self.events);
            match ready!(read) {
                Ok(0) => return Poll::Ready(LinkEnd::ByPeer),
                Ok(_) => {}
                Err(error) => return Poll::Ready(LinkEnd::Socket(error)),
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        if self.received.capacity() - self.received.len() < READ_BYTES_MIN {
            // A long record doubles its buffer, which costs it one copy in the mean.
            self.received.reserve(READ_BYTES.max(self.received.len()));
        }
        let read = pin!(self.stream.read_buf(&mut self.received));
        read.poll(cx)
    }

    fn take_packets(&mut self) -> Result<(), LinkEnd> {
        loop {
            if let Some(loader) = self.snap.take() {
                self.has_moved = true;
                self.take_snap(loader)?;
                if self.snap.is_some() {
                    return Ok(());
                }
            }
            if !self.may_hold_packet() {
                return Ok(());
            }
            let bytes = self.received.split().freeze();
            let mut at = 0;
            let decoded = self.decode_all(&bytes, &mut at);
            // What is left is the start of a packet, or of a stream. It moves to
            // the rest of the same allocation, which lasts for many packets.
            self.received.extend_from_slice(&bytes[at..]);
            decoded.map_err(LinkEnd::BadPacket)?;
            if self.snap.is_none() {
                return Ok(());
            }
        }
    }

    /// Hands over the tree once all of it and the signature are there. A
    /// single record may not be longer than the longest packet with its data.
    fn take_snap(&mut self, mut loader: Box<TreeLoader>) -> Result<(), LinkEnd> {
        let taken = loader.load(&self.received).map_err(LinkEnd::BadSnapshot)?;
        self.received.advance(taken);
        let mut signature = Vec::new();
        signature.put_str(SNAP_SIGNATURE);
        if !loader.is_complete() || self.received.len() < signature.len() {
            if loader.is_among_znodes() && self.received.len() > self.data_bytes_max * 2 {
                return Err(LinkEnd::BadSnapshot(TreeError::from(DecodeError {
                    offset: 0,
                    reason: Reason::Truncated,
                })));
            }
            self.snap = Some(loader);
            return Ok(());
        }
        if !self.received.starts_with(&signature) {
            return Err(LinkEnd::BadPacket(DecodeError {
                offset: 0,
                reason: Reason::Value {
                    what: "snapshot signature",
                    value: 0,
                },
            }));
        }
        self.received.advance(signature.len());
        let tree = loader.finish().map_err(LinkEnd::BadSnapshot)?;
        self.events.push(Event::Input(Input::Snap {
            link: self.id,
            tree: Box::new(tree),
        }));
        Ok(())
    }

    fn decode_all(&mut self, bytes: &Bytes, at: &mut usize) -> Result<(), DecodeError> {
        while *at < bytes.len() {
            let rest = bytes.slice(*at..);
            let Some((packet, length)) = QuorumPacket::decode(&rest, self.data_bytes_max)? else {
                return Ok(());
            };
            *at += length;
            if packet.known_kind() == Some(PacketKind::Snap) {
                self.snap = Some(Box::new(TreeLoader::new(packet.zxid)));
                return Ok(());
            }
            self.events.push(Event::Input(Input::Packet {
                link: self.id,
                packet,
            }));
        }
        Ok(())
    }

    /// False while a packet at the front surely lacks bytes: saves looking
    /// at a long one each time a piece of it arrives.
    fn may_hold_packet(&self) -> bool {
        const HEAD_BYTES: usize = 16;
        let Some(length) = self.received.get(12..HEAD_BYTES) else {
            return false;
        };
        let length = i32::from_be_bytes([length[0], length[1], length[2], length[3]]);
        let length = usize::try_from(length).unwrap_or(0);
        length > self.data_bytes_max || self.received.len() >= HEAD_BYTES + length + 4
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        while let Some(chunk) = self.unsent.front_mut() {
            let (bytes, is_image) = match chunk {
                Chunk::Packets(bytes) => (&*bytes, false),
                Chunk::Image(blocks) => {
                    if self.sent == self.block.len() {
                        self.sent = 0;
                        self.block.clear();
                        if !blocks.append_next(&mut self.block) {
                            self.block = Vec::new();
                            self.unsent.pop_front();
                            continue;
                        }
                    }
                    (&self.block, true)
                }
            };
            while self.sent < bytes.len() {
                match ready!(Pin::new(&mut self.stream).poll_write(cx, &bytes[self.sent..]))? {
                    0 => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                    n => self.sent += n,
                }
                self.has_moved |= is_image;
            }
            if !is_image {
                self.sent = 0;
                self.unsent.pop_front();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// A long image is not silence.
    fn tell_progress(&mut self) {
        if std::mem::take(&mut self.has_moved) && self.progress.elapsed() >= PROGRESS_INTERVAL {
            self.progress = Instant::now();
            self.events.push(Event::Input(Input::LinkActive(self.id)));
        }
    }
}

/// Packets that may wait for a peer that takes nothing.
const UNSENT_BYTES_MAX: usize = 256 << 20;
const READ_BYTES: usize = 64 * 1024;
const READ_BYTES_MIN: usize = 4 * 1024;
/// The replica hears of a long transfer this often.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use zk_core::tree::Tree;
    use zk_proto::Zxid;

    use super::*;

    async fn link(stream: TcpStream) -> (Link, Arc<Inbox>, Arc<LinkOutbox>) {
        let (inbox, outbox) = (Arc::<Inbox>::default(), Arc::<LinkOutbox>::default());
        let link = Link::new(LinkId(1), stream, inbox.clone(), outbox.clone(), 1 << 20);
        (link, inbox, outbox)
    }

    /// A tree whose image takes many pieces, some of them long.
    fn tree() -> Tree {
        let mut tree = Tree::new();
        let text = "x".repeat(900_000);
        tree.set_config(&text, Zxid(1), 1);
        tree.set_last_zxid(Zxid(0x1_0000_0005));
        tree
    }

    #[tokio::test]
    async fn a_tree_arrives_between_packets_as_it_was_cut() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialed = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (sender, _, outbox) = link(dialed).await;
        let (receiver, inbox, _outbox) = link(listener.accept().await.unwrap().0).await;
        let ping = QuorumPacket::new(PacketKind::Ping, Zxid(7), None);
        let mut packet = Vec::new();
        ping.write(&mut packet);
        let mut tree = tree();
        let image = tree.image();
        assert!(outbox.send(&packet));
        outbox.send_image(Arc::new(tree.cut()).blocks());
        assert!(outbox.send(&packet));
        tree.set_config("later", Zxid(2), 2);
        let tasks = [tokio::spawn(sender.run()), tokio::spawn(receiver.run())];
        let mut arrived = Vec::new();
        while arrived.len() < 3 {
            let mut batch = Vec::new();
            poll_fn(|cx| inbox.poll_take(cx, &mut batch)).await;
            arrived.extend(batch);
        }
        outbox.close("the test is over");
        for task in tasks {
            task.await.unwrap();
        }
        let [
            Event::Input(first),
            Event::Input(second),
            Event::Input(third),
        ] = &arrived[..3]
        else {
            panic!("inputs only");
        };
        let is_ping =
            |input: &Input| matches!(input, Input::Packet { packet, .. } if *packet == ping);
        assert!(is_ping(first) && is_ping(third));
        let Input::Snap { tree: received, .. } = second else {
            panic!("{second:?} is no tree");
        };
        assert!(received.image() == image, "the tree of that moment");
        assert_eq!(received.last_zxid(), Zxid(0x1_0000_0005));
    }
}
