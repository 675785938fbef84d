//! Connections of clients and the connection tasks of a shell: frames in
//! order, reads behind the connection's own writes.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use zk_core::request::{Client, ReadOutcome, is_write};
use zk_core::{ClientWrite, ConnId, Input, ToClient};
use zk_proto::client::ConnectRequest;
use zk_proto::{SessionId, Xid};

use crate::Broken;
use crate::invariants::owners;
use crate::world::{Event, World};

/// What a client sends.
#[derive(Debug)]
pub(crate) enum ClientMessage {
    Connect(ConnectRequest),
    Request {
        xid: Xid,
        op: i32,
        body: Bytes,
    },
    /// It has hung up.
    Gone,
}

/// A connection between a client and one life of a server.
#[derive(Debug)]
pub(crate) struct ClientConn {
    client: usize,
    server: usize,
    life: u64,
    session: Option<SessionId>,
    /// As its server sees it.
    at_server: Client,
    /// Not looked at yet.
    incoming: VecDeque<(Xid, i32, Bytes)>,
    /// Writes without a reply.
    owed: u32,
    last_us: [u64; 2],
}

impl ClientConn {
    /// The session that its server has opened on it.
    pub(crate) const fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// The server that it leads to, and the life of that.
    pub(crate) const fn at(&self) -> (usize, u64) {
        (self.server, self.life)
    }
}

impl World {
    /// A client dials a server.
    pub(crate) fn connect(
        &mut self,
        client: usize,
        server: usize,
        request: ConnectRequest,
    ) -> ConnId {
        self.next_conn += 1;
        let id = ConnId(self.next_conn);
        let conn = ClientConn {
            client,
            server,
            life: self.servers[server].life,
            session: None,
            at_server: Client::new(id, IpAddr::V4(Ipv4Addr::LOCALHOST)),
            incoming: VecDeque::new(),
            owed: 0,
            last_us: [0; 2],
        };
        self.conns.insert(id, conn);
        self.send_to_server(id, ClientMessage::Connect(request));
        id
    }

    pub(crate) fn send_to_server(&mut self, id: ConnId, message: ClientMessage) {
        let delay = self.delay_us();
        let now = self.now_us;
        if let Some(conn) = self.conns.get_mut(&id) {
            let at = (now + delay).max(conn.last_us[0] + 1);
            conn.last_us[0] = at;
            self.at(at, Event::ToServer { conn: id, message });
        }
    }

    fn send_to_client(&mut self, id: ConnId, frames: Vec<u8>, close: bool) {
        let delay = self.delay_us();
        let now = self.now_us;
        if let Some(conn) = self.conns.get_mut(&id) {
            let at = (now + delay).max(conn.last_us[1] + 1);
            conn.last_us[1] = at;
            let client = conn.client;
            if close {
                self.conns.remove(&id);
            }
            self.at(
                at,
                Event::ToClient {
                    client,
                    conn: id,
                    frames,
                    close,
                },
            );
        }
    }

    /// A message has come to the server.
    pub(crate) fn at_server(&mut self, id: ConnId, message: ClientMessage) {
        let Some(conn) = self.conns.get(&id) else {
            return;
        };
        let (server, life) = (conn.server, conn.life);
        if !self.is_alive(server, life) {
            return self.send_to_client(id, Vec::new(), true);
        }
        match message {
            ClientMessage::Connect(request) => {
                let ids = conn.at_server.ids().clone();
                self.input(
                    server,
                    Input::ClientConnect {
                        conn: id,
                        request,
                        ids,
                    },
                );
            }
            ClientMessage::Request { xid, op, body } => {
                let conn = self.conns.get_mut(&id);
                let session = conn.and_then(|conn| {
                    conn.incoming.push_back((xid, op, body));
                    conn.session
                });
                if let Some(session) = session {
                    self.touch(server, session);
                }
                self.serve(id);
            }
            ClientMessage::Gone => {
                self.conns.remove(&id);
                self.input(server, Input::ClientClosed(id));
            }
        }
    }

