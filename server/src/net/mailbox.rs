//! What the driver leaves for a client connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};

use parking_lot::Mutex;
use zk_core::{CloseReason, Millis, ToClient};

/// Shared by the driver and one connection task.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
    /// Time of the newest request in ms, for the driver to report.
    last_active_ms: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    mail: Mail,
    waker: Option<Waker>,
}

/// All that has come since the last time.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    /// Whole frames, in the order in which they must leave.
    pub(crate) frames: Vec<u8>,
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
        self.put(frame, |mail| mail.opened = true)
    }

    pub(crate) fn close(&self, frame: Vec<u8>, farewell: Farewell) -> Option<Waker> {
        self.put(frame, |mail| mail.close = Some(farewell))
    }

    fn put(&self, frames: Vec<u8>, note: impl FnOnce(&mut Mail)) -> Option<Waker> {
        let mut state = self.state.lock();
        if state.mail.frames.is_empty() {
            state.mail.frames = frames;
        } else {
            state.mail.frames.extend_from_slice(&frames);
        }
        note(&mut state.mail);
        state.waker.take()
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

    /// When the client was last heard of.
    pub(crate) fn last_active(&self) -> Millis {
        Millis(self.last_active_ms.load(Ordering::Relaxed))
    }
}
