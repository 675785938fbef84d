//! The one task that owns the [`Replica`]: takes whatever has arrived, steps
//! through it, performs what comes out, and sleeps until the next deadline.

mod clients;
mod counts;

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::time::Sleep;
use zk_core::{ConnId, EpochFile, Input, LinkId, Millis, Output, Replica, Role};
use zk_proto::quorum::{PacketKind, QuorumPacket};
use zk_proto::{Epoch, Sid};

use self::clients::{Clients, Heard};
use crate::clock::Clock;
use crate::disk_thread::{Disk, DiskOp};
use crate::failure::Failure;
use crate::inbox::{Event, Inbox};
use crate::metrics::Metrics;
use crate::net::{Backlog, Farewell, LinkOutbox, Mesh, QuorumPort};
use crate::probe::role_name;

/// When the driver has last ended a batch or begun one that may be long.
#[derive(Default)]
pub(crate) struct Heartbeat {
    at_ms: AtomicU64,
    is_long: std::sync::atomic::AtomicBool,
}

impl Heartbeat {
    /// For how long the driver has not answered, work that may be long aside.
    pub(crate) fn silent_ms(&self, clock: Clock) -> u64 {
        if self.is_long.load(Ordering::Relaxed) {
            return 0;
        }
        clock
            .mono()
            .0
            .saturating_sub(self.at_ms.load(Ordering::Relaxed))
    }

    /// The driver answers at this moment.
    pub(crate) fn beat(&self, now: Millis) {
        self.at_ms.store(now.0, Ordering::Relaxed);
        self.is_long.store(false, Ordering::Relaxed);
    }
}

/// What the driver works with.
pub(crate) struct DriverParts {
    pub(crate) sid: Sid,
    pub(crate) replica: Replica,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) disk: Disk,
    /// `None` for a server without peers.
    pub(crate) mesh: Option<Arc<Mesh>>,
    pub(crate) quorum: Arc<QuorumPort>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) backlog: Arc<Backlog>,
    pub(crate) heartbeat: Arc<Heartbeat>,
    pub(crate) clock: Clock,
    pub(crate) tick_ms: u64,
}

/// Runs a replica until it halts.
pub(crate) struct Driver {
    parts: DriverParts,
    clients: Clients,
    links: HashMap<LinkId, Link>,
    outputs: Vec<Output>,
    wakers: Vec<Waker>,
    /// Bytes put into mailboxes in this batch.
    delivered: usize,
    /// Links with packets that were encoded in this batch.
    dirty_links: Vec<LinkId>,
    next_touch: Millis,
    /// When the replica was last told of the sessions that were heard of.
    touched: Millis,
    /// Requests that clients had sent when the disk was last asked for something.
    received: u64,
    role: Role,
    is_serving: bool,
    looking_since: Option<Instant>,
    unavailable_since: Option<Instant>,
    /// Since when this server, as a follower, is synchronized.
    syncing_since: Option<Instant>,
    is_stopping: bool,
}

struct Link {
    outbox: Arc<LinkOutbox>,
    packets: Vec<u8>,
}

impl Driver {
    pub(crate) fn new(parts: DriverParts) -> Self {
        // Who has peers begins with looking for a leader, which clients wait for.
        let has_peers = parts.mesh.is_some();
        parts.metrics.looking.add(u64::from(has_peers));
        Self {
            unavailable_since: has_peers.then(Instant::now),
            clients: Clients::new(parts.tick_ms),
            parts,
            links: HashMap::new(),
            outputs: Vec::new(),
            wakers: Vec::new(),
            delivered: 0,
            dirty_links: Vec::new(),
            next_touch: Millis(0),
            touched: Millis(0),
            received: 0,
            role: Role::Looking,
            is_serving: false,
            looking_since: Some(Instant::now()),
            syncing_since: None,
            is_stopping: false,
        }
    }

