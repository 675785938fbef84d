//! Why client connections end, and what is logged of it.

use std::io;
use std::net::SocketAddr;

use zk_core::CloseReason;

use super::client::ClientPort;
use super::mailbox::Farewell;

/// Why a connection has ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The client has closed it.
    ByClient,
    /// The socket failed.
    Socket(io::Error),
    /// What it sent is no request; the length that it announced.
    BadFrame(i32),
    /// A request of this length would exceed what large requests may take.
    TooLarge(usize),
    /// A request is not to be answered.
    Unanswerable,
    /// It has sent a request before it has said who it is, as it has to here.
    Unauthenticated,
    /// It does not read what it is sent.
    NotReading,
    /// The driver wants it to end.
    ByServer(Farewell),
}

/// Why a connection ended before it asked for a session.
pub(super) enum Early {
    /// It was a four-letter word, which is answered.
    Command,
    /// No connect request came in time.
    Silent,
    /// The client has closed it, or the socket failed.
    Closed(Option<io::Error>),
    /// What it sent is no connect request; the length that it announced.
    BadLength(i32),
    /// The connect request cannot be read.
    BadConnect,
    /// Sessions are asked for too fast.
    Throttled,
}

impl Early {
    pub(super) fn log(self, remote: SocketAddr, port: &ClientPort) {
        let metrics = &port.clients.metrics;
        match self {
            Self::Command => {}
            Self::Silent => {
                metrics.silent_connections_expired.add(1);
                closed(remote, None, "no connect request in time");
            }
            Self::Closed(error) => {
                tracing::debug!(%remote, ?error, "client connection closed before its connect request");
            }
            Self::BadLength(length) => {
                metrics.requests_too_large.add(u64::from(length > 0));
                closed(remote, Some(length), "not a connect request");
            }
            Self::Throttled => {
                metrics.connections_rejected.add(1);
                closed(remote, None, "too many sessions are asked for");
            }
            Self::BadConnect => closed(remote, None, "unreadable connect request"),
        }
    }
}

impl Ended {
    pub(super) fn log(self, remote: SocketAddr, port: &ClientPort) {
        let metrics = &port.clients.metrics;
        match self {
            // It was logged where it was decided.
            Self::ByServer(Farewell::Backlog) => {}
            Self::ByServer(Farewell::Reason(CloseReason::NotServing)) => {
                metrics.connections_closed_while_not_serving.add(1);
                tracing::debug!(%remote, reason = "not serving", "client connection closed");
            }
            Self::ByServer(Farewell::Reason(CloseReason::AheadOfServer)) => {
                let reason = "the client has seen a newer zxid than this server has; \
                    it needs a server that is up to date";
                tracing::warn!(%remote, reason, "client connection refused");
            }
            Self::ByServer(Farewell::Silent) => {
                metrics.silent_connections_expired.add(1);
                let reason = "silent for longer than its session's timeout";
                tracing::debug!(%remote, reason, "client connection closed");
            }
            Self::ByServer(reason) => {
                tracing::debug!(%remote, ?reason, "client connection closed");
            }
            Self::ByClient => {
                metrics.connections_dropped.add(1);
                tracing::debug!(%remote, reason = "closed by the client", "client connection closed");
            }
            Self::Socket(error) => {
                metrics.connections_dropped.add(1);
                tracing::debug!(%remote, reason = %error, "client connection closed");
            }
            Self::BadFrame(length) => {
                let max = port.clients.limits.frame_bytes_max;
                let reason = match usize::try_from(length) {
                    Ok(bytes) if bytes > max => {
                        format!("a request longer than jute.maxbuffer ({max})")
                    }
                    Ok(_) | Err(_) => "not a request".to_owned(),
                };
                closed(remote, Some(length), &reason);
            }
            Self::TooLarge(length) => {
                metrics.large_requests_rejected.add(1);
                let length = i32::try_from(length).ok();
                closed(remote, length, "too many bytes of large requests");
            }
            Self::Unanswerable => closed(remote, None, "a request that is not answered"),
            Self::Unauthenticated => {
                closed(
                    remote,
                    None,
                    "a request before the client has authenticated",
                );
            }
            Self::NotReading => closed(remote, None, "the client does not read"),
        }
    }
}

/// Says that a connection was closed for what its client did.
fn closed(remote: SocketAddr, length: Option<i32>, reason: &str) {
    tracing::warn!(%remote, length, reason, "client connection closed");
}
