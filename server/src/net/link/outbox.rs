//! What waits to be sent on a link.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use zk_core::tree::ImageBlocks;
use zk_proto::jute::Put;
use zk_proto::quorum::{PacketKind, QuorumPacket};
use zk_proto::snapshot::SNAP_SIGNATURE;

/// What the driver wants a link to send. Shared by the driver and the link's task.
pub(crate) struct LinkOutbox {
    state: Mutex<State>,
    /// Packets that may wait, in bytes.
    unsent_max: usize,
    /// The learner at the other end is synchronized, or the leader there has
    /// been answered with ACKEPOCH.
    is_proved: AtomicBool,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Chunk>,
    /// Bytes of packets in `chunks`.
    packet_bytes: usize,
    /// Bytes that the image before `chunks` has sent. As many more packets may
    /// wait: a learner that takes them as fast as they come joins, however
    /// long the image is.
    image_bytes: usize,
    /// Why the driver has closed the link.
    closed: Option<&'static str>,
    waker: Option<Waker>,
}

/// Something to send.
pub(super) enum Chunk {
    /// Encoded packets.
    Packets(Vec<u8>),
    /// A tree.
    Image(Box<ImageBlocks>),
}

impl Default for LinkOutbox {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            unsent_max: UNSENT_BYTES_MAX,
            is_proved: AtomicBool::new(false),
        }
    }
}

impl LinkOutbox {
    /// One in which few bytes of packets may wait.
    #[cfg(test)]
    pub(super) fn bounded(unsent_max: usize) -> Self {
        Self {
            unsent_max,
            ..Self::default()
        }
    }

    /// Adds encoded packets. False if the peer is so far behind that the link
    /// is to be given up.
    #[must_use]
    pub(crate) fn send(&self, packets: &[u8]) -> bool {
        let mut state = self.state.lock();
        state.packet_bytes += packets.len();
        if state.packet_bytes > self.unsent_max + state.image_bytes {
            return false;
        }
        match state.chunks.back_mut() {
            Some(Chunk::Packets(last)) if last.len() < CHUNK_BYTES => {
                last.extend_from_slice(packets);
            }
            _ => state.chunks.push_back(Chunk::Packets(packets.to_vec())),
        }
        state.wake();
        true
    }

    /// Adds a tree image and the signature after it.
    pub(crate) fn send_image(&self, image: ImageBlocks) {
        let mut head = Vec::new();
        QuorumPacket::new(PacketKind::Snap, image.zxid(), None).write(&mut head);
        let mut signature = Vec::new();
        signature.put_str(SNAP_SIGNATURE);
        let mut state = self.state.lock();
        state.chunks.extend([
            Chunk::Packets(head),
            Chunk::Image(Box::new(image)),
            Chunk::Packets(signature),
        ]);
        state.wake();
    }

    /// From now on the other end may send long packets.
    pub(crate) fn set_proved(&self) {
        self.is_proved.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_proved(&self) -> bool {
        self.is_proved.load(Ordering::Relaxed)
    }

    /// Ends the link after one more attempt to send what is queued.
    pub(crate) fn close(&self, reason: &'static str) {
        let mut state = self.state.lock();
        state.closed = Some(reason);
        state.wake();
    }

    /// Waits until the driver has closed the link.
    pub(in crate::net) async fn closed(&self) {
        poll_fn(|cx| {
            let mut state = self.state.lock();
            state.waker = Some(cx.waker().clone());
            if state.closed.is_some() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Refills `unsent` once it is empty; until then packets wait here, where
    /// they are counted. Returns why the link is to end, if it is.
    pub(super) fn take(
        &self,
        cx: &Context<'_>,
        unsent: &mut VecDeque<Chunk>,
    ) -> Option<&'static str> {
        let mut state = self.state.lock();
        if unsent.is_empty() {
            state.packet_bytes = 0;
            state.image_bytes = 0;
            std::mem::swap(&mut state.chunks, unsent);
        }
        match &state.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => state.waker = Some(cx.waker().clone()),
        }
        state.closed
    }

    /// So much of the image in front has left.
    pub(super) fn image_sent(&self, bytes: usize) {
        self.state.lock().image_bytes += bytes;
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Packets that may wait for a peer that takes nothing.
const UNSENT_BYTES_MAX: usize = 256 << 20;
/// Packets that wait are kept in pieces of about this size.
const CHUNK_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_wait_for_an_image_as_long_as_it_moves() {
        let outbox = LinkOutbox::bounded(1000);
        let packets = [0; 400];
        assert!(outbox.send(&packets) && outbox.send(&packets));
        for _ in 0..100 {
            outbox.image_sent(400);
            assert!(outbox.send(&packets), "as much of the image has left");
        }
        assert!(!outbox.send(&packets), "the peer takes nothing more");
        let mut unsent = VecDeque::new();
        let cx = Context::from_waker(Waker::noop());
        outbox.take(&cx, &mut unsent);
        assert!(outbox.send(&packets) && outbox.send(&packets));
        assert!(!outbox.send(&packets), "the image is gone");
    }
}
