//! The workload: a few clients, each with a session that moves from server to
//! server, and what it may rely on there.

mod asks;
mod bodies;
mod replies;
mod watching;

use std::collections::{BTreeMap, VecDeque};

use zk_core::ConnId;
use zk_proto::client::{ConnectRequest, OpCode, special_xid};
use zk_proto::{SessionId, Xid, Zxid};

use crate::scenario::SESSION_TIMEOUT_MS;
use crate::session::ClientMessage;
use crate::world::{Event, World};
use crate::{FaultKind, Violation};
use asks::Act;
use watching::Watching;

/// One client.
#[derive(Debug, Default)]
pub(crate) struct Client {
    conn: Option<ConnId>,
    is_open: bool,
    since_us: u64,
    /// Says nothing before then, not even to keep its session.
    asleep_until_us: u64,
    session: Option<(SessionId, Vec<u8>)>,
    last_zxid: Zxid,
    next_xid: i32,
    next_name: u64,
    pending: VecDeque<Pending>,
    /// Created and not deleted.
    own: Vec<String>,
    /// Containers that were made.
    containers: Vec<String>,
    /// Versions of registers as it knows them.
    registers: BTreeMap<String, i32>,
    /// What it asks for, in ms; 0 before its first connection.
    timeout_ms: i32,
    last_sent_us: u64,
    /// When the newest of its writes that was acknowledged was sent.
    pub(crate) acked_sent_us: u64,
    watching: Watching,
    /// When it, as one of a crowd, falls silent for good.
    leaves_us: Option<u64>,
    /// Has it said goodbye for good?
    pub(crate) is_done: bool,
}

#[derive(Debug)]
struct Pending {
    xid: Xid,
    op: OpCode,
    act: Act,
    /// What the transaction is to do; empty for reads.
    wanted: String,
    sent_us: u64,
}

impl Client {
    /// One of many that make a session with a few ephemerals and fall silent
    /// together. Those of a large one ask for the same timeout.
    pub(crate) fn of_crowd(leaves_us: u64, is_large: bool) -> Self {
        let timeout_ms = if is_large { SESSION_TIMEOUT_MS.0 } else { 0 };
        Self {
            leaves_us: Some(leaves_us),
            timeout_ms,
            ..Self::default()
        }
    }

    /// How much later than the others it begins.
    pub(crate) fn comes_after_us(&self) -> u64 {
        self.leaves_us.map_or(0, |leaves_us| leaves_us - 1_000_000)
    }

    /// All that it had is lost for good. Its names stay unique.
    pub(crate) fn begin_anew(&mut self) {
        let (next_name, leaves_us) = (self.next_name, self.leaves_us);
        let (timeout_ms, is_done) = (self.timeout_ms, self.is_done);
        *self = Self {
            next_name,
            leaves_us,
            timeout_ms,
            is_done,
            ..Self::default()
        };
    }

    /// Ends its sleep.
    pub(crate) const fn wake(&mut self) {
        self.asleep_until_us = 0;
    }
}

impl World {
    /// A client looks what to do next.
    pub(crate) fn client(&mut self, client: usize) {
        if self.clients[client].is_done {
            return;
        }
        if let Some(leaves_us) = self.clients[client].leaves_us {
            return self.one_of_crowd(client, leaves_us);
        }
        let pause_us = self.rng.within(3_000, 60_000);
        self.after(pause_us, Event::Client { client });
        let now = self.now_us;
        let state = &self.clients[client];
        match state.conn {
            None if self.is_draining => self.clients[client].is_done = true,
            None if now < state.asleep_until_us => {}
            None => self.client_connects(client),
            Some(_) if !state.is_open => {
                if now - state.since_us > PATIENCE_US {
                    self.hang_up(client);
                }
            }
            Some(_) => {
                let oldest = state.pending.front().map_or(now, |pending| pending.sent_us);
                if now - oldest > PATIENCE_US {
                    let check = self.is_answered(client);
                    self.require(check);
                    self.hang_up(client);
                } else if self.is_draining {
                    self.say_goodbye(client);
                } else if self.rng.below(1000) < SLEEPS_PER_MILLE && self.has_faults_to_come() {
                    self.fall_asleep(client);
                } else if self.rng.below(1000) < MOVES_PER_MILLE {
                    // With requests under way, which may come after it has moved.
                    self.hang_up(client);
                } else if self.clients[client].pending.len() < OUTSTANDING_MAX {
                    self.ask(client);
                } else {
                    self.ping(client);
                }
            }
        }
    }

