//! The composed state machine. Only this module knows ZAB, tree, sessions and
//! watches at once.
//!
//! A batch is some calls of [`Replica::step`] and then one of
//! [`Replica::finish`]: commits gather while the batch runs and are applied
//! under one write lock of the shared view.

mod apply;
mod cleaner;
mod clients;
mod digests;
mod peers;
mod status;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::ArcRwLockWriteGuard;
use zk_proto::{SessionId, Zxid};

use self::cleaner::Cleaner;
use self::clients::Conn;
use self::digests::Digests;
use crate::config::ReplicaConfig;
use crate::request::{ForwardNumbers, Prep, Refused, SharedView};
use crate::session::SessionTracker;
use crate::tree::Tree;
use crate::zab::{Effects, Problem, Zab, ZabEvent, ZabInput, ZabState};
use crate::{CloseReason, ConnId, Input, LogEntry, Millis, Now, Output, Recovered};

pub use self::status::Status;

/// The write lock of the view. While it lives no connection can read, so the
/// frames of a batch are in the mailboxes before anybody sees its changes.
pub type Applied = ArcRwLockWriteGuard<parking_lot::RawRwLock, Tree>;

/// One server's replica.
pub struct Replica {
    config: ReplicaConfig,
    zab: Zab,
    view: SharedView,
    /// Held from the first change of a batch to the end of the batch.
    held: Option<Applied>,
    to_apply: Vec<LogEntry>,
    /// Does this server take clients?
    is_serving: bool,
    leading: Option<Leading>,
    following: Following,
    conns: BTreeMap<ConnId, Box<Conn>>,
    by_session: BTreeMap<SessionId, ConnId>,
    next_session_id: i64,
    /// For the requests that this server forwards.
    forward_numbers: ForwardNumbers,
    sessions_expired: u64,
    /// While this server led before.
    refused: Refused,
    applied_at: Vec<(i64, u64)>,
    /// Connections with frames or to be closed at the end of the batch.
    dirty: Vec<ConnId>,
    /// The tree of a SNAP until ZAB asks for it.
    received: Option<Box<Tree>>,
    digests: Digests,
    snapshots: Snapshots,
}

/// What only an established leader has.
struct Leading {
    prep: Prep,
    tracker: SessionTracker,
    cleaner: Cleaner,
}

impl Leading {
    /// Sessions that are closed at once at most.
    const CLOSING_MAX: usize = 100;
    /// Changes that may be outstanding when another session is closed.
    const CHANGES_MAX: usize = 10_000;

    /// May another session be closed now because it has expired?
    fn may_expire(&self) -> bool {
        let closing = self.tracker.closing();
        let is_quiet = self.prep.outstanding_changes() < Self::CHANGES_MAX;
        closing == 0 || closing < Self::CLOSING_MAX && is_quiet
    }
}

/// What only a follower has.
#[derive(Default)]
struct Following {
    /// Sessions heard of since the last answer to a ping.
    touched: BTreeMap<SessionId, ()>,
    /// Connections whose sync was sent to the leader, oldest first.
    syncs: VecDeque<ConnId>,
    /// Connections that want to re-attach, by session, oldest first.
    revalidating: BTreeMap<SessionId, VecDeque<ConnId>>,
}

/// When the next periodic snapshot is due.
struct Snapshots {
    since: u64,
    due_after: u64,
    since_bytes: u64,
    due_after_bytes: u64,
    is_running: bool,
    rng: u64,
}

impl Replica {
    /// A replica of what the disk held. Call [`Self::start`] next.
    #[must_use]
    pub fn new(config: ReplicaConfig, recovered: Recovered, now: Now) -> Self {
        let Recovered {
            mut tree,
            last_zxid,
            tail,
            reigns,
            accepted_epoch,
            current_epoch,
        } = recovered;
        let digest = Some(tree.digest());
        set_config(&mut tree, &config, now);
        let state = ZabState {
            last_zxid,
            accepted_epoch,
            current_epoch,
            tail,
            reigns,
            applied: tree.last_zxid(),
            digest,
        };
        let mut snapshots = Snapshots {
            since: 0,
            due_after: 0,
            since_bytes: 0,
            due_after_bytes: 0,
            is_running: false,
            rng: config.seed | 1,
        };
        snapshots.plan(&config);
        Self {
            zab: Zab::new(&config, state),
            view: SharedView::new(tree, Arc::new(config.auth.clone()), config.seed),
            held: None,
            to_apply: Vec::new(),
            is_serving: false,
            leading: None,
            following: Following::default(),
            conns: BTreeMap::new(),
            by_session: BTreeMap::new(),
            next_session_id: config.first_session_id,
            forward_numbers: ForwardNumbers::new(config.sid, config.seed),
            sessions_expired: 0,
            refused: Refused::default(),
            applied_at: Vec::new(),
            dirty: Vec::new(),
            received: None,
            digests: Digests::default(),
            snapshots,
            config,
        }
    }

