//! One client connection with a session: frames in, replies out.
//!
//! One task does both directions. It reads what the socket has, takes every
//! complete frame, answers runs of reads under one guard of the shared view,
//! hands runs of writes to the driver, and sends all replies with one write.
//! A read waits for the earlier writes of its own connection, nothing else.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use zk_core::request::{
    Client, ReadGuard, ReadOutcome, Reply, is_write, write_not_admitted, write_reply,
};
use zk_core::{ClientWrite, Input};
use zk_proto::client::{ErrorCode, OpCode};
use zk_proto::{Xid, Zxid};

use super::client::Clients;
use super::frames::{Sent, frames};
use super::mailbox::Farewell;
use super::registry::{ConnStats, Replied};
use super::spare;
use super::work::{Load, Run, Work};
use crate::metrics::Values;

/// Why a connection has ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The client has closed it.
    ByClient,
    /// The socket failed.
    Socket(io::Error),
    /// What it sent is no request; the length that it announced.
    BadFrame(i32),
    /// A request of this length would exceed what large requests may take.
    TooLarge(usize),
    /// A request is not to be answered.
    Unanswerable,
    /// It has sent a request before it has said who it is, as it has to here.
    Unauthenticated,
    /// It does not read what it is sent.
    NotReading,
    /// The driver wants it to end.
    ByServer(Farewell),
}

/// A connection from its first frame on.
pub(super) struct Connection {
    client: Client,
    stream: TcpStream,
    clients: Arc<Clients>,
    stats: Arc<ConnStats>,
    is_open: bool,
    work: Work,
}

/// Why no more frames were taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// There is none, or it waits for a reply of the driver.
    All,
    /// The client has to take what is ready for it first.
    OutboxIsFull,
}

impl Connection {
    /// A connection whose ConnectRequest was handed to the driver; `inbox` is
    /// what was read after it.
    pub(super) fn new(
        client: Client,
        stream: TcpStream,
        clients: Arc<Clients>,
        stats: Arc<ConnStats>,
        inbox: BytesMut,
    ) -> Self {
        Self {
            client,
            stream,
            clients,
            stats,
            is_open: false,
            work: Work::new(inbox),
        }
    }

