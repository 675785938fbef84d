//! Serving HTTP so that idle strangers take nothing from anybody else: few
//! connections a listener, each with a time for every request.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep, sleep};

use crate::clock::Clock;
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
    task: AbortHandle,
    /// When something was last read or written, ms.
    active_ms: Arc<AtomicU64>,
}

impl HttpListener {
    /// Serves until the task is dropped. One connection more than
    /// [`CONNECTIONS_MAX`] closes the one that has been silent for longest, so
    /// that nobody who asks something is kept out by those who do not.
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
            if guests.len() >= CONNECTIONS_MAX {
                let active = |guest: &Guest| guest.active_ms.load(Ordering::Relaxed);
                let silent = (0..guests.len()).min_by_key(|at| active(&guests[*at]));
                if let Some(at) = silent {
                    guests.swap_remove(at).task.abort();
                }
                self.metrics.http_connections_displaced.add(1);
            }
            guests.push(self.welcome(stream, remote, &router));
        }
    }

    fn welcome(&self, stream: TcpStream, remote: SocketAddr, router: &Router) -> Guest {
        let active_ms = Arc::new(AtomicU64::new(self.clock.mono().0));
        let stream = IdleStream {
            stream,
            idle_max: self.idle_max,
            idle: Box::pin(sleep(self.idle_max)),
            clock: self.clock,
            active_ms: active_ms.clone(),
        };
        let remote = ConnectInfo(Remote(remote.ip().to_canonical()));
        let service = TowerToHyperService::new(router.clone().layer(Extension(remote)));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.idle_max)
            .max_buf_size(BUFFER_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "HTTP connection closed");
            }
        });
        Guest {
            task: task.abort_handle(),
            active_ms,
        }
    }
}

/// Fails once nothing was read or written for a while.
struct IdleStream {
    stream: TcpStream,
    idle_max: Duration,
    idle: Pin<Box<Sleep>>,
    clock: Clock,
    active_ms: Arc<AtomicU64>,
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
            self.active_ms.store(now, Ordering::Relaxed);
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
        self.watch(polled, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
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
