//! The client port: accepting within limits, four-letter words, the first
//! frame of a session.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use rustix::process::{Resource, getrlimit};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use zk_core::ConnId;
use zk_core::request::{Client, SharedView};
use zk_proto::client::{ConnectRequest, Id, OpCode};
use zk_proto::{SessionId, Xid};

use super::backlog::Backlog;
use super::connection::Connection;
use super::endings::Early;
use super::registry::{ConnStats, Registry, Replied};
use super::request_throttle::RequestThrottle;
use super::throttle::Throttle;
use super::walks::Walks;
use crate::clock::{Clock, wall_ms};
use crate::command::Commands;
use crate::config::ClientLimits;
use crate::inbox::{Event, Inbox};
use crate::metrics::Metrics;

/// What all client connections of a server share.
pub(crate) struct Clients {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) view: SharedView,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) clock: Clock,
    pub(crate) commands: Arc<Commands>,
    pub(crate) limits: ClientLimits,
    pub(crate) request_throttle: Option<RequestThrottle>,
    pub(crate) backlog: Arc<Backlog>,
    pub(crate) walks: Walks,
    /// No more requests are taken, because the server is about to stop.
    pub(crate) is_stopping: AtomicBool,
}

impl Clients {
    /// Is there room for another request of this length?
    pub(super) fn has_room_for_large(&self, length: usize) -> bool {
        let bytes = self.metrics.large_request_bytes.value();
        !self.is_large(length)
            || bytes.saturating_add(length as i64) <= self.limits.large_requests_bytes_max
    }

    /// Does a request of this length count as large?
    pub(super) fn is_large(&self, length: usize) -> bool {
        let large = self.limits.large_request_bytes;
        large.is_some_and(|large| length > large)
    }

    /// May a connection with this many outstanding writes send another? One
    /// that has none may always, unless the writes of all take too many bytes.
    pub(super) fn has_room(&self, outstanding: u32) -> bool {
        let bytes = self.metrics.outstanding_bytes.value();
        if outstanding == 0 {
            return bytes < 2 * OUTSTANDING_BYTES_MAX;
        }
        usize::try_from(self.metrics.outstanding.value()).unwrap_or(0) + (outstanding as usize)
            < self.limits.outstanding_max
            && bytes < OUTSTANDING_BYTES_MAX
            && outstanding < OUTSTANDING_PER_CONNECTION_MAX
    }
}

/// The connections of one address.
struct OfAddress {
    count: usize,
    ids: Arc<[Id]>,
}

/// Why a connection is refused.
struct TooMany {
    max: usize,
    reason: &'static str,
}

/// The listener and the count of its connections by address.
pub(crate) struct ClientPort {
    pub(super) clients: Arc<Clients>,
    next_conn: AtomicU64,
    by_address: Mutex<HashMap<IpAddr, OfAddress>>,
    throttle: Mutex<Throttle>,
    /// More connections than this would leave no files for anything else.
    files_max: usize,
}

impl ClientPort {
    pub(crate) fn new(clients: Arc<Clients>) -> Arc<Self> {
        let settings = clients.limits.connection_throttle.clone();
        let throttle = Throttle::new(
            settings,
            clients.clock.mono().0,
            u64::from(std::process::id()),
        );
        Arc::new(Self {
            clients,
            throttle: Mutex::new(throttle),
            next_conn: AtomicU64::new(1),
            by_address: Mutex::default(),
            files_max: files_for_clients(getrlimit(Resource::Nofile).current),
        })
    }

