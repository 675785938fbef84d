//! Requests and answers that pass between learner and leader.

use bytes::Bytes;
use zk_proto::client::{Id, OpCode};
use zk_proto::jute::{Put, Reader};
use zk_proto::quorum::{PacketKind, QuorumPacket};
use zk_proto::{DecodeError, SessionId, Xid, Zxid};

use super::Replica;
use super::clients::Submitted;
use crate::session::Owner;
use crate::zab::SyncToken;
use crate::{CloseReason, LinkId, Now, Output};

/// REQUEST: session, cxid, operation, body; identities in authinfo.
pub(super) fn forwarded(
    session: SessionId,
    cxid: Xid,
    op: i32,
    body: &[u8],
    ids: Vec<Id>,
) -> QuorumPacket {
    let mut data = Vec::with_capacity(16 + body.len());
    data.put_i64(session.0);
    data.put_i32(cxid.0);
    data.put_i32(op);
    data.put_raw(body);
    let mut packet = QuorumPacket::new(PacketKind::Request, NO_ZXID, Some(data.into()));
    packet.authinfo = Some(ids);
    packet
}

/// Stands where a packet has no zxid.
const NO_ZXID: Zxid = Zxid(-1);

impl Replica {
    /// The leader hears of a learner's clients.
    pub(super) fn learner_packet(
        &mut self,
        now: Now,
        link: LinkId,
        packet: &QuorumPacket,
        out: &mut Vec<Output>,
    ) {
        let data = packet.data.clone().unwrap_or_default();
        let read = match packet.known_kind() {
            Some(PacketKind::Request) => self.learner_request(now, link, packet, &data, out),
            Some(PacketKind::Revalidate) => {
                self.learner_revalidates(now, link, packet.zxid, &data, out)
            }
            Some(PacketKind::Ping) => self.learner_touched(now, link, &data),
            _ => Ok(()),
        };
        if let Err(error) = read {
            tracing::warn!(link = link.0, kind = packet.kind, %error, "malformed packet of a learner");
        }
    }

    fn learner_request(
        &mut self,
        now: Now,
        link: LinkId,
        packet: &QuorumPacket,
        data: &Bytes,
        out: &mut Vec<Output>,
    ) -> Result<(), DecodeError> {
        let mut reader = Reader::new(data);
        let (session, cxid, op) = (SessionId(reader.i64()?), Xid(reader.i32()?), reader.i32()?);
        if op == OpCode::Sync.code() {
            self.with_zab(now, out, |zab, fx| {
                zab.sync_request(SyncToken::Learner(link), fx)
            });
            return Ok(());
        }
        let body = data.slice(reader.offset()..);
        let ids = packet.authinfo.as_deref().unwrap_or_default();
        let submitted = Submitted {
            owner: Some(Owner::Learner(link)),
            session,
            cxid,
            op,
            body: &body,
            ids,
        };
        self.propose(now, &submitted, out);
        Ok(())
    }

    fn learner_revalidates(
        &mut self,
        now: Now,
        link: LinkId,
        zxid: Zxid,
        data: &[u8],
        out: &mut Vec<Output>,
    ) -> Result<(), DecodeError> {
        let mut reader = Reader::new(data);
        let (session, timeout_ms) = (SessionId(reader.i64()?), reader.i32()?);
        let is_alive = self.leading.as_mut().is_some_and(|leading| {
            let is_alive = leading.tracker.renew(session, timeout_ms, now.mono);
            if is_alive {
                leading.tracker.set_owner(session, Owner::Learner(link));
            }
            is_alive
        });
        // The reference's leader refuses the next request of a session that has moved, even a
        // read; reads here do not ask, so the connection ends at once.
        if let Some(&conn) = self.by_session.get(&session).filter(|_| is_alive) {
            self.close_conn(conn, CloseReason::SessionMoved, out);
        }
        let mut answer = Vec::with_capacity(9);
        answer.put_i64(session.0);
        answer.put_bool(is_alive);
        let packet = QuorumPacket::new(PacketKind::Revalidate, zxid, Some(answer.into()));
        self.with_zab(now, out, |zab, fx| zab.send_to_learner(link, packet, fx));
        Ok(())
    }

    fn learner_touched(&mut self, now: Now, link: LinkId, data: &[u8]) -> Result<(), DecodeError> {
        if let Some(leading) = &mut self.leading {
            leading.tracker.reported(link, now.mono);
        }
        let mut reader = Reader::new(data);
        while !reader.rest().is_empty() {
            let (session, timeout_ms) = (SessionId(reader.i64()?), reader.i32()?);
            if let Some(leading) = &mut self.leading {
                leading.tracker.renew(session, timeout_ms, now.mono);
            }
        }
        Ok(())
    }

    /// The follower hears from its leader.
    pub(super) fn leader_packet(&mut self, packet: &QuorumPacket, out: &mut Vec<Output>) {
        match packet.known_kind() {
            Some(PacketKind::Sync) => {
                // Answers carry no identity: they come in the order of the questions.
                self.apply_committed(out);
                if let Some(conn) = self.following.syncs.pop_front() {
                    self.answer_sync(conn);
                }
            }
            Some(PacketKind::Revalidate) => {
                let mut reader = Reader::new(packet.data.as_deref().unwrap_or_default());
                if let (Ok(session), Ok(is_alive)) = (reader.i64(), reader.bool()) {
                    self.revalidated(SessionId(session), is_alive, out);
                }
            }
            _ => {}
        }
    }

    fn revalidated(&mut self, session: SessionId, is_alive: bool, out: &mut Vec<Output>) {
        let Some(waiting) = self.following.revalidating.get_mut(&session) else {
            return;
        };
        let conn = waiting.pop_front();
        if waiting.is_empty() {
            self.following.revalidating.remove(&session);
        }
        let Some(conn) = conn else { return };
        if is_alive {
            self.session_opened(conn, session, out)
        } else {
            self.refuse_session(conn, out)
        }
    }

    /// Asks the leader whether a session is alive.
    pub(super) fn revalidate(
        &mut self,
        now: Now,
        session: SessionId,
        timeout_ms: i32,
        out: &mut Vec<Output>,
    ) {
        let mut data = Vec::with_capacity(12);
        data.put_i64(session.0);
        data.put_i32(timeout_ms);
        let packet = QuorumPacket::new(PacketKind::Revalidate, NO_ZXID, Some(data.into()));
        self.with_zab(now, out, |zab, fx| zab.send_to_leader(packet, fx));
    }

    /// Answers the leader's ping with the sessions heard of since the last one.
    pub(super) fn answer_ping(&mut self, now: Now, ping: &QuorumPacket, out: &mut Vec<Output>) {
        let touched = std::mem::take(&mut self.following.touched);
        let mut data = Vec::with_capacity(12 * touched.len());
        for session in touched.keys() {
            let timeout_ms = self
                .by_session
                .get(session)
                .and_then(|conn| self.conns.get(conn))
                .map(|conn| conn.timeout_ms)
                .or_else(|| self.tree(|tree| tree.sessions().get(session).copied()));
            if let Some(timeout_ms) = timeout_ms {
                data.put_i64(session.0);
                data.put_i32(timeout_ms);
            }
        }
        let packet = QuorumPacket::new(PacketKind::Ping, ping.zxid, Some(data.into()));
        self.with_zab(now, out, |zab, fx| zab.send_to_leader(packet, fx));
    }
}
