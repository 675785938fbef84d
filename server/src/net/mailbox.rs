//! What the driver leaves for a client connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};

use parking_lot::Mutex;
use zk_core::{CloseReason, Frames, Millis, ToClient};

/// Shared by the driver and one connection task.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
    /// When the client was last heard of, ms, for the driver to report; with
    /// [`UNHEARD`] while it cannot be heard.
    last_active_ms: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    mail: Mail,
    waker: Option<Waker>,
}

impl State {
    /// Is the connection about to end without what would be left here?
    fn is_cut_off(&self) -> bool {
        self.mail.close == Some(Farewell::Backlog)
    }
}

/// All that has come since the last time.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    /// In the order in which they must leave.
    pub(crate) frames: Frames,
    /// How many of the connection's writes are answered.
    pub(crate) replies: u32,
    /// How many watch events are among the frames.
    pub(crate) events: u32,
    /// The session stands.
    pub(crate) opened: bool,
    /// Send the frames, then close.
    pub(crate) close: Option<Farewell>,
}

/// Why the driver ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// The session was refused.
    Refused,
    /// The last reply was a reply to closeSession.
    Answered,
    /// Without a reply.
    Reason(CloseReason),
    /// At once: nothing was heard of the client for longer than its session's
    /// timeout.
    Silent,
    /// At once: too many bytes wait for all clients together.
    Backlog,
    /// The process stops.
    Shutdown,
}

impl Mailbox {
    /// Adds frames. Returns the task to wake, once reads may see the change.
    pub(crate) fn deliver(&self, message: ToClient) -> Option<Waker> {
        let ToClient {
            conn: _,
            frames,
            replies,
            events,
            close,
        } = message;
        self.put(frames, |mail| {
            mail.replies += replies;
            mail.events += events;
            if close {
                mail.close = Some(Farewell::Answered);
            }
        })
    }

    pub(crate) fn opened(&self, frame: Vec<u8>) -> Option<Waker> {
        self.put(frame.into(), |mail| mail.opened = true)
    }

    pub(crate) fn close(&self, frame: Vec<u8>, farewell: Farewell) -> Option<Waker> {
        self.put(frame.into(), |mail| mail.close = Some(farewell))
    }

    fn put(&self, frames: Frames, note: impl FnOnce(&mut Mail)) -> Option<Waker> {
        let mut state = self.state.lock();
        if state.is_cut_off() {
            return None;
        }
        state.mail.frames.append(frames);
        note(&mut state.mail);
        state.waker.take()
    }

    /// Drops what is there and all that will come, and lets the connection end
    /// at once.
    pub(crate) fn cut_off(&self) -> Option<Waker> {
        let mut state = self.state.lock();
        state.mail = Mail {
            close: Some(Farewell::Backlog),
            ..Mail::default()
        };
        state.waker.take()
    }

    pub(crate) fn is_cut_off(&self) -> bool {
        self.state.lock().is_cut_off()
    }

    /// Bytes that the frames take which are there.
    pub(crate) fn bytes(&self) -> usize {
        self.state.lock().mail.frames.held()
    }

    /// Takes what is there and asks to be woken for more.
    pub(crate) fn take(&self, cx: &Context<'_>) -> Mail {
        let mut state = self.state.lock();
        match &state.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => state.waker = Some(cx.waker().clone()),
        }
        std::mem::take(&mut state.mail)
    }

    /// The client was heard of.
    pub(crate) fn touch(&self, now: Millis) {
        self.last_active_ms.store(now.0, Ordering::Relaxed);
    }

    /// The client is not read for a reason of this server's own, or is again.
    /// To be called by the connection's own task, as [`Self::touch`] is.
    pub(crate) fn set_unheard(&self, is_unheard: bool) {
        let at = self.last_active_ms.load(Ordering::Relaxed);
        if (at & UNHEARD != 0) != is_unheard {
            self.last_active_ms.store(at ^ UNHEARD, Ordering::Relaxed);
        }
    }

    /// When the client was last heard of. One that cannot be heard counts as
    /// heard of now.
    pub(crate) fn last_active(&self, now: Millis) -> Millis {
        match self.last_active_ms.load(Ordering::Relaxed) {
            at if at & UNHEARD != 0 => now,
            at => Millis(at),
        }
    }
}

/// No time is so late.
const UNHEARD: u64 = 1 << 63;