    /// Accepts until the task is dropped.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, remote)) => match self.admit(remote) {
                    Ok((place, client)) => {
                        tokio::spawn(self.clone().serve(stream, remote, place, client));
                    }
                    Err(TooMany { max, reason }) => {
                        self.clients.metrics.connections_rejected.add(1);
                        let address = remote.ip().to_canonical();
                        tracing::warn!(%address, max, reason, "client connection refused");
                    }
                },
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a client connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, remote: SocketAddr) -> Result<(Place, Client), TooMany> {
        let address = remote.ip().to_canonical();
        let limits = &self.clients.limits;
        let (max, total_max) = (limits.connections_per_address_max, limits.connections_max);
        let total = self.clients.metrics.connections.value();
        let total = usize::try_from(total).unwrap_or(0);
        if total_max > 0 && total >= total_max {
            return Err(TooMany {
                max: total_max,
                reason: "too many connections",
            });
        }
        if total >= self.files_max {
            return Err(TooMany {
                max: self.files_max,
                reason: "too many connections for the open files of this process",
            });
        }
        let mut by_address = self.by_address.lock();
        let here = by_address.entry(address).or_insert_with(|| OfAddress {
            count: 0,
            ids: Client::ids_at(address),
        });
        if max > 0 && here.count >= max {
            return Err(TooMany {
                max,
                reason: "too many connections of one address",
            });
        }
        here.count += 1;
        let ids = here.ids.clone();
        drop(by_address);
        self.clients.metrics.connections.add(1);
        let conn = ConnId(self.next_conn.fetch_add(1, Ordering::Relaxed));
        let client = Client::with_ids(conn, address, ids);
        let remote = SocketAddr::new(address, remote.port());
        let place = Place {
            port: self.clone(),
            conn,
            stats: self.clients.registry.open(conn, remote, wall_ms()),
        };
        Ok((place, client))
    }

    /// Hands a connection that has asked for a session to a task of its own,
    /// which needs far less than the way there.
    async fn serve(
        self: Arc<Self>,
        stream: TcpStream,
        remote: SocketAddr,
        place: Place,
        client: Client,
    ) {
        match self.greet(stream, &place, client).await {
            Ok(connection) => {
                tokio::spawn(Session { connection, place });
            }
            Err(early) => early.log(remote, &self),
        }
    }

    async fn greet(
        &self,
        mut stream: TcpStream,
        place: &Place,
        client: Client,
    ) -> Result<Connection, Early> {
        let _ = stream.set_nodelay(true);
        if self.clients.limits.tcp_keep_alive {
            let _ = SockRef::from(&stream).set_keepalive(true);
        }
        let mut bytes = BytesMut::with_capacity(FIRST_READ_BYTES);
        let patience = self.clients.limits.sessionless_max;
        let first = timeout(patience, self.first_frame(&mut stream, &mut bytes));
        let request = match first.await.map_err(|_| Early::Silent)?? {
            First::Word(word) => {
                self.clients.metrics.packets_received.add(1);
                place.stats.received(&self.clients.registry, 1);
                let more = self.clients.commands.argument_bytes(word);
                let argument = fill(&mut stream, &mut bytes, 4 + more);
                timeout(patience, argument)
                    .await
                    .map_err(|_| Early::Silent)??;
                let answer = self.clients.commands.answer(word, &bytes[4..]).await;
                self.clients.metrics.packets_sent.add(1);
                let _ = timeout(patience, stream.write_all(answer.as_bytes())).await;
                let _ = stream.shutdown().await;
                return Err(Early::Command);
            }
            First::Connect(request) => request,
        };
        self.admit_session(&request)?;
        self.clients.metrics.connection_requests.add(1);
        self.clients.metrics.packets_received.add(1);
        place.stats.received(&self.clients.registry, 1);
        let stats = place.stats.clone();
        if request.session_id == SessionId(0) {
            // What the connection shows until its first request.
            stats.replied(&self.clients.registry, self.new_session());
        } else {
            self.clients.metrics.sessions_renewed.add(1);
        }
        stats.mailbox.touch(self.clients.clock.mono());
        let clients = self.clients.clone();
        clients.inbox.push(Event::ClientConnect {
            conn: place.conn,
            stats: stats.clone(),
            request,
            ids: client.ids().clone(),
        });
        Ok(Connection::new(client, stream, clients, stats, bytes))
    }

    fn new_session(&self) -> Replied {
        Replied {
            count: 1,
            op: OpCode::CreateSession.code(),
            xid: Xid(0),
            zxid: self.clients.view.read().tree().last_zxid(),
            at: self.clients.clock.mono(),
            elapsed: Duration::ZERO,
        }
    }

    fn admit_session(&self, request: &ConnectRequest) -> Result<(), Early> {
        let mut throttle = self.throttle.lock();
        let is_renewal = request.session_id != SessionId(0);
        let admitted = throttle.admits(is_renewal, self.clients.clock.mono().0);
        let deficit = throttle.deficit();
        let chance = throttle.refusal_chance().to_bits();
        drop(throttle);
        let metrics = &self.clients.metrics;
        metrics
            .connection_drop_probability
            .store(chance, Ordering::Relaxed);
        if !admitted {
            return Err(Early::Throttled);
        }
        metrics.connection_token_deficit.record(deficit, 1);
        Ok(())
    }

    /// Reads the four bytes that decide, then the rest of the frame.
    async fn first_frame(
        &self,
        stream: &mut TcpStream,
        bytes: &mut BytesMut,
    ) -> Result<First, Early> {
        fill(stream, bytes, 4).await?;
        let head = *bytes.first_chunk().expect("four bytes were read");
        if let Some(word) = self.clients.commands.word(head) {
            return Ok(First::Word(word));
        }
        let length = i32::from_be_bytes(head);
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= self.clients.limits.frame_bytes_max.min(CONNECT_BYTES_MAX))
            .ok_or(Early::BadLength(length))?;
        fill(stream, bytes, 4 + length).await?;
        let request = ConnectRequest::read(&bytes[4..4 + length]);
        bytes.advance(4 + length);
        request.map(First::Connect).map_err(|_| Early::BadConnect)
    }
}

