//! The workload: a few clients, each with a session that moves from server to
//! server, and what it may rely on there.

mod asks;
mod bodies;
mod replies;
mod watching;

use std::collections::VecDeque;

use zk_core::ConnId;
use zk_proto::client::{ConnectRequest, OpCode};
use zk_proto::{SessionId, Xid, Zxid};

use crate::scenario::SESSION_TIMEOUT_MS;
use crate::session::ClientMessage;
use crate::world::{Event, World};
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
    watching: Watching,
    /// Has it said goodbye for good?
    pub(crate) is_done: bool,
}

#[derive(Debug)]
struct Pending {
    xid: Xid,
    op: OpCode,
    act: Act,
    sent_us: u64,
}

impl World {
    /// A client looks what to do next.
    pub(crate) fn client(&mut self, client: usize) {
        if self.clients[client].is_done {
            return;
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
                    self.hang_up(client);
                } else if self.is_draining {
                    self.say_goodbye(client);
                } else if self.rng.below(1000) < SLEEPS_PER_MILLE {
                    self.fall_asleep(client);
                } else if self.clients[client].pending.len() < OUTSTANDING_MAX {
                    self.ask(client);
                }
            }
        }
    }

    fn client_connects(&mut self, client: usize) {
        let server = self.rng.index(self.servers.len());
        let timeout = self
            .rng
            .within(SESSION_TIMEOUT_MS.0 as u64, SESSION_TIMEOUT_MS.1 as u64);
        let now = self.now_us;
        let state = &mut self.clients[client];
        let (session_id, password) = state.session.clone().unwrap_or_default();
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: state.last_zxid,
            timeout_ms: timeout as i32,
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
            self.request(client, OpCode::CloseSession, Vec::new(), Act::Close);
        } else {
            self.hang_up(client);
            self.clients[client].is_done = true;
        }
    }

    fn request(&mut self, client: usize, op: OpCode, body: Vec<u8>, act: Act) {
        let sent_us = self.now_us;
        let state = &mut self.clients[client];
        let Some(conn) = state.conn else { return };
        state.next_xid += 1;
        let xid = Xid(state.next_xid);
        state.pending.push_back(Pending {
            xid,
            op,
            act,
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
