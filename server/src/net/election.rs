//! The election mesh: one connection per pair of servers, the one that the
//! larger sid has opened (reference: `QuorumCnxManager`).
//!
//! Of the votes for a peer only the newest is kept. It is sent again on every
//! new connection. A peer that cannot be reached never keeps others waiting:
//! each is dialed by a task of its own, which resolves the name every time.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use zk_core::{Ensemble, Input};
use zk_proto::Sid;
use zk_proto::jute::Put;
use zk_proto::quorum::{Hello, Notification};

use super::dial::{dial, prepare};
use super::resolver::Resolver;
use crate::config::ServerConfig;
use crate::inbox::Inbox;

/// This server's end of all election connections.
pub(crate) struct Mesh {
    sid: Sid,
    ensemble: Ensemble,
    inbox: Arc<Inbox>,
    resolver: Arc<Resolver>,
    /// Bounds the wait for a peer's introduction.
    handshake_max: Duration,
    /// Bounds connecting to a peer.
    connect_max: Duration,
    is_looking: AtomicBool,
    next_connection: AtomicU64,
    peers: Mutex<HashMap<Sid, Peer>>,
}

#[derive(Default)]
struct Peer {
    /// The newest vote for it, framed.
    newest: Option<Arc<[u8]>>,
    /// Was the newest vote not sent on a connection yet?
    is_due: bool,
    connection: Option<Connection>,
    is_being_dialed: bool,
    /// Where an unlisted peer said that it listens.
    announced: Option<(String, u16)>,
}

struct Connection {
    number: u64,
    /// There is something to send, or the connection was replaced.
    changed: Arc<Notify>,
}

impl Mesh {
    pub(crate) fn new(
        inbox: Arc<Inbox>,
        config: &ServerConfig,
        resolver: Arc<Resolver>,
    ) -> Arc<Self> {
        let silence_ms = config.tick_ms.saturating_mul(config.sync_limit.into());
        Arc::new(Self {
            sid: config.sid,
            ensemble: config.ensemble.clone(),
            inbox,
            resolver,
            handshake_max: Duration::from_millis(silence_ms),
            connect_max: config.peers.election_connect_max,
            is_looking: AtomicBool::new(true),
            next_connection: AtomicU64::new(0),
            peers: Mutex::default(),
        })
    }

    /// While looking, a peer that cannot be reached is tried again and again.
    pub(crate) fn set_looking(&self, is_looking: bool) {
        self.is_looking.store(is_looking, Ordering::Relaxed);
    }

    /// Sends a vote, now or as soon as the peer can be reached.
    pub(crate) fn send(self: &Arc<Self>, to: Sid, notification: &Notification) {
        let mut payload = Vec::new();
        notification.write(&mut payload);
        let mut frame = Vec::with_capacity(4 + payload.len());
        frame.put_buffer(&payload);
        let mut peers = self.peers.lock();
        let peer = peers.entry(to).or_default();
        peer.newest = Some(frame.into());
        peer.is_due = true;
        match &peer.connection {
            Some(connection) => connection.changed.notify_one(),
            None => self.start_dialing(to, peer),
        }
    }

