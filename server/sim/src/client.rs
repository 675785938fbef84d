//! The workload: a few clients, each with a session that moves from server to
//! server, and what it may rely on there.

use std::collections::{BTreeMap, VecDeque};

use zk_core::ConnId;
use zk_proto::client::{
    Acl, ConnectRequest, CreateRequest, DeleteRequest, ErrorCode, MultiHeader, OpCode,
    PathWatchRequest, SetDataRequest, special_xid,
};
use zk_proto::jute::{Put, Reader};
use zk_proto::{DecodeError, SessionId, Xid, Zxid};

use crate::Violation;
use crate::scenario::SESSION_TIMEOUT_MS;
use crate::session::ClientMessage;
use crate::world::{Event, World};

/// One client.
#[derive(Debug, Default)]
pub(crate) struct Client {
    conn: Option<ConnId>,
    is_open: bool,
    since_us: u64,
    session: Option<(SessionId, Vec<u8>)>,
    last_zxid: Zxid,
    next_xid: i32,
    next_name: u64,
    pending: VecDeque<Pending>,
    /// Created and not deleted.
    own: Vec<String>,
    /// Watched paths and the zxid of the change that was seen.
    watches: BTreeMap<String, Zxid>,
    /// Has it said goodbye for good?
    pub(crate) is_done: bool,
}

#[derive(Debug)]
struct Pending {
    xid: Xid,
    act: Act,
    sent_us: u64,
}

