//! The leader's role (reference: 3.9.4 `Leader`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use zk_proto::quorum::{PROTOCOL_VERSION, PacketKind, QuorumPacket};
use zk_proto::{Epoch, Sid, Zxid};

use super::epochs::EPOCH_LAST;
use super::event::{Effects, SyncToken, ZabEvent};
use super::history::Ticket;
use super::learner_handler::{Learner, Stage, epoch_ack};
use super::past::Past;
use super::peer::{GiveUp, Peer, Step};
use super::sync_plan::{Plan, plan};
use crate::{EpochFile, LinkId, LogEntry, Millis, Now, Output, Role, TreeCut};

/// What the leader is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A quorum to introduce itself.
    EpochQuorum,
    /// The new epoch to be on its own disk as accepted.
    SavingAccepted(Ticket),
    /// A quorum to accept the new epoch.
    AckQuorum,
    /// The new epoch to be on its own disk as current.
    SavingCurrent(Ticket),
    /// A quorum to have its history.
    HistoryQuorum,
    /// Nothing: it serves.
    Serving,
}

/// The state of one reign.
#[derive(Debug)]
pub(super) struct Leader {
    pub(super) phase: Phase,
    /// The epoch of this reign; before it is decided, the lowest possible.
    pub(super) epoch: Epoch,
    /// Epoch and end of this server's own history at the start.
    pub(super) summary: (Epoch, Zxid),
    pub(super) learners: BTreeMap<LinkId, Learner>,
    pub(super) connecting: BTreeSet<Sid>,
    /// A voter that this server cannot lead yet has accepted a higher epoch.
    /// If no quorum comes together without it, the next reign begins above
    /// this one, which is nearer.
    pub(super) nearer: Epoch,
    epoch_acks: BTreeSet<Sid>,
    history_acks: BTreeSet<Sid>,
    /// End of the current phase, before it serves.
    phase_deadline: Millis,
    last_proposed: Zxid,
    next_ping: Millis,
    /// Every second ping checks the quorum, not the first.
    check_at_ping: bool,
    pending_syncs: VecDeque<(Zxid, SyncToken)>,
}

impl Leader {
    pub(super) fn start(peer: &mut Peer, now: Now, fx: &mut Effects) -> Self {
        let history = &peer.history;
        let accepted = history.accepted_epoch().max(peer.epoch_floor);
        assert!(accepted < EPOCH_LAST, "checked before a server leads");
        let me = BTreeSet::from([peer.config.sid]);
        let mut leader = Self {
            phase: Phase::EpochQuorum,
            epoch: Epoch(accepted.0 + 1),
            summary: (history.current_epoch(), history.end()),
            learners: BTreeMap::new(),
            connecting: me.clone(),
            nearer: Epoch(0),
            epoch_acks: me,
            history_acks: BTreeSet::new(),
            phase_deadline: now.mono + peer.init_ms(),
            last_proposed: history.end(),
            next_ping: now.mono,
            check_at_ping: false,
            pending_syncs: VecDeque::new(),
        };
        leader.decide_epoch(peer, fx);
        leader
    }

    pub(super) fn is_serving(&self) -> bool {
        self.phase == Phase::Serving
    }

