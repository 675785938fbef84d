//! Listening sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::net::TcpListener;

use super::resolver::Resolver;

/// Why a port of a host cannot be listened on.
#[derive(Debug, Error)]
pub(crate) enum BindError {
    /// The name of the host has no address, or none was found in time.
    #[error("the name {host} cannot be resolved: {why}")]
    Name {
        /// As it was written.
        host: String,
        /// What the look-up said.
        why: String,
    },
    /// No address of the host takes a listener on this port.
    #[error(transparent)]
    Socket(#[from] io::Error),
}

/// A port that is bound and takes no connections yet: clients that connect are
/// refused, and so are other programs that want the port.
#[derive(Debug)]
pub(crate) struct Bound(Socket);

impl Bound {
    /// Takes connections from now on; `backlog` is how many may wait to be accepted.
    pub(crate) fn listen(self, backlog: i32) -> io::Result<TcpListener> {
        self.0.listen(backlog)?;
        TcpListener::from_std(self.0.into())
    }
}

/// Binds all addresses: IPv6 with IPv4 inside, or IPv4 where there is no IPv6.
pub(crate) fn bind_any(port: u16) -> io::Result<Bound> {
    let bind = |ip: IpAddr| bind(SocketAddr::new(ip, port));
    bind(Ipv6Addr::UNSPECIFIED.into()).or_else(|error| match error.kind() {
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
        _ => bind(Ipv4Addr::UNSPECIFIED.into()),
    })
}

/// Binds the first address that `host` resolves to. Its name has
/// [`LOOKUP_MAX`] to resolve.
pub(crate) async fn bind_host(
    resolver: &Arc<Resolver>,
    host: &str,
    port: u16,
) -> Result<Bound, BindError> {
    let addresses = resolver.addresses(host, LOOKUP_MAX).await;
    let addresses = addresses.map_err(|why| BindError::Name {
        host: host.to_owned(),
        why,
    })?;
    Ok(bind_first(&addresses, port)?)
}

/// Binds the first of these addresses that belongs to this machine.
pub(crate) fn bind_first(addresses: &[IpAddr], port: u16) -> io::Result<Bound> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for ip in addresses {
        if *ip == IpAddr::from(Ipv4Addr::UNSPECIFIED) {
            return bind_any(port);
        }
        match bind(SocketAddr::new(*ip, port)) {
            Ok(bound) => return Ok(bound),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind(address: SocketAddr) -> io::Result<Bound> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    let bound = socket.bind(&address.into());
    bound.map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
    Ok(Bound(socket))
}

/// Connections that wait to be accepted, where nothing else is asked for.
pub(crate) const BACKLOG: i32 = 1024;
/// The name of a host to listen on has this long to resolve.
const LOOKUP_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::timeout;

    use super::*;

    /// Longer than a look-up may take, whatever its bound is.
    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn no_listener_waits_long_for_its_name() {
        let silent = Resolver::new(|_| pending());
        let bound = timeout(PATIENCE, bind_host(&silent, "zk-1", 0));
        let error = bound.await.expect("it gives up").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the name zk-1 cannot be resolved: the name servers have not answered"
        );
    }

    #[tokio::test]
    async fn the_first_address_of_this_machine_is_listened_on() {
        let elsewhere = "192.0.2.1".parse().unwrap();
        let here: IpAddr = Ipv4Addr::LOCALHOST.into();
        let resolver = Resolver::new(move |_| async move { Ok(vec![elsewhere, here]) });
        for (host, want) in [("zk-1", here), ("127.0.0.1", here)] {
            let bound = bind_host(&resolver, host, 0).await.unwrap();
            let listener = bound.listen(BACKLOG).unwrap();
            assert_eq!(listener.local_addr().unwrap().ip(), want);
        }
    }
}
