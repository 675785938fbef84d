//! The follower's role (reference: 3.9.4 `Learner`, `Follower`).

use std::collections::VecDeque;

use bytes::Bytes;
use zk_proto::jute::Reader;
use zk_proto::quorum::{LearnerInfo, PROTOCOL_VERSION, PacketKind, QuorumPacket};
use zk_proto::txn::{TXN_HEADER_BYTES, TxnHeader};
use zk_proto::{Epoch, Sid, Zxid};

use super::Zab;
use super::epochs;
use super::event::{Effects, ZabEvent};
use super::history::Ticket;
use super::peer::{GiveUp, Peer, Step};
use super::problem::Problem;
use crate::{EpochFile, LinkId, LogEntry, Millis, Now, Output, Role};

/// What the follower is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The connection.
    Connecting,
    /// LEADERINFO.
    Introduced,
    /// The accepted epoch to be on disk.
    SavingAccepted(Ticket),
    /// DIFF, TRUNC or SNAP.
    EpochAcked,
    /// The disk to cut the log after this zxid.
    Truncating(Zxid),
    /// The disk to take the leader's tree.
    Installing,
    /// NEWLEADER; proposals and commits come before it.
    Synchronizing,
    /// The log, then the current epoch, to be on disk.
    SavingCurrent(Ticket),
    /// UPTODATE.
    Synced,
    /// Nothing: it serves.
    Serving,
}

/// What the disk still has to finish before the next election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DiskWork {
    Truncation,
    Installation,
}

/// One server's following of one leader over one link.
#[derive(Debug)]
pub(super) struct Follower {
    leader: Sid,
    link: LinkId,
    link_is_gone: bool,
    phase: Phase,
    epoch: Epoch,
    /// When something came from the leader, or when it was last its turn.
    heard: Millis,
    /// Before it serves: committed as far as the leader has said.
    committed: Zxid,
    /// Header of a transaction that the leader has and takes this server to
    /// have, the last one that is to be kept.
    kept: Option<Bytes>,
    /// The leader is one of ours: LEADERINFO of the reference ends with the
    /// version.
    leader_is_ours: bool,
    /// What came while the disk prepared the log.
    deferred: VecDeque<QuorumPacket>,
    deferred_bytes: usize,
}

impl Follower {
    /// Bound of what is kept while the disk prepares the log.
    const DEFERRED_BYTES_MAX: usize = 512 << 20;

    pub(super) fn start(peer: &mut Peer, now: Now, leader: Sid, fx: &mut Effects) -> Self {
        let link = peer.next_link();
        fx.outputs.push(Output::Connect {
            link,
            to: leader,
            within_ms: peer.init_ms(),
        });
        Self {
            leader,
            link,
            link_is_gone: false,
            phase: Phase::Connecting,
            epoch: peer.history.current_epoch(),
            heard: now.mono,
            committed: Zxid::ZERO,
            kept: None,
            leader_is_ours: false,
            deferred: VecDeque::new(),
            deferred_bytes: 0,
        }
    }

    pub(super) const fn leader_is_ours(&self) -> bool {
        self.leader_is_ours
    }

    pub(super) const fn leader(&self) -> Sid {
        self.leader
    }

    pub(super) const fn link(&self) -> LinkId {
        self.link
    }

    pub(super) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(super) fn is_serving(&self) -> bool {
        self.phase == Phase::Serving
    }

