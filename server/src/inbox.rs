//! The driver's queue: many producers on tasks and threads, one consumer.
//!
//! What has arrived is taken as a whole, so that a batch costs one lock. It
//! never waits to fill. Clients are bounded by their limits of outstanding
//! requests; the disk is never kept waiting. Peers wait for room, and for the
//! disk: where it hangs, the others could commit without it, and what is to be
//! written would gather here without end. A leader that hears no
//! acknowledgement commits nothing more, so that its clients wait, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use zk_core::{ConnId, Input, LinkId, Millis, Origin, Status};
use zk_proto::client::{ConnectRequest, Id};
use zk_proto::{SessionId, Sid};

use crate::net::{ConnStats, LinkOutbox};

/// What reaches the driver.
pub(crate) enum Event {
    /// Goes to the replica as it is.
    Input(Input),
    /// A client's first frame and where its answers go.
    ClientConnect {
        conn: ConnId,
        stats: Arc<ConnStats>,
        request: ConnectRequest,
        ids: Arc<[Id]>,
    },
    /// This peer has sent a vote, which the mesh keeps.
    Vote {
        /// The peer's sid.
        from: Sid,
    },
    /// A peer has connected to the quorum port.
    LinkAccepted {
        link: LinkId,
        origin: Origin,
        outbox: Arc<LinkOutbox>,
    },
    /// The disk can no longer be trusted: end the process.
    DiskFailed(Box<dyn std::error::Error + Send + Sync>),
    /// Stop, because the process is told to.
    Stop,
    /// Someone wants to know how the replica is.
    Status(oneshot::Sender<Status>),
    /// Someone wants to know which sessions expire after this one.
    Sessions {
        after: Option<(Millis, SessionId)>,
        max: usize,
        asker: oneshot::Sender<Option<Vec<(Millis, SessionId)>>>,
    },
}

/// The queue.
#[derive(Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    /// Bytes of transactions that the disk was asked to append and has not.
    unwritten_bytes: AtomicU64,
}

#[derive(Default)]
struct State {
    events: Vec<Event>,
    /// Bytes of packets of peers in `events`.
    peer_bytes: usize,
    driver: Option<Waker>,
    waiting: Vec<Waker>,
}

impl Inbox {
    pub(crate) fn push(&self, event: Event) {
        let mut state = self.state.lock();
        state.events.push(event);
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    pub(crate) fn push_input(&self, input: Input) {
        self.push(Event::Input(input));
    }

    /// Adds all of `events` and leaves them empty.
    pub(crate) fn append(&self, events: &mut Vec<Event>) {
        self.append_from_peer(events, 0);
    }

    /// The same for packets of a peer, which have so many bytes.
    pub(crate) fn append_from_peer(&self, events: &mut Vec<Event>, bytes: usize) {
        if events.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        state.peer_bytes += bytes;
        state.events.append(events);
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// The disk is asked to append so many bytes.
    pub(crate) fn disk_asked(&self, bytes: u64) {
        self.unwritten_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many of them are durable. Peers that waited for that go on.
    pub(crate) fn disk_wrote(&self, bytes: u64) {
        let before = self.unwritten_bytes.fetch_sub(bytes, Ordering::Relaxed);
        if before >= UNWRITTEN_BYTES_MAX {
            let waiting = std::mem::take(&mut self.state.lock().waiting);
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// Ready while the queue has room for what peers send, and the disk keeps up.
    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        // Looked at under the lock: who waits is found by `disk_wrote`.
        let unwritten = self.unwritten_bytes.load(Ordering::Relaxed);
        if state.events.len() < EVENTS_MAX
            && state.peer_bytes < PEER_BYTES_MAX
            && unwritten < UNWRITTEN_BYTES_MAX
        {
            return Poll::Ready(());
        }
        state.waiting.push(cx.waker().clone());
        Poll::Pending
    }

    /// Takes all events into `batch`, which must be empty.
    pub(crate) fn poll_take(&self, cx: &Context<'_>, batch: &mut Vec<Event>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.events.is_empty() {
            state.driver = Some(cx.waker().clone());
            return Poll::Pending;
        }
        std::mem::swap(&mut state.events, batch);
        state.peer_bytes = 0;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
        Poll::Ready(())
    }
}

/// Above this many events, links are not read.
const EVENTS_MAX: usize = 65_536;
/// With this many bytes that the disk has not written, links are not read.
pub(crate) const UNWRITTEN_BYTES_MAX: u64 = 128 << 20;
/// With this many bytes of packets that the driver has not taken, links are not
/// read.
const PEER_BYTES_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_whatever_has_arrived() {
        let inbox = Inbox::default();
        let cx = Context::from_waker(Waker::noop());
        let mut batch = Vec::new();
        assert!(inbox.poll_take(&cx, &mut batch).is_pending());
        inbox.push_input(Input::Tick);
        inbox.append(&mut vec![
            Event::Input(Input::Tick),
            Event::Input(Input::Shutdown),
        ]);
        assert!(inbox.poll_take(&cx, &mut batch).is_ready());
        assert!(matches!(batch[2], Event::Input(Input::Shutdown)));
        assert!(inbox.poll_take(&cx, &mut Vec::new()).is_pending());
    }

    #[test]
    fn links_wait_for_room() {
        let inbox = Inbox::default();
        let cx = Context::from_waker(Waker::noop());
        (0..EVENTS_MAX).for_each(|_| inbox.push_input(Input::Tick));
        assert!(inbox.poll_room(&cx).is_pending());
        assert!(inbox.poll_take(&cx, &mut Vec::new()).is_ready());
        assert!(inbox.poll_room(&cx).is_ready());
        inbox.append_from_peer(&mut vec![Event::Input(Input::Tick)], PEER_BYTES_MAX);
        assert!(inbox.poll_room(&cx).is_pending());
        assert!(inbox.poll_take(&cx, &mut Vec::new()).is_ready());
        assert!(inbox.poll_room(&cx).is_ready());
    }
}