    /// Hands on a run of writes, or answers reads if no write is outstanding.
    fn serve(&mut self, id: ConnId) {
        loop {
            let Some(conn) = self
                .conns
                .get_mut(&id)
                .filter(|conn| conn.session.is_some())
            else {
                return;
            };
            let server = conn.server;
            let mut writes = Vec::new();
            while conn
                .incoming
                .front()
                .is_some_and(|(_, op, _)| is_write(*op))
            {
                let (xid, op, body) = conn.incoming.pop_front().expect("it has a front");
                writes.push(ClientWrite { xid, op, body });
            }
            if !writes.is_empty() {
                conn.owed += writes.len() as u32;
                self.input(server, Input::ClientWrites { conn: id, writes });
                continue;
            }
            if conn.owed > 0 || self.servers[server].paused_until_us > self.now_us {
                return;
            }
            let Some((xid, op, body)) = conn.incoming.pop_front() else {
                return;
            };
            let Some(process) = &self.servers[server].process else {
                return;
            };
            let view = process.replica.view();
            let mut frames = Vec::new();
            let client = &mut conn.at_server;
            let outcome = view.read().serve(client, xid, op, &body, &mut frames);
            if outcome == ReadOutcome::Authenticated {
                let ids = client.ids().clone();
                self.input(server, Input::ClientIds { conn: id, ids });
            }
            self.send_to_client(id, frames, outcome == ReadOutcome::Close);
        }
    }

    /// After a batch: goes on with what had to wait.
    pub(crate) fn serve_all(&mut self, server: usize) {
        let life = self.servers[server].life;
        let here = self
            .conns
            .iter()
            .filter(|(_, conn)| (conn.server, conn.life) == (server, life));
        let ids: Vec<_> = here
            .filter(|(_, conn)| !conn.incoming.is_empty())
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.serve(id);
        }
    }

    /// Performs `Output::ToClient`.
    pub(crate) fn answer_client(&mut self, to: ToClient) {
        if let Some(conn) = self.conns.get_mut(&to.conn) {
            conn.owed = conn.owed.saturating_sub(to.replies);
            if self.config.broken == Some(Broken::LateEvents) && to.replies == 0 && !to.close {
                let (client, conn, frames) = (conn.client, to.conn, to.frames.into_vec());
                let late = Event::ToClient {
                    client,
                    conn,
                    frames,
                    close: false,
                };
                return self.after(LATE_EVENTS_US, late);
            }
        }
        self.send_to_client(to.conn, to.frames.into_vec(), to.close);
    }

    /// Performs `Output::SessionOpened`.
    pub(crate) fn session_opened(
        &mut self,
        id: ConnId,
        session: SessionId,
        timeout_ms: i32,
        frame: Vec<u8>,
    ) {
        self.oracle.session(session, timeout_ms);
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.session = Some(session);
            let (server, life) = (conn.server, conn.life);
            let same = |conn: &ClientConn| (conn.server, conn.life) == (server, life);
            let mut others = self.conns.iter().filter(|(other, _)| **other != id);
            let other = others.find(|(_, conn)| same(conn) && conn.session == Some(session));
            let check = owners::is_only_one(server + 1, session, id, other.map(|(id, _)| *id));
            self.require(check);
        }
        self.send_to_client(id, frame, false);
    }

    /// Performs `Output::SessionRefused`.
    pub(crate) fn session_refused(&mut self, id: ConnId, frame: Vec<u8>) {
        self.send_to_client(id, frame, true);
    }

    /// Performs `Output::CloseClient`.
    pub(crate) fn close_client(&mut self, id: ConnId) {
        self.send_to_client(id, Vec::new(), true);
    }

    /// The server's process has died.
    pub(crate) fn drop_sessions(&mut self, server: usize) {
        let here = self.conns.iter().filter(|(_, conn)| conn.server == server);
        let ids: Vec<_> = here.map(|(id, _)| *id).collect();
        for id in ids {
            self.close_client(id);
        }
    }
}

/// How late [`Broken::LateEvents`] is.
const LATE_EVENTS_US: u64 = 100_000;
