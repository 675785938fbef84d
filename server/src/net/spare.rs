//! Buffers that connections share, so that an idle one holds none.
//!
//! A connection takes a buffer when it has something to read or to answer and
//! gives it back when nothing is left in it, before its task rests. One of
//! each kind per thread is enough, because a task does not rest in between.

use std::cell::RefCell;
use std::mem;

use bytes::BytesMut;

thread_local! {
    static INBOX: RefCell<BytesMut> = RefCell::default();
    static OUTBOX: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer to read into.
pub(super) fn take_inbox() -> BytesMut {
    INBOX.take()
}

/// Gives a buffer back whose content is of no more use.
pub(super) fn give_inbox(mut buffer: BytesMut) {
    buffer.clear();
    if buffer.capacity() <= BYTES_KEPT {
        INBOX.set(buffer);
    }
}

/// An empty buffer to answer into.
pub(super) fn take_outbox() -> Vec<u8> {
    OUTBOX.take()
}

/// Gives a buffer back whose content is of no more use.
pub(super) fn give_outbox(mut buffer: Vec<u8>) {
    buffer.clear();
    if buffer.capacity() <= BYTES_KEPT {
        OUTBOX.with_borrow_mut(|spare| {
            if spare.capacity() < buffer.capacity() {
                mem::swap(spare, &mut buffer);
            }
        });
    }
}

/// A larger buffer is given back to the allocator.
const BYTES_KEPT: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_and_a_large_one_does_not() {
        let mut inbox = BytesMut::with_capacity(16 * 1024);
        inbox.extend_from_slice(b"old");
        give_inbox(inbox);
        let inbox = take_inbox();
        assert!(inbox.is_empty() && inbox.capacity() >= 16 * 1024);
        assert_eq!(take_inbox().capacity(), 0, "there was one");
        give_inbox(BytesMut::with_capacity(BYTES_KEPT + 1));
        assert_eq!(take_inbox().capacity(), 0);

        give_outbox(vec![1; 100]);
        give_outbox(Vec::new());
        let outbox = take_outbox();
        assert!(outbox.is_empty() && outbox.capacity() >= 100);
        give_outbox(vec![1; BYTES_KEPT + 1]);
        assert_eq!(take_outbox().capacity(), 0);
    }
}