    /// Serves until the connection ends. Between two calls it holds no more
    /// memory than what waits to be taken or sent.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        self.work.begin();
        let ended = self.poll_both(cx);
        self.work.rest();
        ended
    }

    fn poll_both(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            self.collect(cx);
            let mut filled = false;
            match self.poll_fill(cx) {
                Poll::Ready(Ok(())) => filled = true,
                // What came before the end of the stream is still taken.
                Poll::Ready(Err(ended)) => {
                    self.work.ending = self.work.ending.take().or(Some(ended))
                }
                Poll::Pending => {}
            }
            let taken = self.take_frames(cx);
            match self.work.outbox.poll_flush(&mut self.stream, cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(Ended::Socket(error)),
                Poll::Pending if self.work.outbox.unsent() > OUTBOX_BYTES_LIMIT => {
                    return Poll::Ready(Ended::NotReading);
                }
                Poll::Ready(Ok(())) => {
                    if let Some(ended) = self.work.ending.take() {
                        return Poll::Ready(ended);
                    }
                    if taken == Taken::OutboxIsFull {
                        continue;
                    }
                }
                Poll::Pending if taken == Taken::OutboxIsFull => return Poll::Pending,
                Poll::Pending => {}
            }
            if !(filled && self.wants_input()) {
                return Poll::Pending;
            }
        }
    }

    /// Takes what the driver has left.
    fn collect(&mut self, cx: &Context<'_>) {
        let mail = self.stats.mailbox.take(cx);
        if mail.opened {
            self.is_open = true;
            self.clients.metrics.packets_sent.add(1);
            self.stats.sent(&self.clients.registry, 1);
        }
        if mail.replies + mail.events > 0 {
            let frames = u64::from(mail.replies + mail.events);
            self.clients.metrics.packets_sent.add(frames);
            self.stats.sent(&self.clients.registry, frames);
            self.answered(mail.replies, &mail.frames);
        }
        if !mail.frames.is_empty() {
            self.work.outbox.add(mail.frames);
        }
        if let Some(farewell) = mail.close {
            self.work.ending = Some(Ended::ByServer(farewell));
        }
    }

    fn answered(&mut self, mut replies: u32, frames: &[u8]) {
        let metrics = &self.clients.metrics;
        let sent = Sent::of(frames);
        metrics.response_bytes.record_all(&sent.replies);
        metrics.watch_bytes.add(sent.event_bytes);
        let (xid, zxid) = sent.last.unwrap_or((Xid(-1), Zxid::ZERO));
        let left = self.work.outstanding.saturating_sub(replies);
        self.clients.leave(self.work.outstanding - left);
        self.work.outstanding = left;
        metrics.outstanding.add(-i64::from(replies));
        while replies > 0
            && let Some(run) = self.work.awaited.front_mut()
        {
            let of_run = run.count.min(replies);
            let elapsed = run.since.elapsed();
            metrics.writes_answered(elapsed, of_run.into());
            self.stats.replied(
                &self.clients.registry,
                Replied {
                    count: of_run.into(),
                    op: run.last_op,
                    xid,
                    zxid,
                    at: self.clients.clock.mono(),
                    elapsed,
                },
            );
            replies -= of_run;
            run.count -= of_run;
            if run.count == 0 {
                metrics.outstanding_bytes.add(-(run.bytes as i64));
                metrics.large_request_bytes.add(-(run.large_bytes as i64));
                self.work.awaited.pop_front();
            }
        }
        self.stats.queued(self.work.outstanding);
    }

    fn wants_input(&self) -> bool {
        self.is_open
            && self.work.ending.is_none()
            && self.work.outbox.unsent() < OUTBOX_BYTES_MAX
            && (self.work.inbox.len() < INBOX_BYTES_MAX || !self.has_frame())
    }

    /// Reads once. Ready if there may be more.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        if !self.wants_input() {
            return Poll::Pending;
        }
        if self.work.inbox.capacity() == 0 {
            self.work.inbox = spare::take_inbox();
        }
        if self.work.inbox.capacity() - self.work.inbox.len() < READ_BYTES_MIN {
            // What is allocated grows with what arrives, not with what was announced.
            let arrived = self.work.inbox.len().max(READ_BYTES);
            let wanted = self.missing_bytes().clamp(READ_BYTES, arrived);
            self.work.inbox.reserve(wanted);
        }
        let read = pin!(self.stream.read_buf(&mut self.work.inbox));
        match ready!(read.poll(cx)) {
            Ok(0) => Poll::Ready(Err(Ended::ByClient)),
            Ok(n) => {
                self.clients.metrics.bytes_received.add(n as u64);
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(Ended::Socket(error))),
        }
    }

    /// How much the frame at the front of the inbox lacks.
    fn missing_bytes(&self) -> usize {
        let length = self
            .work
            .inbox
            .first_chunk()
            .map_or(0, |head| i32::from_be_bytes(*head));
        match usize::try_from(length) {
            Ok(length) if length <= self.clients.limits.frame_bytes_max => {
                (4 + length).saturating_sub(self.work.inbox.len())
            }
            _ => 0,
        }
    }

    fn has_frame(&self) -> bool {
        self.work.inbox.len() >= 4 && self.missing_bytes() == 0
    }

    /// Takes complete frames as far as their order allows.
    fn take_frames(&mut self, cx: &mut Context<'_>) -> Taken {
        let is_over = matches!(
            self.work.ending,
            Some(Ended::ByServer(_) | Ended::Socket(_))
        );
        let is_stopping = self.clients.is_stopping.load(Ordering::Relaxed);
        if !self.is_open || is_over || is_stopping || self.next_frame().is_none() {
            return Taken::All;
        }
        let clients = self.clients.clone();
        if self.work.outbox.bytes.capacity() == 0 {
            self.work.outbox.bytes = spare::take_outbox();
        }
        let start = Instant::now();
        if clients.request_throttle.is_some() {
            let untaken = self.work.inbox.len();
            self.work.turn.arrived(untaken, start);
        }
        let mut guard: Option<ReadGuard<'_>> = None;
        let mut run = Vec::new();
        let (mut run_bytes, mut large_bytes) = (0, 0);
        let (mut reads, mut frames) = (0, 0_u64);
        let mut ops = clients.metrics.ops.run();
        let mut read_bytes = Values::default();
        let (mut last_read, mut last_write) = ((Xid(0), 0, Zxid::ZERO), 0);
        let mut taken = Taken::All;
        while let Some(next) = self.next_frame() {
            let Ok((length, xid, op)) = next else {
                let length = self
                    .work
                    .inbox
                    .first_chunk()
                    .map_or(0, |head| i32::from_be_bytes(*head));
                if usize::try_from(length).is_ok_and(|n| n > clients.limits.frame_bytes_max) {
                    clients.metrics.requests_too_large.add(1);
                }
                self.work.ending = Some(Ended::BadFrame(length));
                break;
            };
            let is_too_late = clients.is_too_late(&self.work.turn, op, 4 + length, start);
            if is_too_late {
                // Whoever waits behind may have the place.
                self.work.turn.give_up(start);
            }
            if !self.is_admitted(op) {
                write_not_admitted(&mut self.work.outbox.bytes, xid);
                self.work.inbox.advance(4 + length);
                self.work.ending = Some(Ended::Unauthenticated);
                reads += 1;
            } else if is_write(op) && !is_too_late {
                if !clients.has_room(self.work.outstanding) {
                    break;
                }
                if !clients.has_room_for_large(length) {
                    self.work.ending = Some(Ended::TooLarge(length));
                    break;
                }
                if !clients.enter(&mut self.work.turn, 4 + length, start, cx) {
                    break;
                }
                if clients.is_large(length) {
                    clients.metrics.large_request_bytes.add(length as i64);
                    large_bytes += length;
                }
                let mut body: Bytes = self.work.inbox.split_to(4 + length).freeze();
                body.advance(FRAME_HEAD_BYTES);
                run_bytes += body.len();
                run.push(ClientWrite { xid, op, body });
                last_write = op;
                self.work.outstanding += 1;
            } else {
                if self.work.outstanding > 0 {
                    break;
                }
                if self.work.outbox.unsent() > OUTBOX_BYTES_MAX {
                    taken = Taken::OutboxIsFull;
                    break;
                }
                if guard.is_none() {
                    guard = Some(clients.view.read());
                    // Events of what this guard shows are in the mailbox.
                    self.collect(cx);
                    if matches!(self.work.ending, Some(Ended::ByServer(_))) {
                        break;
                    }
                }
                let guard = guard.as_ref().expect("taken above");
                let Load { inbox, outbox, .. } = &mut *self.work;
                let body = &inbox[FRAME_HEAD_BYTES..4 + length];
                let out = &mut outbox.bytes;
                let before = out.len() + LENGTH_BYTES;
                let outcome = if is_too_late {
                    clients.metrics.throttled_ops.add(1);
                    let zxid = guard.tree().last_zxid();
                    write_reply(out, xid, zxid, ErrorCode::ThrottledOp.code(), &Reply::None);
                    ReadOutcome::Answered
                } else {
                    guard.serve(&mut self.client, xid, op, body, out)
                };
                inbox.advance(4 + length);
                read_bytes.add(out.len().saturating_sub(before) as u64);
                reads += 1;
                last_read = (xid, op, guard.tree().last_zxid());
                match outcome {
                    ReadOutcome::Answered => {}
                    ReadOutcome::Authenticated => {
                        clients.inbox.push_input(Input::ClientIds {
                            conn: self.client.conn(),
                            ids: self.client.ids().clone(),
                        });
                    }
                    ReadOutcome::Close => {
                        let is_auth = op == OpCode::Auth.code();
                        clients.metrics.auth_failed.add(u64::from(is_auth));
                        self.work.ending = Some(Ended::Unanswerable);
                    }
                }
            }
            self.work.turn.taken(4 + length);
            ops.note(op);
            frames += 1;
            if self
                .work
                .ending
                .as_ref()
                .is_some_and(|ending| !matches!(ending, Ended::ByClient))
            {
                break;
            }
        }
        drop(guard);
        if frames == 0 {
            return taken;
        }
        let now = clients.clock.mono();
        self.stats.mailbox.touch(now);
        let metrics = &clients.metrics;
        metrics.packets_received.add(frames);
        self.stats.received(&clients.registry, frames);
        if reads > 0 {
            let elapsed = start.elapsed();
            metrics.packets_sent.add(reads);
            metrics.response_bytes.record_all(&read_bytes);
            metrics.reads_answered(elapsed, reads);
            self.stats.sent(&clients.registry, reads);
            let (xid, op, zxid) = last_read;
            self.stats.replied(
                &clients.registry,
                Replied {
                    count: reads,
                    op,
                    xid,
                    zxid,
                    at: now,
                    elapsed,
                },
            );
        }
        if !run.is_empty() {
            let count = u32::try_from(run.len()).expect("outstanding requests are bounded");
            metrics.outstanding.add(count.into());
            metrics.outstanding_bytes.add(run_bytes as i64);
            self.stats.queued(self.work.outstanding);
            self.work.awaited.push_back(Run {
                count,
                last_op: last_write,
                bytes: run_bytes,
                large_bytes,
                since: start,
            });
            clients.inbox.push_input(Input::ClientWrites {
                conn: self.client.conn(),
                writes: run,
            });
        }
        taken
    }

    /// Has the client proved what every client has to, or does it do so now?
    fn is_admitted(&self, op: i32) -> bool {
        const PROOFS: [i32; 2] = [OpCode::Auth.code(), OpCode::Sasl.code()];
        self.clients.view.auth().admits(self.client.ids()) || PROOFS.contains(&op)
    }

    /// Length, xid and op of the frame at the front, if it is complete. An
    /// error if no request can begin like this.
    fn next_frame(&self) -> Option<Result<(usize, Xid, i32), ()>> {
        let int = |at: usize| {
            let bytes = self.work.inbox.get(at..at + 4)?;
            Some(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        let length = match usize::try_from(int(0)?) {
            Ok(n) if (HEADER_BYTES..=self.clients.limits.frame_bytes_max).contains(&n) => n,
            _ => return Some(Err(())),
        };
        if self.work.inbox.len() < 4 + length {
            return None;
        }
        Some(Ok((length, Xid(int(4)?), int(8)?)))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(load) = self.work.get() {
            let metrics = &self.clients.metrics;
            metrics.outstanding.add(-i64::from(load.outstanding));
            self.clients.leave(load.outstanding);
            if load.turn.is_waiting() {
                metrics
                    .stale_requests_dropped
                    .add(frames(&load.inbox).count() as u64);
            }
            let bytes: usize = load.awaited.iter().map(|run| run.bytes).sum();
            metrics.outstanding_bytes.add(-(bytes as i64));
            let large_bytes: usize = load.awaited.iter().map(|run| run.large_bytes).sum();
            metrics.large_request_bytes.add(-(large_bytes as i64));
        }
        self.clients
            .inbox
            .push_input(Input::ClientClosed(self.client.conn()));
    }
}

/// Length prefix.
const LENGTH_BYTES: usize = 4;
/// Length prefix and request header.
const FRAME_HEAD_BYTES: usize = 4 + HEADER_BYTES;
/// A request header.
const HEADER_BYTES: usize = 8;
/// One read from the socket asks for this much.
const READ_BYTES: usize = 16 * 1024;
/// Make room for another read when less than this is left.
const READ_BYTES_MIN: usize = 2 * 1024;
/// With this much unserved, a socket is read no further.
const INBOX_BYTES_MAX: usize = 256 * 1024;
/// With this much unsent, requests wait.
const OUTBOX_BYTES_MAX: usize = 1 << 20;
/// With this much unsent, which can only be watch events, the connection ends.
const OUTBOX_BYTES_LIMIT: usize = 64 << 20;
