//! One connection on a quorum port: packets in, packets and images out.

mod outbox;

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use zk_core::tree::{TreeError, TreeLoader};
use zk_core::{Input, LinkId};
use zk_proto::DecodeError;
use zk_proto::jute::{Put, Reason};
use zk_proto::quorum::{PacketKind, PacketScan, QuorumPacket};
use zk_proto::snapshot::SNAP_SIGNATURE;

use self::outbox::Chunk;
pub(crate) use self::outbox::LinkOutbox;
use crate::inbox::{Event, Inbox};

/// Which end of a link this server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The learner, which has dialed. It takes a tree and packets of any length
    /// that a leader may have, once it has answered the leader with ACKEPOCH.
    Learner,
    /// The leader, which never takes a tree, and takes long packets only from
    /// a learner that is synchronized, as `jute.maxbuffer` bounds them.
    Leader,
}

/// A link that stands.
pub(super) struct Link {
    id: LinkId,
    end: End,
    stream: TcpStream,
    inbox: Arc<Inbox>,
    outbox: Arc<LinkOutbox>,
    data_bytes_max: usize,
    /// Longest data of a packet and longest record of a tree from a leader.
    of_leader_bytes_max: usize,
    unsent: VecDeque<Chunk>,
    sent: usize,
    /// The piece that is being sent of the image in front of `unsent`.
    block: Vec<u8>,
    received: BytesMut,
    /// Looks at the packet at the front of `received`.
    scan: PacketScan,
    /// Packets taken so far.
    taken: u64,
    snap: Option<Box<TreeLoader>>,
    events: Vec<Event>,
    /// Bytes of the packets in `events`.
    event_bytes: usize,
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
        end: End,
        stream: TcpStream,
        received: BytesMut,
        inbox: Arc<Inbox>,
        outbox: Arc<LinkOutbox>,
        data_bytes_max: usize,
    ) -> Self {
        Self {
            id,
            end,
            stream,
            inbox,
            outbox,
            data_bytes_max,
            of_leader_bytes_max: OF_LEADER_BYTES_MAX,
            unsent: VecDeque::new(),
            sent: 0,
            block: Vec::new(),
            received,
            scan: PacketScan::default(),
            taken: 0,
            snap: None,
            events: Vec::new(),
            event_bytes: 0,
            progress: Instant::now(),
            has_moved: false,
        }
    }

    pub(super) const fn id(&self) -> LinkId {
        self.id
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
        if self.taken == 0
            && !self.received.is_empty()
            && let Err(end) = self.take_packets()
        {
            return Poll::Ready(end);
        }
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
            self.inbox
                .append_from_peer(&mut self.events, std::mem::take(&mut self.event_bytes));
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
            if !self.scan.is_whole(&self.received, self.packet_bytes_max()) {
                return Ok(());
            }
            self.scan = PacketScan::default();
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
    /// single record may not be longer than what a leader may send at once.
    fn take_snap(&mut self, mut loader: Box<TreeLoader>) -> Result<(), LinkEnd> {
        let taken = loader.load(&self.received).map_err(LinkEnd::BadSnapshot)?;
        self.received.advance(taken);
        let mut signature = Vec::new();
        signature.put_str(SNAP_SIGNATURE);
        if !loader.is_complete() || self.received.len() < signature.len() {
            if self.received.len() > self.of_leader_bytes_max {
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
            let Some((packet, length)) = QuorumPacket::decode(&rest, self.packet_bytes_max())?
            else {
                return Ok(());
            };
            *at += length;
            self.taken += 1;
            if packet.known_kind() == Some(PacketKind::Snap) {
                // A tree comes where the leader says how it synchronizes:
                // right after LEADERINFO.
                if self.end != End::Learner || self.taken != 2 || !self.outbox.is_proved() {
                    return Err(DecodeError {
                        offset: 0,
                        reason: Reason::Value {
                            what: "packet in the place of SNAP",
                            value: PacketKind::Snap as i64,
                        },
                    });
                }
                self.snap = Some(Box::new(TreeLoader::new(packet.zxid)));
                return Ok(());
            }
            self.event_bytes += length;
            self.events.push(Event::Input(Input::Packet {
                link: self.id,
                packet,
            }));
        }
        Ok(())
    }

    /// Longest data that the other end may send now. What a leader has
    /// committed is read however long it is: `jute.maxbuffer` may be higher
    /// there, or may have been once.
    fn packet_bytes_max(&self) -> usize {
        match self.end {
            End::Leader | End::Learner if !self.outbox.is_proved() => SYNC_BYTES_MAX,
            End::Leader => self.data_bytes_max,
            End::Learner => self.of_leader_bytes_max,
        }
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
            if is_image {
                self.outbox.image_sent(self.sent);
            } else {
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

/// Longest data of who is not proved yet: it has nothing but its own numbers to
/// tell.
pub(super) const SYNC_BYTES_MAX: usize = 1024;
pub(super) const READ_BYTES: usize = 64 * 1024;
/// Longest data of a packet and longest record of a tree from a leader. All
/// sessions are one record: there may be 40 million.
const OF_LEADER_BYTES_MAX: usize = 512 << 20;
const READ_BYTES_MIN: usize = 4 * 1024;
/// The replica hears of a long transfer this often.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};
    use zk_core::tree::Tree;
    use zk_proto::Zxid;
    use zk_proto::client::StatPersisted;
    use zk_proto::snapshot::{
        NodeRecord, OPEN_ACL_REF, write_acl_table, write_end, write_sessions,
    };

    use super::*;

    async fn link(end: End, stream: TcpStream) -> (Link, Arc<Inbox>, Arc<LinkOutbox>) {
        let (inbox, outbox) = (Arc::<Inbox>::default(), Arc::<LinkOutbox>::default());
        let (id, received) = (LinkId(1), BytesMut::new());
        let (to_driver, to_send) = (inbox.clone(), outbox.clone());
        let link = Link::new(id, end, stream, received, to_driver, to_send, 1 << 20);
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
        let (sender, _, outbox) = link(End::Leader, dialed).await;
        let (receiver, inbox, proved) =
            link(End::Learner, listener.accept().await.unwrap().0).await;
        proved.set_proved();
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

    /// What a link makes of these bytes of a stranger that then says nothing.
    async fn end_of(end: End, bytes: &[u8]) -> LinkEnd {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut stranger = TcpStream::connect(address).await.unwrap();
        let (link, ..) = link(end, listener.accept().await.unwrap().0).await;
        tokio::io::AsyncWriteExt::write_all(&mut stranger, bytes)
            .await
            .unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(20), link.run());
        ended.await.expect("the link is closed")
    }

    fn packets(packets: &[QuorumPacket]) -> Vec<u8> {
        let mut bytes = Vec::new();
        packets.iter().for_each(|packet| packet.write(&mut bytes));
        bytes
    }

    #[tokio::test]
    async fn a_tree_is_taken_only_from_a_leader_and_in_its_turn() {
        let snap = QuorumPacket::new(PacketKind::Snap, Zxid(5), None);
        let ping = QuorumPacket::new(PacketKind::Ping, Zxid(5), None);
        let sessions = i32::MAX.to_be_bytes();
        for (end, before) in [
            (End::Leader, &[][..]),
            (End::Leader, std::slice::from_ref(&ping)),
            (End::Learner, &[]),
            (End::Learner, &[ping.clone(), ping.clone()]),
        ] {
            let mut said = packets(before);
            said.extend(packets(std::slice::from_ref(&snap)));
            said.extend(sessions);
            let ended = end_of(end, &said).await;
            assert!(matches!(ended, LinkEnd::BadPacket(_)), "{end:?}: {ended:?}");
        }
    }

    #[tokio::test]
    async fn a_record_of_a_tree_is_not_waited_for_without_end() {
        let ping = QuorumPacket::new(PacketKind::Ping, Zxid(5), None);
        let snap = QuorumPacket::new(PacketKind::Snap, Zxid(5), None);
        let mut said = packets(&[ping, snap]);
        // No sessions, no ACLs, and a path that takes its time.
        said.extend([0_i32, 0, i32::MAX].map(i32::to_be_bytes).concat());
        said.resize(said.len() + (3 << 20), b'x');
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut leader = TcpStream::connect(address).await.unwrap();
        let (mut link, _inbox, outbox) =
            link(End::Learner, listener.accept().await.unwrap().0).await;
        outbox.set_proved();
        link.of_leader_bytes_max = 2 << 20;
        let ended = tokio::spawn(link.run());
        // It may close before it has taken all.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut leader, &said).await;
        let ended = tokio::time::timeout(Duration::from_secs(20), ended).await;
        let ended = ended.expect("the link is closed").unwrap();
        assert!(matches!(ended, LinkEnd::BadSnapshot(_)), "{ended:?}");
    }

    /// A tree that takes longer to send than its learner takes to read it.
    fn large_tree() -> Tree {
        let data = vec![7; 100_000];
        let mut image = Vec::new();
        write_sessions(&mut image, [].into_iter());
        write_acl_table(&mut image, [].into_iter());
        for n in 0..150 {
            NodeRecord {
                path: if n == 0 {
                    String::new()
                } else {
                    format!("/{n}")
                }
                .into(),
                data: Some(&data),
                acl_ref: OPEN_ACL_REF,
                stat: StatPersisted::default(),
            }
            .write(&mut image);
        }
        write_end(&mut image);
        Tree::from_image(&image, Zxid(5)).unwrap()
    }

    #[tokio::test]
    async fn while_a_tree_leaves_as_many_packets_may_wait() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let learner = TcpSocket::new_v4().unwrap();
        learner.set_recv_buffer_size(64 << 10).unwrap();
        let to = listener.local_addr().unwrap();
        let mut learner = learner.connect(to).await.unwrap();
        let (inbox, outbox) = (Arc::<Inbox>::default(), Arc::new(LinkOutbox::bounded(1000)));
        let accepted = listener.accept().await.unwrap().0;
        let (id, received) = (LinkId(1), BytesMut::new());
        let to_send = outbox.clone();
        let link = Link::new(id, End::Leader, accepted, received, inbox, to_send, 1 << 20);
        outbox.send_image(Arc::new(large_tree().cut()).blocks());
        let task = tokio::spawn(link.run());
        let mut taken = vec![0; 1 << 20];
        learner.read_exact(&mut taken).await.unwrap();
        for n in 0..100 {
            assert!(outbox.send(&[0; 1000]), "{n} kB wait, and more has left");
        }
        task.abort();
    }

    #[tokio::test]
    async fn who_is_not_proved_sends_nothing_long() {
        let long = Bytes::from(vec![0; SYNC_BYTES_MAX + 1]);
        let long = QuorumPacket::new(PacketKind::Request, Zxid(-1), Some(long));
        // Its head is enough.
        let head = &packets(std::slice::from_ref(&long))[..100];
        for end in [End::Leader, End::Learner] {
            let ended = end_of(end, head).await;
            assert!(matches!(ended, LinkEnd::BadPacket(_)), "{end:?}: {ended:?}");
        }
        // Nor behind a LEADERINFO that nobody has answered.
        let info = QuorumPacket::new(PacketKind::LeaderInfo, Zxid(1 << 32), None);
        let head = packets(std::slice::from_ref(&info)).len() + 100;
        let said = packets(&[info.clone(), long]);
        let ended = end_of(End::Learner, &said[..head]).await;
        assert!(matches!(ended, LinkEnd::BadPacket(_)), "{ended:?}");
        let snap = QuorumPacket::new(PacketKind::Snap, Zxid(5), None);
        let ended = end_of(End::Learner, &packets(&[info, snap])).await;
        assert!(matches!(ended, LinkEnd::BadPacket(_)), "{ended:?}");
    }

    /// Whatever it claims to be going to send.
    #[tokio::test]
    async fn a_long_packet_takes_no_more_memory_than_its_bytes_that_came() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut leader = TcpStream::connect(address).await.unwrap();
        let (mut link, _, outbox) = link(End::Learner, listener.accept().await.unwrap().0).await;
        outbox.set_proved();
        let mut said = packets(&[QuorumPacket::new(PacketKind::Proposal, Zxid(1), None)]);
        said[12..16].copy_from_slice(&(OF_LEADER_BYTES_MAX as i32).to_be_bytes());
        said.resize(1 << 20, 0);
        tokio::io::AsyncWriteExt::write_all(&mut leader, &said)
            .await
            .unwrap();
        while link.received.len() < said.len() {
            let ended = poll_fn(|cx| Poll::Ready(link.poll(cx))).await;
            assert!(ended.is_pending(), "{ended:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(link.received.capacity() <= 4 << 20);
    }
}
