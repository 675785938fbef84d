//! The quorum port: links that learners open to us, and ours to a leader.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::time::{sleep, timeout};
use zk_core::{Ensemble, Input, LinkId};
use zk_proto::Sid;

use super::link::{Link, LinkEnd, LinkOutbox};
use crate::config::{PeerConfig, ServerConfig};
use crate::inbox::{Event, Inbox};

/// Opens links in both directions.
pub(crate) struct QuorumPort {
    inbox: Arc<Inbox>,
    ensemble: Ensemble,
    data_bytes_max: usize,
    peers: PeerConfig,
    next_link: AtomicU64,
}

impl QuorumPort {
    pub(crate) fn new(inbox: Arc<Inbox>, config: &ServerConfig) -> Arc<Self> {
        Arc::new(Self {
            inbox,
            ensemble: config.ensemble.clone(),
            data_bytes_max: config.storage.record_bytes_max,
            peers: config.peers.clone(),
            next_link: AtomicU64::new(1),
        })
    }

    /// Accepts in every state; the replica closes what it has no use for.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, remote)) => {
                    prepare(&stream);
                    let link = LinkId(self.next_link.fetch_add(1, Ordering::Relaxed));
                    let outbox = Arc::new(LinkOutbox::default());
                    self.inbox.push(Event::LinkAccepted {
                        link,
                        outbox: outbox.clone(),
                    });
                    tokio::spawn(self.clone().carry(link, stream, outbox, remote));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a learner's connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
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
            Some((stream, remote)) => {
                prepare(&stream);
                self.inbox.push_input(Input::LinkConnected(link));
                self.carry(link, stream, outbox, remote).await;
            }
            None => {
                tracing::warn!(to = to.0, "cannot reach the leader's quorum port");
                self.inbox.push_input(Input::LinkClosed(link));
            }
        }
    }

    async fn attempt(&self, to: Sid, within: Duration) -> Option<(TcpStream, SocketAddr)> {
        let member = self.ensemble.members.get(&to)?;
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            match timeout(
                left.min(ATTEMPT_MAX),
                dial(&member.host, member.quorum_port),
            )
            .await
            {
                Ok(Ok(connected)) => return Some(connected),
                Ok(Err(error)) => {
                    tracing::debug!(to = to.0, host = %member.host, %error, "cannot connect to the leader yet");
                }
                Err(_) => {
                    tracing::debug!(to = to.0, host = %member.host, "the leader's host is silent")
                }
            }
            sleep(self.peers.connect_pause.min(left)).await;
        }
    }

    async fn carry(
        self: Arc<Self>,
        link: LinkId,
        stream: TcpStream,
        outbox: Arc<LinkOutbox>,
        remote: SocketAddr,
    ) {
        let inbox = self.inbox.clone();
        match Link::new(link, stream, inbox, outbox, self.data_bytes_max)
            .run()
            .await
        {
            LinkEnd::ByReplica(reason) => {
                tracing::info!(link = link.0, %remote, reason, "quorum connection closed by this server");
            }
            LinkEnd::ByPeer => {
                tracing::info!(link = link.0, %remote, reason = "closed by the peer", "quorum connection closed");
            }
            LinkEnd::Socket(error) => {
                tracing::info!(link = link.0, %remote, reason = %error, "quorum connection closed");
            }
            LinkEnd::BadSnapshot(error) => {
                tracing::warn!(link = link.0, %remote, reason = %error, "quorum connection closed: not a tree");
            }
            LinkEnd::BadPacket(error) => {
                tracing::warn!(link = link.0, %remote, reason = %error, "quorum connection closed: not a packet");
            }
        }
    }
}

/// Resolves the name afresh and takes the first address that answers.
pub(super) async fn dial(host: &str, port: u16) -> std::io::Result<(TcpStream, SocketAddr)> {
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host((host, port)).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok((stream, address)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// No delay, and notice a peer whose host is gone.
pub(super) fn prepare(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL);
    let socket = SockRef::from(stream);
    if let Err(error) = stream
        .set_nodelay(true)
        .and_then(|()| socket.set_tcp_keepalive(&keepalive))
    {
        tracing::debug!(%error, "cannot set socket options");
    }
}

/// Pause after a failed accept, which usually means that files ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A host that drops packets is tried again after this long.
const ATTEMPT_MAX: Duration = Duration::from_secs(1);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
