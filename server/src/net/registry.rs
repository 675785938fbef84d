//! Every client connection of this server, for operators to look at.
//!
//! A connection's numbers are written by its own task only and read by
//! whoever asks, so they are plain relaxed stores. Nothing here is on the path
//! of a single request: a task notes a run of them at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use zk_core::{ConnId, Millis};
use zk_proto::{SessionId, Xid, Zxid};

use super::mailbox::Mailbox;

/// All open connections, in the order in which they came.
#[derive(Default)]
pub(crate) struct Registry {
    connections: Mutex<BTreeMap<ConnId, Arc<ConnStats>>>,
    /// How often the numbers were reset. A connection whose own count is
    /// behind has not noticed yet, so what it shows is zero.
    resets: AtomicU32,
}

/// What is known of one connection (reference: `ServerCnxn`), with the mailbox
/// through which the driver reaches it.
#[derive(Debug)]
pub(crate) struct ConnStats {
    remote: SocketAddr,
    established_ms: i64,
    session: AtomicI64,
    timeout_ms: AtomicI32,
    queued: AtomicU32,
    seen_resets: AtomicU32,
    received: AtomicU64,
    sent: AtomicU64,
    last_op: AtomicI32,
    last_cxid: AtomicI32,
    last_zxid: AtomicI64,
    last_response_ms: AtomicU64,
    replies: AtomicU64,
    latency_sum_ms: AtomicU64,
    last_latency_ms: AtomicU32,
    min_latency_ms: AtomicU32,
    max_latency_ms: AtomicU32,
    /// What waits in the connection, its mailbox aside, in KiB.
    pub(super) backlog_kib: AtomicU32,
    pub(crate) mailbox: Mailbox,
}

/// Requests that were answered together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replied {
    /// How many.
    pub(crate) count: u64,
    /// Code of the last one.
    pub(crate) op: i32,
    /// Number of the last one.
    pub(crate) xid: Xid,
    /// Zxid in the last reply.
    pub(crate) zxid: Zxid,
    /// When, on the server's monotonic clock.
    pub(crate) at: Millis,
    /// How long each waited.
    pub(crate) elapsed: Duration,
}

/// A connection at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShownConn {
    pub(crate) conn: ConnId,
    pub(crate) remote: SocketAddr,
    /// Wall clock, ms since 1970.
    pub(crate) established_ms: i64,
    /// 0 before there is one.
    pub(crate) session: SessionId,
    pub(crate) timeout_ms: i32,
    /// Requests without a reply.
    pub(crate) queued: u32,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// `None` before the first reply.
    pub(crate) last_op: Option<i32>,
    /// -1 before the first request with a number of its own.
    pub(crate) last_cxid: i32,
    pub(crate) last_zxid: i64,
    pub(crate) last_response_ms: u64,
    pub(crate) last_latency_ms: u32,
    pub(crate) min_latency_ms: u32,
    pub(crate) avg_latency_ms: u64,
    pub(crate) max_latency_ms: u32,
}

impl Registry {
    /// Adds a connection that was accepted at this wall clock.
    pub(crate) fn open(&self, conn: ConnId, remote: SocketAddr, wall_ms: i64) -> Arc<ConnStats> {
        let stats = Arc::new(ConnStats::new(remote, wall_ms, self.resets()));
        self.connections.lock().insert(conn, stats.clone());
        stats
    }

    /// Forgets a connection.
    pub(crate) fn close(&self, conn: ConnId) {
        self.connections.lock().remove(&conn);
    }

    /// Starts the numbers of all connections anew.
    pub(crate) fn reset_stats(&self) {
        self.resets.fetch_add(1, Ordering::Relaxed);
    }

    /// Every connection. Copied in slices, so that nobody who connects
    /// meanwhile waits for long.
    pub(crate) fn list(&self) -> Vec<ShownConn> {
        let mut shown = Vec::new();
        let mut after = Bound::Unbounded;
        loop {
            let slice: Vec<_> = self
                .connections
                .lock()
                .range((after, Bound::Unbounded))
                .take(SLICE)
                .map(|(conn, stats)| (*conn, stats.clone()))
                .collect();
            let Some((last, _)) = slice.last() else {
                return shown;
            };
            after = Bound::Excluded(*last);
            let resets = self.resets();
            shown.extend(slice.iter().map(|(conn, stats)| stats.show(*conn, resets)));
        }
    }

    /// Something of each connection.
    pub(super) fn map<T>(&self, of: impl Fn(&Arc<ConnStats>) -> T) -> Vec<T> {
        self.connections.lock().values().map(of).collect()
    }

    fn resets(&self) -> u32 {
        self.resets.load(Ordering::Relaxed)
    }
}

