//! Listening sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, lookup_host};

/// Binds all addresses: IPv6 with IPv4 inside, or IPv4 where there is no IPv6.
pub(crate) fn bind_any(port: u16, backlog: i32) -> io::Result<TcpListener> {
    let bind = |ip: IpAddr| bind(SocketAddr::new(ip, port), backlog);
    bind(Ipv6Addr::UNSPECIFIED.into()).or_else(|error| match error.kind() {
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
        _ => bind(Ipv4Addr::UNSPECIFIED.into()),
    })
}

/// Binds the first address that `host` resolves to.
pub(crate) async fn bind_host(host: &str, port: u16, backlog: i32) -> io::Result<TcpListener> {
    if let Ok(address) = host.parse() {
        return bind_first(&[address], port, backlog);
    }
    let addresses: Vec<_> = lookup_host((host, port)).await?.map(|it| it.ip()).collect();
    bind_first(&addresses, port, backlog)
}

/// Binds the first of these addresses that belongs to this machine.
pub(crate) fn bind_first(addresses: &[IpAddr], port: u16, backlog: i32) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for ip in addresses {
        if *ip == IpAddr::from(Ipv4Addr::UNSPECIFIED) {
            return bind_any(port, backlog);
        }
        match bind(SocketAddr::new(*ip, port), backlog) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
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
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    TcpListener::from_std(socket.into())
}

/// Connections that wait to be accepted, where nothing else is asked for.
pub(crate) const BACKLOG: i32 = 1024;
