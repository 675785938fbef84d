//! From committed entries to tree, watch events and replies.

use bytes::Bytes;
use zk_proto::Zxid;
use zk_proto::client::{ErrorCode, EventKind, WatcherEvent};

use super::{Replica, clients::Conn};
use crate::request::{Applied, apply, write_event, write_reply};
use crate::{CloseReason, ConnId, Frames, Output, ToClient};

impl Replica {
    /// Applies everything that was committed, in order, under one write lock.
    pub(super) fn apply_committed(&mut self, out: &mut Vec<Output>) {
        self.apply_until(usize::MAX, out);
    }

    /// The same, but ends once this many bytes of frames are there for clients;
    /// the rest is left for another time.
    pub(super) fn apply_until(&mut self, frame_bytes: usize, out: &mut Vec<Output>) {
        if self.to_apply.is_empty() {
            return;
        }
        let mut entries = std::mem::take(&mut self.to_apply);
        let (mut applied_entries, mut framed) = (0, 0);
        let view = self.view.clone();
        self.held.get_or_insert_with(|| view.write_arc());
        for entry in &entries {
            let watches = view.watches();
            let tree = self.held.as_mut().expect("taken above");
            let (conns, dirty) = (&mut self.conns, &mut self.dirty);
            let mut event = LongEvent::default();
            let applied = apply(
                tree,
                &mut watches.lock(),
                &entry.data,
                &mut |conn, kind, path| {
                    if let Some(to) = conns.get_mut(&conn) {
                        to.mark(conn, dirty);
                        to.events += 1;
                        let before = to.frames.len();
                        event.add_to(&mut to.frames, entry.zxid, kind, path);
                        framed += to.frames.len() - before;
                    }
                },
            );
            match applied {
                Ok(applied) => {
                    if let Some(mut by) = applied.digest_error {
                        // A leader of ours hashes paths as UTF-8.
                        let may_be_charset = by != 0 && !self.zab.is_leader_exact();
                        if may_be_charset
                            && self.digests.first_difference()
                            && tree.follow_charset(by)
                        {
                            by = 0;
                        }
                        if self.digests.compared(entry.zxid, by) {
                            let zxid = entry.zxid;
                            tracing::warn!(%zxid, by, "the leader's digest is above this tree's");
                        }
                    }
                    match self.applied_at.last_mut() {
                        Some((at, count)) if *at == applied.header.time_ms => *count += 1,
                        _ => self.applied_at.push((applied.header.time_ms, 1)),
                    }
                    self.answer(&applied, out);
                }
                Err(error) => {
                    tracing::error!(zxid = %entry.zxid, %error, "a committed entry is not a transaction");
                    out.push(Output::Halt {
                        reason: "a committed entry is not a transaction",
                    });
                    return;
                }
            }
            applied_entries += 1;
            if framed >= frame_bytes {
                break;
            }
        }
        self.to_apply = entries.split_off(applied_entries);
        self.snapshots.since += entries.len() as u64;
        let bytes: usize = entries.iter().map(|entry| entry.data.len()).sum();
        self.snapshots.since_bytes += bytes as u64;
        if let (Some(leading), Some(last)) = (&mut self.leading, entries.last()) {
            leading.prep.applied(last.zxid);
        }
        if self.to_apply.is_empty() {
            // The allocation serves the next batch.
            self.to_apply = entries;
            self.to_apply.clear();
        }
    }

    /// Replies to the client whose request this was, if it is one of ours.
    fn answer(&mut self, applied: &Applied, out: &mut Vec<Output>) {
        let header = &applied.header;
        let Some(&conn) = self.by_session.get(&header.session) else {
            return self.close_ended(applied, None, out);
        };
        let Some(to) = self.conns.get_mut(&conn) else {
            return;
        };
        if let Some(owed) = to.order.answer(header) {
            if applied.err == ErrorCode::SessionMoved.code() {
                // The reference closes instead of sending this code.
                return self.close_conn(conn, CloseReason::SessionMoved, out);
            }
            if !to.is_open {
                return match applied.opened_session {
                    Some((session, _)) => self.session_opened(conn, session, out),
                    None => self.refuse_session(conn, out),
                };
            }
            to.mark(conn, &mut self.dirty);
            to.replies += 1;
            write_reply(
                to.frames.open(),
                owed.xid,
                header.zxid,
                applied.err,
                &applied.reply,
            );
            if to.order.is_turn() {
                self.answer_turns(conn);
            }
        }
        self.close_ended(applied, Some(conn), out);
    }