impl ConnStats {
    /// Where the client is.
    pub(crate) const fn remote(&self) -> SocketAddr {
        self.remote
    }

    fn new(remote: SocketAddr, established_ms: i64, resets: u32) -> Self {
        Self {
            remote,
            established_ms,
            session: AtomicI64::new(0),
            timeout_ms: AtomicI32::new(0),
            queued: AtomicU32::new(0),
            seen_resets: AtomicU32::new(resets),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            last_op: AtomicI32::new(NO_OP),
            last_cxid: AtomicI32::new(-1),
            last_zxid: AtomicI64::new(-1),
            last_response_ms: AtomicU64::new(0),
            replies: AtomicU64::new(0),
            latency_sum_ms: AtomicU64::new(0),
            last_latency_ms: AtomicU32::new(0),
            min_latency_ms: AtomicU32::new(u32::MAX),
            max_latency_ms: AtomicU32::new(0),
            backlog_kib: AtomicU32::new(0),
            mailbox: Mailbox::default(),
        }
    }

    /// The session, once there is one.
    pub(crate) fn session(&self) -> Option<SessionId> {
        let session = self.session.load(Ordering::Relaxed);
        (session != 0).then_some(SessionId(session))
    }

    /// The connection has a session. To be called by the driver; whatever
    /// changes numbers is to be called by the connection's own task.
    pub(crate) fn opened(&self, session: SessionId, timeout_ms: i32) {
        self.session.store(session.0, Ordering::Relaxed);
        self.timeout_ms.store(timeout_ms, Ordering::Relaxed);
    }

    /// Frames have come.
    pub(crate) fn received(&self, registry: &Registry, frames: u64) {
        self.notice_reset(registry);
        add(&self.received, frames);
    }

    /// Frames were handed to the socket: replies and events.
    pub(crate) fn sent(&self, registry: &Registry, frames: u64) {
        self.notice_reset(registry);
        add(&self.sent, frames);
    }

    /// The session's timeout, ms; 0 before there is one.
    pub(crate) fn timeout_ms(&self) -> i32 {
        self.timeout_ms.load(Ordering::Relaxed)
    }

    /// Does a request wait for its reply?
    pub(crate) fn awaits_reply(&self) -> bool {
        self.queued.load(Ordering::Relaxed) > 0
    }

    /// So many requests wait for their reply.
    pub(crate) fn queued(&self, requests: u32) {
        self.queued.store(requests, Ordering::Relaxed);
    }

    /// Requests were answered.
    pub(crate) fn replied(&self, registry: &Registry, replied: Replied) {
        let Replied {
            count,
            op,
            xid,
            zxid,
            at,
            elapsed,
        } = replied;
        self.notice_reset(registry);
        let elapsed_ms = u32::try_from(elapsed.as_millis()).unwrap_or(u32::MAX);
        // Pings and their like keep the number of the last real request.
        if xid.0 >= 0 {
            self.last_cxid.store(xid.0, Ordering::Relaxed);
        }
        self.last_op.store(op, Ordering::Relaxed);
        self.last_zxid.store(zxid.0, Ordering::Relaxed);
        self.last_response_ms.store(at.0, Ordering::Relaxed);
        self.last_latency_ms.store(elapsed_ms, Ordering::Relaxed);
        if elapsed_ms < self.min_latency_ms.load(Ordering::Relaxed) {
            self.min_latency_ms.store(elapsed_ms, Ordering::Relaxed);
        }
        if elapsed_ms > self.max_latency_ms.load(Ordering::Relaxed) {
            self.max_latency_ms.store(elapsed_ms, Ordering::Relaxed);
        }
        add(&self.replies, count);
        add(&self.latency_sum_ms, u64::from(elapsed_ms) * count);
    }

    fn notice_reset(&self, registry: &Registry) {
        let resets = registry.resets();
        if self.seen_resets.load(Ordering::Relaxed) == resets {
            return;
        }
        self.received.store(0, Ordering::Relaxed);
        self.sent.store(0, Ordering::Relaxed);
        self.last_op.store(NO_OP, Ordering::Relaxed);
        self.last_cxid.store(-1, Ordering::Relaxed);
        self.last_zxid.store(-1, Ordering::Relaxed);
        self.last_response_ms.store(0, Ordering::Relaxed);
        self.replies.store(0, Ordering::Relaxed);
        self.latency_sum_ms.store(0, Ordering::Relaxed);
        self.last_latency_ms.store(0, Ordering::Relaxed);
        self.min_latency_ms.store(u32::MAX, Ordering::Relaxed);
        self.max_latency_ms.store(0, Ordering::Relaxed);
        self.seen_resets.store(resets, Ordering::Relaxed);
    }

