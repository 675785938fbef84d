//! The election mesh: one connection per pair of servers, the one that the
//! larger sid has opened (reference: `QuorumCnxManager`).
//!
//! Of the votes for a peer only the newest is kept, and it is sent again on every
//! new connection. Of those from a peer few wait for the driver. A peer that cannot be reached never keeps others waiting:
//! each is dialed by a task of its own. Only servers of zoo.cfg are dialed, and
//! only at the host that stands there.

mod peers;
mod report;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use zk_core::{Millis, Origin};
use zk_proto::Sid;
use zk_proto::jute::Put;
use zk_proto::quorum::{Hello, HelloError, Notification};

use self::peers::{Connection, Peer, Peers};
use super::dial::{dial, prepare};
use super::listed::Listed;
use super::newcomers::Newcomers;
use super::seldom::Seldom;
use crate::config::ServerConfig;
use crate::inbox::{Event, Inbox};

/// This server's end of all election connections.
pub(crate) struct Mesh {
    sid: Sid,
    listed: Listed,
    newcomers: Arc<Newcomers>,
    started: Instant,
    /// Lines about other servers with this server's id.
    own_sid: Seldom,
    /// Lines about a peer's id that two servers have.
    claims: Seldom,
    inbox: Arc<Inbox>,
    /// Bounds the wait for a peer's introduction.
    handshake_max: Duration,
    /// Bounds connecting to an address of a peer.
    connect_max: Duration,
    is_looking: AtomicBool,
    /// Since when this server has served nobody; `None` while it serves.
    waiting_since: Mutex<Option<Instant>>,
    next_connection: AtomicU64,
    peers: Mutex<Peers>,
}

/// Why a connection to the election port is refused.
#[derive(Debug, Error)]
enum Stranger {
    #[error("no introduction in time")]
    Silent,
    #[error("too many connections without an introduction")]
    Crowded,
    #[error("no introduction: {0}")]
    Socket(#[from] io::Error),
    #[error("the introduction cannot be read: {0}")]
    Hello(#[from] HelloError),
    #[error(
        "it has this server's own id, {0}: another server has the same myid, or another server's line in zoo.cfg has the address of this one"
    )]
    OwnSid(Sid),
    #[error("server {sid} is not taken: {reason}")]
    Refused { sid: Sid, reason: String },
    #[error("server {0} is not in zoo.cfg, and is not called back")]
    Unlisted(Sid),
    #[error("server {0} is not in zoo.cfg, and too many such ones are connected")]
    TooMany(Sid),
    #[error("another server already answers as server.{0}, from an address of its host")]
    Unproved(Sid),
}

impl Mesh {
    pub(crate) fn new(inbox: Arc<Inbox>, config: &ServerConfig, listed: Listed) -> Arc<Self> {
        let silence_ms = config.tick_ms.saturating_mul(config.sync_limit.into());
        Arc::new(Self {
            sid: config.sid,
            listed,
            newcomers: Arc::default(),
            started: Instant::now(),
            own_sid: Seldom::default(),
            claims: Seldom::default(),
            inbox,
            handshake_max: Duration::from_millis(silence_ms),
            connect_max: config.peers.election_connect_max.min(ATTEMPT_MAX),
            is_looking: AtomicBool::new(true),
            waiting_since: Mutex::new(Some(Instant::now())),
            next_connection: AtomicU64::new(0),
            peers: Mutex::default(),
        })
    }

    /// While looking, a peer that cannot be reached is tried again and again.
    pub(crate) fn set_role(&self, is_looking: bool, is_serving: bool) {
        self.is_looking.store(is_looking, Ordering::Relaxed);
        let mut since = self.waiting_since.lock();
        *since = match *since {
            _ if is_serving => None,
            None => Some(Instant::now()),
            since => since,
        };
    }