    pub(super) const fn phase_name(&self) -> &'static str {
        match self.phase {
            Phase::EpochQuorum | Phase::SavingAccepted(_) | Phase::AckQuorum => "discovery",
            Phase::SavingCurrent(_) | Phase::HistoryQuorum => "synchronization",
            Phase::Serving => "broadcast",
        }
    }

    /// The epoch of this reign once it serves.
    pub(super) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(super) const fn last_proposed(&self) -> Zxid {
        self.last_proposed
    }

    pub(super) fn learners(&self) -> usize {
        let known = |learner: &&Learner| learner.sid.is_some();
        self.learners.values().filter(known).count()
    }

    pub(super) fn synced(&self) -> impl Iterator<Item = Sid> {
        let synced = |learner: &&Learner| learner.is_synced();
        self.learners
            .values()
            .filter(synced)
            .filter_map(|learner| learner.sid)
    }

    pub(super) fn pending_syncs(&self) -> usize {
        self.pending_syncs.len()
    }

    pub(super) fn next_deadline(&self, peer: &Peer) -> Option<Millis> {
        let own = if self.is_serving() {
            self.next_ping
        } else {
            self.phase_deadline
        };
        let of_learners = self.learners.values().filter_map(|l| l.deadline(peer));
        let of_claims = self.learners.values().filter_map(|l| l.admit_at);
        of_learners.chain(of_claims).chain([own]).min()
    }

    pub(super) fn active(&mut self, link: LinkId, now: Now) {
        if let Some(learner) = self.learners.get_mut(&link) {
            learner.heard(now.mono);
        }
    }

    /// A link is gone by itself.
    pub(super) fn closed(&mut self, link: LinkId, fx: &mut Effects) {
        let Some(learner) = self.learners.remove(&link) else {
            return;
        };
        self.pending_syncs
            .retain(|(_, token)| *token != SyncToken::Learner(link));
        if learner.stage == Stage::Serving {
            fx.events.push_back(ZabEvent::LearnerGone { link });
        }
    }

    /// Closes every link: the reign is over.
    pub(super) fn close_all(self, reason: &'static str, fx: &mut Effects) {
        for link in self.learners.into_keys() {
            close(link, reason, fx);
        }
    }

    pub(super) fn packet(
        &mut self,
        peer: &mut Peer,
        now: Now,
        link: LinkId,
        packet: QuorumPacket,
        fx: &mut Effects,
    ) -> Step {
        let Some(learner) = self.learners.get_mut(&link) else {
            return Ok(());
        };
        learner.heard(now.mono);
        let step = match learner.stage {
            Stage::Connected => self.claimed(peer, now, link, &packet, fx),
            Stage::EpochProposed => self.epoch_acked(peer, now, link, &packet, fx),
            Stage::Claimed | Stage::Introduced | Stage::EpochAcked => Err("a packet out of turn"),
            Stage::Synchronizing | Stage::Synced => match packet.known_kind() {
                Some(PacketKind::Ack) => self.acked(peer, now, link, packet.zxid, fx),
                _ => Err("a packet before UPTODATE that is not ACK"),
            },
            Stage::Serving => self.served(peer, now, link, packet, fx),
        };
        if let Err(reason) = step {
            self.close(link, reason, fx);
        }
        self.gives_way(peer)
    }

    pub(super) fn epoch_saved(
        &mut self,
        peer: &mut Peer,
        now: Now,
        ticket: Ticket,
        fx: &mut Effects,
    ) {
        if self.phase == Phase::SavingAccepted(ticket) {
            self.phase = Phase::AckQuorum;
            self.phase_deadline = now.mono + peer.init_ms();
            for (link, learner) in &mut self.learners {
                if learner.stage == Stage::Introduced {
                    propose_epoch(self.epoch, *link, learner, peer, now, fx);
                }
            }
            self.conclude_discovery(peer, fx);
        } else if self.phase == Phase::SavingCurrent(ticket) {
            self.phase = Phase::HistoryQuorum;
            self.phase_deadline = now.mono + peer.init_ms();
            self.history_acks.insert(peer.config.sid);
            self.establish(peer, now, fx);
        }
    }

    /// Own entries are durable.
    pub(super) fn appended(&mut self, peer: &mut Peer, fx: &mut Effects) {
        self.commit(peer, fx);
    }

    pub(super) fn tick(&mut self, peer: &mut Peer, now: Now, fx: &mut Effects) -> Step {
        let silent: Vec<_> = self
            .learners
            .iter()
            .filter(|(_, learner)| learner.deadline(peer).is_some_and(|at| at <= now.mono))
            .map(|(link, learner)| (*link, learner.stage))
            .collect();
        for (link, stage) in silent {
            let reason = if stage == Stage::Claimed {
                "no vote shows that the learner is the server that it says it is"
            } else {
                "the learner is silent"
            };
            self.close(link, reason, fx);
        }
        self.admit(peer, now, fx)?;
        if self.is_serving() {
            return self.heartbeat(peer, now, fx);
        }
        if self.phase_deadline <= now.mono {
            if self.phase == Phase::EpochQuorum {
                peer.epoch_floor = peer.epoch_floor.max(self.nearer);
            }
            return Err(GiveUp(match self.phase {
                Phase::EpochQuorum => "no quorum has connected",
                Phase::SavingAccepted(_) | Phase::SavingCurrent(_) => "the disk is too slow",
                Phase::AckQuorum => "no quorum has accepted the epoch",
                Phase::HistoryQuorum | Phase::Serving => "no quorum has synchronized",
            }));
        }
        Ok(())
    }

    pub(super) fn propose(
        &mut self,
        peer: &mut Peer,
        now: Now,
        entry: LogEntry,
        fx: &mut Effects,
    ) -> Step {
        assert_eq!(
            entry.zxid,
            self.last_proposed.next(),
            "proposals are without holes"
        );
        if entry.zxid.counter() == COUNTER_END {
            return Err(GiveUp("the zxid counter of this epoch is used up"));
        }
        self.last_proposed = entry.zxid;
        for (link, learner) in &mut self.learners {
            if learner.is_forwarding() {
                learner.proposed(entry.zxid, now.mono);
                send(*link, proposal(&entry), fx);
            }
        }
        peer.history.append(entry);
        Ok(())
    }

    pub(super) fn send_to(&self, link: LinkId, packet: QuorumPacket, fx: &mut Effects) {
        let serving = |learner: &Learner| learner.stage == Stage::Serving;
        if self.learners.get(&link).is_some_and(serving) {
            send(link, packet, fx);
        }
    }

    pub(super) fn sync_request(&mut self, peer: &Peer, token: SyncToken, fx: &mut Effects) {
        let is_gone = |link: LinkId| !self.learners.contains_key(&link);
        if matches!(token, SyncToken::Learner(link) if is_gone(link)) {
            return;
        }
        if peer.history.open().is_empty() {
            release(token, fx);
        } else {
            self.pending_syncs.push_back((self.last_proposed, token));
        }
    }

    /// Serves the learners that wait for the leader's history. `applied` is
    /// the zxid of the tree and of the cut.
    pub(super) fn synchronize(
        &mut self,
        peer: &Peer,
        now: Now,
        applied: Zxid,
        cut: &mut dyn FnMut() -> Arc<TreeCut>,
        fx: &mut Effects,
    ) {
        if !matches!(self.phase, Phase::HistoryQuorum | Phase::Serving) {
            return;
        }
        let waiting = |learner: &Learner| learner.stage == Stage::EpochAcked;
        if !self.learners.values().any(waiting) {
            return;
        }
        let past = Past::of(peer, self.phase, self.epoch, applied);
        let mut made: Option<Arc<TreeCut>> = None;
        for (link, learner) in &mut self.learners {
            if !waiting(learner) {
                continue;
            }
            let zxids: Vec<_> = past.certain.iter().map(|entry| entry.zxid).collect();
            // A DIFF whose entries the learner might refuse to read would close
            // the link each time. They are from when the limit was higher.
            let fits = |from: usize| {
                let max = peer.config.znodes.txn_bytes_max;
                past.certain[from..]
                    .iter()
                    .all(|entry| entry.data.len() <= max)
            };
            let plan = match plan(learner.last_zxid, &zxids, past.last_processed) {
                Plan::Diff { from, .. } | Plan::Trunc { from, .. } if !fits(from) => Plan::Snap,
                plan => plan,
            };
            let from = match plan {
                Plan::Diff { zxid, from } => {
                    let kept = past.header_before(from);
                    send(*link, QuorumPacket::new(PacketKind::Diff, zxid, kept), fx);
                    from
                }
                Plan::Trunc { to, from } => {
                    let kept = past.header_before(from);
                    send(*link, QuorumPacket::new(PacketKind::Trunc, to, kept), fx);
                    from
                }
                Plan::Snap => {
                    let cut = made.get_or_insert_with(&mut *cut).clone();
                    fx.outputs.push(Output::SendSnap { link: *link, cut });
                    zxids.partition_point(|zxid| *zxid <= applied)
                }
            };
            for entry in &past.certain[from..] {
                send(*link, proposal(entry), fx);
                send(*link, commit(entry.zxid), fx);
            }
            for entry in &past.outstanding {
                send(*link, proposal(entry), fx);
            }
            let config = Bytes::copy_from_slice(peer.config_text().as_bytes());
            let start = QuorumPacket::epoch_zxid(self.epoch);
            send(
                *link,
                QuorumPacket::new(PacketKind::NewLeader, start, Some(config)),
                fx,
            );
            learner.enter(Stage::Synchronizing, now.mono);
        }
    }

    pub(super) fn decide_epoch(&mut self, peer: &mut Peer, fx: &mut Effects) {
        if peer.config.ensemble.is_quorum(&self.connecting) {
            let saving = (EpochFile::Accepted, self.epoch);
            let ticket = peer.history.save_epoch(saving.0, saving.1, fx);
            self.phase = Phase::SavingAccepted(ticket);
        }
    }

    fn epoch_acked(
        &mut self,
        peer: &mut Peer,
        now: Now,
        link: LinkId,
        packet: &QuorumPacket,
        fx: &mut Effects,
    ) -> Result<(), &'static str> {
        let (epoch, last_zxid) = epoch_ack(packet)?;
        let learner = self.learners.get_mut(&link).expect("its packet came");
        let sid = learner.sid.expect("it has introduced itself");
        if let (Phase::AckQuorum, Some(epoch)) = (self.phase, epoch) {
            if (epoch, last_zxid) > self.summary {
                return Err("the learner's history is newer");
            }
            self.epoch_acks.insert(sid);
        }
        let last_proposed = self.last_proposed.max(peer.history.end());
        if last_zxid > last_proposed && last_zxid.counter() > 0 && last_zxid.epoch() >= self.epoch {
            // It would be cut off, and what is left would be taken for ours.
            return Err(
                "the learner has transactions of this epoch that this server never proposed",
            );
        }
        learner.last_zxid = last_zxid;
        learner.enter(Stage::EpochAcked, now.mono);
        self.conclude_discovery(peer, fx);
        Ok(())
    }

    fn conclude_discovery(&mut self, peer: &mut Peer, fx: &mut Effects) {
        if self.phase == Phase::AckQuorum && peer.config.ensemble.is_quorum(&self.epoch_acks) {
            let ticket = peer.history.save_epoch(EpochFile::Current, self.epoch, fx);
            peer.has_copy = false;
            self.phase = Phase::SavingCurrent(ticket);
        }
    }

    fn acked(
        &mut self,
        peer: &mut Peer,
        now: Now,
        link: LinkId,
        zxid: Zxid,
        fx: &mut Effects,
    ) -> Result<(), &'static str> {
        let serving = self.is_serving();
        let learner = self.learners.get_mut(&link).expect("its packet came");
        if zxid.counter() == 0 {
            let is_answer = zxid == QuorumPacket::epoch_zxid(self.epoch);
            if is_answer && learner.stage == Stage::Synchronizing {
                learner.enter(Stage::Synced, now.mono);
                let sid = learner.sid.expect("it has introduced itself");
                if learner.origin.is_listed {
                    peer.heard.use_up(sid, learner.introduced);
                }
                self.history_acks.insert(sid);
                if serving {
                    bring_up_to_date(link, learner, now, fx);
                    self.commit(peer, fx);
                } else {
                    self.establish(peer, now, fx);
                }
            }
            return Ok(());
        }
        if zxid > self.last_proposed && zxid.epoch() >= self.epoch {
            return Err("an ACK for what was not proposed");
        }
        // An older learner may acknowledge proposals before NEWLEADER. They
        // count once it has made the epoch its own.
        learner.acked(zxid, self.last_proposed, now.mono);
        let is_open = |entry: &LogEntry| entry.zxid <= zxid;
        if learner.is_synced() && peer.history.open().front().is_some_and(is_open) {
            self.commit(peer, fx);
        }
        Ok(())
    }

    fn served(
        &mut self,
        peer: &mut Peer,
        now: Now,
        link: LinkId,
        packet: QuorumPacket,
        fx: &mut Effects,
    ) -> Result<(), &'static str> {
        let learner = self.learners.get(&link).expect("its packet came");
        let sid = learner.sid.expect("it has introduced itself");
        match packet.known_kind() {
            Some(PacketKind::Ack) => return self.acked(peer, now, link, packet.zxid, fx),
            Some(PacketKind::Ping | PacketKind::Request | PacketKind::Revalidate) => {
                fx.events
                    .push_back(ZabEvent::LearnerPacket { link, sid, packet });
            }
            _ => tracing::warn!(%sid, kind = packet.kind, "ignored a learner's packet"),
        }
        Ok(())
    }

    /// Starts to serve once a quorum has this server's history.
    fn establish(&mut self, peer: &mut Peer, now: Now, fx: &mut Effects) {
        let is_quorum = peer.config.ensemble.is_quorum(&self.history_acks);
        if self.phase != Phase::HistoryQuorum || !is_quorum {
            return;
        }
        let end = peer.history.end();
        peer.history.deliver_through(end, fx);
        peer.served_in(self.epoch);
        self.phase = Phase::Serving;
        self.last_proposed = QuorumPacket::epoch_zxid(self.epoch);
        self.next_ping = now.mono + peer.config.tick_ms / 2;
        let epoch = self.epoch;
        fx.events.push_back(ZabEvent::LeadingStarted { epoch });
        Peer::announce(Role::Leading, true, epoch, Some(peer.config.sid), fx);
        for (link, learner) in &mut self.learners {
            if learner.stage == Stage::Synced {
                bring_up_to_date(*link, learner, now, fx);
            }
        }
    }

    /// Commits in order what a quorum has on its disks.
    fn commit(&mut self, peer: &mut Peer, fx: &mut Effects) {
        let Some(front) = peer.history.open().front() else {
            return;
        };
        let Some(through) = self.quorum_has(peer) else {
            return;
        };
        if !self.is_serving() || through < front.zxid {
            return;
        }
        let open = peer.history.open().iter();
        let committed: Vec<_> = open
            .map(|entry| entry.zxid)
            .take_while(|zxid| *zxid <= through)
            .collect();
        for zxid in committed {
            for (link, learner) in &self.learners {
                if learner.is_forwarding() {
                    send(*link, commit(zxid), fx);
                }
            }
            peer.history.deliver_through(zxid, fx);
            // Its client may have sent writes after the sync: those are not to overtake it.
            while let Some((_, token)) = self.pending_syncs.pop_front_if(|sync| sync.0 <= zxid) {
                release(token, fx);
            }
        }
    }

    /// The highest zxid that a quorum has on its disks.
    fn quorum_has(&self, peer: &Peer) -> Option<Zxid> {
        let own = (peer.history.durable(), peer.config.sid);
        let of_learners = self.learners.values().filter(|l| l.is_synced());
        let mut acks: Vec<_> = of_learners
            .filter_map(|learner| Some((learner.acked, learner.sid?)))
            .chain([own])
            .collect();
        acks.sort_unstable_by(|a, b| b.cmp(a));
        let mut sids = BTreeSet::new();
        acks.into_iter().find_map(|(zxid, sid)| {
            sids.insert(sid);
            peer.config.ensemble.is_quorum(&sids).then_some(zxid)
        })
    }

    /// Every half tick a PING to each synchronized learner; every tick a look
    /// at whether a quorum is still there.
    fn heartbeat(&mut self, peer: &Peer, now: Now, fx: &mut Effects) -> Step {
        if now.mono < self.next_ping {
            return Ok(());
        }
        self.next_ping = now.mono + peer.config.tick_ms / 2;
        let lagging: Vec<_> = self
            .learners
            .iter()
            .filter(|(_, learner)| learner.is_lagging(now.mono, peer.sync_ms()))
            .map(|(link, _)| *link)
            .collect();
        for link in lagging {
            self.close(link, "the learner does not acknowledge proposals", fx);
        }
        let check = self.check_at_ping;
        self.check_at_ping = !check;
        if check {
            let mut present: BTreeSet<_> = self.learners.values().filter_map(|l| l.sid).collect();
            present.insert(peer.config.sid);
            if !peer.config.ensemble.is_quorum(&present) {
                return Err(GiveUp("no quorum follows any more"));
            }
        }
        for (link, learner) in &self.learners {
            if learner.stage == Stage::Serving {
                let ping = QuorumPacket::new(PacketKind::Ping, self.last_proposed, None);
                send(*link, ping, fx);
            }
        }
        Ok(())
    }

    pub(super) fn close(&mut self, link: LinkId, reason: &'static str, fx: &mut Effects) {
        close(link, reason, fx);
        self.closed(link, fx);
    }
}