    /// Runs until it is told to stop, or fails.
    pub(crate) async fn run(mut self) -> Result<(), Failure> {
        let now = self.parts.clock.now();
        self.parts.replica.start(now, &mut self.outputs);
        let mut batch = Vec::new();
        let mut alarm = Alarm::new(self.parts.clock);
        loop {
            self.finish()?;
            while self.parts.replica.has_more_to_apply() {
                // Clients take what they have got first.
                tokio::task::yield_now().await;
                self.finish()?;
            }
            self.sync();
            if self.is_stopping {
                return Ok(());
            }
            let deadline = self.parts.replica.next_deadline();
            let deadline = deadline.map_or(self.next_touch, |at| at.min(self.next_touch));
            alarm.set(deadline);
            let inbox = self.parts.inbox.clone();
            poll_fn(|cx| match inbox.poll_take(cx, &mut batch) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => alarm.poll(cx),
            })
            .await;
            self.step(&mut batch)?;
        }
    }

    /// Has done what the disk was asked for: by its thread, or between two
    /// tasks if clients send so little that nobody else would wait for this sync.
    fn sync(&mut self) {
        if self.parts.disk.is_idle() {
            return;
        }
        let received = self.parts.metrics.packets_received.value();
        let entries = self.parts.disk.asked_between_tasks();
        let others = entries.map(|entries| received.saturating_sub(self.received + entries));
        self.received = received;
        if others == Some(0) {
            self.parts.disk.work_between_tasks();
        } else {
            self.parts.disk.kick();
        }
    }

    /// Hands a batch to the replica and sends what may leave at once.
    fn step(&mut self, batch: &mut Vec<Event>) -> Result<(), Failure> {
        let now = self.parts.clock.now();
        if !batch.is_empty() {
            self.parts
                .metrics
                .driver_batches
                .record(batch.len() as u64, 1);
            self.parts.metrics.driver_inputs.add(batch.len() as u64);
        }
        for event in batch.drain(..) {
            let input = match event {
                Event::Input(input) => input,
                Event::ClientConnect {
                    conn,
                    stats,
                    request,
                    ids,
                } => {
                    self.clients.insert(conn, stats, now.mono);
                    Input::ClientConnect { conn, request, ids }
                }
                Event::Vote { from } => {
                    let mesh = self.parts.mesh.as_ref();
                    match mesh.and_then(|mesh| mesh.take_vote(from)) {
                        Some((origin, notification)) => Input::Notification {
                            from,
                            origin,
                            notification,
                        },
                        None => continue,
                    }
                }
                Event::LinkAccepted {
                    link,
                    origin,
                    outbox,
                } => {
                    self.links.insert(
                        link,
                        Link {
                            outbox,
                            packets: Vec::new(),
                        },
                    );
                    Input::LinkAccepted(link, origin)
                }
                Event::Status(asker) => {
                    // An asker that has lost patience is gone.
                    let _ = asker.send(self.parts.replica.status());
                    continue;
                }
                Event::Sessions { after, max, asker } => {
                    // An asker that has lost patience is gone.
                    let _ = asker.send(self.parts.replica.sessions_by_expiry(after, max));
                    continue;
                }
                Event::DiskFailed(error) => return Err(Failure::Disk(error)),
                Event::Stop => {
                    self.is_stopping = true;
                    Input::Shutdown
                }
            };
            match &input {
                Input::ClientClosed(conn) => drop(self.clients.remove(*conn)),
                Input::LinkClosed(link) => drop(self.links.remove(link)),
                Input::Packet { packet, .. } => {
                    self.count(packet, now.wall_ms);
                    if packet.known_kind() == Some(PacketKind::Ping) {
                        self.touch(now.mono);
                    }
                }
                Input::Snap { .. } | Input::Truncated(_) => {
                    self.parts.heartbeat.is_long.store(true, Ordering::Relaxed);
                }
                _ => {}
            }
            self.parts.replica.step(now, input, &mut self.outputs);
        }
        // Who was heard of before a session's time is over keeps it.
        let expiry = self.parts.replica.next_expiry();
        let expires = expiry.is_some_and(|at| at <= now.mono && at > self.touched);
        if expires || now.mono >= self.next_touch {
            self.touch(now.mono);
            self.next_touch = now.mono + (self.parts.tick_ms / 2).max(1);
        }
        if self
            .parts
            .replica
            .next_deadline()
            .is_some_and(|at| at <= now.mono)
        {
            self.parts.replica.step(now, Input::Tick, &mut self.outputs);
        }
        self.perform()
    }

    /// Applies what is committed and delivers it: replies and events are in
    /// the mailboxes before anyone can read the change.
    fn finish(&mut self) -> Result<(), Failure> {
        let now = self.parts.clock.now();
        let applied = self.parts.replica.finish(now, &mut self.outputs);
        self.count_applied(now.wall_ms);
        let performed = self.perform();
        drop(applied);
        self.wakers.drain(..).for_each(Waker::wake);
        self.parts
            .backlog
            .relieve(std::mem::take(&mut self.delivered));
        self.parts.heartbeat.beat(now.mono);
        performed
    }

    fn perform(&mut self) -> Result<(), Failure> {
        let mut outputs = std::mem::take(&mut self.outputs);
        for output in outputs.drain(..) {
            self.perform_one(output)?;
        }
        // The allocation serves the next batch.
        self.outputs = outputs;
        self.flush_links();
        Ok(())
    }

    fn perform_one(&mut self, output: Output) -> Result<(), Failure> {
        match output {
            Output::Connect {
                link,
                to,
                within_ms,
            } => {
                let outbox = self
                    .parts
                    .quorum
                    .dial(link, to, Duration::from_millis(within_ms));
                self.links.insert(
                    link,
                    Link {
                        outbox,
                        packets: Vec::new(),
                    },
                );
            }
            Output::Close { link, reason } => {
                self.flush_links();
                if let Some(link) = self.links.remove(&link) {
                    link.outbox.close(reason);
                }
            }
            Output::Send { link, packet } => self.send(link, &packet),
            Output::SendSnap { link, cut } => {
                self.flush_links();
                self.parts.metrics.snapshots_sent.add(1);
                if let Some(link) = self.links.get(&link) {
                    link.outbox.send_image(cut.blocks());
                }
            }
            Output::Notify { to, notification } => {
                if let Some(mesh) = &self.parts.mesh {
                    mesh.send(to, &notification);
                }
            }
            Output::Append(entries) => {
                if self.role == Role::Leading {
                    self.count_proposals(&entries);
                }
                self.parts.disk.ask(DiskOp::Append(entries));
            }
            Output::SaveEpoch(file, epoch) => self.save_epoch(file, epoch),
            Output::Truncate(zxid) => self.parts.disk.ask(DiskOp::Truncate(zxid)),
            Output::InstallSnapshot { cut, keeps_old } => {
                self.parts.disk.ask(DiskOp::Install { cut, keeps_old });
            }
            Output::SaveSnapshot(cut) => self.parts.disk.ask(DiskOp::SaveSnapshot(cut)),
            Output::Discard(tree) => drop(tokio::task::spawn_blocking(move || drop(tree))),
            Output::ToClient(message) => {
                let conn = message.conn;
                let close = message.close;
                if let Some(stats) = self.clients.get(conn) {
                    self.delivered += message.frames.len();
                    self.wakers.extend(stats.mailbox.deliver(message));
                }
                if close {
                    self.clients.remove(conn);
                }
            }
            Output::SessionOpened {
                conn,
                session,
                timeout_ms,
                frame,
            } => {
                let woken = self.clients.opened(conn, session, timeout_ms, frame);
                self.wakers.extend(woken);
            }
            Output::SessionRefused { conn, frame } => self.part(conn, frame, Farewell::Refused),
            Output::CloseClient { conn, reason } => {
                self.part(conn, Vec::new(), Farewell::Reason(reason));
            }
            Output::RoleChanged {
                role,
                serving,
                epoch,
                leader,
            } => {
                self.role_changed(role, serving, epoch, leader);
            }
            Output::Halt { reason } => return Err(Failure::Halt(reason)),
        }
        Ok(())
    }

    fn save_epoch(&mut self, file: EpochFile, epoch: Epoch) {
        self.parts.disk.ask(DiskOp::SaveEpoch(file, epoch));
    }

    fn part(&mut self, conn: ConnId, frame: Vec<u8>, farewell: Farewell) {
        if let Some(stats) = self.clients.remove(conn) {
            self.wakers.extend(stats.mailbox.close(frame, farewell));
        }
    }

    fn send(&mut self, to: LinkId, packet: &QuorumPacket) {
        match packet.known_kind() {
            Some(PacketKind::Diff) => self.parts.metrics.diffs_sent.add(1),
            Some(PacketKind::AckEpoch) => self.syncing_since = Some(Instant::now()),
            _ => {}
        }
        if let Some(link) = self.links.get_mut(&to) {
            // A learner is synchronized, or a leader has proved to be one.
            if let Some(PacketKind::UpToDate | PacketKind::AckEpoch) = packet.known_kind() {
                link.outbox.set_proved();
            }
            if link.packets.is_empty() {
                self.dirty_links.push(to);
            }
            packet.write(&mut link.packets);
        }
    }

    /// All packets of a batch for a link become one piece to write.
    fn flush_links(&mut self) {
        for id in self.dirty_links.drain(..) {
            let Some(link) = self.links.get_mut(&id) else {
                continue;
            };
            let kept = link.outbox.send(&link.packets);
            link.packets.clear();
            if !kept {
                tracing::warn!(link = id.0, "a peer takes nothing; closing its connection");
                link.outbox.close("the peer takes nothing");
                self.links.remove(&id);
                self.parts.inbox.push_input(Input::LinkClosed(id));
            }
        }
    }

    /// Reports the sessions that were heard of since they were last reported,
    /// and closes the connections that have been silent for too long.
    fn touch(&mut self, now: Millis) {
        self.touched = now;
        let Heard { touched, silent } = self.clients.hear(now);
        for conn in silent {
            self.part(conn, Vec::new(), Farewell::Silent);
        }
        if !touched.is_empty() {
            let now = zk_core::Now {
                mono: now,
                ..self.parts.clock.now()
            };
            self.parts
                .replica
                .step(now, Input::Touched(touched), &mut self.outputs);
        }
    }

    fn role_changed(&mut self, role: Role, serving: bool, epoch: Epoch, leader: Option<Sid>) {
        let metrics = &self.parts.metrics;
        if let Some(mesh) = &self.parts.mesh {
            mesh.set_role(role == Role::Looking, serving);
        }
        if role == Role::Looking && self.role != Role::Looking {
            metrics.looking.add(1);
            self.looking_since = Some(Instant::now());
        }
        if role != Role::Looking
            && let Some(since) = self.looking_since.take()
        {
            metrics.elections.record_time(since.elapsed(), 1);
        }
        if serving && !self.is_serving {
            if let Some(since) = self.unavailable_since.take() {
                metrics.unavailable.record_time(since.elapsed(), 1);
                if role == Role::Leading {
                    metrics.leader_unavailable.record_time(since.elapsed(), 1);
                }
            }
            if let Some(since) = self.syncing_since.take()
                && role == Role::Following
            {
                metrics.follower_syncs.record_time(since.elapsed(), 1);
            }
        } else if !serving && self.is_serving {
            self.unavailable_since = Some(Instant::now());
        }
        let leads = role == Role::Leading && serving;
        let since = if leads {
            self.parts.clock.mono().0 + 1
        } else {
            0
        };
        metrics.leading_since_ms.store(since, Ordering::Relaxed);
        self.role = role;
        self.is_serving = serving;
        let (sid, leader) = (self.parts.sid.0, leader.map(|leader| leader.0));
        let role = role_name(role, self.parts.mesh.is_none());
        tracing::info!(sid, %role, serving, epoch = epoch.0, leader, "role");
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        for stats in self.clients.take_all() {
            self.wakers
                .extend(stats.mailbox.close(Vec::new(), Farewell::Shutdown));
        }
        for (_, link) in self.links.drain() {
            link.outbox.close("this server ends");
        }
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

/// The next deadline as a timer that is set anew only when it changes.
struct Alarm {
    clock: Clock,
    at: Millis,
    sleep: Pin<Box<Sleep>>,
}

impl Alarm {
    fn new(clock: Clock) -> Self {
        Self {
            clock,
            at: Millis(0),
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
        }
    }

    fn set(&mut self, at: Millis) {
        if at != self.at {
            self.at = at;
            self.sleep.as_mut().reset(self.clock.instant(at).into());
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().poll(cx)
    }
}
