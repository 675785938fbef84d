//! Connecting to another server, whatever its name does.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::resolver::Resolver;

/// Why a server could not be connected to.
#[derive(Debug, Error)]
pub(super) enum DialError {
    /// No address of it is known. The text says why.
    #[error("its name cannot be resolved: {0}")]
    Name(String),
    /// An attempt at this address had no answer in time.
    #[error("{0} does not answer")]
    Silent(SocketAddr),
    /// This address answered with an error.
    #[error("{0}: {1}")]
    Connect(SocketAddr, io::Error),
}

/// Connects to the first address of `host` that answers. Addresses that a
/// look-up has just found are tried in order, a moment apart, without waiting
/// for the one before to fail. If the look-up takes longer than a moment or
/// fails, the last good addresses are tried. `each_max` bounds the attempt at
/// one address; a look-up without last good addresses is waited for.
///
/// # Errors
/// When the look-up has ended and every address has failed: why the last did.
pub(super) async fn dial(
    resolver: &Arc<Resolver>,
    host: &str,
    port: u16,
    each_max: Duration,
) -> Result<(TcpStream, SocketAddr), DialError> {
    let mut name = resolver.resolve(host);
    let known = std::mem::take(&mut name.known);
    if host.parse::<IpAddr>().is_ok() {
        return connect(known[0], port, each_max).await;
    }
    let mut race = Race::default();
    let mut last = DialError::Name("the look-up has ended".into());
    let mut is_asking = true;
    let patience = sleep_until(Instant::now() + LOOKUP_PATIENCE);
    tokio::pin!(patience);
    loop {
        if race.is_due() {
            race.start(port, each_max);
        }
        if !is_asking && race.is_over() {
            return Err(last);
        }
        let stagger = race.next_at;
        tokio::select! {
            fresh = name.fresh(), if is_asking => {
                is_asking = false;
                match fresh {
                    Ok(addresses) => race.replace(addresses),
                    Err(reason) => {
                        last = DialError::Name(reason);
                        race.add(&known);
                    }
                }
            }
            () = &mut patience, if is_asking && race.has_none() && !known.is_empty() => race.add(&known),
            () = sleep_until(stagger), if !race.queue.is_empty() => {}
            ended = race.attempts.join_next(), if !race.attempts.is_empty() => match ended {
                Some(Ok(Ok(connected))) if race.wanted.contains(&connected.1.ip()) => return Ok(connected),
                Some(Ok(Err(error))) => {
                    last = error;
                    race.next_at = Instant::now();
                }
                // Given up, or the name has moved away from this address.
                Some(Ok(Ok(_)) | Err(_)) | None => {}
            },
        }
    }
}

/// Attempts at several addresses of one name (RFC 8305).
struct Race {
    /// Addresses to be tried.
    queue: VecDeque<IpAddr>,
    /// Addresses that the name is believed to have.
    wanted: Vec<IpAddr>,
    tried: Vec<IpAddr>,
    attempts: JoinSet<Result<(TcpStream, SocketAddr), DialError>>,
    /// When the next attempt may start.
    next_at: Instant,
}

impl Default for Race {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            wanted: Vec::new(),
            tried: Vec::new(),
            attempts: JoinSet::new(),
            next_at: Instant::now(),
        }
    }
}

impl Race {
    fn has_none(&self) -> bool {
        self.wanted.is_empty()
    }

    fn is_due(&self) -> bool {
        !self.queue.is_empty() && self.next_at <= Instant::now()
    }

    fn is_over(&self) -> bool {
        self.queue.is_empty() && self.attempts.is_empty()
    }

    /// Adds addresses that have not been tried.
    fn add(&mut self, addresses: &[IpAddr]) {
        for address in addresses {
            if !self.wanted.contains(address) {
                self.wanted.push(*address);
                self.queue.push_back(*address);
            }
        }
    }

    /// The name has these addresses and no others.
    fn replace(&mut self, addresses: Vec<IpAddr>) {
        let fresh = addresses.iter().filter(|it| !self.tried.contains(it));
        self.queue = fresh.copied().collect();
        self.wanted = addresses;
        self.next_at = Instant::now();
    }

    fn start(&mut self, port: u16, each_max: Duration) {
        if let Some(ip) = self.queue.pop_front() {
            self.tried.push(ip);
            self.attempts.spawn(connect(ip, port, each_max));
            self.next_at = Instant::now() + STAGGER;
        }
    }
}

async fn connect(
    ip: IpAddr,
    port: u16,
    within: Duration,
) -> Result<(TcpStream, SocketAddr), DialError> {
    let address = SocketAddr::new(ip, port);
    match timeout(within, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => Ok((stream, address)),
        Ok(Err(error)) => Err(DialError::Connect(address, error)),
        Err(_) => Err(DialError::Silent(address)),
    }
}

/// No delay, and an end of the connection when the other side has taken
/// nothing for `silence_max`, or when its host is gone though nothing is sent.
pub(super) fn prepare(stream: &TcpStream, silence_max: Duration) {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL);
    let socket = SockRef::from(stream);
    if let Err(error) = stream
        .set_nodelay(true)
        .and_then(|()| socket.set_tcp_keepalive(&keepalive))
        .and_then(|()| socket.set_tcp_user_timeout(Some(silence_max)))
    {
        tracing::debug!(%error, "cannot set socket options");
    }
}