/// The task of a connection that has asked for a session.
struct Session {
    connection: Connection,
    place: Place,
}

impl Future for Session {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let ended = ready!(self.connection.poll(cx));
        ended.log(self.place.stats.remote(), &self.place.port);
        Poll::Ready(())
    }
}

/// A place among the connections of one address and in the registry.
struct Place {
    port: Arc<ClientPort>,
    conn: ConnId,
    stats: Arc<ConnStats>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.port.clients.metrics.connections.add(-1);
        self.port.clients.registry.close(self.conn);
        let mut by_address = self.port.by_address.lock();
        let address = self.stats.remote().ip();
        if let Some(here) = by_address.get_mut(&address) {
            here.count -= 1;
            if here.count == 0 {
                by_address.remove(&address);
            }
        }
    }
}

enum First {
    Word(&'static str),
    Connect(ConnectRequest),
}

/// Reads until there are `wanted` bytes. What is allocated grows with what
/// arrives, not with what was announced.
async fn fill(stream: &mut TcpStream, bytes: &mut BytesMut, wanted: usize) -> Result<(), Early> {
    while bytes.len() < wanted {
        bytes.reserve((wanted - bytes.len()).min(FIRST_READ_BYTES));
        match stream.read_buf(bytes).await {
            Ok(0) => return Err(Early::Closed(None)),
            Ok(_) => {}
            Err(error) => return Err(Early::Closed(Some(error))),
        }
    }
    Ok(())
}

/// How many files clients may have, of so many that the process may open: the
/// log, snapshots, peers and operators need some whatever clients do.
fn files_for_clients(open_max: Option<u64>) -> usize {
    let open_max = open_max.and_then(|max| usize::try_from(max).ok());
    open_max.map_or(usize::MAX, |max| max - FILES_KEPT.min(max / 2))
}

/// Files that no client gets.
const FILES_KEPT: usize = 512;
/// A connect request is not longer. It has 45 bytes with a password of this
/// server, and so little that what it takes needs no bound over all connections.
const CONNECT_BYTES_MAX: usize = 1024;
/// Pause after a failed accept, which usually means that files ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const FIRST_READ_BYTES: usize = 256;
/// Bound of one connection's writes without a reply.
const OUTSTANDING_PER_CONNECTION_MAX: u32 = 10_000;
/// Bound of the bytes of all writes without a reply; twice as much for those
/// of connections that have no other.
pub(super) const OUTSTANDING_BYTES_MAX: i64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_files_are_kept_from_clients() {
        assert_eq!(files_for_clients(Some(100_000)), 99_488);
        assert_eq!(files_for_clients(Some(100)), 50);
        assert_eq!(files_for_clients(None), usize::MAX);
    }

    #[test]
    fn a_session_costs_little() {
        // With what the runtime adds, a task takes 256 bytes.
        assert!(size_of::<Session>() <= 144, "{}", size_of::<Session>());
    }
}
