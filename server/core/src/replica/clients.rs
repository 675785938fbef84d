//! Clients of this server: handshake, writes, touches, expiry.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use zk_proto::client::{ConnectRequest, ConnectResponse, ErrorCode, Id, OpCode, session_password};
use zk_proto::jute::{Put, Reader};
use zk_proto::{SessionId, Xid};

use super::Replica;
use crate::request::{Cause, Due, Order, Owed, Reply, WriteRequest, is_well_formed, write_reply};
use crate::session::Owner;
use crate::tree::Tree;
use crate::zab::SyncToken;
use crate::{ClientWrite, CloseReason, ConnId, Frames, Millis, Now, Output};

/// One client connection.
pub(super) struct Conn {
    pub(super) session: SessionId,
    pub(super) timeout_ms: i32,
    ids: Arc<[Id]>,
    /// The answer to the handshake carries the byte only if the question did.
    read_only: Option<bool>,
    pub(super) is_open: bool,
    pub(super) order: Order,
    pub(super) frames: Frames,
    pub(super) replies: u32,
    pub(super) events: u32,
    pub(super) is_dirty: bool,
}

/// A request as the leader gets it to number.
#[derive(Clone, Copy)]
pub(super) struct Submitted<'r> {
    /// Through which server it came; `None` if the leader itself asks, which
    /// may close any session.
    pub(super) owner: Option<Owner>,
    pub(super) session: SessionId,
    pub(super) cxid: Xid,
    pub(super) op: i32,
    pub(super) body: &'r Bytes,
    pub(super) ids: &'r [Id],
}

impl Replica {
    /// Reference: `ZooKeeperServer.processConnectRequest`.
    pub(super) fn client_connect(
        &mut self,
        now: Now,
        conn: ConnId,
        request: &ConnectRequest,
        ids: Arc<[Id]>,
        out: &mut Vec<Output>,
    ) {
        if !self.is_serving {
            return out.push(Output::CloseClient {
                conn,
                reason: CloseReason::NotServing,
            });
        }
        // A refusal would tell the client that its session is gone.
        if request.last_zxid_seen > self.tree(Tree::last_zxid) {
            return out.push(Output::CloseClient {
                conn,
                reason: CloseReason::AheadOfServer,
            });
        }
        let (min, max) = (
            self.config.session_timeout_min_ms,
            self.config.session_timeout_max_ms,
        );
        let timeout_ms = request.timeout_ms.clamp(min, max.max(min));
        let read_only = request.read_only.map(|_| false);
        let is_new = request.session_id == SessionId(0);
        let session = if is_new {
            self.new_session_id()
        } else {
            request.session_id
        };
        // Before anything is done to the connection that has the session now.
        if !is_new && request.password != session_password(session) {
            let frame = framed(&ConnectResponse::refused(read_only));
            return out.push(Output::SessionRefused { conn, frame });
        }
        if let Some(old) = self.by_session.get(&session).copied() {
            self.close_conn(old, CloseReason::SessionMoved, out);
        }
        let mut watches = self.view.watches().lock();
        watches.register_conn(conn, session, ids.clone());
        drop(watches);
        let state = Conn {
            session,
            timeout_ms,
            ids,
            read_only,
            is_open: false,
            order: Order::default(),
            frames: Frames::default(),
            replies: 0,
            events: 0,
            is_dirty: false,
        };
        self.conns.insert(conn, Box::new(state));
        self.by_session.insert(session, conn);
        if is_new {
            let mut body = Vec::with_capacity(4);
            body.put_i32(timeout_ms);
            let op = OpCode::CreateSession.code();
            let (xid, body) = (Xid(0), body.into());
            self.submit(now, conn, ClientWrite { xid, op, body }, out);
        } else if let Some(leading) = &mut self.leading {
            let is_alive = leading.tracker.renew(session, timeout_ms, now.mono);
            leading.tracker.set_owner(session, Owner::Local);
            if is_alive {
                self.session_opened(conn, session, out)
            } else {
                self.refuse_session(conn, out)
            }
        } else {
            self.following
                .revalidating
                .entry(session)
                .or_default()
                .push_back(conn);
            self.revalidate(now, session, timeout_ms, out);
        }
    }

    /// A client has said who it is. The connection has told the watch table,
    /// as reads do not pass through here.
    pub(super) fn client_ids(&mut self, conn: ConnId, ids: Arc<[Id]>) {
        if let Some(to) = self.conns.get_mut(&conn) {
            to.ids = ids;
        }
    }

    /// Takes a run of writes in order.
    pub(super) fn client_writes(
        &mut self,
        now: Now,
        conn: ConnId,
        writes: Vec<ClientWrite>,
        out: &mut Vec<Output>,
    ) {
        for write in writes {
            self.submit(now, conn, write, out);
        }
    }