/// New addresses are waited for so long before the last good ones are tried.
const LOOKUP_PATIENCE: Duration = Duration::from_millis(200);
/// The next address of a name is tried this long after the one before.
const STAGGER: Duration = Duration::from_millis(250);
/// A connection that carries nothing is probed after this long.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(3);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::net::TcpListener;
    use tokio::time::sleep;

    use super::*;

    const EACH_MAX: Duration = Duration::from_secs(2);

    async fn listener() -> (TcpListener, IpAddr, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address.ip(), address.port())
    }

    /// An address from which no answer ever comes: its queue of connections is full.
    fn black_hole(port: u16) -> (IpAddr, Vec<std::net::TcpStream>, socket2::Socket) {
        let ip: IpAddr = Ipv4Addr::new(127, 0, 0, 77).into();
        let address = SocketAddr::new(ip, port);
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(0).unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) =
            std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100))
        {
            queued.push(stream);
        }
        (ip, queued, socket)
    }

    #[tokio::test]
    async fn a_look_up_that_hangs_delays_no_known_address() {
        let (_listener, ip, port) = listener().await;
        let asked = AtomicUsize::new(0);
        let resolver = Resolver::new(move |_| {
            let nth = asked.fetch_add(1, Ordering::Relaxed);
            async move {
                if nth > 0 {
                    pending::<()>().await;
                }
                Ok(vec![ip])
            }
        });
        dial(&resolver, "zk-1", port, EACH_MAX).await.unwrap();
        sleep(Duration::from_millis(600)).await;
        for _ in 0..3 {
            let again = timeout(EACH_MAX, dial(&resolver, "zk-1", port, EACH_MAX)).await;
            again.expect("it does not wait for the name").unwrap();
        }
    }

    #[tokio::test]
    async fn a_slow_look_up_has_its_own_time() {
        let (_listener, ip, port) = listener().await;
        let resolver = Resolver::new(move |_| async move {
            sleep(Duration::from_millis(700)).await;
            Ok(vec![ip])
        });
        let each_max = Duration::from_millis(300);
        dial(&resolver, "zk-1", port, each_max).await.unwrap();
    }

    #[tokio::test]
    async fn an_address_that_is_silent_delays_no_other() {
        let (_listener, ip, port) = listener().await;
        let (silent, _queued, _socket) = black_hole(port);
        let resolver = Resolver::new(move |_| async move { Ok(vec![silent, ip]) });
        let started = Instant::now();
        let (_, address) = dial(&resolver, "zk-1", port, EACH_MAX).await.unwrap();
        assert_eq!(address.ip(), ip);
        assert!(
            started.elapsed() < EACH_MAX,
            "the second one was tried beside it"
        );
    }

    /// Where the machine has no IPv6, and where the server does not listen there.
    #[tokio::test]
    async fn an_ipv6_address_in_front_keeps_nobody_from_the_ipv4_address() {
        let (_listener, ip, port) = listener().await;
        let six = Ipv6Addr::LOCALHOST.into();
        let resolver = Resolver::new(move |_| async move { Ok(vec![six, ip]) });
        let (_, address) = dial(&resolver, "zk-1", port, EACH_MAX).await.unwrap();
        assert_eq!(address.ip(), ip);
    }

    #[tokio::test]
    async fn addresses_that_refuse_are_not_waited_for() {
        let (_listener, ip, port) = listener().await;
        let refusing = (2..16).map(|last| Ipv4Addr::new(127, 0, 0, last).into());
        let all: Vec<_> = refusing.chain([ip]).collect();
        let resolver = Resolver::new(move |_| {
            let all = all.clone();
            async move { Ok(all) }
        });
        let started = Instant::now();
        let (_, address) = dial(&resolver, "zk-1", port, EACH_MAX).await.unwrap();
        assert_eq!(address.ip(), ip);
        assert!(started.elapsed() < STAGGER * 10, "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn a_name_that_moves_is_followed() {
        let (_listener, ip, port) = listener().await;
        let (silent, _queued, _socket) = black_hole(port);
        let asked = AtomicUsize::new(0);
        let resolver = Resolver::new(move |_| {
            let nth = asked.fetch_add(1, Ordering::Relaxed);
            async move {
                sleep(Duration::from_millis(300 * nth as u64)).await;
                Ok(vec![if nth == 0 { silent } else { ip }])
            }
        });
        let each_max = Duration::from_millis(100);
        let refused = dial(&resolver, "zk-1", port, each_max).await.unwrap_err();
        assert!(matches!(refused, DialError::Silent(_)), "{refused}");
        sleep(Duration::from_millis(600)).await;
        let (_, address) = dial(&resolver, "zk-1", port, each_max).await.unwrap();
        assert_eq!(address.ip(), ip);
    }

    #[tokio::test]
    async fn a_name_without_an_address_says_so() {
        let resolver = Resolver::new(|_| async { Err(io::Error::other("no such name")) });
        let refused = dial(&resolver, "zk-1", 1, EACH_MAX).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "its name cannot be resolved: no such name"
        );
    }
}
