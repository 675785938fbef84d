//! The client connections with a session, or with one asked for: how the driver
//! reaches them, who of them was heard of, and who has been silent for too long.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

use zk_core::session::Running;
use zk_core::{ConnId, Millis};
use zk_proto::SessionId;

use crate::net::ConnStats;

/// All client connections that have sent a connect request.
///
/// A connection is closed when nothing was heard on it for its session's
/// timeout and [`GRACE_TICKS`] (reference: `cnxnExpiryQueue` of
/// `NIOServerCnxnFactory`). A session that nobody renews ends earlier and takes
/// its connection with it, so what is left are connections whose session lives
/// on elsewhere: their clients have moved to another server, and the network has
/// told nobody that they are gone. Time in which this server did not run does
/// not count, nor does time in which a request waits for its reply.
pub(super) struct Clients {
    /// No table that grows by doubling: at many connections each of its sizes
    /// would leave large pages behind.
    by_conn: BTreeMap<ConnId, Client>,
    time: Running,
    tick_ms: u64,
}

struct Client {
    stats: Arc<ConnStats>,
    /// When the client was heard of, as far as the replica was told.
    reported: Millis,
    /// When it will have been silent for too long, in running time. Has a
    /// meaning only with a session.
    expires: Millis,
}

/// What a look at all connections has found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Sessions that were heard of since the last look, and when.
    pub(super) touched: Vec<(SessionId, Millis)>,
    /// Connections that have been silent for too long.
    pub(super) silent: Vec<ConnId>,
}

impl Clients {
    pub(super) fn new(tick_ms: u64) -> Self {
        Self {
            by_conn: BTreeMap::new(),
            time: Running::default(),
            tick_ms,
        }
    }

    /// Adds a connection that has asked for a session at `now`.
    pub(super) fn insert(&mut self, conn: ConnId, stats: Arc<ConnStats>, now: Millis) {
        let client = Client {
            stats,
            reported: now,
            expires: Millis(0),
        };
        self.by_conn.insert(conn, client);
    }

    /// The connection, unless it has ended.
    pub(super) fn get(&self, conn: ConnId) -> Option<&ConnStats> {
        self.by_conn.get(&conn).map(|client| &*client.stats)
    }

    /// Forgets a connection and returns what it was.
    pub(super) fn remove(&mut self, conn: ConnId) -> Option<Arc<ConnStats>> {
        self.by_conn.remove(&conn).map(|client| client.stats)
    }

    /// Forgets all connections.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Arc<ConnStats>> + use<> {
        let all = std::mem::take(&mut self.by_conn);
        all.into_values().map(|client| client.stats)
    }

    /// The connection has its session from now on, and this answer to send.
    /// Returns the task to wake.
    pub(super) fn opened(
        &mut self,
        conn: ConnId,
        session: SessionId,
        timeout_ms: i32,
        frame: Vec<u8>,
    ) -> Option<Waker> {
        let client = self.by_conn.get_mut(&conn)?;
        client.stats.opened(session, timeout_ms);
        client.expires = self.time.now() + patience_ms(timeout_ms, self.tick_ms);
        client.stats.mailbox.opened(frame)
    }

    /// Looks at all connections. To be called at least every half tick.
    pub(super) fn hear(&mut self, now: Millis) -> Heard {
        let mut heard = Heard::default();
        self.time.step(now, self.tick_ms);
        let running = self.time.now();
        for (conn, client) in &mut self.by_conn {
            let Some(session) = client.stats.session() else {
                continue;
            };
            let at = client.stats.mailbox.last_active(now);
            if at > client.reported {
                client.reported = at;
                let patience_ms = patience_ms(client.stats.timeout_ms(), self.tick_ms);
                client.expires = self.time.at(at) + patience_ms;
                heard.touched.push((session, at));
            } else if client.expires <= running && !client.stats.awaits_reply() {
                heard.silent.push(*conn);
            }
        }
        heard
    }
}

/// For how long a connection may be silent, ms.
fn patience_ms(timeout_ms: i32, tick_ms: u64) -> u64 {
    u64::try_from(timeout_ms).unwrap_or(0) + GRACE_TICKS * tick_ms
}

