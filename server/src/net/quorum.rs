//! The quorum port: links that learners open to us, and ours to a leader.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use zk_core::{Input, LinkId, Origin};
use zk_proto::quorum::{LearnerInfo, PacketKind, PacketScan, QuorumPacket};
use zk_proto::{DecodeError, Sid};

use super::dial::{DialError, dial, prepare};
use super::link::{End, Link, LinkEnd, LinkOutbox, READ_BYTES, SYNC_BYTES_MAX};
use super::listed::Listed;
use super::newcomers::Newcomers;
use crate::config::{PeerConfig, ServerConfig};
use crate::inbox::{Event, Inbox};

/// Opens links in both directions.
pub(crate) struct QuorumPort {
    inbox: Arc<Inbox>,
    listed: Listed,
    newcomers: Arc<Newcomers>,
    data_bytes_max: usize,
    peers: PeerConfig,
    /// A learner has so long to introduce itself.
    introduction_max: Duration,
    /// A peer that takes nothing for so long is gone: longer than anything
    /// that the protocol lets it do.
    silence_max: Duration,
    next_link: AtomicU64,
}

/// Why a connection does not become a link.
#[derive(Debug, Error)]
enum Stranger {
    #[error("no introduction in time")]
    Silent,
    #[error("too many connections without an introduction")]
    Crowded,
    #[error("no introduction: {0}")]
    Socket(#[from] io::Error),
    #[error("the introduction cannot be read: {0}")]
    Packet(#[from] DecodeError),
    #[error("the first packet is neither FOLLOWERINFO nor OBSERVERINFO")]
    Kind,
    #[error("server {sid} is not taken: {reason}")]
    Refused { sid: Sid, reason: String },
}

impl QuorumPort {
    pub(crate) fn new(inbox: Arc<Inbox>, config: &ServerConfig, listed: Listed) -> Arc<Self> {
        let ms = |ticks: u32| Duration::from_millis(config.tick_ms.saturating_mul(ticks.into()));
        Arc::new(Self {
            inbox,
            listed,
            newcomers: Arc::default(),
            data_bytes_max: config.storage.request_bytes_max(),
            peers: config.peers.clone(),
            introduction_max: ms(config.sync_limit).max(INTRODUCTION_MIN),
            silence_max: ms(config.init_limit.max(config.sync_limit)),
            next_link: AtomicU64::new(1),
        })
    }

    /// Accepts in every state; the replica closes what it has no use for.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, remote)) => {
                    tokio::spawn(self.clone().welcome(stream, remote));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a learner's connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Carries a learner's link once it has said who it is: before that, the
    /// driver hears nothing of it, and it may send no more than that.
    async fn welcome(self: Arc<Self>, mut stream: TcpStream, remote: SocketAddr) {
        prepare(&stream, self.silence_max);
        let place = self.newcomers.enter(remote.ip());
        let mut received = BytesMut::with_capacity(INTRODUCTION_BYTES_MAX);
        let introduced = tokio::select! {
            introduced = timeout(
                self.introduction_max,
                self.introduction(&mut stream, remote, &mut received),
            ) => introduced.unwrap_or(Err(Stranger::Silent)),
            () = place.lost() => Err(Stranger::Crowded),
        };
        drop(place);
        let origin = match introduced {
            Ok(origin) => origin,
            Err(reason) => {
                tracing::info!(%remote, %reason, "quorum connection refused");
                return;
            }
        };
        let link = LinkId(self.next_link.fetch_add(1, Ordering::Relaxed));
        let outbox = Arc::new(LinkOutbox::default());
        self.inbox.push(Event::LinkAccepted {
            link,
            origin,
            outbox: outbox.clone(),
        });
        let link = self.link(link, End::Leader, stream, received, outbox);
        carry(link, remote).await;
    }

    /// Reads until the first packet is there, and leaves it in `received`.
    /// Returns where the learner is.
    async fn introduction(
        &self,
        stream: &mut TcpStream,
        remote: SocketAddr,
        received: &mut BytesMut,
    ) -> Result<Origin, Stranger> {
        let mut scan = PacketScan::default();
        while !scan.is_whole(received, SYNC_BYTES_MAX) {
            if stream.read_buf(received).await? == 0 {
                return Err(Stranger::Socket(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        let first = Bytes::copy_from_slice(&received[..received.len().min(INTRODUCTION_BYTES_MAX)]);
        let (packet, _) = QuorumPacket::decode(&first, SYNC_BYTES_MAX)?.ok_or(Stranger::Kind)?;
        if !matches!(
            packet.known_kind(),
            Some(PacketKind::FollowerInfo | PacketKind::ObserverInfo)
        ) {
            return Err(Stranger::Kind);
        }
        let mut origin = Origin {
            address: remote.ip().to_canonical(),
            is_listed: false,
        };
        // One without a sid, or with that of no server, is refused by the leader.
        if let Some(data) = &packet.data {
            let sid = LearnerInfo::read(data)?.sid;
            let admitted = self.listed.admit(sid, remote.ip()).await;
            admitted.map_err(|reason| Stranger::Refused { sid, reason })?;
            origin.is_listed = self.listed.is_found_at(sid, remote.ip()).await;
        }
        Ok(origin)
    }

    fn link(
        &self,
        id: LinkId,
        end: End,
        stream: TcpStream,
        received: BytesMut,
        outbox: Arc<LinkOutbox>,
    ) -> Link {
        let inbox = self.inbox.clone();
        Link::new(
            id,
            end,
            stream,
            received,
            inbox,
            outbox,
            self.data_bytes_max,
        )
    }

    /// Connects to a peer, trying again until `within` has passed.
    pub(crate) fn dial(
        self: &Arc<Self>,
        link: LinkId,
        to: Sid,
        within: Duration,
    ) -> Arc<LinkOutbox> {
        let outbox = Arc::new(LinkOutbox::default());
        tokio::spawn(self.clone().connect(link, to, within, outbox.clone()));
        outbox
    }

    async fn connect(
        self: Arc<Self>,
        link: LinkId,
        to: Sid,
        within: Duration,
        outbox: Arc<LinkOutbox>,
    ) {
        let within = self.peers.connect_max.map_or(within, |max| within.min(max));
        let attempt = self.attempt(to, within);
        let connected = tokio::select! {
            connected = attempt => connected,
            () = outbox.closed() => return,
        };
        match connected {
            Ok((stream, remote)) => {
                prepare(&stream, self.silence_max);
                self.inbox.push_input(Input::LinkConnected(link));
                let received = BytesMut::with_capacity(READ_BYTES);
                let link = self.link(link, End::Learner, stream, received, outbox);
                carry(link, remote).await;
            }
            Err(reason) => {
                tracing::warn!(to = to.0, reason, "cannot reach the leader's quorum port");
                self.inbox.push_input(Input::LinkClosed(link));
            }
        }
    }

    /// Tries again until `within` has passed, or several attempts in a row
    /// found nobody there: a leader that is dead, or whose name the name
    /// servers do not know, is given up soon, as by the reference
    /// (`Learner.connectToLeader`), because there may be another one. A look-up
    /// that has no answer yet is waited for. The error says why the last
    /// attempt failed.
    async fn attempt(&self, to: Sid, within: Duration) -> Result<(TcpStream, SocketAddr), String> {
        let member = self.listed.member(to);
        let member = member.ok_or("it is not a member of this ensemble")?;
        let (host, port) = (&member.host, member.quorum_port);
        let deadline = Instant::now() + within;
        let patience = Instant::now() + DEAD_AFTER;
        let mut last = None;
        let mut failed = 0;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let silent = || {
                    self.listed
                        .resolver()
                        .trouble(host)
                        .unwrap_or_else(|| "no answer".into())
                };
                return Err(last.map_or_else(silent, |error: DialError| error.to_string()));
            }
            let each_max = left.min(ATTEMPT_MAX);
            match timeout(left, dial(self.listed.resolver(), host, port, each_max)).await {
                Ok(Ok(connected)) => return Ok(connected),
                Ok(Err(error)) => {
                    tracing::debug!(to = to.0, host, %error, "cannot connect to the leader yet");
                    failed += 1;
                    if failed >= ATTEMPTS_MIN && Instant::now() >= patience {
                        return Err(error.to_string());
                    }
                    last = Some(error);
                }
                Err(_) => continue,
            }
            sleep(self.peers.connect_pause.min(left)).await;
        }
    }
}

/// Carries packets until the link ends, and logs why.
async fn carry(link: Link, remote: SocketAddr) {
    let id = link.id();
    match link.run().await {
        LinkEnd::ByReplica(reason) => {
            tracing::info!(link = id.0, %remote, reason, "quorum connection closed by this server");
        }
        LinkEnd::ByPeer => {
            tracing::info!(link = id.0, %remote, reason = "closed by the peer", "quorum connection closed");
        }
        LinkEnd::Socket(error) => {
            tracing::info!(link = id.0, %remote, reason = %error, "quorum connection closed");
        }
        LinkEnd::BadSnapshot(error) => {
            tracing::warn!(link = id.0, %remote, reason = %error, "quorum connection closed: not a tree");
        }
        LinkEnd::BadPacket(error) => {
            tracing::warn!(link = id.0, %remote, reason = %error, "quorum connection closed: not a packet");
        }
    }
}

/// Pause after a failed accept, which usually means that files ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A leader counts as dead after so many attempts,
const ATTEMPTS_MIN: u32 = 5;
/// and this much time.
const DEAD_AFTER: Duration = Duration::from_secs(1);
/// A learner has at least so long to introduce itself.
const INTRODUCTION_MIN: Duration = Duration::from_secs(2);
/// An introduction is not longer: data and authinfo within their bounds.
const INTRODUCTION_BYTES_MAX: usize = 4 * SYNC_BYTES_MAX;
/// A host that drops packets is tried again after this long.
const ATTEMPT_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::Ipv4Addr;
    use std::path::Path;
    use std::sync::atomic::AtomicBool;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpSocket;
    use zk_proto::Zxid;

    use super::super::resolver::Resolver;
    use super::*;

    /// The port of server 1, whose peer 2 has this quorum port.
    fn quorum_port(port: u16) -> Arc<QuorumPort> {
        let text = format!(
            "dataDir=/nowhere\nclientPort=1\ninitLimit=10\nsyncLimit=5\n\
             server.1=127.0.0.1:1:2\nserver.2=127.0.0.1:{port}:4\nserver.3=127.0.0.1:5:6\n"
        );
        let config = ServerConfig::read(Path::new("zoo.cfg"), &text, Some(Sid(1)));
        let config = config.unwrap().config;
        let listed = Listed::new(&config, Resolver::system());
        QuorumPort::new(Arc::default(), &config, listed)
    }

    #[tokio::test]
    async fn who_says_nothing_takes_no_place_for_long() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let quorum = quorum_port(3);
        tokio::spawn(quorum.clone().accept(listener));
        let start = Instant::now();
        let mut silent = Vec::new();
        for _ in 0..100 {
            silent.push(TcpStream::connect(to).await.unwrap());
        }
        let mut byte = [0];
        let closed = silent[0].read(&mut byte);
        let closed = timeout(quorum.introduction_max * 2, closed).await;
        assert_eq!(closed.expect("it is closed").unwrap_or_default(), 0);
        let waited = start.elapsed();
        assert!(waited < quorum.introduction_max, "only its time was over");
    }

    #[tokio::test]
    async fn the_driver_hears_only_of_who_introduces_itself() {
        let info = LearnerInfo {
            sid: Sid(2),
            protocol_version: 0x10000,
            config_version: 0,
        };
        for (kind, is_heard) in [
            (PacketKind::FollowerInfo, true),
            (PacketKind::ObserverInfo, true),
            (PacketKind::Ping, false),
            (PacketKind::AckEpoch, false),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let to = listener.local_addr().unwrap();
            let quorum = quorum_port(3);
            tokio::spawn(quorum.clone().accept(listener));
            let mut stream = TcpStream::connect(to).await.unwrap();
            let mut bytes = Vec::new();
            QuorumPacket::new(kind, Zxid(0), Some(info.encode())).write(&mut bytes);
            stream.write_all(&bytes).await.unwrap();
            let mut batch = Vec::new();
            let heard = poll_fn(|cx| quorum.inbox.poll_take(cx, &mut batch));
            let is_over = async { stream.read(&mut [0; 1]).await.unwrap_or_default() };
            let first = async {
                tokio::select! {
                    () = heard => true,
                    _ = is_over => false,
                }
            };
            let first = timeout(Duration::from_secs(20), first).await;
            assert_eq!(first.expect("something happens"), is_heard, "{kind:?}");
        }
    }

    /// Kubernetes gives a pod a new address at every restart.
    #[tokio::test]
    async fn a_leader_is_dialled_where_its_name_has_moved() {
        let before = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let port = before.local_addr().unwrap().port();
        let after = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let has_moved = Arc::new(AtomicBool::new(false));
        let moved = has_moved.clone();
        let resolver = Resolver::new(move |_| {
            let last = if moved.load(Ordering::Relaxed) { 1 } else { 2 };
            async move { Ok(vec![Ipv4Addr::new(127, 0, 0, last).into()]) }
        });
        let text = format!(
            "dataDir=/nowhere\nclientPort=1\ninitLimit=10\nsyncLimit=5\n\
             server.1=zk-1:1:2\nserver.2=zk-2:{port}:4\nserver.3=zk-3:5:6\n"
        );
        let config = ServerConfig::read(Path::new("zoo.cfg"), &text, Some(Sid(1)));
        let config = config.unwrap().config;
        let quorum = QuorumPort::new(Arc::default(), &config, Listed::new(&config, resolver));
        let within = Duration::from_secs(20);
        for at in [before, after] {
            let (_stream, remote) = quorum.attempt(Sid(2), within).await.unwrap();
            assert_eq!(remote, at.local_addr().unwrap());
            // The pod is gone, and its name points elsewhere.
            drop(at);
            has_moved.store(true, Ordering::Relaxed);
        }
    }

    /// The others can elect one of themselves, whoever else wants to lead.
    #[tokio::test]
    async fn a_leader_whose_name_nobody_knows_is_given_up_soon() {
        let resolver = Resolver::new(|_| async { Err(io::Error::other("NXDOMAIN")) });
        let text = "dataDir=/nowhere\nclientPort=1\ninitLimit=10\nsyncLimit=5\n\
                    server.1=zk-1:1:2\nserver.2=zk-2:3:4\nserver.3=zk-3:5:6\n";
        let config = ServerConfig::read(Path::new("zoo.cfg"), text, Some(Sid(1)));
        let config = config.unwrap().config;
        let quorum = QuorumPort::new(Arc::default(), &config, Listed::new(&config, resolver));
        let within = Duration::from_secs(30);
        let attempt = timeout(within / 3, quorum.attempt(Sid(2), within));
        let reason = attempt.await.expect("long before its time").unwrap_err();
        assert!(reason.contains("NXDOMAIN"), "{reason}");
    }

    #[tokio::test]
    async fn a_leader_that_is_dead_is_given_up_soon() {
        // A port that is taken, but that nobody listens on.
        let taken = TcpSocket::new_v4().unwrap();
        taken.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let quorum = quorum_port(taken.local_addr().unwrap().port());
        let within = Duration::from_secs(30);
        let attempt = timeout(within / 3, quorum.attempt(Sid(2), within));
        let reason = attempt.await.expect("long before its time").unwrap_err();
        assert!(reason.contains("refused"), "{reason}");
    }
}
