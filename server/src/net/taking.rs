//! Requests out of a connection's inbox: taken in order, reads answered at
//! once, runs of writes handed to the driver.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;
use zk_core::request::{ReadGuard, ReadOutcome, Reply, is_write, write_not_admitted, write_reply};
use zk_core::{ClientWrite, Input};
use zk_proto::client::{ErrorCode, OpCode};
use zk_proto::{Xid, Zxid};

use super::Clients;
use super::connection::Connection;
use super::endings::Ended;
use super::registry::Replied;
use super::spare;
use super::work::{Load, Run};
use crate::metrics::{OpRun, Values};

/// Why no more requests were taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// There is none, or none is to be taken any more.
    All,
    /// The next one waits for replies of the driver or for a place.
    Waits,
    /// The client has to take what is ready for it first.
    OutboxIsFull,
    /// The time is used up.
    OutOfTime,
}

/// How long one connection may keep its thread, and with it a guard that
/// keeps the driver waiting, before others have their turn.
#[derive(Debug, Default)]
pub(super) struct Budget {
    since: Option<Instant>,
    /// Work since the clock was last looked at.
    unchecked: usize,
}

impl Budget {
    fn begin(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// Is all used up after this much work more? A unit is about what the
    /// read of a small znode takes.
    fn spend(&mut self, units: usize) -> bool {
        self.unchecked += units;
        if self.unchecked < UNITS_UNCHECKED {
            return false;
        }
        self.unchecked = 0;
        self.is_over()
    }

    pub(super) fn is_over(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() > TURN_MAX)
    }
}

/// The beginning of a complete frame.
#[derive(Clone, Copy)]
struct Head {
    /// Of the whole frame, its length prefix included.
    bytes: usize,
    xid: Xid,
    op: i32,
}

/// What becomes of the request at the front.
enum Admission {
    Write,
    Read,
    /// It has waited for too long and is refused.
    TooLate,
    /// The client has not said who it is, as it has to before.
    Unproved,
    /// Its turn has not come.
    Waits,
    /// It exceeds what large requests may take.
    TooLarge,
}

