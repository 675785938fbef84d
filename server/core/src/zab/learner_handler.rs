//! One learner as its leader sees it (reference: 3.9.4 `LearnerHandler`).

use zk_proto::quorum::{LearnerInfo, PROTOCOL_VERSION, PacketKind, QuorumPacket};
use zk_proto::{Epoch, Sid, Zxid};

use super::epochs;
use super::heard::Turn;
use super::peer::Peer;
use crate::{EnsembleId, Millis, Origin};

/// How far a learner has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// FOLLOWERINFO is to come.
    Connected,
    /// Has introduced itself as a voter; a vote of that voter is to come over
    /// the election port before its word counts.
    Claimed,
    /// Waits for the new epoch.
    Introduced,
    /// ACKEPOCH is to come.
    EpochProposed,
    /// Waits for the leader to decide how to synchronize it.
    EpochAcked,
    /// NEWLEADER is sent, its acknowledgement is to come. From here on the
    /// learner gets every proposal and every commit.
    Synchronizing,
    /// Has the leader's history. Waits for UPTODATE.
    Synced,
    /// UPTODATE is sent.
    Serving,
}

/// One link of a leader.
#[derive(Debug)]
pub(super) struct Learner {
    pub(super) stage: Stage,
    pub(super) origin: Origin,
    /// Known from [`Stage::Introduced`] on.
    pub(super) sid: Option<Sid>,
    /// What it said of itself in FOLLOWERINFO.
    pub(super) claim: Option<(Sid, Epoch)>,
    /// End of its log as of FOLLOWERINFO; none from a learner of the reference.
    pub(super) end: Option<Zxid>,
    /// Version of its config, as of FOLLOWERINFO.
    pub(super) config_version: i64,
    /// When its claim is proved if nobody comes after it.
    pub(super) admit_at: Option<Millis>,
    /// When it said so.
    pub(super) claimed: (Turn, Millis),
    /// When it entered [`Stage::Introduced`].
    pub(super) introduced: Turn,
    /// End of its log as of ACKEPOCH.
    pub(super) last_zxid: Zxid,
    /// It has everything up to here on its disk. Acknowledgements come in the
    /// order of the log, so one stands for all before it.
    pub(super) acked: Zxid,
    /// When something came from it, or when it was last our turn.
    heard: Millis,
    /// The proposal whose acknowledgement is watched, and since when.
    watched: Option<(Zxid, Millis)>,
}

impl Learner {
    pub(super) const fn new(origin: Origin, now: Millis) -> Self {
        Self {
            stage: Stage::Connected,
            origin,
            sid: None,
            claim: None,
            end: None,
            config_version: 0,
            admit_at: None,
            claimed: (Turn::NONE, now),
            introduced: Turn::NONE,
            last_zxid: Zxid::ZERO,
            acked: Zxid::ZERO,
            heard: now,
            watched: None,
        }
    }

    /// Enters a stage; the clock of its silence starts anew.
    pub(super) fn enter(&mut self, stage: Stage, now: Millis) {
        assert!(stage > self.stage, "stages are passed in order");
        self.stage = stage;
        self.heard = now;
    }

    pub(super) fn heard(&mut self, now: Millis) {
        self.heard = now;
    }

    /// Has it introduced itself as this voter, without being believed yet?
    pub(super) fn claims(&self, sid: Sid) -> bool {
        let is_it = self.claim.is_some_and(|(claimed, _)| claimed == sid);
        is_it && self.stage == Stage::Claimed
    }

    /// From when on another link that claims to be the same voter since
    /// `claimed` may take the place of this one, as long as nothing more comes
    /// on it. One that serves is pinged every half tick: it gets a whole tick
    /// to answer after the claim, so that a leader which stood still does not
    /// take its own pause for silence; or it has been silent for longer than
    /// such a pause would explain.
    pub(super) fn replaceable_at(&self, claimed: Millis, tick_ms: u64) -> Millis {
        if self.stage != Stage::Serving {
            return claimed;
        }
        (self.heard.max(claimed) + tick_ms).min(self.heard + 2 * tick_ms)
    }

    /// Until when it has to say something, if it is its turn.
    pub(super) fn deadline(&self, peer: &Peer) -> Option<Millis> {
        match self.stage {
            Stage::Connected | Stage::Claimed | Stage::EpochProposed | Stage::Synchronizing => {
                Some(self.heard + peer.init_ms())
            }
            Stage::Serving => Some(self.heard + peer.sync_ms()),
            Stage::Introduced | Stage::EpochAcked | Stage::Synced => None,
        }
    }