    /// Notes what the client is owed and gives the request to the leader,
    /// which may be this server.
    fn submit(&mut self, now: Now, conn: ConnId, write: ClientWrite, out: &mut Vec<Output>) {
        let Some(to) = self.conns.get_mut(&conn) else {
            return;
        };
        let ClientWrite { xid, op, body } = write;
        let due = if !is_well_formed(op, &body) {
            Due::Turn
        } else if op == OpCode::Sync.code() {
            let path = Reader::new(&body).opt_str().unwrap_or_default();
            Due::Sync(path.map(Cow::into_owned))
        } else {
            Due::Txn(match &self.leading {
                Some(leading) => Cause::Numbered(leading.prep.next_zxid()),
                None => Cause::Forwarded(self.forward_numbers.next()),
            })
        };
        let (is_refused, is_sync) = (due == Due::Turn, matches!(due, Due::Sync(_)));
        let cxid = match due {
            Due::Txn(Cause::Forwarded(number)) => number,
            Due::Txn(Cause::Numbered(_)) | Due::Sync(_) | Due::Turn => xid,
        };
        to.order.push(Owed { xid, due });
        if is_refused {
            return self.answer_turns(conn);
        }
        let (session, ids) = (to.session, Arc::clone(&to.ids));
        if self.leading.is_none() {
            if is_sync {
                self.following.syncs.push_back(conn);
            }
            let packet = super::peers::forwarded(session, cxid, op, &body, ids.to_vec());
            self.with_zab(now, out, |zab, fx| zab.send_to_leader(packet, fx));
        } else if is_sync {
            self.with_zab(now, out, |zab, fx| {
                zab.sync_request(SyncToken::Local(conn.0), fx)
            });
        } else {
            let submitted = Submitted {
                owner: Some(Owner::Local),
                session,
                cxid,
                op,
                body: &body,
                ids: &ids,
            };
            self.propose(now, &submitted, out);
        }
    }

    /// Numbers a request and proposes it.
    pub(super) fn propose(&mut self, now: Now, submitted: &Submitted<'_>, out: &mut Vec<Output>) {
        let Some(leading) = &mut self.leading else {
            return;
        };
        let Submitted {
            owner,
            session,
            cxid,
            op,
            body,
            ids,
        } = *submitted;
        let tracker = &mut leading.tracker;
        let session_check = match (OpCode::from_code(op), owner) {
            (_, None) => Ok(()),
            (Some(OpCode::CreateSession), Some(owner)) => {
                let timeout_ms = body.get(..4).map_or(0, |four| {
                    i32::from_be_bytes([four[0], four[1], four[2], four[3]])
                });
                // A server whose clock was set back may not have heard yet of
                // a session of its earlier life. Nobody gets another's.
                if tracker.is_known(session) {
                    Err(ErrorCode::SessionExpired)
                } else {
                    tracker.track(session, timeout_ms, Some(owner), now.mono);
                    Ok(())
                }
            }
            (_, Some(owner)) => tracker.check(session, owner),
        };
        if op == OpCode::CloseSession.code() && session_check.is_ok() {
            tracker.mark_closing(session);
        }
        let request = WriteRequest {
            session,
            cxid,
            op,
            body,
            ids,
            session_check,
            time_ms: now.wall_ms,
        };
        let entry = match &self.held {
            Some(tree) => leading.prep.prepare(tree, &request),
            None => leading.prep.prepare(self.view.read().tree(), &request),
        };
        self.with_zab(now, out, |zab, fx| zab.propose(now, entry, fx));
    }

    pub(super) fn session_opened(
        &mut self,
        conn: ConnId,
        session: SessionId,
        out: &mut Vec<Output>,
    ) {
        let Some(to) = self.conns.get_mut(&conn).filter(|to| !to.is_open) else {
            return;
        };
        to.is_open = true;
        let response = ConnectResponse {
            timeout_ms: to.timeout_ms,
            session_id: session,
            password: session_password(session),
            read_only: to.read_only,
        };
        out.push(Output::SessionOpened {
            conn,
            session,
            timeout_ms: to.timeout_ms,
            frame: framed(&response),
        });
    }

    /// Tells a client that its session is gone.
    pub(super) fn refuse_session(&mut self, conn: ConnId, out: &mut Vec<Output>) {
        let Some(to) = self.conns.get(&conn) else {
            return;
        };
        let frame = framed(&ConnectResponse::refused(to.read_only));
        self.forget_conn(conn);
        out.push(Output::SessionRefused { conn, frame });
    }

    pub(super) fn forget_conn(&mut self, conn: ConnId) {
        if let Some(to) = self.conns.remove(&conn) {
            if self.by_session.get(&to.session) == Some(&conn) {
                self.by_session.remove(&to.session);
            }
            self.view.watches().lock().remove_conn(conn);
        }
    }