    /// Accepts in every state: a server that has a leader answers those that look for one.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, remote)) => {
                    tokio::spawn(self.clone().welcome(stream, remote));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an election connection");
                    sleep(BACK_OFF_MIN).await;
                }
            }
        }
    }

    async fn welcome(self: Arc<Self>, mut stream: TcpStream, remote: SocketAddr) {
        prepare(&stream, SILENCE_MAX);
        let mut bytes = BytesMut::with_capacity(256);
        let hello = timeout(self.handshake_max, read_hello(&mut stream, &mut bytes));
        let hello = match hello
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        {
            Ok(hello) => hello,
            Err(error) => {
                tracing::warn!(%remote, reason = %error, "election connection closed: no introduction");
                return;
            }
        };
        let from = hello.sid;
        if from == self.sid {
            tracing::warn!(%remote, sid = from.0, "a peer has this server's own sid");
            return;
        }
        if !self.admit(from, &hello) {
            tracing::warn!(%remote, sid = from.0, "too many unlisted peers");
            return;
        }
        if from < self.sid {
            drop(stream);
            let mut peers = self.peers.lock();
            let peer = peers.entry(from).or_default();
            // The peer asks because its end of the old connection is gone.
            if let Some(old) = peer.connection.take() {
                old.changed.notify_one();
            }
            self.start_dialing(from, peer);
        } else {
            self.carry(from, stream, bytes).await;
        }
    }

    /// Notes where an unlisted peer listens. Unlisted peers are served because
    /// a server may know less of the ensemble than others, within bounds.
    fn admit(&self, from: Sid, hello: &Hello) -> bool {
        if self.ensemble.members.contains_key(&from) {
            return true;
        }
        let mut peers = self.peers.lock();
        if !peers.contains_key(&from) && peers.len() >= PEERS_MAX {
            return false;
        }
        peers.entry(from).or_default().announced = hello.addresses.iter().find_map(|it| usable(it));
        true
    }

    fn start_dialing(self: &Arc<Self>, to: Sid, peer: &mut Peer) {
        if !std::mem::replace(&mut peer.is_being_dialed, true) {
            tokio::spawn(self.clone().reach(to));
        }
    }

    /// Dials until there is a connection, or nobody needs one any more.
    async fn reach(self: Arc<Self>, to: Sid) {
        let mut back_off = BACK_OFF_MIN;
        loop {
            match self.dial_once(to).await {
                Ok(Some(stream)) => {
                    self.peers.lock().entry(to).or_default().is_being_dialed = false;
                    return self.carry(to, stream, BytesMut::new()).await;
                }
                // The peer calls back.
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(to = to.0, %error, "cannot reach a peer's election port")
                }
            }
            sleep(back_off).await;
            back_off = (back_off * 2).min(BACK_OFF_MAX);
            let mut peers = self.peers.lock();
            let peer = peers.entry(to).or_default();
            let is_needed = peer.is_due && self.is_looking.load(Ordering::Relaxed);
            if peer.connection.is_some() || !is_needed {
                peer.is_being_dialed = false;
                return;
            }
        }
    }

    /// `None` where the peer has the larger sid and is to call back.
    async fn dial_once(&self, to: Sid) -> io::Result<Option<TcpStream>> {
        let (host, port) = match self.ensemble.members.get(&to) {
            Some(member) => (member.host.clone(), member.election_port),
            None => {
                let announced = self
                    .peers
                    .lock()
                    .get(&to)
                    .and_then(|peer| peer.announced.clone());
                announced.ok_or(io::ErrorKind::AddrNotAvailable)?
            }
        };
        let each_max = self.connect_max.min(ATTEMPT_MAX);
        let dialed = dial(&self.resolver, &host, port, each_max).await;
        let (mut stream, _) = dialed.map_err(io::Error::other)?;
        prepare(&stream, SILENCE_MAX);
        stream.write_all(&self.hello().encode()).await?;
        if to > self.sid {
            stream.shutdown().await?;
            return Ok(None);
        }
        Ok(Some(stream))
    }

    fn hello(&self) -> Hello {
        let own = self.ensemble.members.get(&self.sid);
        let address = own.map(|own| {
            if own.host.contains(':') {
                format!("[{}]:{}", own.host, own.election_port)
            } else {
                format!("{}:{}", own.host, own.election_port)
            }
        });
        Hello {
            sid: self.sid,
            addresses: address.into_iter().collect(),
        }
    }

    /// Makes this the connection of the pair and uses it until it ends or is replaced.
    async fn carry(self: &Arc<Self>, with: Sid, mut stream: TcpStream, mut bytes: BytesMut) {
        let number = self.next_connection.fetch_add(1, Ordering::Relaxed);
        let changed = Arc::new(Notify::new());
        {
            let mut peers = self.peers.lock();
            let peer = peers.entry(with).or_default();
            peer.is_due = peer.newest.is_some();
            let connection = Connection {
                number,
                changed: changed.clone(),
            };
            if let Some(old) = peer.connection.replace(connection) {
                old.changed.notify_one();
            }
        }
        changed.notify_one();
        let remote = stream.peer_addr().ok();
        tracing::debug!(sid = with.0, "election connection stands");
        let reason = self
            .exchange(with, number, &changed, &mut stream, &mut bytes)
            .await;
        if reason.kind() == io::ErrorKind::InvalidData {
            tracing::warn!(?remote, sid = with.0, reason = %reason, "election connection closed");
        } else {
            tracing::debug!(sid = with.0, reason = %reason, "election connection closed");
        }
        let mut peers = self.peers.lock();
        if let Some(peer) = peers.get_mut(&with)
            && peer
                .connection
                .as_ref()
                .is_some_and(|current| current.number == number)
        {
            peer.connection = None;
        }
    }

    async fn exchange(
        &self,
        with: Sid,
        number: u64,
        changed: &Notify,
        stream: &mut TcpStream,
        bytes: &mut BytesMut,
    ) -> io::Error {
        loop {
            if let Err(error) = self.take_votes(with, bytes) {
                return error;
            }
            tokio::select! {
                read = stream.read_buf(bytes) => match read {
                    Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
                    Ok(_) => {}
                    Err(error) => return error,
                },
                () = changed.notified() => match self.due(with, number) {
                    Due::Replaced => return io::Error::other("another connection took its place"),
                    Due::Nothing => {}
                    Due::Vote(frame) => match timeout(WRITE_MAX, stream.write_all(&frame)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => return error,
                        Err(_) => return io::ErrorKind::TimedOut.into(),
                    },
                },
            }
        }
    }

    fn due(&self, with: Sid, number: u64) -> Due {
        let mut peers = self.peers.lock();
        let Some(peer) = peers.get_mut(&with) else {
            return Due::Replaced;
        };
        if peer
            .connection
            .as_ref()
            .is_none_or(|current| current.number != number)
        {
            return Due::Replaced;
        }
        match &peer.newest {
            Some(frame) if std::mem::take(&mut peer.is_due) => Due::Vote(frame.clone()),
            _ => Due::Nothing,
        }
    }

    /// Hands complete votes to the driver. One that cannot be read is left
    /// out, as by the reference; a frame of a wrong length ends the connection.
    fn take_votes(&self, from: Sid, bytes: &mut BytesMut) -> io::Result<()> {
        while let Some(head) = bytes.first_chunk() {
            let length = i32::from_be_bytes(*head);
            let length = usize::try_from(length)
                .ok()
                .filter(|length| (1..=Notification::FRAME_BYTES_MAX).contains(length))
                .ok_or_else(|| bad_frame(length))?;
            if bytes.len() < 4 + length {
                break;
            }
            match Notification::read(&bytes[4..4 + length]) {
                Ok(notification) => {
                    self.inbox
                        .push_input(Input::Notification { from, notification });
                }
                Err(error) => tracing::warn!(sid = from.0, %error, "unreadable vote"),
            }
            bytes.advance(4 + length);
        }
        Ok(())
    }
}