    /// Does it get proposals and commits?
    pub(super) fn is_forwarding(&self) -> bool {
        self.stage >= Stage::Synchronizing
    }

    /// Has it acknowledged NEWLEADER?
    pub(super) fn is_synced(&self) -> bool {
        self.stage >= Stage::Synced
    }

    /// A proposal leaves for it. Not each is watched but always one, as in
    /// `LearnerHandler.SyncLimitCheck`.
    pub(super) fn proposed(&mut self, zxid: Zxid, now: Millis) {
        if self.is_synced() && self.watched.is_none() {
            self.watched = Some((zxid, now));
        }
    }

    /// It has acknowledged a proposal; `last_proposed` is the newest.
    pub(super) fn acked(&mut self, zxid: Zxid, last_proposed: Zxid, now: Millis) {
        self.acked = self.acked.max(zxid);
        if self
            .watched
            .is_some_and(|(watched, _)| watched <= self.acked)
        {
            self.watched = (self.acked < last_proposed).then_some((last_proposed, now));
        }
    }

    /// Has it left a proposal unacknowledged for this long?
    pub(super) fn is_lagging(&self, now: Millis, limit_ms: u64) -> bool {
        self.watched
            .is_some_and(|(_, since)| now - since >= limit_ms)
    }
}

/// Who a learner says it is, which epoch it has accepted and the version of its
/// config, or why it is refused.
pub(super) fn introduction(
    peer: &Peer,
    packet: &QuorumPacket,
) -> Result<(Sid, Epoch, i64), &'static str> {
    match packet.known_kind() {
        Some(PacketKind::FollowerInfo) => {}
        Some(PacketKind::ObserverInfo) => return Err("observers are not served"),
        _ => return Err("the first packet is not FOLLOWERINFO"),
    }
    let data = packet.data.as_deref().ok_or("FOLLOWERINFO without a sid")?;
    let info = LearnerInfo::read(data).map_err(|_| "broken FOLLOWERINFO")?;
    if info.sid == peer.config.sid {
        return Err("the learner has this server's own sid");
    }
    if !peer.config.ensemble.is_voter(info.sid) {
        return Err("the learner is not a member of this ensemble");
    }
    if info.protocol_version < PROTOCOL_VERSION {
        return Err("the learner's protocol is too old");
    }
    let ensembles = peer.config.ensemble_id.zip(introduced_ensemble(data));
    if ensembles.is_some_and(|(own, theirs)| own != theirs) {
        return Err("the learner belongs to another ensemble");
    }
    let accepted = packet.zxid.epoch();
    if !peer.is_known_config(info.sid, info.config_version, accepted) {
        return Err("the learner has a newer configuration");
    }
    if !epochs::is_possible(accepted) {
        return Err("the learner's epoch is out of range");
    }
    Ok((info.sid, accepted, info.config_version))
}

/// Which ensemble a learner of ours belongs to; it stands behind the end of its
/// log in FOLLOWERINFO.
fn introduced_ensemble(data: &[u8]) -> Option<EnsembleId> {
    let id = data.get(28..)?.first_chunk()?;
    Some(EnsembleId::from_bytes(*id))
}

/// Where a learner's log ends, from what FOLLOWERINFO carries after the
/// reference's twenty bytes.
pub(super) fn introduced_end(packet: &QuorumPacket) -> Option<Zxid> {
    let end = packet.data.as_deref()?.get(20..)?.first_chunk()?;
    Some(Zxid(i64::from_be_bytes(*end)))
}

/// Epoch and end of the log in ACKEPOCH; no epoch when the learner had
/// accepted the epoch before. Or why the packet is refused.
pub(super) fn epoch_ack(packet: &QuorumPacket) -> Result<(Option<Epoch>, Zxid), &'static str> {
    if packet.known_kind() != Some(PacketKind::AckEpoch) {
        return Err("the packet after LEADERINFO is not ACKEPOCH");
    }
    let data = packet.data.as_deref().ok_or("ACKEPOCH without an epoch")?;
    let epoch = data.first_chunk().ok_or("ACKEPOCH without an epoch")?;
    let epoch = i32::from_be_bytes(*epoch);
    if packet.zxid < Zxid::ZERO || epoch < -1 {
        return Err("ACKEPOCH out of range");
    }
    Ok(((epoch >= 0).then_some(Epoch(epoch.into())), packet.zxid))
}