/// What was taken under one guard, to be counted at once.
struct Tally<'a> {
    start: Instant,
    frames: u64,
    ops: OpRun<'a>,
    reads: u64,
    read_bytes: Values,
    last_read: (Xid, i32, Zxid),
    writes: Vec<ClientWrite>,
    last_write: i32,
    write_bytes: usize,
    large_bytes: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Takes complete frames as far as their order and the time allow.
    pub(super) fn take_frames(&mut self, budget: &mut Budget, cx: &mut Context<'_>) -> Taken {
        let is_over = matches!(
            self.work.ending,
            Some(Ended::ByServer(_) | Ended::Socket(_))
        );
        let is_stopping = self.clients.is_stopping.load(Ordering::Relaxed);
        if !self.is_open || is_over || is_stopping || self.next_frame().is_none() {
            return Taken::All;
        }
        self.work.pause = None;
        let clients = self.clients.clone();
        let open = self.work.outbox.frames.open();
        if open.capacity() == 0 {
            *open = spare::take_outbox();
        }
        let mut tally = Tally::new(&clients);
        budget.begin(tally.start);
        if clients.request_throttle.is_some() {
            let untaken = self.work.inbox.len();
            self.work.turn.arrived(untaken, tally.start);
        }
        let mut guard = None;
        let taken = self.take_run(&clients, &mut guard, &mut tally, budget, cx);
        drop(guard);
        if tally.frames > 0 {
            self.settle(&clients, tally);
        }
        taken
    }

    fn take_run<'a>(
        &mut self,
        clients: &'a Clients,
        guard: &mut Option<ReadGuard<'a>>,
        tally: &mut Tally<'_>,
        budget: &mut Budget,
        cx: &mut Context<'_>,
    ) -> Taken {
        let is_high = clients.backlog.is_high();
        let outbox_max = if is_high { 0 } else { OUTBOX_BYTES_MAX };
        while let Some(next) = self.next_frame() {
            let Ok(head) = next else {
                self.refuse_frame();
                return Taken::All;
            };
            let mut units = 1;
            match self.admission(clients, head, tally.start, cx) {
                Admission::Waits => return Taken::Waits,
                Admission::TooLarge => {
                    self.work.ending = Some(Ended::TooLarge(head.bytes));
                    return Taken::All;
                }
                Admission::Write => self.take_write(clients, head, tally),
                Admission::Unproved => {
                    write_not_admitted(self.work.outbox.frames.open(), head.xid);
                    self.work.inbox.advance(head.bytes);
                    self.work.ending = Some(Ended::Unauthenticated);
                    tally.reads += 1;
                }
                admission @ (Admission::Read | Admission::TooLate) => {
                    if self.work.outstanding > 0 {
                        return Taken::Waits;
                    }
                    if self.work.outbox.unsent() > outbox_max {
                        return Taken::OutboxIsFull;
                    }
                    if guard.is_none() {
                        *guard = Some(clients.view.read());
                        // Events of what this guard shows are in the mailbox.
                        self.collect(cx);
                        if matches!(self.work.ending, Some(Ended::ByServer(_))) {
                            return Taken::All;
                        }
                    }
                    let guard = guard.as_ref().expect("taken above");
                    let is_too_late = matches!(admission, Admission::TooLate);
                    if head.op != OpCode::GetAllChildrenNumber.code() || is_too_late {
                        units = self.serve(guard, head, is_too_late, tally);
                    } else {
                        let walk = match clients.walks.begin() {
                            Ok(walk) => walk,
                            Err(wait) => {
                                self.pause(wait, cx);
                                return Taken::Waits;
                            }
                        };
                        units = UNITS_UNCHECKED + self.serve(guard, head, is_too_late, tally);
                        walk.end();
                    }
                }
            }
            self.work.turn.taken(head.bytes);
            tally.ops.note(head.op);
            tally.frames += 1;
            let ending = self.work.ending.as_ref();
            if ending.is_some_and(|ending| !matches!(ending, Ended::ByClient)) {
                return Taken::All;
            }
            if budget.spend(units) {
                return Taken::OutOfTime;
            }
        }
        Taken::All
    }

    fn admission(
        &mut self,
        clients: &Clients,
        Head { bytes, op, .. }: Head,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Admission {
        let is_too_late = clients.is_too_late(&self.work.turn, op, bytes, now);
        if is_too_late {
            // Whoever waits behind may have the place.
            self.work.turn.give_up(now);
        }
        if !self.is_admitted(op) {
            return Admission::Unproved;
        }
        if is_too_late {
            return Admission::TooLate;
        }
        if !is_write(op) {
            return Admission::Read;
        }
        if !clients.has_room(self.work.outstanding) {
            if self.work.outstanding == 0 {
                // No reply of its own will wake it.
                self.pause(ROOM_PAUSE, cx);
            }
            return Admission::Waits;
        }
        if !clients.has_room_for_large(bytes - LENGTH_BYTES) {
            return Admission::TooLarge;
        }
        if !clients.enter(&mut self.work.turn, bytes, now, cx) {
            return Admission::Waits;
        }
        Admission::Write
    }

    /// Wakes the task after a while.
    fn pause(&mut self, time: Duration, cx: &mut Context<'_>) {
        let pause = self.work.pause.insert(Box::pin(sleep(time)));
        if pause.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    fn take_write(
        &mut self,
        clients: &Clients,
        Head { bytes, xid, op }: Head,
        tally: &mut Tally<'_>,
    ) {
        let length = bytes - LENGTH_BYTES;
        if clients.is_large(length) {
            clients.metrics.large_request_bytes.add(length as i64);
            tally.large_bytes += length;
        }
        let mut body: Bytes = self.work.inbox.split_to(bytes).freeze();
        body.advance(FRAME_HEAD_BYTES);
        tally.write_bytes += body.len();
        tally.writes.push(ClientWrite { xid, op, body });
        tally.last_write = op;
        self.work.outstanding += 1;
    }

    /// Answers a read. Returns how much work that was, in units of [`Budget`].
    fn serve(
        &mut self,
        guard: &ReadGuard<'_>,
        Head { bytes, xid, op }: Head,
        is_too_late: bool,
        tally: &mut Tally<'_>,
    ) -> usize {
        let metrics = &self.clients.metrics;
        let Load { inbox, outbox, .. } = &mut *self.work;
        let body = &inbox[FRAME_HEAD_BYTES..bytes];
        let out = outbox.frames.open();
        let before = out.len() + LENGTH_BYTES;
        let outcome = if is_too_late {
            metrics.throttled_ops.add(1);
            let zxid = guard.tree().last_zxid();
            write_reply(out, xid, zxid, ErrorCode::ThrottledOp.code(), &Reply::None);
            ReadOutcome::Answered
        } else {
            guard.serve(&mut self.client, xid, op, body, out)
        };
        inbox.advance(bytes);
        let answered = out.len().saturating_sub(before);
        outbox.reply_bytes += answered;
        tally.read_bytes.add(answered as u64);
        tally.reads += 1;
        tally.last_read = (xid, op, guard.tree().last_zxid());
        match outcome {
            ReadOutcome::Answered => {}
            ReadOutcome::Authenticated => {
                self.clients.inbox.push_input(Input::ClientIds {
                    conn: self.client.conn(),
                    ids: self.client.ids().clone(),
                });
            }
            ReadOutcome::Close => {
                let is_auth = op == OpCode::Auth.code();
                metrics.auth_failed.add(u64::from(is_auth));
                self.work.ending = Some(Ended::Unanswerable);
            }
        }
        1 + (bytes + answered) / UNIT_BYTES + self.client.looked_at() / UNIT_ENTRIES
    }

    /// Counts what was taken, and hands the writes to the driver.
    fn settle(&mut self, clients: &Clients, tally: Tally<'_>) {
        let metrics = &clients.metrics;
        metrics.packets_received.add(tally.frames);
        self.stats.received(&clients.registry, tally.frames);
        if tally.reads > 0 {
            let elapsed = tally.start.elapsed();
            metrics.packets_sent.add(tally.reads);
            metrics.response_bytes.record_all(&tally.read_bytes);
            metrics.reads_answered(elapsed, tally.reads);
            self.stats.sent(&clients.registry, tally.reads);
            let (xid, op, zxid) = tally.last_read;
            self.stats.replied(
                &clients.registry,
                Replied {
                    count: tally.reads,
                    op,
                    xid,
                    zxid,
                    at: clients.clock.mono(),
                    elapsed,
                },
            );
        }
        if !tally.writes.is_empty() {
            let count = u32::try_from(tally.writes.len());
            let count = count.expect("outstanding requests are bounded");
            metrics.outstanding.add(count.into());
            metrics.outstanding_bytes.add(tally.write_bytes as i64);
            self.stats.queued(self.work.outstanding);
            self.work.awaited.push_back(Run {
                count,
                last_op: tally.last_write,
                bytes: tally.write_bytes,
                large_bytes: tally.large_bytes,
                since: tally.start,
            });
            clients.inbox.push_input(Input::ClientWrites {
                conn: self.client.conn(),
                writes: tally.writes,
            });
        }
    }

    /// The frame at the front cannot be a request.
    fn refuse_frame(&mut self) {
        let length = self.announced().unwrap_or(0);
        let max = self.clients.limits.frame_bytes_max;
        if usize::try_from(length).is_ok_and(|length| length > max) {
            self.clients.metrics.requests_too_large.add(1);
        }
        self.work.ending = Some(Ended::BadFrame(length));
    }

    /// Has the client proved what every client has to, or does it do so now?
    fn is_admitted(&self, op: i32) -> bool {
        const PROOFS: [i32; 2] = [OpCode::Auth.code(), OpCode::Sasl.code()];
        self.clients.view.auth().admits(self.client.ids()) || PROOFS.contains(&op)
    }

    /// The frame at the front, if it is complete. An error if no request can
    /// begin like this.
    fn next_frame(&self) -> Option<Result<Head, ()>> {
        let int = |at: usize| {
            let bytes = self.work.inbox.get(at..at + 4)?;
            Some(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        let length = match usize::try_from(int(0)?) {
            Ok(n) if (HEADER_BYTES..=self.clients.limits.frame_bytes_max).contains(&n) => n,
            _ => return Some(Err(())),
        };
        let bytes = LENGTH_BYTES + length;
        if self.work.inbox.len() < bytes {
            return None;
        }
        let (xid, op) = (Xid(int(4)?), int(8)?);
        Some(Ok(Head { bytes, xid, op }))
    }

    /// The length at the front, once it is there.
    fn announced(&self) -> Option<i32> {
        let head = self.work.inbox.first_chunk()?;
        Some(i32::from_be_bytes(*head))
    }

    /// How much the frame at the front of the inbox lacks.
    pub(super) fn missing_bytes(&self) -> usize {
        let length = self.announced().unwrap_or(0);
        match usize::try_from(length) {
            Ok(length) if length <= self.clients.limits.frame_bytes_max => {
                (LENGTH_BYTES + length).saturating_sub(self.work.inbox.len())
            }
            _ => 0,
        }
    }

    pub(super) fn has_frame(&self) -> bool {
        self.work.inbox.len() >= LENGTH_BYTES && self.missing_bytes() == 0
    }
}

impl<'a> Tally<'a> {
    fn new(clients: &'a Clients) -> Self {
        Self {
            start: Instant::now(),
            frames: 0,
            ops: clients.metrics.ops.run(),
            reads: 0,
            read_bytes: Values::default(),
            last_read: (Xid(0), 0, Zxid::ZERO),
            writes: Vec::new(),
            last_write: 0,
            write_bytes: 0,
            large_bytes: 0,
        }
    }
}

/// Length prefix.
const LENGTH_BYTES: usize = 4;
/// Length prefix and request header.
const FRAME_HEAD_BYTES: usize = LENGTH_BYTES + HEADER_BYTES;
/// A request header.
const HEADER_BYTES: usize = 8;
/// With this much unsent, requests wait.
const OUTBOX_BYTES_MAX: usize = 1 << 20;
/// The time of one turn.
const TURN_MAX: Duration = Duration::from_millis(1);
/// After this long a write looks for room among all of them again.
const ROOM_PAUSE: Duration = Duration::from_millis(5);
/// After so many units the clock is looked at.
const UNITS_UNCHECKED: usize = 32;
/// So many bytes of request and reply are a unit.
const UNIT_BYTES: usize = 1024;
/// So many entries of access lists, or ephemerals, that a read looks at are a
/// unit.
const UNIT_ENTRIES: usize = 16;