fn bad_frame(length: i32) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("a frame of {length} bytes"),
    )
}

enum Due {
    Replaced,
    Nothing,
    Vote(Arc<[u8]>),
}

async fn read_hello(stream: &mut TcpStream, bytes: &mut BytesMut) -> io::Result<Hello> {
    loop {
        if let Some((hello, length)) = Hello::decode(bytes).map_err(io::Error::other)? {
            bytes.advance(length);
            return Ok(hello);
        }
        if stream.read_buf(bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Host and port of an announced address; none for a wildcard.
fn usable(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_wildcard = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    let port = port.parse().ok()?;
    (!host.is_empty() && !is_wildcard).then(|| (host.to_owned(), port))
}

/// A peer must take a vote within this time.
const WRITE_MAX: Duration = Duration::from_secs(5);
/// What a peer has not acknowledged for so long is lost, and the connection
/// with it: waiting for TCP to send it again, ever more rarely, could take
/// longer than the fault that has held it up.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// A host that drops packets is tried again after this long, for the same reason.
const ATTEMPT_MAX: Duration = Duration::from_secs(2);
/// Pause before a peer is dialed again.
const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_millis(500);
/// Peers that are remembered, listed or not.
const PEERS_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_not_dialed() {
        assert_eq!(usable("h:3888"), Some(("h".into(), 3888)));
        assert_eq!(usable("[::1]:3888"), Some(("::1".into(), 3888)));
        for address in ["0.0.0.0:3888", "[::]:3888", ":3888", "h", "h:x"] {
            assert_eq!(usable(address), None, "{address}");
        }
    }
}