/// LEADERINFO. After the version stands the header of a transaction that the
/// learner has as well, going by the end of its log, and the zxid through which
/// it has then all that this leader has; or one byte if nothing is known. Behind
/// either stands the digest of this leader's tree at the end of the learner's
/// log, if it is known. The reference does not read it.
pub(super) fn propose_epoch(
    epoch: Epoch,
    link: LinkId,
    learner: &mut Learner,
    peer: &Peer,
    now: Now,
    fx: &mut Effects,
) {
    let mut data = PROTOCOL_VERSION.to_be_bytes().to_vec();
    match learner.end.and_then(|end| peer.history.common(end)) {
        Some((header, through)) => {
            data.extend_from_slice(header);
            data.extend_from_slice(&through.0.to_be_bytes());
        }
        // Too short for a header; it says that this leader is one of ours.
        None => data.push(0),
    }
    if let Some(digest) = learner.end.and_then(|end| peer.history.digest(end)) {
        data.extend_from_slice(&digest.to_be_bytes());
    }
    let start = QuorumPacket::epoch_zxid(epoch);
    let packet = QuorumPacket::new(PacketKind::LeaderInfo, start, Some(data.into()));
    send(link, packet, fx);
    learner.enter(Stage::EpochProposed, now.mono);
}

fn bring_up_to_date(link: LinkId, learner: &mut Learner, now: Now, fx: &mut Effects) {
    send(
        link,
        QuorumPacket::new(PacketKind::UpToDate, Zxid(-1), None),
        fx,
    );
    learner.enter(Stage::Serving, now.mono);
}