    pub(super) const fn phase_name(&self) -> &'static str {
        match self.phase {
            Phase::Connecting | Phase::Introduced | Phase::SavingAccepted(_) => "discovery",
            Phase::Serving => "broadcast",
            _ => "synchronization",
        }
    }

    /// What the disk is at that an election would have to wait for.
    pub(super) const fn disk_work(&self) -> Option<DiskWork> {
        match self.phase {
            Phase::Truncating(_) => Some(DiskWork::Truncation),
            Phase::Installing => Some(DiskWork::Installation),
            _ => None,
        }
    }

    /// Until when the leader has to say something, if it is its turn.
    pub(super) fn next_deadline(&self, peer: &Peer) -> Option<Millis> {
        match self.phase {
            Phase::SavingAccepted(_)
            | Phase::Truncating(_)
            | Phase::Installing
            | Phase::SavingCurrent(_) => None,
            Phase::Synced | Phase::Serving => Some(self.heard + peer.sync_ms()),
            _ => Some(self.heard + peer.init_ms()),
        }
    }

    pub(super) fn tick(&self, peer: &Peer, now: Now) -> Step {
        match self.next_deadline(peer) {
            Some(at) if at <= now.mono => Err(GiveUp("the leader is silent")),
            _ => Ok(()),
        }
    }

    pub(super) const fn active(&mut self, now: Now) {
        self.heard = now.mono;
    }

    /// The link is gone by itself.
    pub(super) const fn closed(&mut self) -> GiveUp {
        self.link_is_gone = true;
        GiveUp("the link to the leader is gone")
    }

    /// Closes the link: the following is over.
    pub(super) fn close(&self, reason: &'static str, fx: &mut Effects) {
        if !self.link_is_gone {
            let link = self.link;
            fx.outputs.push(Output::Close { link, reason });
        }
    }

    pub(super) fn connected(&mut self, peer: &Peer, now: Now, fx: &mut Effects) {
        assert_eq!(self.phase, Phase::Connecting, "a link connects once");
        self.enter(Phase::Introduced, now);
        let info = LearnerInfo {
            sid: peer.config.sid,
            protocol_version: PROTOCOL_VERSION,
            config_version: peer.config.ensemble.version,
        };
        let accepted = QuorumPacket::epoch_zxid(peer.history.accepted_epoch());
        // The end of the log and the ensemble are for leaders of ours; the
        // reference reads only what stands before them.
        let end = peer.history.end().0.to_be_bytes();
        let ensemble = peer.config.ensemble_id.as_ref();
        let ensemble = ensemble.map_or(&[][..], |id| id.bytes());
        let data = [info.encode().as_ref(), &end, ensemble].concat().into();
        let packet = QuorumPacket::new(PacketKind::FollowerInfo, accepted, Some(data));
        self.send(packet, fx);
    }

    pub(super) fn packet(
        &mut self,
        peer: &mut Peer,
        now: Now,
        packet: QuorumPacket,
        fx: &mut Effects,
    ) -> Step {
        self.heard = now.mono;
        if packet.known_kind().is_none() {
            tracing::warn!(kind = packet.kind, "ignored an unknown packet");
            return Ok(());
        }
        match self.phase {
            Phase::Connecting | Phase::SavingAccepted(_) => Err(GiveUp("a packet out of turn")),
            Phase::Introduced => self.leader_info(peer, now, &packet, fx),
            Phase::EpochAcked => self.sync_start(peer, now, &packet, fx),
            Phase::Truncating(_) | Phase::Installing => self.defer(packet),
            Phase::Synchronizing | Phase::SavingCurrent(_) | Phase::Synced => {
                self.sync_packet(peer, now, packet, fx)
            }
            Phase::Serving => self.broadcast(peer, packet, fx),
        }
    }

    /// The leader's tree has come.
    pub(super) fn snap(&mut self, peer: &mut Peer, now: Now, zxid: Zxid, fx: &mut Effects) -> Step {
        if self.phase != Phase::EpochAcked {
            return Err(GiveUp("SNAP out of turn"));
        }
        if zxid < Zxid::ZERO || zxid.epoch() > self.epoch {
            return Err(GiveUp("SNAP with a zxid out of range"));
        }
        peer.needs_tree_in = None;
        // What was copied from a leader and never made its own is worth nothing.
        let keeps_old = !self.leader_has_all(peer);
        peer.has_copy |= keeps_old;
        peer.history.replace(zxid, fx);
        fx.events
            .push_back(ZabEvent::InstallTree { zxid, keeps_old });
        self.enter(Phase::Installing, now);
        Ok(())
    }

    /// Own entries are durable.
    pub(super) fn appended(&self, zxids: &[Zxid], fx: &mut Effects) {
        if self.is_serving() {
            for zxid in zxids {
                self.send(ack(*zxid), fx);
            }
        }
    }

    pub(super) fn epoch_saved(&mut self, peer: &Peer, now: Now, ticket: Ticket, fx: &mut Effects) {
        if self.phase == Phase::SavingAccepted(ticket) {
            let current = peer.history.current_epoch();
            self.ack_epoch(peer, now, Some(current), fx);
        } else if self.phase == Phase::SavingCurrent(ticket) {
            self.enter(Phase::Synced, now);
            self.send(ack(QuorumPacket::epoch_zxid(self.epoch)), fx);
        }
    }

    /// The history was cut; the log ends at its end now.
    pub(super) fn truncated(&mut self, peer: &mut Peer, now: Now, fx: &mut Effects) -> Step {
        let wanted = Phase::Truncating(peer.history.end());
        if std::mem::replace(&mut self.phase, Phase::Synchronizing) != wanted {
            // What is to be kept is not what this log has, so nothing was cut.
            peer.needs_tree_in = Some(self.epoch);
            return Err(GiveUp("the log has not what the leader wants kept"));
        }
        // The entry may have been too old to be in memory before.
        self.check_kept(peer)?;
        self.resume(peer, now, fx)
    }

    /// The leader's tree is durable.
    pub(super) fn installed(&mut self, peer: &mut Peer, now: Now, fx: &mut Effects) -> Step {
        assert_eq!(self.phase, Phase::Installing, "it was asked for");
        self.resume(peer, now, fx)
    }

    pub(super) fn send_to_leader(&self, packet: QuorumPacket, fx: &mut Effects) {
        if self.is_serving() {
            self.send(packet, fx);
        }
    }

    fn leader_info(
        &mut self,
        peer: &mut Peer,
        now: Now,
        packet: &QuorumPacket,
        fx: &mut Effects,
    ) -> Step {
        if packet.known_kind() != Some(PacketKind::LeaderInfo) {
            return Err(GiveUp("the first packet is not LEADERINFO"));
        }
        let epoch = packet.zxid.epoch();
        if epoch < Epoch(1) || !epochs::is_possible(epoch) {
            return Err(GiveUp("the leader's epoch is out of range"));
        }
        let data = packet.data.as_ref();
        self.kept = data.and_then(|data| Some(data.slice_ref(data.get(4..)?)));
        self.leader_is_ours = self.kept.as_ref().is_some_and(|kept| !kept.is_empty());
        self.check_kept(peer)?;
        let accepted = peer.history.accepted_epoch();
        if epoch < accepted {
            self.outdated(peer, now, epoch);
            return Err(GiveUp("the leader's epoch is older than the accepted one"));
        }
        self.epoch = epoch;
        if self.is_copy_of_another(peer) {
            peer.needs_tree_in = Some(epoch);
        }
        if epoch > accepted {
            let ticket = peer.history.save_epoch(EpochFile::Accepted, epoch, fx);
            self.enter(Phase::SavingAccepted(ticket), now);
        } else {
            // It was accepted before and must not count for a quorum twice.
            self.ack_epoch(peer, now, None, fx);
        }
        Ok(())
    }

    /// Notes that a leader serves in an older epoch than this server may follow.
    fn outdated(&self, peer: &mut Peer, now: Now, epoch: Epoch) {
        let (accepted, current) = (peer.history.accepted_epoch(), peer.history.current_epoch());
        let leader = self.leader;
        // A leader that has lost its majority may not know yet. One that still
        // leads after this long has a majority that knows nothing of the epoch
        // of this server's history, though a majority has accepted it once.
        let patience_ms = peer.init_ms().max(2 * peer.sync_ms());
        // Between two attempts this server pauses and holds an election.
        let pause_ms = peer.sync_ms().max(3 * Zab::PAUSE_MAX_MS);
        let in_a_row = peer.outdated.filter(|met| now.mono - met.1 <= pause_ms);
        let since = in_a_row.map_or(now.mono, |met| met.0);
        peer.outdated = Some((since, now.mono));
        peer.problem = Some(if epoch < current && now.mono - since >= patience_ms {
            Problem::NewerHistory {
                leader,
                epoch,
                current,
            }
        } else {
            Problem::NewerPromise {
                leader,
                epoch,
                accepted,
            }
        });
    }

    /// Compares what the leader takes this server to have as the last entry
    /// that it keeps with what it has. Leaders of the reference do not tell.
    fn check_kept(&self, peer: &mut Peer) -> Step {
        let Some(kept) = self.kept.as_deref() else {
            return Ok(());
        };
        let Ok(header) = TxnHeader::read(&mut Reader::new(kept)) else {
            return Ok(());
        };
        let zxid = header.zxid;
        let own = peer.history.header(zxid);
        if own.is_some_and(|own| own != &kept[..TXN_HEADER_BYTES]) {
            let leader = self.leader;
            peer.problem = Some(Problem::HistoriesPart { leader, zxid });
            return Err(GiveUp("the leader's history is another one"));
        }
        Ok(())
    }

    /// Digest of the leader's tree at the end of this server's data, if
    /// LEADERINFO tells it.
    fn told_digest(&self) -> Option<u64> {
        let told = self.kept.as_deref()?;
        let known = if told.len() < TXN_HEADER_BYTES {
            1
        } else {
            TXN_HEADER_BYTES + size_of::<Zxid>()
        };
        let digest = told.get(known..)?.try_into().ok()?;
        Some(u64::from_be_bytes(digest))
    }

    /// Is the tree of this server another one than its leader had at that zxid?
    /// Where it was copied, the server does not know the transactions that have
    /// made it, so that nothing else can be compared.
    fn is_copy_of_another(&self, peer: &Peer) -> bool {
        let end = peer.history.end();
        let digests = (self.told_digest(), peer.history.digest(end));
        let differ = matches!(digests, (Some(told), Some(own)) if told != own);
        differ && peer.history.header(end).is_none()
    }

    /// Does LEADERINFO prove that the leader has all transactions of this server?
    /// It named one that both have, and how far this leader's go from there, or
    /// their trees are the same.
    fn leader_has_all(&self, peer: &Peer) -> bool {
        let end = peer.history.end();
        if end == Zxid::ZERO || peer.has_copy {
            return true;
        }
        if self
            .told_digest()
            .is_some_and(|told| peer.history.digest(end) == Some(told))
        {
            return true;
        }
        let told = self.kept.as_deref().unwrap_or_default();
        let Some((header, through)) = told.split_at_checked(TXN_HEADER_BYTES) else {
            return false;
        };
        let Ok(TxnHeader { zxid, .. }) = TxnHeader::read(&mut Reader::new(header)) else {
            return false;
        };
        // Leaders of older versions of ours do not say how far.
        let through = through
            .first_chunk()
            .map_or(zxid, |bytes| Zxid(i64::from_be_bytes(*bytes)));
        through == end && peer.history.header(zxid) == Some(header)
    }

    fn ack_epoch(&mut self, peer: &Peer, now: Now, current: Option<Epoch>, fx: &mut Effects) {
        let epoch = current.map_or(-1, |epoch| {
            i32::try_from(epoch.0).expect("epochs are checked when they come in")
        });
        let data = epoch.to_be_bytes().to_vec().into();
        // Who has nothing gets a tree, from leaders of the reference as well.
        let needs_tree = peer.needs_tree_in == Some(self.epoch);
        let end = if needs_tree {
            Zxid::ZERO
        } else {
            peer.history.end()
        };
        self.send(QuorumPacket::new(PacketKind::AckEpoch, end, Some(data)), fx);
        self.enter(Phase::EpochAcked, now);
    }

    fn sync_start(
        &mut self,
        peer: &mut Peer,
        now: Now,
        packet: &QuorumPacket,
        fx: &mut Effects,
    ) -> Step {
        if peer.needs_tree_in == Some(self.epoch) {
            // It would go on from an empty tree.
            return Err(GiveUp("DIFF or TRUNC where a tree was asked for"));
        }
        match packet.known_kind() {
            Some(PacketKind::Diff) => {
                self.kept = packet.data.clone();
                self.check_kept(peer)?;
                // All that this server has is history.
                self.committed = peer.history.end();
                self.enter(Phase::Synchronizing, now);
                Ok(())
            }
            Some(PacketKind::Trunc) if packet.zxid >= Zxid::ZERO => {
                self.kept = packet.data.clone();
                self.check_kept(peer)?;
                peer.history.truncate(packet.zxid, fx);
                self.enter(Phase::Truncating(packet.zxid), now);
                Ok(())
            }
            _ => Err(GiveUp(
                "the packet after ACKEPOCH is not DIFF, TRUNC or SNAP",
            )),
        }
    }

    fn defer(&mut self, packet: QuorumPacket) -> Step {
        self.deferred_bytes += size_of_val(&packet) + packet.data.as_ref().map_or(0, |d| d.len());
        if self.deferred_bytes > Self::DEFERRED_BYTES_MAX {
            return Err(GiveUp("too much came while the log was prepared"));
        }
        self.deferred.push_back(packet);
        Ok(())
    }

    fn resume(&mut self, peer: &mut Peer, now: Now, fx: &mut Effects) -> Step {
        self.committed = peer.history.end();
        self.enter(Phase::Synchronizing, now);
        self.deferred_bytes = 0;
        for packet in std::mem::take(&mut self.deferred) {
            self.sync_packet(peer, now, packet, fx)?;
        }
        Ok(())
    }

    fn sync_packet(
        &mut self,
        peer: &mut Peer,
        now: Now,
        packet: QuorumPacket,
        fx: &mut Effects,
    ) -> Step {
        let start = QuorumPacket::epoch_zxid(self.epoch);
        match (packet.known_kind(), self.phase) {
            (Some(PacketKind::Proposal), _) => {
                self.log_proposal(peer, packet)?;
            }
            (Some(PacketKind::Commit | PacketKind::CommitAndActivate), _) => {
                self.commit_later(peer, packet.zxid)?;
            }
            (Some(PacketKind::NewLeader), Phase::Synchronizing) if packet.zxid == start => {
                peer.adopt_config(packet.data.as_deref().unwrap_or_default(), self.epoch);
                let ticket = peer.history.save_epoch(EpochFile::Current, self.epoch, fx);
                peer.has_copy = false;
                self.enter(Phase::SavingCurrent(ticket), now);
            }
            (Some(PacketKind::UpToDate), Phase::Synced) => self.serve(peer, fx),
            (Some(PacketKind::NewLeader | PacketKind::UpToDate), _) => {
                return Err(GiveUp("NEWLEADER or UPTODATE out of turn"));
            }
            // A leader may ping before it has the answer to NEWLEADER. An
            // answer would make it drop the link.
            _ => {}
        }
        Ok(())
    }

    /// Notes a commit; it is delivered with UPTODATE, when a quorum is known
    /// to have the leader's history.
    fn commit_later(&mut self, peer: &Peer, zxid: Zxid) -> Step {
        if zxid <= self.committed {
            return Ok(());
        }
        let open = peer.history.open();
        let next = open.partition_point(|entry| entry.zxid <= self.committed);
        match open.get(next) {
            Some(entry) if entry.zxid == zxid => {
                self.committed = zxid;
                Ok(())
            }
            _ => Err(GiveUp("COMMIT of what was not proposed next")),
        }
    }

    fn serve(&mut self, peer: &mut Peer, fx: &mut Effects) {
        self.phase = Phase::Serving;
        self.kept = None;
        let epoch = self.epoch;
        self.send(ack(QuorumPacket::epoch_zxid(epoch)), fx);
        peer.served_in(epoch);
        peer.history.deliver_through(self.committed, fx);
        fx.events.push_back(ZabEvent::FollowingStarted { epoch });
        Peer::announce(Role::Following, true, epoch, Some(self.leader), fx);
        let durable = peer.history.durable();
        for entry in peer.history.open() {
            if entry.zxid <= durable {
                self.send(ack(entry.zxid), fx);
            }
        }
    }

    fn broadcast(&self, peer: &mut Peer, packet: QuorumPacket, fx: &mut Effects) -> Step {
        match packet.known_kind() {
            Some(PacketKind::Proposal) => {
                let zxid = packet.zxid;
                if !self.log_proposal(peer, packet)? && zxid <= peer.history.durable() {
                    self.send(ack(zxid), fx);
                }
                Ok(())
            }
            Some(PacketKind::Commit | PacketKind::CommitAndActivate) => {
                commit_now(peer, packet.zxid, fx)
            }
            Some(PacketKind::Ping) => {
                fx.events.push_back(ZabEvent::PingFromLeader { packet });
                Ok(())
            }
            Some(PacketKind::Revalidate | PacketKind::Sync) => {
                fx.events.push_back(ZabEvent::LeaderPacket { packet });
                Ok(())
            }
            _ => {
                tracing::warn!(kind = packet.kind, "ignored a packet of the leader");
                Ok(())
            }
        }
    }

    /// Logs a proposal. Returns whether it is new: a leader that sends a whole
    /// tree may repeat what that tree contains already.
    fn log_proposal(&self, peer: &mut Peer, packet: QuorumPacket) -> Result<bool, GiveUp> {
        let zxid = packet.zxid;
        if zxid <= peer.history.end() {
            return Ok(false);
        }
        let data = packet
            .data
            .ok_or(GiveUp("PROPOSAL without a transaction"))?;
        let header = TxnHeader::read(&mut Reader::new(&data));
        if header.ok().is_none_or(|header| header.zxid != zxid) {
            return Err(GiveUp("PROPOSAL whose transaction has another zxid"));
        }
        if zxid.epoch() > self.epoch || !peer.history.is_next(zxid) {
            return Err(GiveUp("a hole in the proposals"));
        }
        peer.history.append(LogEntry { zxid, data });
        Ok(true)
    }

    const fn enter(&mut self, phase: Phase, now: Now) {
        self.phase = phase;
        self.heard = now.mono;
    }

    fn send(&self, packet: QuorumPacket, fx: &mut Effects) {
        let link = self.link;
        fx.outputs.push(Output::Send { link, packet });
    }
}

fn commit_now(peer: &mut Peer, zxid: Zxid, fx: &mut Effects) -> Step {
    if zxid <= peer.history.delivered() {
        tracing::warn!(%zxid, "ignored a repeated COMMIT");
        return Ok(());
    }
    match peer.history.open().front() {
        Some(entry) if entry.zxid == zxid => {
            peer.history.deliver_through(zxid, fx);
            Ok(())
        }
        Some(entry) => {
            tracing::error!(%zxid, next = %entry.zxid, "COMMIT out of order");
            let reason = "the leader has committed what was not proposed next";
            fx.outputs.push(Output::Halt { reason });
            Ok(())
        }
        None => Err(GiveUp("COMMIT of what was not proposed")),
    }
}

const fn ack(zxid: Zxid) -> QuorumPacket {
    QuorumPacket::new(PacketKind::Ack, zxid, None)
}
