//! Serving HTTP so that idle strangers take nothing from anybody else: few
//! connections a listener, each with a time for every request.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, Sleep, sleep};

use crate::clock::Clock;
use crate::crowd::{gives_way, owner};
use crate::metrics::Metrics;

/// Whose request it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remote(pub(crate) IpAddr);

/// A listener and what limits it.
pub(crate) struct HttpListener {
    pub(crate) listener: TcpListener,
    /// A connection on which nothing happens for so long is closed, and so is
    /// one whose request has not come within this time.
    pub(crate) idle_max: Duration,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
}

/// An open connection.
struct Guest {
    owner: IpAddr,
    task: JoinHandle<()>,
    presence: Arc<Presence>,
}

/// What a connection and its listener know of each other.
struct Presence {
    /// When something was last read or written, ms.
    active_ms: AtomicU64,
    /// A request was read, and the reply is not with the system yet.
    is_in_work: AtomicBool,
    /// Another connection would like to have the place.
    wanted: Notify,
    /// The place is not given up, because a request has come.
    kept: Notify,
}

impl Presence {
    fn is_in_work(&self) -> bool {
        self.is_in_work.load(Ordering::Relaxed)
    }

    /// Waits until the place is wanted and no request has come.
    async fn gives_way(&self) {
        loop {
            self.wanted.notified().await;
            // The runtime asks the sockets before it goes on here.
            yield_now().await;
            if !self.is_in_work() {
                return;
            }
            self.kept.notify_one();
        }
    }
}

/// Notes when a request has come.
struct Noted {
    service: TowerToHyperService<Router>,
    presence: Arc<Presence>,
}

impl Service<Request<Incoming>> for Noted {
    type Response = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Response;
    type Error = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Error;
    type Future = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.presence.is_in_work.store(true, Ordering::Relaxed);
        self.service.call(request)
    }
}

impl HttpListener {
    /// Serves until the task is dropped. One connection more than
    /// [`CONNECTIONS_MAX`] closes the one that has been silent for longest, of
    /// the address that has most silent ones, so that nobody who asks something
    /// is kept out by those who do not.
    pub(crate) async fn serve(self, router: Router) {
        let mut guests: Vec<Guest> = Vec::new();
        loop {
            let (stream, remote) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an HTTP connection");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            guests.retain(|guest| !guest.task.is_finished());
            while guests.len() >= CONNECTIONS_MAX {
                self.make_room(&mut guests).await;
            }
            guests.push(self.welcome(stream, remote, &router));
        }
    }

    /// Asks one connection for its place. It first reads what it was sent.
    async fn make_room(&self, guests: &mut Vec<Guest>) {
        // The one that was silent for longest is the first.
        guests.sort_by_key(|guest| guest.presence.active_ms.load(Ordering::Relaxed));
        let all = guests.iter().enumerate();
        let silent = all.filter(|(_, guest)| !guest.presence.is_in_work());
        let Some(at) = gives_way(silent.map(|(at, guest)| (at, guest.owner))) else {
            // All are being answered, which does not take long.
            sleep(WORK_PAUSE).await;
            guests.retain(|guest| !guest.task.is_finished());
            return;
        };
        let Guest { task, presence, .. } = &mut guests[at];
        presence.wanted.notify_one();
        tokio::select! {
            _ = task => {
                guests.remove(at);
                self.metrics.http_connections_displaced.add(1);
            }
            () = presence.kept.notified() => {}
        }
    }

    fn welcome(&self, stream: TcpStream, remote: SocketAddr, router: &Router) -> Guest {
        let presence = Arc::new(Presence {
            active_ms: AtomicU64::new(self.clock.mono().0),
            is_in_work: AtomicBool::new(false),
            wanted: Notify::new(),
            kept: Notify::new(),
        });
        let stream = IdleStream {
            stream,
            idle_max: self.idle_max,
            idle: Box::pin(sleep(self.idle_max)),
            clock: self.clock,
            presence: presence.clone(),
            has_written: false,
        };
        let owner = owner(remote.ip());
        let remote = ConnectInfo(Remote(remote.ip().to_canonical()));
        let service = Noted {
            service: TowerToHyperService::new(router.clone().layer(Extension(remote))),
            presence: presence.clone(),
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.idle_max)
            .max_buf_size(BUFFER_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let of_task = presence.clone();
        let task = tokio::spawn(async move {
            tokio::select! {
                // Before it gives way, it reads.
                biased;
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "HTTP connection closed");
                },
                () = of_task.gives_way() => {
                    tracing::debug!("HTTP connection closed for another one");
                }
            }
        });
        Guest {
            owner,
            task,
            presence,
        }
    }
}

/// Fails once nothing was read or written for a while.
struct IdleStream {
    stream: TcpStream,
    idle_max: Duration,
    idle: Pin<Box<Sleep>>,
    clock: Clock,
    presence: Arc<Presence>,
    /// Something of a reply was written and not flushed.
    has_written: bool,
}

impl IdleStream {
    /// Passes on what the socket says, unless it has been silent for too long.
    fn watch<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.idle.as_mut().reset(Instant::now() + self.idle_max);
            let now = self.clock.mono().0;
            self.presence.active_ms.store(now, Ordering::Relaxed);
            return polled;
        }
        ready!(self.idle.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for IdleStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.watch(polled, cx)
    }
}

impl AsyncWrite for IdleStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.has_written = polled.is_ready();
        if polled.is_pending() {
            // Who does not read its reply is as silent as others.
            self.presence.is_in_work.store(false, Ordering::Relaxed);
        }
        self.watch(polled, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        if polled.is_ready() && std::mem::take(&mut self.has_written) {
            self.presence.is_in_work.store(false, Ordering::Relaxed);
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Connections of one listener.
const CONNECTIONS_MAX: usize = 64;
/// What hyper may keep of one request's head.
const BUFFER_BYTES: usize = 16 * 1024;
/// Pause after a failed accept, which usually means that files ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// After this long it is seen whether one of the requests in work is answered.
const WORK_PAUSE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests;