    /// Sends a vote, now or as soon as the peer can be reached.
    pub(crate) fn send(self: &Arc<Self>, to: Sid, notification: &Notification) {
        let mut payload = Vec::new();
        notification.write(&mut payload);
        let mut frame = Vec::with_capacity(4 + payload.len());
        frame.put_buffer(&payload);
        let mut peers = self.peers.lock();
        let is_listed = self.listed.member(to).is_some();
        if !is_listed && !peers.contains_key(&to) {
            return;
        }
        let peer = peers.entry(to).or_default();
        peer.newest = Some(frame.into());
        peer.is_due = true;
        match &peer.connection {
            Some(connection) => connection.changed.notify_one(),
            None if is_listed => self.start_dialing(to, peer),
            None => {}
        }
    }

    /// The oldest vote from this peer that was not taken yet, and where it came from.
    pub(crate) fn take_vote(&self, from: Sid) -> Option<(Origin, Notification)> {
        self.peers.lock().get_mut(&from)?.take_vote()
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
        match self.introduced(&mut stream, remote, &mut bytes).await {
            Ok(from) if from < self.sid => {
                drop(stream);
                let mut peers = self.peers.lock();
                let peer = peers.entry(from).or_default();
                // The peer asks because its end of the old connection is gone.
                if let Some(old) = peer.connection.take() {
                    old.changed.notify_one();
                    self.claimed(from, peer, remote.ip());
                }
                peer.has_called = true;
                peer.called.notify_one();
                self.start_dialing(from, peer);
            }
            Ok(from) => self.carry(from, stream, bytes, false).await,
            Err(reason @ Stranger::OwnSid(_)) => {
                if self.own_sid.pass(self.now()) {
                    tracing::warn!(%remote, %reason, "election connection refused");
                }
            }
            Err(reason) => {
                tracing::warn!(%remote, %reason, "election connection refused");
            }
        }
    }

    /// Who has connected. Unlisted peers are served because a server may know
    /// less of the ensemble than others, but few of them. A peer that is
    /// connected from an address of its host is not replaced by one that says
    /// to be it and is elsewhere.
    async fn introduced(
        &self,
        stream: &mut TcpStream,
        remote: SocketAddr,
        bytes: &mut BytesMut,
    ) -> Result<Sid, Stranger> {
        let place = self.newcomers.enter(remote.ip());
        let hello = tokio::select! {
            hello = timeout(self.handshake_max, read_hello(stream, bytes)) => {
                hello.unwrap_or(Err(Stranger::Silent))?
            }
            () = place.lost() => return Err(Stranger::Crowded),
        };
        let sid = hello.sid;
        if sid == self.sid {
            return Err(Stranger::OwnSid(sid));
        }
        let admitted = self.listed.admit(sid, remote.ip()).await;
        admitted.map_err(|reason| Stranger::Refused { sid, reason })?;
        drop(place);
        if self.listed.member(sid).is_none() {
            let peers = self.peers.lock();
            let is_unlisted = |sid: &&Sid| self.listed.member(**sid).is_none();
            if sid < self.sid {
                return Err(Stranger::Unlisted(sid));
            }
            if !peers.contains_key(&sid) && peers.keys().filter(is_unlisted).count() >= UNLISTED_MAX
            {
                return Err(Stranger::TooMany(sid));
            }
            return Ok(sid);
        }
        let is_connected = || self.remote_of(sid).is_some();
        if !self.listed.is_at(sid, remote.ip())
            && is_connected()
            && !self.listed.is_found_at(sid, remote.ip()).await
            && let Some(own) = self.remote_of(sid)
            && self.listed.is_at(sid, own)
        {
            return Err(Stranger::Unproved(sid));
        }
        Ok(sid)
    }

    fn now(&self) -> Millis {
        Millis(self.started.elapsed().as_millis() as u64)
    }

    /// Says so, now and then, when two servers answer as this peer.
    fn claimed(&self, sid: Sid, peer: &mut Peer, remote: IpAddr) {
        let now = self.now();
        if peer.is_claimed_twice(now) && self.claims.pass(now) {
            tracing::warn!(
                %remote,
                "another server already answers as server.{sid}: connections in its name keep taking each other's place; \
                 give each server an id of its own in myid"
            );
        }
    }