    /// Looks for a leader.
    pub fn start(&mut self, now: Now, out: &mut Vec<Output>) {
        self.with_zab(now, out, |zab, fx| zab.start(now, fx));
    }

    /// The state that connection tasks read.
    #[must_use]
    pub fn view(&self) -> SharedView {
        self.view.clone()
    }

    /// Wall times of the leader in ms, and how many transactions of each the
    /// last call of [`Self::finish`] has applied.
    #[must_use]
    pub fn applied_at(&self) -> &[(i64, u64)] {
        &self.applied_at
    }

    /// When to call [`Self::step`] with a tick at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        let leading = self.leading.as_ref();
        let expiry = self.next_expiry();
        let cleaning = leading.map(|leading| leading.cleaner.next_deadline());
        [self.zab.next_deadline(), expiry, cleaning]
            .into_iter()
            .flatten()
            .min()
    }

    /// When the next session expires unless it is heard of. What is known of
    /// sessions up to then is to be handed in before the tick.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Millis> {
        let leading = self.leading.as_ref().filter(|leading| leading.may_expire());
        leading.and_then(|leading| leading.tracker.next_expiry())
    }

    /// Takes one input. What it asks for may be performed at once, in order.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        if let Some(leading) = &mut self.leading {
            leading.tracker.runs(now.mono);
        }
        match input {
            Input::Tick => {
                self.zab(now, ZabInput::Tick, out);
                self.expire_sessions(now, out);
                self.clean(now, out);
            }
            Input::Notification {
                from,
                origin,
                notification,
            } => {
                let vote = ZabInput::Notification {
                    from,
                    origin,
                    notification,
                };
                self.zab(now, vote, out);
            }
            Input::LinkAccepted(link, origin) => {
                self.zab(now, ZabInput::LinkAccepted(link, origin), out);
            }
            Input::LinkConnected(link) => self.zab(now, ZabInput::LinkConnected(link), out),
            Input::LinkClosed(link) => self.zab(now, ZabInput::LinkClosed(link), out),
            Input::LinkActive(link) => self.zab(now, ZabInput::LinkActive(link), out),
            Input::Packet { link, packet } => self.zab(now, ZabInput::Packet { link, packet }, out),
            Input::Snap { link, tree } => {
                let zxid = tree.last_zxid();
                self.received = Some(tree);
                self.zab(now, ZabInput::Snap { link, zxid }, out);
                out.extend(self.received.take().map(Output::Discard));
            }
            Input::Appended(zxid) => self.zab(now, ZabInput::Appended(zxid), out),
            Input::EpochSaved(file, epoch) => self.zab(now, ZabInput::EpochSaved(file, epoch), out),
            Input::Truncated(recovered) => self.truncated(now, *recovered, out),
            Input::SnapshotInstalled(zxid) => self.zab(now, ZabInput::SnapshotInstalled(zxid), out),
            Input::SnapshotSaved(_) => self.snapshots.is_running = false,
            Input::ClientConnect { conn, request, ids } => {
                self.client_connect(now, conn, &request, ids, out)
            }
            Input::ClientIds { conn, ids } => self.client_ids(conn, ids),
            Input::ClientWrites { conn, writes } => self.client_writes(now, conn, writes, out),
            Input::ClientClosed(conn) => self.forget_conn(conn),
            Input::Touched(sessions) => self.touched(sessions),
            Input::Shutdown => self.zab(now, ZabInput::Shutdown, out),
        }
    }

    /// Ends a batch: applies what was committed, lets waiting learners be
    /// synchronized from exactly that state, and hands out the clients'
    /// frames. Perform the outputs for clients before dropping the guard. Of
    /// changes that fire very many events only a part is applied; then
    /// [`Self::has_more_to_apply`] says so, and this is to be called again.
    pub fn finish(&mut self, now: Now, out: &mut Vec<Output>) -> Option<Applied> {
        self.applied_at.clear();
        self.apply_until(FRAME_BYTES_AT_ONCE, out);
        if self.has_more_to_apply() {
            self.flush_clients(out);
            return self.held.take();
        }
        let mut fx = Effects::default();
        let applied = self.tree(Tree::last_zxid);
        {
            let (view, held) = (&self.view, &self.held);
            let mut cut = || {
                Arc::new(match held {
                    Some(tree) => tree.cut(),
                    None => view.read().tree().cut(),
                })
            };
            self.zab.after_apply(now, applied, &mut cut, &mut fx);
        }
        self.perform(now, fx, out);
        self.apply_committed(out);
        self.withdraw_if_different(now, out);
        self.snapshot_if_due(out);
        self.flush_clients(out);
        self.held.take()
    }

    /// Is something committed that [`Self::finish`] has not applied yet?
    #[must_use]
    pub const fn has_more_to_apply(&self) -> bool {
        !self.to_apply.is_empty()
    }

    fn zab(&mut self, now: Now, input: ZabInput, out: &mut Vec<Output>) {
        self.with_zab(now, out, |zab, fx| zab.handle(now, input, fx));
    }

    fn with_zab(
        &mut self,
        now: Now,
        out: &mut Vec<Output>,
        act: impl FnOnce(&mut Zab, &mut Effects),
    ) {
        let mut fx = Effects::default();
        act(&mut self.zab, &mut fx);
        self.perform(now, fx, out);
    }

    fn perform(&mut self, now: Now, fx: Effects, out: &mut Vec<Output>) {
        let Effects { outputs, events } = fx;
        out.extend(outputs);
        for event in events {
            self.event(now, event, out);
        }
    }

    fn event(&mut self, now: Now, event: ZabEvent, out: &mut Vec<Output>) {
        match event {
            ZabEvent::Deliver(entry) => self.to_apply.push(entry),
            ZabEvent::InstallTree { zxid, keeps_old } => self.install(now, zxid, keeps_old, out),
            ZabEvent::LeadingStarted { epoch } => {
                self.apply_committed(out);
                self.change(|tree| tree.set_last_zxid(Zxid::new(epoch, 0)));
                let (prep, tracker) = self.tree(|tree| {
                    let tracker =
                        SessionTracker::new(self.config.tick_ms, tree.sessions(), now.mono);
                    let auth = self.view.auth().clone();
                    let prep = Prep::new(epoch, tree.digest(), auth, self.config.znodes);
                    (prep, tracker)
                });
                let cleaner = Cleaner::new(self.config.znodes, now.mono);
                self.leading = Some(Leading {
                    prep,
                    tracker,
                    cleaner,
                });
                self.is_serving = true;
                self.close_lost_sessions(now, out);
            }
            ZabEvent::FollowingStarted { .. } => {
                self.apply_committed(out);
                self.following = Following::default();
                self.is_serving = true;
                let (applied, end) = (self.tree(Tree::last_zxid), self.zab.last_proposed());
                self.digests.serves(applied, end);
            }
            ZabEvent::ServingStopped => self.stop_serving(out),
            ZabEvent::LearnerPacket { link, packet, .. } => {
                self.learner_packet(now, link, &packet, out)
            }
            ZabEvent::LeaderPacket { packet } => self.leader_packet(&packet, out),
            ZabEvent::LearnerGone { link } => {
                if let Some(leading) = &mut self.leading {
                    leading.tracker.learner_gone(link);
                }
            }
            ZabEvent::PingFromLeader { packet } => self.answer_ping(now, &packet, out),
            ZabEvent::SyncReady(token) => self.sync_ready(token, out),
        }
    }

    fn truncated(&mut self, now: Now, recovered: Recovered, out: &mut Vec<Output>) {
        let Recovered {
            mut tree,
            last_zxid,
            tail,
            ..
        } = recovered;
        self.to_apply.clear();
        set_config(&mut tree, &self.config, now);
        self.replace(tree, out);
        self.zab(now, ZabInput::Truncated { last_zxid, tail }, out);
    }

    fn install(&mut self, now: Now, zxid: Zxid, keeps_old: bool, out: &mut Vec<Output>) {
        let received = self.received.take();
        let mut tree = *received.expect("ZAB asks for the SNAP that it was just told of");
        assert_eq!(tree.last_zxid(), zxid, "zxid of the received tree");
        self.to_apply.clear();
        let cut = Arc::new(tree.cut());
        set_config(&mut tree, &self.config, now);
        self.replace(tree, out);
        self.digests.tree_came();
        out.push(Output::InstallSnapshot { cut, keeps_old });
    }

    /// A follower whose tree is not the leader's does not serve it.
    fn withdraw_if_different(&mut self, now: Now, out: &mut Vec<Output>) {
        let is_exact = self.zab.is_leader_exact();
        let patience_ms = u64::from(self.config.sync_limit) * self.config.tick_ms;
        if let Some(zxid) = self.digests.verdict(now.mono, is_exact, patience_ms) {
            if !is_exact && self.is_of_charset() {
                return;
            }
            let problem = Problem::DigestDiffers { zxid, is_exact };
            self.with_zab(now, out, |zab, fx| zab.withdraw(problem, fx));
        }
    }

    /// Can the difference from a leader of the reference come from a charset in
    /// which it hashes paths? If that is none that is known, its digests count
    /// for nothing.
    fn is_of_charset(&mut self) -> bool {
        let by = self.digests.difference();
        if self.change(|tree| tree.follow_charset(by)) {
            self.digests.explained();
            return true;
        }
        let agreed = |created| self.digests.has_agreed_since(created);
        let is_unknown = self.tree(|tree| {
            let beyond = tree.beyond_ascii();
            tree.leader_charset().is_none() && beyond.is_some_and(|it| !agreed(it.oldest))
        });
        if is_unknown {
            tracing::warn!(
                "the leader's digests differ from this tree, which has paths beyond ASCII, and fit no charset that is \
                 known; under this leader they are not compared any more; start the Java members in a UTF-8 locale or \
                 with -Dfile.encoding=UTF-8"
            );
            self.digests.mute();
        }
        is_unknown
    }

    fn replace(&mut self, tree: Tree, out: &mut Vec<Output>) {
        let old = self.change(|old| std::mem::replace(old, tree));
        out.push(Output::Discard(Box::new(old)));
    }

    fn stop_serving(&mut self, out: &mut Vec<Output>) {
        self.apply_committed(out);
        self.is_serving = false;
        self.refused = self.refused();
        self.leading = None;
        self.following = Following::default();
        self.digests = Digests::default();
        self.change(Tree::forget_charset);
        self.flush_clients(out);
        let conns: Vec<_> = self.conns.keys().copied().collect();
        for conn in conns {
            self.forget_conn(conn);
            out.push(Output::CloseClient {
                conn,
                reason: CloseReason::NotServing,
            });
        }
    }

    fn snapshot_if_due(&mut self, out: &mut Vec<Output>) {
        if !self.is_serving || self.snapshots.is_running || !self.snapshots.is_due() {
            return;
        }
        self.snapshots.since = 0;
        self.snapshots.since_bytes = 0;
        self.snapshots.is_running = true;
        self.snapshots.plan(&self.config);
        let cut = self.tree(|tree| Arc::new(tree.cut()));
        out.push(Output::SaveSnapshot(cut));
    }

    /// Looks at the tree, whether this batch holds it or not.
    fn tree<T>(&self, look: impl FnOnce(&Tree) -> T) -> T {
        match &self.held {
            Some(tree) => look(tree),
            None => look(self.view.read().tree()),
        }
    }

    /// Changes the tree; the lock stays until the end of the batch.
    fn change<T>(&mut self, change: impl FnOnce(&mut Tree) -> T) -> T {
        let view = &self.view;
        change(self.held.get_or_insert_with(|| view.write_arc()))
    }
}

