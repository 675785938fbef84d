//! Connections as small numbers. One is given to another connection only when
//! no watch of the first is left.

use std::collections::BTreeMap;
use std::sync::Arc;

use zk_proto::SessionId;
use zk_proto::client::Id;

use super::record::{SLOTS_MAX, Slot};
use crate::ConnId;

#[derive(Debug, Default)]
pub(super) struct Conns {
    /// By slot, in chunks: a list that grows by doubling leaves large pages.
    slots: Vec<Vec<Conn>>,
    unused: Vec<Slot>,
    by_id: BTreeMap<ConnId, Slot>,
}

/// A connection, also after its end while watches of it are left.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) id: ConnId,
    pub(super) session: SessionId,
    pub(super) ids: Arc<[Id]>,
    /// As the reference counts them.
    pub(super) watches: usize,
    /// Bytes of their paths beyond what each may have.
    pub(super) long_bytes: usize,
    pub(super) is_alive: bool,
}

impl Conns {
    /// A connection comes, or comes again.
    pub(super) fn register(&mut self, id: ConnId, session: SessionId, ids: Arc<[Id]>) {
        if let Some(&slot) = self.by_id.get(&id) {
            let conn = self.at_mut(slot);
            (conn.session, conn.ids) = (session, ids);
            return;
        }
        let conn = Conn {
            id,
            session,
            ids,
            watches: 0,
            long_bytes: 0,
            is_alive: true,
        };
        let slot = match self.unused.pop() {
            Some(slot) => {
                *self.at_mut(slot) = conn;
                slot
            }
            None => self.push(conn),
        };
        self.by_id.insert(id, slot);
    }

    pub(super) fn slot(&self, id: ConnId) -> Option<Slot> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn at(&self, slot: Slot) -> &Conn {
        &self.slots[slot as usize / CHUNK][slot as usize % CHUNK]
    }

    pub(super) fn at_mut(&mut self, slot: Slot) -> &mut Conn {
        &mut self.slots[slot as usize / CHUNK][slot as usize % CHUNK]
    }

    /// A connection goes. Returns how many dead watches it leaves behind, and
    /// the bytes of their long paths.
    pub(super) fn end(&mut self, id: ConnId) -> (usize, usize) {
        let Some(slot) = self.by_id.remove(&id) else {
            return (0, 0);
        };
        let conn = self.at_mut(slot);
        conn.is_alive = false;
        conn.ids = Arc::default();
        let left = (conn.watches, std::mem::take(&mut conn.long_bytes));
        self.release_if_over(slot);
        left
    }

    /// Some watches of this connection are gone.
    pub(super) fn take_watches(&mut self, slot: Slot, watches: usize) {
        self.at_mut(slot).watches -= watches;
        self.release_if_over(slot);
    }

    /// No watch of a dead connection is left anywhere.
    pub(super) fn forget_dead(&mut self) {
        for (slot, conn) in (0..).zip(self.slots.iter_mut().flatten()) {
            if !conn.is_alive && conn.watches > 0 {
                conn.watches = 0;
                self.unused.push(slot);
            }
        }
    }

    fn push(&mut self, conn: Conn) -> Slot {
        if self.slots.last().is_none_or(|last| last.len() == CHUNK) {
            self.slots.push(Vec::with_capacity(CHUNK));
        }
        let full = (self.slots.len() - 1) * CHUNK;
        let last = self.slots.last_mut().expect("pushed above");
        let slot = Slot::try_from(full + last.len());
        last.push(conn);
        slot.ok()
            .filter(|slot| *slot < SLOTS_MAX)
            .expect("a process has fewer connections than that")
    }

    fn release_if_over(&mut self, slot: Slot) {
        let conn = self.at(slot);
        if !conn.is_alive && conn.watches == 0 {
            self.unused.push(slot);
        }
    }
}

/// Slots in a chunk.
const CHUNK: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_found_across_chunks_and_slots_are_used_again() {
        let mut conns = Conns::default();
        let count = 3 * CHUNK as u64 + 1;
        let register = |conns: &mut Conns, id| {
            conns.register(ConnId(id), SessionId(id as i64 + 7), Arc::default());
        };
        (0..count).for_each(|id| register(&mut conns, id));
        let session = |conns: &Conns, id| conns.slot(ConnId(id)).map(|slot| conns.at(slot).session);
        for id in 0..count {
            assert_eq!(session(&conns, id), Some(SessionId(id as i64 + 7)));
        }
        let freed = conns.slot(ConnId(CHUNK as u64)).unwrap();
        conns.end(ConnId(CHUNK as u64));
        register(&mut conns, count);
        assert_eq!(conns.slot(ConnId(count)), Some(freed));
        assert_eq!(session(&conns, count), Some(SessionId(count as i64 + 7)));
    }
}