    pub(super) fn sync_ready(&mut self, token: SyncToken, out: &mut Vec<Output>) {
        let SyncToken::Local(conn) = token else {
            return;
        };
        // What was outstanding when the sync came must show in later reads.
        self.apply_committed(out);
        self.answer_sync(ConnId(conn));
    }

    pub(super) fn answer_sync(&mut self, conn: ConnId) {
        let zxid = self.tree(Tree::last_zxid);
        let Some(to) = self.conns.get_mut(&conn) else {
            return;
        };
        let Some(owed) = to.order.answer_sync() else {
            return;
        };
        to.mark(conn, &mut self.dirty);
        to.replies += 1;
        let reply = match owed.due {
            Due::Sync(Some(path)) => Reply::Path(path),
            _ => Reply::NullPath,
        };
        write_reply(
            to.frames.open(),
            owed.xid,
            zxid,
            ErrorCode::Ok.code(),
            &reply,
        );
        self.answer_turns(conn);
    }

    /// Answers the requests that cannot be read and that nothing stands before.
    pub(super) fn answer_turns(&mut self, conn: ConnId) {
        let zxid = self.tree(Tree::last_zxid);
        let Some(to) = self.conns.get_mut(&conn) else {
            return;
        };
        let error = ErrorCode::MarshallingError.code();
        while let Some(owed) = to.order.answer_turn() {
            to.mark(conn, &mut self.dirty);
            to.replies += 1;
            write_reply(to.frames.open(), owed.xid, zxid, error, &Reply::None);
        }
    }

    /// Sessions of this server's clients were heard of.
    pub(super) fn touched(&mut self, sessions: Vec<(SessionId, Millis)>) {
        for (session, at) in sessions {
            match &mut self.leading {
                Some(leading) => {
                    leading.tracker.touch(session, at);
                }
                None => {
                    self.following.touched.insert(session, ());
                }
            }
        }
    }

    /// Closes the sessions whose time is over, by a transaction each. Of many
    /// only some: the others follow when those are applied, so that a write
    /// that comes meanwhile has only some before it.
    pub(super) fn expire_sessions(&mut self, now: Now, out: &mut Vec<Output>) {
        while let Some(leading) = self.leading.as_mut().filter(|l| l.may_expire()) {
            let Some(session) = leading.tracker.next_expired(now.mono) else {
                return;
            };
            tracing::info!(%session, "session expired");
            self.sessions_expired += 1;
            self.propose_close(now, session, out);
        }
    }

    /// A snapshot of the reference and a log that does not reach as far may
    /// leave ephemerals whose session nobody knows. The reference's leader
    /// deletes them in its own tree (`ZooKeeperServer.loadData`); a transaction
    /// takes them from everybody's.
    pub(super) fn close_lost_sessions(&mut self, now: Now, out: &mut Vec<Output>) {
        let lost = self.tree(|tree| {
            tree.ephemeral_owners()
                .filter(|owner| !tree.sessions().contains_key(owner))
                .collect::<Vec<_>>()
        });
        for session in lost {
            tracing::warn!(%session, "ephemerals of an unknown session are deleted");
            if let Some(leading) = &mut self.leading {
                leading.tracker.track_expired(session, now.mono);
            }
        }
        self.expire_sessions(now, out);
    }

    fn propose_close(&mut self, now: Now, session: SessionId, out: &mut Vec<Output>) {
        let submitted = Submitted {
            owner: None,
            session,
            cxid: Xid(0),
            op: OpCode::CloseSession.code(),
            body: &Bytes::new(),
            ids: &[],
        };
        self.propose(now, &submitted, out);
    }

    /// An id that nobody has. The clock from which the first one comes may
    /// have been set back, so that sessions of an earlier life are ahead.
    fn new_session_id(&mut self) -> SessionId {
        /// Marks containers where a session id would stand.
        const CONTAINER_OWNER: SessionId = SessionId(i64::MIN);
        /// Asks for a new session where a session id would stand.
        const NONE: SessionId = SessionId(0);
        loop {
            let id = SessionId(self.next_session_id);
            self.next_session_id = self.next_session_id.wrapping_add(1);
            let is_tracked = |leading: &super::Leading| leading.tracker.is_known(id);
            let is_taken = id == CONTAINER_OWNER
                || id == NONE
                || self.by_session.contains_key(&id)
                || self.leading.as_ref().is_some_and(is_tracked)
                || self.tree(|tree| tree.sessions().contains_key(&id));
            if !is_taken {
                return id;
            }
        }
    }
}

fn framed(response: &ConnectResponse) -> Vec<u8> {
    let mut frame = vec![0; 4];
    response.write(&mut frame);
    let length = i32::try_from(frame.len() - 4).expect("a connect response is short");
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_costs_little() {
        assert!(size_of::<Conn>() <= 96, "{}", size_of::<Conn>());
    }
}