impl Snapshots {
    fn is_due(&self) -> bool {
        self.since > self.due_after || self.since_bytes > self.due_after_bytes
    }

    /// Due after half of either limit and a random part of the other half, so
    /// that the members do not all write at once (`SyncRequestProcessor`).
    fn plan(&mut self, config: &ReplicaConfig) {
        self.due_after = self.between_half_and(config.snap_count);
        self.due_after_bytes = match config.snap_bytes {
            Some(bytes) => self.between_half_and(bytes),
            None => u64::MAX,
        };
    }

    fn between_half_and(&mut self, limit: u64) -> u64 {
        let half = (limit / 2).max(1);
        // xorshift: a seed must replay the same run for ever.
        self.rng ^= self.rng << 13;
        self.rng ^= self.rng >> 7;
        self.rng ^= self.rng << 17;
        half + self.rng % half
    }
}

/// Watch events of this many bytes are handed out before more is applied.
const FRAME_BYTES_AT_ONCE: usize = 4 << 20;

/// Every member of an ensemble shows its own config in its tree.
fn set_config(tree: &mut Tree, config: &ReplicaConfig, now: Now) {
    if !config.znodes.members_shown {
        return;
    }
    tree.set_config(
        &config.ensemble.text(),
        Zxid(config.ensemble.version),
        now.wall_ms,
    );
}
