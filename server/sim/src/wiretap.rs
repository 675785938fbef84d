//! What passes on the links between servers, for the checks: who promises
//! what before its disk has it, what a learner gets of its leader's history,
//! and which sessions a leader hears of.

use std::collections::VecDeque;

use zk_core::session::Owner;
use zk_core::{EpochFile, Input, Millis, Output, Role};
use zk_proto::client::OpCode;
use zk_proto::jute::Reader;
use zk_proto::quorum::{PacketKind, QuorumPacket};
use zk_proto::{DecodeError, Epoch, SessionId, Sid, Xid, Zxid};

use crate::Violation;
use crate::invariants::moves::Moves;
use crate::invariants::syncs::Syncs;
use crate::invariants::{Life, discovery, impostors, links, promises};
use crate::network::{End, Wire};
use crate::session::ClientConn;
use crate::world::World;

/// What was seen on one link between a learner, which has dialed, and a leader.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    /// The epoch of LEADERINFO, once that has come to the learner.
    epoch: Option<Epoch>,
    /// Up to where the learner has got the leader's history; `None` before
    /// the synchronization begins.
    end: Option<Zxid>,
    /// The same at NEWLEADER.
    history: Zxid,
    /// The learner's history was found to be newer than that of a leader that
    /// was not established yet.
    is_ahead: bool,
    /// Sessions in each PING that is under way to the leader.
    touches: VecDeque<Vec<SessionId>>,
    syncs: Syncs,
}

impl Tap {
    /// A follower shows this transaction to its clients.
    pub(crate) fn shows(&self, who: Life, zxid: Zxid) -> Result<(), Violation> {
        self.syncs.shows(who, zxid)
    }
}

impl World {
    /// A server sends a packet.
    pub(crate) fn packet_is_sent(&mut self, from: End, packet: &QuorumPacket) {
        let who = self.who(from.server);
        let Some(process) = &mut self.servers[from.server].process else {
            return;
        };
        let (epochs, synced, zxid) = (process.epochs, process.synced, packet.zxid);
        let Some((tap, is_learner)) = self.network.tap(from) else {
            return;
        };
        let check = match packet.known_kind() {
            // Without its own epoch it promises nothing.
            Some(PacketKind::AckEpoch) if is_learner && epoch_of(packet) >= 0 => {
                promises::accepted(who, epochs.0, tap.epoch.unwrap_or_default())
            }
            Some(PacketKind::Ack) if is_learner && zxid.counter() == 0 => {
                promises::current(who, epochs.1, zxid.epoch())
                    .and_then(|()| promises::logged(who, synced, tap.history))
            }
            Some(PacketKind::Ack) if is_learner => promises::logged(who, synced, zxid),
            Some(PacketKind::Ping) if is_learner => {
                let touched = std::mem::take(&mut process.handed_in);
                tap.touches.push_back(touched.into_iter().collect());
                Ok(())
            }
            Some(PacketKind::LeaderInfo) => promises::accepted(who, epochs.0, zxid.epoch()),
            Some(PacketKind::NewLeader) => promises::current(who, epochs.1, zxid.epoch()),
            Some(PacketKind::Diff | PacketKind::Trunc) => {
                tap.syncs.told(zxid);
                discovery::is_not_ahead(who, tap.is_ahead)
            }
            Some(PacketKind::Commit) => {
                tap.syncs.told(zxid);
                Ok(())
            }
            Some(PacketKind::Sync) => tap.syncs.answered(who),
            Some(_) | None => Ok(()),
        };
        self.require(check);
    }

    /// A leader sends its tree.
    pub(crate) fn snap_is_sent(&mut self, from: End, zxid: Zxid) {
        let who = self.who(from.server);
        let Some((tap, _)) = self.network.tap(from) else {
            return;
        };
        tap.syncs.told(zxid);
        let check = discovery::is_not_ahead(who, tap.is_ahead);
        self.require(check);
    }

    /// Something comes to a server on a link that it holds.
    pub(crate) fn wire_arrives(&mut self, at: End, wire: &Wire) {
        let has_old_data = self.has_old_data(at.server);
        let Some(process) = &mut self.servers[at.server].process else {
            return;
        };
        let Some((tap, is_learner)) = self.network.tap(at) else {
            return;
        };
        let packet = match wire {
            Wire::Snap(cut) => {
                tap.end = Some(self.checks.transaction(cut.zxid()));
                return;
            }
            Wire::Closed => return,
            Wire::Packet(packet) => packet,
        };
        let zxid = packet.zxid;
        match packet.known_kind() {
            Some(PacketKind::LeaderInfo) if is_learner => tap.epoch = Some(zxid.epoch()),
            Some(PacketKind::Diff) if is_learner => tap.end = Some(process.tip),
            Some(PacketKind::Trunc) if is_learner => {
                tap.end = Some(self.checks.transaction(zxid));
            }
            Some(PacketKind::NewLeader) if is_learner => {
                tap.history = tap.end.unwrap_or_default();
            }
            Some(PacketKind::Proposal) if is_learner => {
                let before = tap.end.replace(zxid.max(tap.end.unwrap_or_default()));
                if !has_old_data {
                    let check = links::follows(at.server + 1, before, zxid, &self.checks);
                    self.require(check);
                }
            }
            Some(_) | None => {}
        }
    }

