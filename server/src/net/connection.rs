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
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::sleep;
use zk_core::request::Client;
use zk_core::{Frames, Input};
use zk_proto::{Xid, Zxid};

use super::client::Clients;
use super::endings::Ended;
use super::frames::{Sent, frames};
use super::mailbox::Farewell;
use super::registry::{ConnStats, Replied};
use super::spare;
use super::taking::{Budget, Taken};
use super::work::Work;

/// A connection from its first frame on.
pub(super) struct Connection<S = TcpStream> {
    pub(super) client: Client,
    stream: S,
    pub(super) clients: Arc<Clients>,
    pub(super) stats: Arc<ConnStats>,
    pub(super) is_open: bool,
    pub(super) work: Work,
}

/// What came of reading.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Filled {
    /// There may be more.
    Some,
    /// The socket has nothing; it wakes the task when it has.
    Nothing,
    /// The socket was not asked, or has ended.
    NotAsked,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A connection whose ConnectRequest was handed to the driver; `inbox` is
    /// what was read after it.
    pub(super) fn new(
        client: Client,
        stream: S,
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

    /// Serves until the connection ends. After a turn that was not long enough,
    /// others come first, those among them whose sockets have something, too: a
    /// task that wakes itself would run many times before the runtime asks the
    /// sockets again.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        match ready!(self.take_turn(cx)) {
            Some(ended) => Poll::Ready(ended),
            None => {
                if pin!(yield_now()).poll(cx).is_ready() {
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    }

    /// One turn, after which the connection holds no more memory than what
    /// waits to be taken or sent. Ready without an end if it was not long enough.
    fn take_turn(&mut self, cx: &mut Context<'_>) -> Poll<Option<Ended>> {
        self.work.begin();
        let ended = self.poll_both(cx);
        self.work.give_back();
        self.clients.backlog.count(&self.stats, &mut self.work);
        self.work.rest();
        ended
    }

    /// Returns pending only with a waker where it is needed: at the socket,
    /// unless it is not to be read now; at the socket's other side, if frames
    /// are left to send; always at the mailbox; and where a write waits for a
    /// place.
    fn poll_both(&mut self, cx: &mut Context<'_>) -> Poll<Option<Ended>> {
        let mut budget = Budget::default();
        loop {
            self.collect(cx);
            let filled = self.fill(cx);
            let taken = self.take_frames(&mut budget, cx);
            let is_flushed = match self.flush(cx) {
                Poll::Ready(Ok(())) => true,
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Ended::Socket(error))),
                Poll::Pending => false,
            };
            if self.work.ending.is_some() && (is_flushed || self.is_given_up(cx)) {
                return Poll::Ready(self.work.ending.take());
            }
            if self.work.outbox.unasked() > OUTBOX_BYTES_LIMIT {
                return Poll::Ready(Some(Ended::NotReading));
            }
            let may_read = filled != Filled::Nothing && self.wants_input();
            let may_take = is_flushed && taken == Taken::OutboxIsFull;
            if taken == Taken::OutOfTime || ((may_read || may_take) && budget.is_over()) {
                return Poll::Ready(None);
            }
            if !(may_read || may_take) {
                // Whoever is not read for what the server has to do first
                // cannot be heard, and is not silent either.
                let is_unheard = taken == Taken::Waits && !self.wants_input();
                self.stats.mailbox.set_unheard(is_unheard);
                return Poll::Pending;
            }
        }
    }

    /// Sends what is ready. A client that takes some of what it was slow to
    /// take is heard of by that.
    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = self.work.outbox.unsent();
        if before == 0 {
            return Poll::Ready(Ok(()));
        }
        let was_blocked = self.work.outbox.is_blocked();
        let flushed = self.work.outbox.poll_flush(&mut self.stream, cx);
        if was_blocked && self.work.outbox.unsent() < before {
            self.stats.mailbox.touch(self.clients.clock.mono());
            self.work.farewell = None;
        }
        flushed
    }

    /// Has the client of a connection that ends had enough time to take what
    /// is left for it?
    fn is_given_up(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(Ended::ByServer(Farewell::Reason(_) | Farewell::Silent | Farewell::Backlog)) =
            self.work.ending
        {
            return true;
        }
        let farewell = &mut self.work.farewell;
        let farewell = farewell.get_or_insert_with(|| Box::pin(sleep(FAREWELL_MAX)));
        farewell.as_mut().poll(cx).is_ready()
    }

    /// Takes what the driver has left.
    pub(super) fn collect(&mut self, cx: &Context<'_>) {
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
        self.work.outbox.frames.append(mail.frames);
        if let Some(farewell) = mail.close {
            self.work.ending = Some(Ended::ByServer(farewell));
        }
    }

    fn answered(&mut self, mut replies: u32, frames: &Frames) {
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

    /// What the client does not take is no reason not to hear it.
    fn wants_input(&self) -> bool {
        self.is_open
            && self.work.ending.is_none()
            && (self.work.inbox.len() < INBOX_BYTES_MAX || !self.has_frame())
    }

    /// Reads once. Any byte shows that the client is there.
    fn fill(&mut self, cx: &mut Context<'_>) -> Filled {
        if !self.wants_input() {
            return Filled::NotAsked;
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
        match read.poll(cx) {
            Poll::Pending => Filled::Nothing,
            Poll::Ready(Ok(n)) if n > 0 => {
                self.clients.metrics.bytes_received.add(n as u64);
                self.stats.mailbox.touch(self.clients.clock.mono());
                Filled::Some
            }
            // What came before the end of the stream is still taken.
            Poll::Ready(Ok(_)) => {
                self.work.ending = Some(Ended::ByClient);
                Filled::NotAsked
            }
            Poll::Ready(Err(error)) => {
                self.work.ending = Some(Ended::Socket(error));
                Filled::NotAsked
            }
        }
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        if let Some(load) = self.work.get() {
            let metrics = &self.clients.metrics;
            metrics.outstanding.add(-i64::from(load.outstanding));
            self.clients.leave(load.outstanding);
            self.clients.backlog.forget(load);
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

/// One read from the socket asks for this much.
const READ_BYTES: usize = 16 * 1024;
/// Make room for another read when less than this is left.
const READ_BYTES_MIN: usize = 2 * 1024;
/// With this much unserved, a socket is read no further.
const INBOX_BYTES_MAX: usize = 256 * 1024;
/// With this much unsent beside replies to reads, which can only be watch
/// events, the connection ends.
const OUTBOX_BYTES_LIMIT: usize = 64 << 20;
/// So long may the client of a connection that ends take nothing of what is
/// left for it.
const FAREWELL_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