/// What a client asks for.
#[derive(Debug)]
enum Act {
    Create(Vec<String>),
    CreateSequential,
    CreateEphemeral,
    Delete(String),
    Set,
    Read(String),
    Sync,
    Close,
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
                } else if state.pending.len() < OUTSTANDING_MAX {
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

    fn lose_connection(&mut self, client: usize) {
        let state = &mut self.clients[client];
        state.conn = None;
        state.is_open = false;
        state.watches.clear();
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

    fn ask(&mut self, client: usize) {
        let mut body = Vec::new();
        let shared = format!("/shared{}", self.rng.below(SHARED));
        let dice = self.rng.below(100);
        let state = &mut self.clients[client];
        state.next_name += 1;
        let name = format!("{client}-{}", state.next_name);
        match dice {
            0..30 => {
                let path = format!("/c{name}");
                create(&mut body, &path, 0);
                let paths = vec![path];
                self.oracle.create(&paths);
                self.request(client, OpCode::Create, body, Act::Create(paths));
            }
            30..40 => {
                create(&mut body, "/q-", 2);
                self.request(client, OpCode::Create, body, Act::CreateSequential);
            }
            40..50 => {
                create(&mut body, &format!("/e{name}"), 1);
                self.request(client, OpCode::Create, body, Act::CreateEphemeral);
            }
            50..58 => {
                let paths = vec![format!("/m{name}a"), format!("/m{name}b")];
                multi(&mut body, &paths);
                self.oracle.create(&paths);
                self.request(client, OpCode::Multi, body, Act::Create(paths));
            }
            58..66 if !state.own.is_empty() => {
                let nth = self.rng.index(state.own.len());
                let path = state.own.swap_remove(nth);
                DeleteRequest {
                    path: path.as_str().into(),
                    version: -1,
                }
                .write(&mut body);
                self.oracle.delete(&path);
                self.request(client, OpCode::Delete, body, Act::Delete(path));
            }
            66..80 => {
                let data = name.as_bytes();
                SetDataRequest {
                    path: shared.into(),
                    data: Some(data),
                    version: -1,
                }
                .write(&mut body);
                self.request(client, OpCode::SetData, body, Act::Set);
            }
            80..84 => {
                body.put_str("/");
                self.request(client, OpCode::Sync, body, Act::Sync);
            }
            84..88 => {
                create(&mut body, &shared, 0);
                self.request(client, OpCode::Create, body, Act::Set);
            }
            _ => {
                let watch = dice.is_multiple_of(2);
                PathWatchRequest {
                    path: shared.as_str().into(),
                    watch,
                }
                .write(&mut body);
                let act = Act::Read(if watch { shared } else { String::new() });
                self.request(client, OpCode::GetData, body, act);
            }
        }
    }

    fn request(&mut self, client: usize, op: OpCode, body: Vec<u8>, act: Act) {
        let sent_us = self.now_us;
        let state = &mut self.clients[client];
        let Some(conn) = state.conn else { return };
        state.next_xid += 1;
        let xid = Xid(state.next_xid);
        state.pending.push_back(Pending { xid, act, sent_us });
        let (op, body) = (op.code(), body.into());
        self.send_to_server(conn, ClientMessage::Request { xid, op, body });
    }

    /// Frames have come to a client.
    pub(crate) fn at_client(
        &mut self,
        client: usize,
        conn: ConnId,
        frames: &[u8],
        close: bool,
    ) -> Result<(), Violation> {
        if self.clients[client].conn != Some(conn) {
            return Ok(());
        }
        let mut reader = Reader::new(frames);
        while !reader.rest().is_empty() {
            let frame = reader.buffer().map_err(malformed)?;
            let mut reader = Reader::new(frame);
            if self.clients[client].is_open {
                self.reply(client, &mut reader)?;
            } else {
                self.connected(client, &mut reader).map_err(malformed)?;
            }
        }
        if close {
            self.lose_connection(client);
        }
        Ok(())
    }

    fn connected(&mut self, client: usize, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        reader.i32()?;
        reader.i32()?;
        let session = SessionId(reader.i64()?);
        let password = reader.buffer()?.to_vec();
        let state = &mut self.clients[client];
        state.is_open = session != SessionId(0);
        state.session = state.is_open.then_some((session, password));
        if !state.is_open {
            state.next_xid = 0;
            state.last_zxid = Zxid::ZERO;
        }
        self.trace(|| format!("client {client} has session {session}"));
        Ok(())
    }

    fn reply(&mut self, client: usize, reader: &mut Reader<'_>) -> Result<(), Violation> {
        let (xid, zxid, err) = header(reader).map_err(malformed)?;
        let state = &mut self.clients[client];
        if xid == special_xid::NOTIFICATION {
            let path = event_path(reader).map_err(malformed)?;
            state.watches.remove(&path);
            return Ok(());
        }
        let is_next = state
            .pending
            .front()
            .is_some_and(|pending| pending.xid == xid);
        let Some(pending) = state.pending.pop_front().filter(|_| is_next) else {
            let detail = format!("client {client} gets a reply to {} out of turn", xid.0);
            return Err(Violation::new("replies are in session order", detail));
        };
        if zxid < state.last_zxid {
            let detail = format!(
                "client {client} has seen {} and now {zxid}",
                state.last_zxid
            );
            return Err(Violation::new("a session never goes back", detail));
        }
        state.last_zxid = zxid;
        self.outcome(client, pending, zxid, err, reader)
    }

    fn outcome(
        &mut self,
        client: usize,
        pending: Pending,
        zxid: Zxid,
        err: i32,
        reader: &mut Reader<'_>,
    ) -> Result<(), Violation> {
        let is_done = err == ErrorCode::Ok.code();
        let state = &mut self.clients[client];
        match &pending.act {
            Act::Create(paths) => {
                self.oracle.created(paths, is_done);
                if let ([path], true) = (&paths[..], is_done) {
                    state.own.push(path.clone());
                }
            }
            Act::CreateSequential if is_done => {
                let path = reader.str().map_err(malformed)?.into_owned();
                self.oracle.created_sequential(path)?;
            }
            Act::Delete(path) if is_done || err == ErrorCode::NoNode.code() => {
                self.oracle.deleted(path, is_done)?;
            }
            Act::Read(path) if is_done => {
                let changed = changed_at(reader).map_err(malformed)?;
                if !path.is_empty() {
                    let seen = *state.watches.entry(path.clone()).or_insert(changed);
                    if seen != changed {
                        let detail = format!(
                            "client {client} watches {path} since {seen} and reads {changed} without an event"
                        );
                        return Err(Violation::new("watch event before the read", detail));
                    }
                }
            }
            Act::Close => state.is_done = true,
            _ => {}
        }
        let is_write = !matches!(pending.act, Act::Read(_) | Act::Sync);
        if !is_done {
            self.oracle.failed += 1;
        } else if is_write {
            self.oracle.acked += 1;
            self.last_acked_sent_us = self.last_acked_sent_us.max(pending.sent_us);
            self.checks.acknowledged(zxid)?;
        }
        Ok(())
    }
}

fn create(body: &mut Vec<u8>, path: &str, flags: i32) {
    CreateRequest {
        path: path.into(),
        data: Some(path.as_bytes()),
        acl: Some(vec![Acl::open()]),
        flags,
    }
    .write(body);
}

fn multi(body: &mut Vec<u8>, paths: &[String]) {
    for path in paths {
        multi_header(body, OpCode::Create.code(), false);
        create(body, path, 0);
    }
    multi_header(body, -1, true);
}

fn multi_header(body: &mut Vec<u8>, op: i32, done: bool) {
    let MultiHeader { op, done, err } = MultiHeader { op, done, err: -1 };
    body.put_i32(op);
    body.put_bool(done);
    body.put_i32(err);
}

fn header(reader: &mut Reader<'_>) -> Result<(Xid, Zxid, i32), DecodeError> {
    Ok((Xid(reader.i32()?), Zxid(reader.i64()?), reader.i32()?))
}

fn event_path(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    reader.i32()?;
    reader.i32()?;
    Ok(reader.str()?.into_owned())
}

/// The mzxid of a getData reply.
fn changed_at(reader: &mut Reader<'_>) -> Result<Zxid, DecodeError> {
    reader.opt_buffer()?;
    reader.i64()?;
    Ok(Zxid(reader.i64()?))
}

fn malformed(error: DecodeError) -> Violation {
    Violation::new("frames are well formed", error.to_string())
}

/// A client hangs up when it has waited this long for an answer.
const PATIENCE_US: u64 = 700_000;
/// Requests under way at most.
const OUTSTANDING_MAX: usize = 4;
/// Znodes that all clients write.
const SHARED: u64 = 3;