    /// A replica is about to take an input. `heard` gets the sessions that a
    /// leader hears of by it, and when.
    pub(crate) fn is_taken(
        &mut self,
        server: usize,
        input: &Input,
        heard: &mut Vec<(SessionId, u64)>,
    ) {
        let running_us = self.running_us(server);
        let host = &self.servers[server];
        let (life, start_us) = (host.life, host.mono_start_us + (self.now_us - running_us));
        let Some(process) = &mut self.servers[server].process else {
            return;
        };
        if let Input::Touched(touched) = input {
            let ids = touched.iter().map(|(session, _)| *session);
            process.handed_in.extend(ids);
            let at_us = |at: &Millis| (at.0 * 1000).saturating_sub(start_us);
            heard.extend(touched.iter().map(|(session, at)| (*session, at_us(at))));
        }
        let leads = process.role == Role::Leading && process.is_serving;
        if let Input::ClientWrites { conn, writes } = input {
            let conn = self.conns.get(conn).filter(|_| leads);
            if let Some(session) = conn.and_then(ClientConn::session) {
                for write in writes {
                    process.moves.asked(session, write.xid, Owner::Local);
                }
            }
        }
        if let Input::Notification {
            from, notification, ..
        } = input
        {
            process.impostors.voted(*from, notification);
        }
        let Input::Packet { link, packet } = input else {
            return;
        };
        let link = *link;
        let end = End { server, life, link };
        let tap = self.network.tap(end).filter(|(_, is_learner)| !is_learner);
        let mut tap = tap.map(|(tap, _)| tap);
        match packet.known_kind() {
            Some(PacketKind::Ping) => {
                let touched = tap.and_then(|tap| tap.touches.pop_front());
                let touched = touched.unwrap_or_default().into_iter();
                heard.extend(touched.map(|session| (session, running_us)));
            }
            Some(PacketKind::Request) if leads => {
                let Some((session, cxid, op)) = request_of(packet) else {
                    return;
                };
                if op == OpCode::Sync.code() {
                    let tip = process.tip;
                    tap.iter_mut().for_each(|tap| tap.syncs.asked(tip));
                } else {
                    process.moves.asked(session, cxid, Owner::Learner(link));
                }
            }
            Some(PacketKind::AckEpoch) if epoch_of(packet) >= 0 => {
                process.epoch_acks.extend(process.learners.get(&link));
                let is_discovery = process.replica.status().phase == "discovery";
                let end = self.checks.transaction(packet.zxid);
                let theirs = (Epoch(epoch_of(packet).into()), end);
                let is_ahead = is_discovery && theirs > (process.current_epoch, process.tip);
                tap.iter_mut().for_each(|tap| tap.is_ahead = is_ahead);
            }
            Some(_) | None => {}
        }
    }

    /// What a replica asks for after it has taken an input. A leader tells
    /// servers which sessions they have.
    pub(crate) fn is_told(&mut self, server: usize, outputs: &[Output]) {
        let (who, now_us) = (self.who(server), self.now_us);
        let Some(process) = &mut self.servers[server].process else {
            return;
        };
        let mut check = Ok(());
        for output in outputs {
            match output {
                Output::RoleChanged { .. } => process.moves = Moves::default(),
                Output::SessionOpened { session, .. } => {
                    process.moves.told(*session, Owner::Local);
                }
                Output::Send { link, packet }
                    if packet.known_kind() == Some(PacketKind::LeaderInfo) =>
                {
                    let learner = process.learners.get(link);
                    let learner = learner.map(|server| Sid(*server as i64 + 1));
                    let serves = process.role == Role::Leading && process.is_serving;
                    let impostors = &mut process.impostors;
                    let believed = impostors.believed(who, (*link, learner), now_us, serves);
                    check = check.and(believed);
                }
                Output::Send { link, packet } => {
                    if let Some(session) = revalidated(packet) {
                        process.moves.told(session, Owner::Learner(*link));
                    }
                }
                _ => {}
            }
        }
        self.require(check);
    }

    /// A leader has decided that a quorum has accepted its epoch.
    pub(crate) fn epoch_is_saved(&mut self, server: usize, file: EpochFile, epoch: Epoch) {
        let (who, servers) = (self.who(server), self.servers.len());
        let Some(process) = &mut self.servers[server].process else {
            return;
        };
        if file == EpochFile::Accepted {
            let check = impostors::is_earned(who, epoch);
            return self.require(check);
        }
        process.current_epoch = epoch;
        process.has_copy = false;
        if process.role == Role::Leading {
            let check = discovery::has_quorum(who, epoch, &process.epoch_acks, servers);
            self.require(check);
        }
    }
}

/// Session, number and operation in REQUEST.
fn request_of(packet: &QuorumPacket) -> Option<(SessionId, Xid, i32)> {
    let mut reader = Reader::new(packet.data.as_deref()?);
    let mut read = || Ok::<_, DecodeError>((reader.i64()?, reader.i32()?, reader.i32()?));
    let (session, cxid, op) = read().ok()?;
    Some((SessionId(session), Xid(cxid), op))
}

/// The session in a leader's answer to REVALIDATE, if it is alive.
fn revalidated(packet: &QuorumPacket) -> Option<SessionId> {
    let is_answer = packet.known_kind() == Some(PacketKind::Revalidate);
    let mut reader = Reader::new(packet.data.as_deref().filter(|_| is_answer)?);
    let mut read = || Ok::<_, DecodeError>((reader.i64()?, reader.bool()?));
    let (session, is_alive) = read().ok()?;
    is_alive.then_some(SessionId(session))
}

/// The epoch in ACKEPOCH; -1 where the epoch had been accepted before.
fn epoch_of(packet: &QuorumPacket) -> i32 {
    let data = packet.data.as_deref().and_then(|data| data.try_into().ok());
    data.map_or(-1, i32::from_be_bytes)
}