/// A connection's time is longer than its session's by so many ticks: the leader
/// rounds a session's time up to a tick, and learns up to a tick later whom a
/// follower has heard of.
pub(super) const GRACE_TICKS: u64 = 2;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::net::Registry;

    const TICK_MS: u64 = 1000;
    const TIMEOUT_MS: i32 = 4000;
    const CONN: ConnId = ConnId(1);
    const SESSION: SessionId = SessionId(7);
    /// When a connection that was heard of at 1000 ms is closed.
    const END_MS: u64 = 7000;

    /// A connection that was heard of at 1000 ms, and got its session then.
    struct One {
        clients: Clients,
        stats: Arc<ConnStats>,
        now_ms: u64,
    }

    impl One {
        fn asking() -> Self {
            let mut clients = Clients::new(TICK_MS);
            let remote = (Ipv4Addr::LOCALHOST, 5).into();
            let stats = Registry::default().open(CONN, remote, 0);
            for at in [0, 500, 1000] {
                assert_eq!(clients.hear(Millis(at)), Heard::default());
            }
            stats.mailbox.touch(Millis(1000));
            clients.insert(CONN, stats.clone(), Millis(1000));
            Self {
                clients,
                stats,
                now_ms: 1000,
            }
        }

        fn opened() -> Self {
            let mut one = Self::asking();
            one.open();
            one
        }

        fn open(&mut self) {
            let woken = self
                .clients
                .opened(CONN, SESSION, TIMEOUT_MS, b"yes".to_vec());
            assert!(woken.is_none(), "no task has asked yet");
        }

        /// Looks every half tick for so long. When the connection was found
        /// silent first?
        fn silent_within(&mut self, ms: u64) -> Option<u64> {
            let end = self.now_ms + ms;
            while self.now_ms < end {
                self.now_ms += TICK_MS / 2;
                let heard = self.clients.hear(Millis(self.now_ms));
                if heard.silent == [CONN] {
                    return Some(self.now_ms);
                }
                assert_eq!(heard.silent, []);
            }
            None
        }
    }

    #[test]
    fn a_connection_is_silent_for_its_sessions_timeout_and_two_ticks() {
        let mut one = One::opened();
        assert_eq!(one.silent_within(60_000), Some(END_MS));

        // Whatever is heard begins it anew.
        let mut one = One::opened();
        assert_eq!(one.silent_within(5000), None);
        one.stats.mailbox.touch(Millis(5700));
        let heard = one.clients.hear(Millis(6100));
        assert_eq!(heard.touched, [(SESSION, Millis(5700))]);
        assert_eq!(one.silent_within(60_000), Some(12_000));
    }

    #[test]
    fn who_waits_for_a_session_is_not_silent() {
        let mut one = One::asking();
        assert_eq!(one.silent_within(60_000), None);
        one.open();
        assert_eq!(one.silent_within(60_000), Some(60_000 + END_MS));
    }

    #[test]
    fn who_cannot_be_heard_or_waits_for_a_reply_is_not_silent() {
        let mut one = One::opened();
        one.stats.mailbox.set_unheard(true);
        assert_eq!(one.silent_within(60_000), None);
        one.stats.mailbox.set_unheard(false);
        assert_eq!(one.silent_within(60_000), Some(60_000 + END_MS));

        let mut one = One::opened();
        one.stats.queued(1);
        assert_eq!(one.silent_within(60_000), None);
        one.stats.queued(0);
        assert!(one.silent_within(TICK_MS).is_some());
    }

    #[test]
    fn time_in_which_the_server_stood_still_does_not_count() {
        let mut one = One::opened();
        for _ in 0..3 {
            assert_eq!(one.silent_within(TICK_MS), None);
            one.now_ms += 30_000;
        }
        let end = one.silent_within(60_000).unwrap();
        assert!((END_MS + 90_000..END_MS + 93_000).contains(&end), "{end}");
    }

    #[test]
    fn a_client_costs_little() {
        assert!(size_of::<Client>() <= 24, "{}", size_of::<Client>());
    }
}
