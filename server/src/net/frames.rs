//! What a run of frames holds.

use std::iter;

use zk_core::Frames;
use zk_proto::client::special_xid;
use zk_proto::{Xid, Zxid};

use crate::metrics::Values;

/// What is in frames of the driver: replies, and events between them.
#[derive(Default)]
pub(super) struct Sent {
    /// Xid and zxid of the last reply.
    pub(super) last: Option<(Xid, Zxid)>,
    pub(super) replies: Values,
    pub(super) event_bytes: u64,
}

impl Sent {
    pub(super) fn of(bytes: &Frames) -> Self {
        let mut sent = Self::default();
        for frame in bytes.pieces().flat_map(frames) {
            sent.note(frame);
        }
        sent
    }

    fn note(&mut self, frame: &[u8]) {
        let length = frame.len() as u64;
        let Some((xid, rest)) = frame.split_first_chunk() else {
            return;
        };
        let xid = Xid(i32::from_be_bytes(*xid));
        if xid == special_xid::NOTIFICATION {
            self.event_bytes += length;
            return;
        }
        self.replies.add(length);
        if let Some(zxid) = rest.first_chunk() {
            self.last = Some((xid, Zxid(i64::from_be_bytes(*zxid))));
        }
    }
}

/// The complete frames at the front, without their lengths.
pub(super) fn frames(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
        let (frame, rest) = rest.split_at_checked(length)?;
        bytes = rest;
        Some(frame)
    })
}