    fn close_ended(&mut self, applied: &Applied, conn: Option<ConnId>, out: &mut Vec<Output>) {
        let Some(session) = applied.closed_session else {
            return;
        };
        if let Some(leading) = &mut self.leading {
            leading.tracker.remove(session);
        }
        self.following.touched.remove(&session);
        if let Some(conn) = conn {
            self.close_conn(conn, CloseReason::SessionClosed, out);
        }
    }

    /// Closes a connection after the frames it is still to get.
    pub(super) fn close_conn(&mut self, conn: ConnId, reason: CloseReason, out: &mut Vec<Output>) {
        let Some(to) = self.conns.get_mut(&conn) else {
            return;
        };
        if to.frames.is_empty() {
            out.push(Output::CloseClient { conn, reason });
        } else {
            out.push(Output::ToClient(to.take(conn, true)));
        }
        self.forget_conn(conn);
    }

    /// Hands out the frames of this batch, once per connection.
    pub(super) fn flush_clients(&mut self, out: &mut Vec<Output>) {
        for conn in self.dirty.drain(..) {
            if let Some(to) = self.conns.get_mut(&conn).filter(|to| to.is_dirty) {
                out.push(Output::ToClient(to.take(conn, false)));
            }
        }
    }
}

/// The last event of a transaction that was long, for all who are told of it.
#[derive(Default)]
struct LongEvent {
    of: Option<(EventKind, String)>,
    frame: Bytes,
}

impl LongEvent {
    fn add_to(&mut self, frames: &mut Frames, zxid: Zxid, kind: EventKind, path: &str) {
        let event = WatcherEvent { kind, path };
        if path.len() < LONG_PATH_BYTES {
            return write_event(frames.open(), zxid, event);
        }
        let is_same = |(of, at): &(EventKind, String)| *of == kind && at == path;
        if !self.of.as_ref().is_some_and(is_same) {
            let mut frame = Vec::with_capacity(path.len() + EVENT_BYTES);
            write_event(&mut frame, zxid, event);
            self.frame = frame.into();
            self.of = Some((kind, path.to_owned()));
        }
        frames.share(self.frame.clone());
    }
}

/// The event of a path of this length is encoded once for all.
const LONG_PATH_BYTES: usize = 4096;
/// More than an event has beside its path.
const EVENT_BYTES: usize = 64;

impl Conn {
    pub(super) fn mark(&mut self, conn: ConnId, dirty: &mut Vec<ConnId>) {
        if !self.is_dirty {
            self.is_dirty = true;
            dirty.push(conn);
        }
    }

    fn take(&mut self, conn: ConnId, close: bool) -> ToClient {
        self.is_dirty = false;
        ToClient {
            conn,
            frames: std::mem::take(&mut self.frames),
            replies: std::mem::take(&mut self.replies),
            events: std::mem::take(&mut self.events),
            close,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_of_a_long_path_is_encoded_once_for_all() {
        let (long, other) = ("/l".repeat(LONG_PATH_BYTES), "/m".repeat(LONG_PATH_BYTES));
        let (changed, deleted) = (EventKind::NodeDataChanged, EventKind::NodeDeleted);
        let mut event = LongEvent::default();
        let mut told = [Frames::default(), Frames::default()];
        let events = [
            ("/short", changed),
            (&*long, changed),
            (&*long, deleted),
            (&*other, deleted),
            ("/short", deleted),
        ];
        for (path, kind) in events {
            for frames in &mut told {
                event.add_to(frames, Zxid(7), kind, path);
            }
        }
        let [one, two] = &told;
        let shared = one.pieces().zip(two.pieces());
        let shared = shared.map(|(one, two)| std::ptr::eq(one, two));
        assert_eq!(shared.collect::<Vec<_>>(), [false, true, true, true, false]);
        let mut plain = Vec::new();
        for (path, kind) in events {
            write_event(&mut plain, Zxid(7), WatcherEvent { kind, path });
        }
        assert_eq!(told.map(Frames::into_vec), [plain.clone(), plain]);
    }
}