fn proposal(entry: &LogEntry) -> QuorumPacket {
    QuorumPacket::new(PacketKind::Proposal, entry.zxid, Some(entry.data.clone()))
}

const fn commit(zxid: Zxid) -> QuorumPacket {
    QuorumPacket::new(PacketKind::Commit, zxid, None)
}

fn release(token: SyncToken, fx: &mut Effects) {
    match token {
        SyncToken::Local(_) => fx.events.push_back(ZabEvent::SyncReady(token)),
        SyncToken::Learner(link) => {
            send(
                link,
                QuorumPacket::new(PacketKind::Sync, Zxid::ZERO, None),
                fx,
            );
        }
    }
}

fn send(link: LinkId, packet: QuorumPacket, fx: &mut Effects) {
    fx.outputs.push(Output::Send { link, packet });
}

fn close(link: LinkId, reason: &'static str, fx: &mut Effects) {
    fx.outputs.push(Output::Close { link, reason });
}

/// No transaction has this counter; the epoch ends before it (reference:
/// `Leader.propose`).
const COUNTER_END: u32 = 0xffff_ffff;

#[cfg(test)]
mod tests {
    use super::super::history::History;
    use super::super::tests::{config, entry};
    use super::*;

    #[test]
    fn the_last_counter_of_an_epoch_is_not_used() {
        let config = config(1, 1);
        let history = History::new(Default::default(), 500);
        let mut peer = Peer::new(config, history);
        let mut fx = Effects::default();
        let now = Now::default();
        let mut leader = Leader::start(&mut peer, now, &mut fx);
        leader.last_proposed = Zxid::new(Epoch(1), COUNTER_END - 1);
        let last = entry(Zxid::new(Epoch(1), COUNTER_END));
        let GiveUp(reason) = leader.propose(&mut peer, now, last, &mut fx).unwrap_err();
        assert_eq!(reason, "the zxid counter of this epoch is used up");
        assert!(peer.history.open().is_empty());
    }
}