    fn show(&self, conn: ConnId, resets: u32) -> ShownConn {
        let blank;
        let numbers = if self.seen_resets.load(Ordering::Relaxed) == resets {
            self
        } else {
            blank = Self::new(self.remote, self.established_ms, resets);
            &blank
        };
        let number = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let replies = number(&numbers.replies);
        let last_op = numbers.last_op.load(Ordering::Relaxed);
        let min_latency_ms = numbers.min_latency_ms.load(Ordering::Relaxed);
        ShownConn {
            conn,
            remote: self.remote,
            established_ms: self.established_ms,
            session: SessionId(self.session.load(Ordering::Relaxed)),
            timeout_ms: self.timeout_ms(),
            queued: self.queued.load(Ordering::Relaxed),
            received: number(&numbers.received),
            sent: number(&numbers.sent),
            last_op: (last_op != NO_OP).then_some(last_op),
            last_cxid: numbers.last_cxid.load(Ordering::Relaxed),
            last_zxid: numbers.last_zxid.load(Ordering::Relaxed),
            last_response_ms: number(&numbers.last_response_ms),
            last_latency_ms: numbers.last_latency_ms.load(Ordering::Relaxed),
            min_latency_ms: if replies == 0 { 0 } else { min_latency_ms },
            avg_latency_ms: number(&numbers.latency_sum_ms)
                .checked_div(replies)
                .unwrap_or(0),
            max_latency_ms: numbers.max_latency_ms.load(Ordering::Relaxed),
        }
    }
}

/// Only one task writes, so nothing can come between.
fn add(to: &AtomicU64, n: u64) {
    to.store(to.load(Ordering::Relaxed) + n, Ordering::Relaxed);
}

/// Connections that are copied under one lock.
const SLICE: usize = 1024;
/// No code of an operation.
const NO_OP: i32 = i32::MIN;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn remote(port: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, port).into()
    }

    fn replied(xid: i32, ms: u64) -> Replied {
        Replied {
            count: 2,
            op: 4,
            xid: Xid(xid),
            zxid: Zxid(9),
            at: Millis(77),
            elapsed: Duration::from_millis(ms),
        }
    }

    #[test]
    fn numbers_are_those_of_the_connection() {
        let registry = Registry::default();
        let stats = registry.open(ConnId(1), remote(5), 123);
        let shown = &registry.list()[0];
        assert_eq!((shown.session, shown.last_op), (SessionId(0), None));
        assert_eq!((shown.last_cxid, shown.min_latency_ms), (-1, 0));
        stats.opened(SessionId(8), 4000);
        stats.received(&registry, 3);
        stats.sent(&registry, 4);
        stats.queued(2);
        stats.replied(&registry, replied(7, 10));
        stats.replied(&registry, replied(-2, 4));
        let want = ShownConn {
            conn: ConnId(1),
            remote: remote(5),
            established_ms: 123,
            session: SessionId(8),
            timeout_ms: 4000,
            queued: 2,
            received: 3,
            sent: 4,
            last_op: Some(4),
            last_cxid: 7,
            last_zxid: 9,
            last_response_ms: 77,
            last_latency_ms: 4,
            min_latency_ms: 4,
            avg_latency_ms: 7,
            max_latency_ms: 10,
        };
        assert_eq!(registry.list(), [want]);
        registry.close(ConnId(1));
        assert!(registry.list().is_empty());
    }

    #[test]
    fn a_reset_shows_at_once_and_keeps_the_session() {
        let registry = Registry::default();
        let stats = registry.open(ConnId(1), remote(5), 123);
        stats.opened(SessionId(8), 4000);
        stats.received(&registry, 3);
        stats.replied(&registry, replied(7, 10));
        registry.reset_stats();
        let shown = &registry.list()[0];
        assert_eq!(
            (shown.received, shown.last_cxid, shown.max_latency_ms),
            (0, -1, 0)
        );
        assert_eq!(shown.session, SessionId(8));
        stats.received(&registry, 1);
        let shown = &registry.list()[0];
        assert_eq!(
            (shown.received, shown.last_op, shown.last_zxid),
            (1, None, -1)
        );
    }

    #[test]
    fn all_slices_are_listed_in_order() {
        let registry = Registry::default();
        let count = 2 * SLICE as u64 + 1;
        for n in 0..count {
            registry.open(ConnId(n), remote(1), 0);
        }
        let conns: Vec<_> = registry.list().iter().map(|shown| shown.conn.0).collect();
        assert_eq!(conns, (0..count).collect::<Vec<_>>());
    }

    #[test]
    fn a_connection_costs_little() {
        // With what an `Arc` adds, the allocator gives 224 bytes.
        assert!(size_of::<ConnStats>() <= 208, "{}", size_of::<ConnStats>());
    }
}