    /// The other end of the connection of the pair.
    fn remote_of(&self, sid: Sid) -> Option<IpAddr> {
        let peers = self.peers.lock();
        Some(peers.get(&sid)?.connection.as_ref()?.remote)
    }

    fn start_dialing(self: &Arc<Self>, to: Sid, peer: &mut Peer) {
        self.start_dialing_after(Duration::ZERO, to, peer);
    }

    fn start_dialing_after(self: &Arc<Self>, pause: Duration, to: Sid, peer: &mut Peer) {
        if !std::mem::replace(&mut peer.is_being_dialed, true) {
            tokio::spawn(self.clone().reach(to, pause));
        }
    }

    /// Dials until there is a connection, or nobody needs one any more.
    async fn reach(self: Arc<Self>, to: Sid, pause: Duration) {
        let mut back_off = BACK_OFF_MIN;
        let called = self.peers.lock().entry(to).or_default().called.clone();
        sleep(pause).await;
        loop {
            if self.stop_dialing(to, |peer| peer.connection.is_some()) {
                return;
            }
            self.peers.lock().entry(to).or_default().has_called = false;
            let trouble = match self.dial_once(to).await {
                Ok(Some(stream)) => {
                    self.stop_dialing(to, |_| true);
                    return self.carry(to, stream, BytesMut::new(), true).await;
                }
                Ok(None) => format!(
                    "it was reached, but does not connect back: its zoo.cfg may have another address for server.{0}, \
                     or another server already answers as server.{0}",
                    self.sid
                ),
                Err(error) => {
                    tracing::debug!(to = to.0, %error, "cannot reach a peer's election port");
                    error.to_string()
                }
            };
            self.peers.lock().entry(to).or_default().trouble = Some(trouble);
            // A peer that calls is there again, and may need the connection to
            // be heard although this server looks for no leader any more.
            tokio::select! {
                () = sleep(back_off) => back_off = (back_off * 2).min(BACK_OFF_MAX),
                () = called.notified() => back_off = BACK_OFF_MIN,
            }
            let is_looking = self.is_looking.load(Ordering::Relaxed);
            if self.stop_dialing(to, |peer| !(peer.has_called || peer.is_due && is_looking)) {
                return;
            }
        }
    }

    /// Notes that nobody dials the peer any more, if there is no reason to.
    fn stop_dialing(&self, to: Sid, has_no_reason: impl FnOnce(&Peer) -> bool) -> bool {
        let mut peers = self.peers.lock();
        let peer = peers.entry(to).or_default();
        let stops = has_no_reason(peer);
        peer.is_being_dialed = !stops;
        stops
    }

    /// `None` where the peer has the larger sid and is to call back.
    async fn dial_once(&self, to: Sid) -> io::Result<Option<TcpStream>> {
        let member = self.listed.member(to);
        let member = member.ok_or(io::ErrorKind::AddrNotAvailable)?;
        let (resolver, host) = (self.listed.resolver(), &member.host);
        let dialed = dial(resolver, host, member.election_port, self.connect_max).await;
        let (mut stream, _) = dialed.map_err(io::Error::other)?;
        let peers = || self.peers.lock();
        if to > self.sid
            && peers()
                .get(&to)
                .is_some_and(|peer| peer.connection.is_some())
        {
            // It has connected while its name was looked up.
            return Ok(None);
        }
        prepare(&stream, SILENCE_MAX);
        stream.write_all(&self.hello().encode()).await?;
        if to > self.sid {
            stream.shutdown().await?;
            return Ok(None);
        }
        Ok(Some(stream))
    }

