//! What a connection needs only while it has something to do.
//!
//! An idle connection holds none of it, so that it costs little. What one has
//! done with serves the next one of the same thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::BytesMut;
use tokio::io::AsyncWrite;
use tokio::time::Sleep;
use zk_core::Frames;

use super::endings::Ended;
use super::request_throttle::Turn;
use super::spare;

/// Nothing between two calls of an idle connection's task, else a [`Load`].
/// Dereferences to it from [`Self::begin`] to [`Self::rest`].
pub(super) struct Work(Option<Box<Load>>);

/// The work of a connection that is not idle.
#[derive(Default)]
pub(super) struct Load {
    /// Requests that are not taken yet.
    pub(super) inbox: BytesMut,
    pub(super) outbox: Outbox,
    /// Runs of writes without a reply, oldest first.
    pub(super) awaited: VecDeque<Run>,
    /// Sum of `awaited`.
    pub(super) outstanding: u32,
    pub(super) turn: Turn,
    pub(super) ending: Option<Ended>,
    /// Runs once the client of a connection that ends takes nothing.
    pub(super) farewell: Option<Pin<Box<Sleep>>>,
    /// Ends a wait for room among the bytes of all writes.
    pub(super) pause: Option<Pin<Box<Sleep>>>,
    /// Of inbox and outbox, so many bytes count among those of all connections.
    pub(super) counted: usize,
}

/// Writes that went to the driver together.
pub(super) struct Run {
    pub(super) count: u32,
    pub(super) last_op: i32,
    pub(super) bytes: usize,
    pub(super) large_bytes: usize,
    pub(super) since: Instant,
}

/// Frames that are to leave.
#[derive(Default)]
pub(super) struct Outbox {
    pub(super) frames: Frames,
    /// Bytes of the first piece that have left.
    sent: usize,
    /// Bytes of replies to reads since it was last empty.
    pub(super) reply_bytes: usize,
    /// The client has not taken all that it was sent.
    is_blocked: bool,
}

impl Work {
    /// Starts with what was read already.
    pub(super) fn new(inbox: BytesMut) -> Self {
        let mut work = Self(None);
        work.begin();
        work.inbox = inbox;
        work.give_back();
        work.rest();
        work
    }

    /// To be called before anything else.
    pub(super) fn begin(&mut self) {
        if self.0.is_none() {
            let spare = SPARE.with_borrow_mut(Vec::pop);
            self.0 = Some(spare.unwrap_or_default());
        }
    }

    /// Keeps nothing if nothing waits to be taken or sent.
    pub(super) fn rest(&mut self) {
        if let Some(load) = self.0.take_if(|load| load.is_empty())
            && load.awaited.capacity() <= RUNS_KEPT
        {
            SPARE.with_borrow_mut(|spare| {
                if spare.len() < SPARE_MAX {
                    spare.push(load);
                }
            });
        }
    }

    /// What is left, if there is any.
    pub(super) fn get(&self) -> Option<&Load> {
        self.0.as_deref()
    }

    /// Keeps no more buffers than what waits needs.
    pub(super) fn give_back(&mut self) {
        let len = self.inbox.len();
        if len == 0 {
            if self.inbox.capacity() > 0 {
                spare::give_inbox(mem::take(&mut self.inbox));
            }
        } else if len <= RESTING_BYTES && self.inbox.capacity() > 2 * RESTING_BYTES {
            let rest = BytesMut::from(&self.inbox[..]);
            spare::give_inbox(mem::replace(&mut self.inbox, rest));
        }
        let open = self.outbox.frames.open();
        if open.is_empty() && open.capacity() > 0 {
            spare::give_outbox(mem::take(open));
        }
    }
}

impl Deref for Work {
    type Target = Load;

    fn deref(&self) -> &Load {
        self.0.as_ref().expect("the work has begun")
    }
}

impl DerefMut for Work {
    fn deref_mut(&mut self) -> &mut Load {
        self.0.as_mut().expect("the work has begun")
    }
}

