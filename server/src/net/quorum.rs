//! The quorum port: links that learners open to us, and ours to a leader.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use zk_core::{Ensemble, Input, LinkId};
use zk_proto::Sid;

use super::dial::{DialError, dial, prepare};
use super::link::{Link, LinkEnd, LinkOutbox};
use super::resolver::Resolver;
use crate::config::{PeerConfig, ServerConfig};
use crate::inbox::{Event, Inbox};

/// Opens links in both directions.
pub(crate) struct QuorumPort {
    inbox: Arc<Inbox>,
    ensemble: Ensemble,
    data_bytes_max: usize,
    peers: PeerConfig,
    resolver: Arc<Resolver>,
    /// A peer that takes nothing for so long is gone: longer than anything
    /// that the protocol lets it do.
    silence_max: Duration,
    next_link: AtomicU64,
}

impl QuorumPort {
    pub(crate) fn new(
        inbox: Arc<Inbox>,
        config: &ServerConfig,
        resolver: Arc<Resolver>,
    ) -> Arc<Self> {
        let ticks = config.init_limit.max(config.sync_limit);
        let silence_ms = config.tick_ms.saturating_mul(ticks.into());
        Arc::new(Self {
            inbox,
            ensemble: config.ensemble.clone(),
            data_bytes_max: config.storage.record_bytes_max,
            peers: config.peers.clone(),
            resolver,
            silence_max: Duration::from_millis(silence_ms),
            next_link: AtomicU64::new(1),
        })
    }

    /// Accepts in every state; the replica closes what it has no use for.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, remote)) => {
                    prepare(&stream, self.silence_max);
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
            Ok((stream, remote)) => {
                prepare(&stream, self.silence_max);
                self.inbox.push_input(Input::LinkConnected(link));
                self.carry(link, stream, outbox, remote).await;
            }
            Err(reason) => {
                tracing::warn!(to = to.0, reason, "cannot reach the leader's quorum port");
                self.inbox.push_input(Input::LinkClosed(link));
            }
        }
    }

    /// Tries again until `within` has passed. The error says why the last
    /// attempt failed.
    async fn attempt(&self, to: Sid, within: Duration) -> Result<(TcpStream, SocketAddr), String> {
        let member = self.ensemble.members.get(&to);
        let member = member.ok_or("it is not a member of this ensemble")?;
        let (host, port) = (&member.host, member.quorum_port);
        let deadline = Instant::now() + within;
        let mut last = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let silent = || {
                    self.resolver
                        .trouble(host)
                        .unwrap_or_else(|| "no answer".into())
                };
                return Err(last.map_or_else(silent, |error: DialError| error.to_string()));
            }
            let each_max = left.min(ATTEMPT_MAX);
            match timeout(left, dial(&self.resolver, host, port, each_max)).await {
                Ok(Ok(connected)) => return Ok(connected),
                Ok(Err(error)) => {
                    tracing::debug!(to = to.0, host, %error, "cannot connect to the leader yet");
                    last = Some(error);
                }
                Err(_) => continue,
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

/// Pause after a failed accept, which usually means that files ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A host that drops packets is tried again after this long.
const ATTEMPT_MAX: Duration = Duration::from_secs(1);
