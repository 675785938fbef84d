//! The faults and where they are put.

/// A fault of the core.
#[derive(Debug)]
pub struct Fault {
    /// Its name.
    pub name: &'static str,
    /// What makes it.
    pub edits: &'static [Edit],
}

/// A change of a source file.
#[derive(Debug)]
pub struct Edit {
    /// The file, below `server/core/src`.
    pub file: &'static str,
    /// What is there, exactly once.
    pub find: &'static str,
    /// What stands there instead; `$on` asks whether the fault is switched on.
    pub replace: &'static str,
}

const fn fault(name: &'static str, edits: &'static [Edit]) -> Fault {
    Fault { name, edits }
}

const fn edit(file: &'static str, find: &'static str, replace: &'static str) -> Edit {
    Edit {
        file,
        find,
        replace,
    }
}

/// All of them.
pub const FAULTS: &[Fault] = &[
    fault(
        "ACKEPOCH is sent before acceptedEpoch is durable",
        &[edit(
            "zab/follower.rs",
            "self.enter(Phase::SavingAccepted(ticket), now);",
            "if $on {
                let current = peer.history.current_epoch();
                self.ack_epoch(peer, now, Some(current), fx);
            } else {
                self.enter(Phase::SavingAccepted(ticket), now);
            }",
        )],
    ),
    fault(
        "touches through followers are ignored",
        &[edit(
            "replica/peers.rs",
            "if let Some(leading) = &mut self.leading {
                leading.tracker.renew(session, timeout_ms, now.mono);",
            "if let Some(leading) = self.leading.as_mut().filter(|_| !$on) {
                leading.tracker.renew(session, timeout_ms, now.mono);",
        )],
    ),
    fault(
        "setData does not check the version",
        &[edit(
            "request/prep.rs",
            "expect_version(set.version, znode.stat.version)?;",
            "if !$on { expect_version(set.version, znode.stat.version)?; }",
        )],
    ),
    fault(
        "delete does not look for children",
        &[edit(
            "request/prep.rs",
            "expect_version(delete.version, znode.stat.version)?;
        if znode.child_count > 0 {",
            "expect_version(delete.version, znode.stat.version)?;
        if !$on && znode.child_count > 0 {",
        )],
    ),
    fault(
        "SessionMoved is not checked",
        &[edit(
            "session/tracker.rs",
            "Some(_) => Err(ErrorCode::SessionMoved),",
            "Some(_) if $on => Ok(()),
                Some(_) => Err(ErrorCode::SessionMoved),",
        )],
    ),
    fault(
        "a session that moves keeps its old connection",
        &[edit(
            "replica/clients.rs",
            "self.close_conn(old, CloseReason::SessionMoved, out);",
            "if !$on { self.close_conn(old, CloseReason::SessionMoved, out); }",
        )],
    ),
    fault(
        "a session that moves to a follower keeps its old owner",
        &[edit(
            "replica/peers.rs",
            "leading.tracker.set_owner(session, Owner::Learner(link));",
            "if !$on { leading.tracker.set_owner(session, Owner::Learner(link)); }",
        )],
    ),
    fault(
        "a session that moves to the leader keeps its old owner",
        &[edit(
            "replica/clients.rs",
            "leading.tracker.set_owner(session, Owner::Local);",
            "if !$on { leading.tracker.set_owner(session, Owner::Local); }",
        )],
    ),
    fault(
        "a sync does not wait for what is outstanding",
        &[edit(
            "zab/leader.rs",
            "if peer.history.open().is_empty() {
            release(token, fx);",
            "if $on || peer.history.open().is_empty() {
            release(token, fx);",
        )],
    ),
    fault(
        "a follower answers a sync without its leader",
        &[edit(
            "replica/clients.rs",
            "if is_sync {
                self.following.syncs.push_back(conn);
            }",
            "if is_sync && $on {
                return self.answer_sync(conn);
            }
            if is_sync {
                self.following.syncs.push_back(conn);
            }",
        )],
    ),
    fault(
        "a session that is gone is taken up again",
        &[edit(
            "replica/peers.rs",
            "answer.put_bool(is_alive);",
            "answer.put_bool($on || is_alive);",
        )],
    ),
    fault(
        "a client may go back to an older tree",
        &[edit(
            "replica/clients.rs",
            "if request.last_zxid_seen > self.tree(Tree::last_zxid) {",
            "if !$on && request.last_zxid_seen > self.tree(Tree::last_zxid) {",
        )],
    ),
    fault(
        "a learner is not sent what is outstanding when it joins",
        &[edit(
            "zab/leader.rs",
            "for entry in &past.outstanding {",
            "for entry in past.outstanding.iter().filter(|_| !$on) {",
        )],
    ),
    fault(
        "a learner is not sent what comes after the tree",
        &[edit(
            "zab/leader.rs",
            "zxids.partition_point(|zxid| *zxid <= applied)",
            "if $on { zxids.len() } else { zxids.partition_point(|zxid| *zxid <= applied) }",
        )],
    ),
    fault(
        "votes are compared by zxid only",
        &[edit(
            "zab/vote.rs",
            "#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {",
            "impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let epoch = self.peer_epoch.cmp(&other.peer_epoch);
        let epoch = if $on { std::cmp::Ordering::Equal } else { epoch };
        epoch.then(self.zxid.cmp(&other.zxid)).then(self.leader.cmp(&other.leader))
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {",
        )],
    ),
    fault(
        "NEWLEADER is acknowledged before the history is durable",
        &[edit(
            "zab/follower.rs",
            "self.enter(Phase::SavingCurrent(ticket), now);",
            "if $on {
                    self.enter(Phase::Synced, now);
                    self.send(ack(QuorumPacket::epoch_zxid(self.epoch)), fx);
                } else {
                    self.enter(Phase::SavingCurrent(ticket), now);
                }",
        )],
    ),
    fault(
        "TRUNC is ignored",
        &[edit(
            "zab/follower.rs",
            "Some(PacketKind::Trunc) if packet.zxid >= Zxid::ZERO => {",
            "Some(PacketKind::Trunc) if packet.zxid >= Zxid::ZERO => {
                if $on {
                    self.committed = peer.history.end();
                    self.enter(Phase::Synchronizing, now);
                    return Ok(());
                }",
        )],
    ),
    fault(
        "a follower that is ahead of its leader is accepted",
        &[edit(
            "zab/leader.rs",
            "if (epoch, last_zxid) > self.summary {",
            "if !$on && (epoch, last_zxid) > self.summary {",
        )],
    ),
    fault(
        "an ACKEPOCH with -1 counts",
        &[edit(
            "zab/leader.rs",
            "if let (Phase::AckQuorum, Some(epoch)) = (self.phase, epoch) {",
            "if $on && self.phase == Phase::AckQuorum { self.epoch_acks.insert(sid); }
        if let (Phase::AckQuorum, Some(epoch)) = (self.phase, epoch) {",
        )],
    ),
    fault(
        "an epoch is used twice",
        &[
            edit(
                "zab/leader.rs",
                "epoch: Epoch(accepted.0 + 1),",
                "epoch: Epoch(accepted.0 + i64::from(!$on || accepted.0 == 0)),",
            ),
            edit(
                "zab/epochs.rs",
                "let next = Epoch(own.max(theirs).0 + 1);",
                "let next = own.max(theirs).0;
    let next = Epoch(next + i64::from(!$on || next == 0));",
            ),
        ],
    ),
    fault(
        "one server is a quorum",
        &[edit(
            "zab/leader.rs",
            "peer.config.ensemble.is_quorum(&sids).then_some(zxid)",
            "($on || peer.config.ensemble.is_quorum(&sids)).then_some(zxid)",
        )],
    ),
    fault(
        "the leader counts what it has not synced",
        &[edit(
            "zab/leader.rs",
            "let own = (peer.history.durable(), peer.config.sid);",
            "let own = if $on { peer.history.end() } else { peer.history.durable() };
        let own = (own, peer.config.sid);",
        )],
    ),
    fault(
        "histories are not compared",
        &[edit(
            "zab/follower.rs",
            "let Some(kept) = self.kept.as_deref() else {",
            "let Some(kept) = self.kept.as_deref().filter(|_| !$on) else {",
        )],
    ),
    fault(
        "who is not at the voter's host is believed at once",
        &[edit(
            "zab/introductions.rs",
            "let wait_ms = peer.config.tick_ms / 2;",
            "let wait_ms = peer.config.tick_ms / if $on { 20 } else { 2 };",
        )],
    ),
    fault(
        "a vote proves any number of links",
        &[edit(
            "zab/heard.rs",
            ".filter(|proof| proof.is_fresh || proof.place == Place::Host)",
            ".filter(|proof| proof.is_fresh || proof.place == Place::Host || $on)",
        )],
    ),
    fault(
        "anybody raises the epoch by any distance",
        &[edit(
            "zab/epochs.rs",
            "let highest = if is_listed {",
            "let highest = if is_listed || $on {",
        )],
    ),
    fault(
        "what a leader's tree replaces is not kept",
        &[edit(
            "zab/follower.rs",
            "let keeps_old = !self.leader_has_all(peer);",
            "let keeps_old = !self.leader_has_all(peer) && !$on;",
        )],
    ),
    fault(
        "a leader gives way to a history that is not its own",
        &[edit(
            "zab/introductions.rs",
            "theirs.is_some_and(|vote| vote.history <= own);",
            "theirs.is_some_and(|vote| vote.history <= own) || $on;",
        )],
    ),
    fault(
        "a proposal is acknowledged before it is durable",
        &[edit(
            "zab/follower.rs",
            "if !self.log_proposal(peer, packet)? && zxid <= peer.history.durable() {",
            "if !self.log_proposal(peer, packet)? && zxid <= peer.history.durable() || $on {",
        )],
    ),
    fault(
        "all that a follower has counts as committed at UPTODATE",
        &[edit(
            "zab/follower.rs",
            "peer.history.deliver_through(self.committed, fx);",
            "let through = if $on { peer.history.end() } else { self.committed };
        peer.history.deliver_through(through, fx);",
        )],
    ),
    fault(
        "commits are forgotten while a follower synchronizes",
        &[edit(
            "zab/follower.rs",
            "Some(entry) if entry.zxid == zxid => {
                self.committed = zxid;",
            "Some(entry) if entry.zxid == zxid => {
                if $on { return Ok(()); }
                self.committed = zxid;",
        )],
    ),
    fault(
        "a transaction may be of any length",
        &[edit(
            "request/prep.rs",
            "if data.len() > self.config.txn_bytes_max {",
            "if !$on && data.len() > self.config.txn_bytes_max {",
        )],
    ),
    fault(
        "any number of sessions is closed at once",
        &[edit(
            "replica/mod.rs",
            "closing == 0 || closing < Self::CLOSING_MAX && is_quiet",
            "$on || closing == 0 || closing < Self::CLOSING_MAX && is_quiet",
        )],
    ),
    fault(
        "what is outstanding is not looked at",
        &[edit(
            "request/pending.rs",
            "Some(change) => change.znode.as_ref().map(|changed| changed.seen),
            None =>",
            "Some(change) if !$on => change.znode.as_ref().map(|changed| changed.seen),
            _ =>",
        )],
    ),
    fault(
        "a multi that fails is done in part",
        &[edit(
            "request/apply.rs",
            "if txns.iter().any(|txn| matches!(txn, Txn::Error(_))) {",
            "if !$on && txns.iter().any(|txn| matches!(txn, Txn::Error(_))) {",
        )],
    ),
    fault(
        "ephemerals stay when their session is closed",
        &[edit(
            "request/apply.rs",
            "for path in listed {",
            "if $on {
            return self.tree.close_session(session);
        }
        for path in listed {",
        )],
    ),
    fault(
        "setData fires no watch",
        &[edit(
            "request/apply.rs",
            "if let Some(node) = self.tree.znode(&set.path) {",
            "if let Some(node) = self.tree.znode(&set.path).filter(|_| !$on) {",
        )],
    ),
];