    fn hello(&self) -> Hello {
        let own = self.listed.member(self.sid);
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
    async fn carry(
        self: &Arc<Self>,
        with: Sid,
        mut stream: TcpStream,
        mut bytes: BytesMut,
        is_dialed: bool,
    ) {
        let Ok(remote) = stream.peer_addr() else {
            // It is gone already.
            return;
        };
        let number = self.next_connection.fetch_add(1, Ordering::Relaxed);
        let changed = Arc::new(Notify::new());
        {
            let mut peers = self.peers.lock();
            let peer = peers.entry(with).or_default();
            peer.is_due = peer.newest.is_some();
            peer.trouble = None;
            let connection = Connection {
                number,
                changed: changed.clone(),
                remote: remote.ip(),
                is_dialed,
            };
            if let Some(old) = peer.connection.replace(connection) {
                old.changed.notify_one();
                self.claimed(with, peer, remote.ip());
            }
        }
        changed.notify_one();
        tracing::debug!(sid = with.0, "election connection stands");
        let reason = self
            .exchange(with, number, &changed, &mut stream, &mut bytes)
            .await;
        if reason.kind() == io::ErrorKind::InvalidData {
            tracing::warn!(%remote, sid = with.0, reason = %reason, "election connection closed");
        } else {
            tracing::debug!(sid = with.0, reason = %reason, "election connection closed");
        }
        let mut peers = self.peers.lock();
        if let Some(peer) = peers.get_mut(&with)
            && peer.uses(number)
        {
            peer.connection = None;
            peer.trouble = Some(format!("the connection ended: {reason}"));
            if self.listed.member(with).is_none() {
                peers.remove(&with);
            } else if self.is_looking.load(Ordering::Relaxed) {
                // What was sent last may be lost.
                peer.is_due = peer.newest.is_some();
                self.start_dialing_after(BACK_OFF_MAX, with, peer);
            }
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
            if let Err(error) = self.take_votes(with, number, bytes) {
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
        if !peer.uses(number) {
            return Due::Replaced;
        }
        match &peer.newest {
            Some(frame) if std::mem::take(&mut peer.is_due) => Due::Vote(frame.clone()),
            _ => Due::Nothing,
        }
    }

    /// Keeps complete votes for the driver. One that cannot
    /// be read is left out, as by the reference; a frame of a wrong length ends
    /// the connection.
    fn take_votes(&self, from: Sid, number: u64, bytes: &mut BytesMut) -> io::Result<()> {
        let frame_max = match self.listed.member(from) {
            Some(_) => Notification::FRAME_BYTES_MAX,
            None => UNLISTED_FRAME_BYTES_MAX,
        };
        while let Some(head) = bytes.first_chunk() {
            let length = i32::from_be_bytes(*head);
            let length = usize::try_from(length)
                .ok()
                .filter(|length| (1..=frame_max).contains(length))
                .ok_or_else(|| bad_frame(length))?;
            if bytes.len() < 4 + length {
                break;
            }
            match Notification::read(&bytes[4..4 + length]) {
                Ok(vote) => {
                    if self.arrive(from, number, vote) {
                        self.inbox.push(Event::Vote { from });
                    }
                }
                Err(error) => tracing::warn!(sid = from.0, %error, "unreadable vote"),
            }
            bytes.advance(4 + length);
        }
        Ok(())
    }

    /// Keeps a vote with where it came from. True if the driver is to be told.
    fn arrive(&self, from: Sid, number: u64, vote: Notification) -> bool {
        let mut peers = self.peers.lock();
        let peer = peers.entry(from).or_default();
        let Some(connection) = peer.connection.as_ref().filter(|it| it.number == number) else {
            // Another one took the place of its connection.
            return false;
        };
        let origin = Origin {
            address: connection.remote.to_canonical(),
            is_listed: connection.is_dialed || self.listed.is_at(from, connection.remote),
        };
        peer.arrive(origin, vote)
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

async fn read_hello(stream: &mut TcpStream, bytes: &mut BytesMut) -> Result<Hello, Stranger> {
    loop {
        if let Some((hello, length)) = Hello::decode(bytes)? {
            bytes.advance(length);
            return Ok(hello);
        }
        if stream.read_buf(bytes).await? == 0 {
            return Err(Stranger::Socket(io::ErrorKind::UnexpectedEof.into()));
        }
    }
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
/// Peers that zoo.cfg does not list and that may be connected.
const UNLISTED_MAX: usize = 16;
/// Longest vote of such a peer: its list of servers may be long, but not that
/// long.
const UNLISTED_FRAME_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests;