    /// A client has waited for long. Once the ensemble has healed, whoever
    /// keeps a connection answers what comes on it.
    fn is_answered(&self, client: usize) -> Result<(), Violation> {
        match self.clients[client].pending.front() {
            Some(oldest) if self.is_draining => {
                let detail = format!(
                    "client {client} waits for {:?}, sent at {} ms, on a connection that stands",
                    oldest.act,
                    oldest.sent_us / 1000
                );
                Err(Violation::new("requests are answered", detail))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// One of a crowd looks what to do next.
    fn one_of_crowd(&mut self, client: usize, leaves_us: u64) {
        let state = &self.clients[client];
        if self.now_us >= leaves_us {
            self.hang_up(client);
            self.clients[client].is_done = true;
            return;
        }
        if state.conn.is_none() {
            self.client_connects(client);
        } else if state.is_open && state.next_name < CROWD_EPHEMERALS {
            self.ask_ephemeral(client);
        } else if state.is_open {
            self.ping(client);
        }
        let pause_us = self.rng.within(10_000, 100_000);
        self.after(pause_us, Event::Client { client });
    }

    fn client_connects(&mut self, client: usize) {
        let server = self.rng.index(self.servers.len());
        let now = self.now_us;
        let (shortest, longest) = SESSION_TIMEOUT_MS;
        if self.clients[client].timeout_ms == 0 {
            let timeout_ms = self.rng.within(shortest as u64, longest as u64);
            self.clients[client].timeout_ms = timeout_ms as i32;
        }
        let begins_again = client % 2 == 1 && self.has(FaultKind::XidsBeginAgain);
        let state = &mut self.clients[client];
        if begins_again {
            // Some libraries begin again with each connection, as kazoo does.
            state.next_xid = 0;
        }
        let (session_id, password) = state.session.clone().unwrap_or_default();
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: state.last_zxid,
            timeout_ms: state.timeout_ms,
            session_id,
            password,
            read_only: Some(false),
        };
        state.since_us = now;
        state.is_open = false;
        let conn = self.connect(client, server, request);
        self.clients[client].conn = Some(conn);
    }

    /// Gives up the connection; what was pending may or may not have happened.
    fn hang_up(&mut self, client: usize) {
        if let Some(conn) = self.clients[client].conn {
            self.send_to_server(conn, ClientMessage::Gone);
        }
        self.lose_connection(client);
    }

    /// Long enough for its session to expire.
    fn fall_asleep(&mut self, client: usize) {
        self.hang_up(client);
        let longest_us = SESSION_TIMEOUT_MS.1 as u64 * 2_000;
        self.clients[client].asleep_until_us = self.now_us + self.rng.below(longest_us);
    }

    fn lose_connection(&mut self, client: usize) {
        let state = &mut self.clients[client];
        state.conn = None;
        state.is_open = false;
        state.watching.disconnected();
        self.oracle.unknown += state.pending.len() as u64;
        state.pending.clear();
    }

    /// Half of the clients close their session, the others leave it to expire.
    fn say_goodbye(&mut self, client: usize) {
        let state = &self.clients[client];
        if !state.pending.is_empty() {
            return;
        }
        if self.rng.percent(50) {
            let wanted = "close".to_owned();
            self.write(client, OpCode::CloseSession, Vec::new(), Act::Close, wanted);
        } else {
            self.hang_up(client);
            self.clients[client].is_done = true;
        }
    }

    /// A client that has to wait says now and then that it is there.
    fn ping(&mut self, client: usize) {
        let state = &self.clients[client];
        let silent_us = self.now_us - state.last_sent_us;
        if silent_us * 3 > state.timeout_ms as u64 * 1000 {
            self.send_request(
                client,
                special_xid::PING,
                OpCode::Ping,
                Vec::new(),
                Act::Ping,
                String::new(),
            );
        }
    }

    /// A request that changes nothing.
    fn request(&mut self, client: usize, op: OpCode, body: Vec<u8>, act: Act) {
        let xid = self.next_xid(client);
        self.send_request(client, xid, op, body, act, String::new());
    }

    /// A request whose transaction does what is `wanted`.
    fn write(&mut self, client: usize, op: OpCode, body: Vec<u8>, act: Act, wanted: String) {
        let xid = self.next_xid(client);
        self.send_request(client, xid, op, body, act, wanted);
    }

    /// The same, and no other request ever wants that.
    fn write_once(&mut self, client: usize, op: OpCode, body: Vec<u8>, act: Act, wanted: String) {
        if let Some(conn) = self.clients[client].conn {
            self.checks.owners.sent(&wanted, conn);
        }
        self.write(client, op, body, act, wanted);
    }

    fn next_xid(&mut self, client: usize) -> Xid {
        let state = &mut self.clients[client];
        state.next_xid += 1;
        Xid(state.next_xid)
    }

    fn send_request(
        &mut self,
        client: usize,
        xid: Xid,
        op: OpCode,
        body: Vec<u8>,
        act: Act,
        wanted: String,
    ) {
        let sent_us = self.now_us;
        let state = &mut self.clients[client];
        let Some(conn) = state.conn else { return };
        state.last_sent_us = sent_us;
        state.pending.push_back(Pending {
            xid,
            op,
            act,
            wanted,
            sent_us,
        });
        let (op, body) = (op.code(), body.into());
        self.send_to_server(conn, ClientMessage::Request { xid, op, body });
    }
}

/// A client hangs up when it has waited this long for an answer.
const PATIENCE_US: u64 = 700_000;
/// Requests under way at most.
const OUTSTANDING_MAX: usize = 4;
/// How often a client hangs up and says nothing for long.
const SLEEPS_PER_MILLE: u64 = 10;
/// What each of a crowd leaves behind.
const CROWD_EPHEMERALS: u64 = 2;
/// How often a client hangs up and comes back at once.
const MOVES_PER_MILLE: u64 = 10;