impl Load {
    fn is_empty(&self) -> bool {
        self.inbox.is_empty()
            && self.outbox.frames.is_empty()
            && self.awaited.is_empty()
            && self.outstanding == 0
            && !self.turn.is_waiting()
            && self.ending.is_none()
            && self.farewell.is_none()
            && self.pause.is_none()
    }
}

impl Outbox {
    pub(super) fn unsent(&self) -> usize {
        self.frames.len() - self.sent
    }

    /// Unsent bytes that the client has not asked for by a read.
    pub(super) fn unasked(&self) -> usize {
        self.unsent().saturating_sub(self.reply_bytes)
    }

    /// Could the last attempt to send not send all?
    pub(super) const fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    pub(super) fn poll_flush(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.is_blocked = true;
        while self.unsent() > 0 {
            match ready!(self.poll_write(stream, cx))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.advance(n),
            }
        }
        self.is_blocked = false;
        self.reply_bytes = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_write(
        &self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut pieces = self.frames.pieces();
        let first = pieces.next().unwrap_or_default();
        let mut slices = [IoSlice::new(&[]); PIECES_AT_ONCE];
        slices[0] = IoSlice::new(&first[self.sent..]);
        let mut count = 1;
        for (slice, piece) in slices[1..].iter_mut().zip(pieces) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        let stream = Pin::new(stream);
        if count == 1 {
            return stream.poll_write(cx, &slices[0]);
        }
        stream.poll_write_vectored(cx, &slices[..count])
    }

    /// So many bytes have left.
    fn advance(&mut self, bytes: usize) {
        self.sent += bytes;
        loop {
            let first = self.frames.pieces().next().map_or(usize::MAX, <[u8]>::len);
            if self.sent < first {
                return;
            }
            self.sent -= first;
            self.frames.drop_first();
        }
    }
}

// A connection takes the box itself.
type Spare = Vec<Box<Load>>;

thread_local! {
    static SPARE: RefCell<Spare> = const { RefCell::new(Vec::new()) };
}

/// This much of a frame waits for the rest of it in a buffer of its own size.
const RESTING_BYTES: usize = 1024;
/// So many pieces are sent with one system call.
const PIECES_AT_ONCE: usize = 16;
/// Spare ones of a thread.
const SPARE_MAX: usize = 64;
/// A spare one has room for no more runs than this.
const RUNS_KEPT: usize = 16;

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn an_idle_connection_holds_nothing() {
        let mut work = Work::new(BytesMut::with_capacity(4096));
        assert!(work.get().is_none());
        work.begin();
        work.outstanding = 1;
        work.rest();
        assert_eq!(work.get().map(|load| load.outstanding), Some(1));
        work.outstanding = 0;
        work.rest();
        assert!(work.get().is_none());
        work.begin();
        work.inbox.extend_from_slice(b"half a frame");
        work.rest();
        assert_eq!(&work.inbox[..], b"half a frame");
    }

    /// Takes at most `room` bytes at a time, from several slices.
    struct Narrow {
        room: usize,
        taken: Vec<u8>,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let mut left = self.room;
            for slice in slices {
                let count = slice.len().min(left);
                self.taken.extend_from_slice(&slice[..count]);
                left -= count;
            }
            Poll::Ready(Ok(self.room - left))
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn pieces_leave_in_order_however_much_is_taken_at_a_time() {
        for room in [1, 2, 5, 7, 11, 1000] {
            let mut outbox = Outbox::default();
            let mut all = Vec::new();
            for n in 0..40 {
                outbox.frames.open().extend_from_slice(&[n; 3]);
                outbox.frames.share(vec![n; 5].into());
                all.extend_from_slice(&[n; 8]);
            }
            let taken = Vec::new();
            let mut narrow = Narrow { room, taken };
            let mut cx = Context::from_waker(Waker::noop());
            let flushed = outbox.poll_flush(&mut narrow, &mut cx);
            assert!(matches!(flushed, Poll::Ready(Ok(()))));
            assert!(narrow.taken == all, "{room}");
            assert_eq!(outbox.unsent(), 0);
        }
    }
}
