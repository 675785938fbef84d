//! The writes of one connection and the order of their replies (reference:
//! `CommitProcessor`): what the client is still owed, oldest first.

use std::collections::VecDeque;

use zk_proto::Xid;
use zk_proto::txn::TxnHeader;

use super::cause::Cause;

/// A request without its reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// The client's number.
    pub xid: Xid,
    /// What it waits for.
    pub due: Due,
}

/// What a request waits for before it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// The transaction that it has caused.
    Txn(Cause),
    /// The leader's word. The reply repeats the path, which may be null.
    Sync(Option<String>),
    /// Nothing but its turn: it cannot be read and gets MarshallingError.
    Turn,
}

/// Requests without their replies, oldest first.
#[derive(Debug, Default)]
pub struct Order {
    owed: VecDeque<Owed>,
}

impl Order {
    /// A request was handed on.
    pub fn push(&mut self, owed: Owed) {
        self.owed.push_back(owed);
    }

    /// How many replies the client is owed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.owed.len()
    }

    /// Is the client owed nothing?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    /// A transaction of this session has been applied. If the oldest request
    /// has caused it, that is returned.
    pub fn answer(&mut self, header: &TxnHeader) -> Option<Owed> {
        self.owed
            .pop_front_if(|owed| matches!(owed.due, Due::Txn(cause) if cause.is_of(header)))
    }

    /// The oldest request, if it is a sync: its time has come.
    pub fn answer_sync(&mut self) -> Option<Owed> {
        self.owed
            .pop_front_if(|owed| matches!(owed.due, Due::Sync(_)))
    }

    /// Does the oldest request wait for nothing any more?
    #[must_use]
    pub fn is_turn(&self) -> bool {
        self.owed.front().is_some_and(|owed| owed.due == Due::Turn)
    }

    /// The oldest request, if it waited for nothing but its turn.
    pub fn answer_turn(&mut self) -> Option<Owed> {
        self.owed.pop_front_if(|owed| owed.due == Due::Turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use zk_proto::{SessionId, Zxid};

    fn header(cxid: i32, zxid: i64) -> TxnHeader {
        TxnHeader {
            session: SessionId(1),
            cxid: Xid(cxid),
            zxid: Zxid(zxid),
            time_ms: 0,
            kind: 1,
        }
    }

    #[test]
    fn only_the_oldest_request_is_answered() {
        let mut order = Order::default();
        let sync = || Due::Sync(Some("/a".to_owned()));
        let txn = |zxid| Due::Txn(Cause::Numbered(Zxid(zxid)));
        let owed = |xid, due| Owed { xid: Xid(xid), due };
        order.push(owed(1, txn(11)));
        order.push(owed(2, sync()));
        order.push(owed(3, txn(12)));
        order.push(owed(4, Due::Turn));
        assert_eq!(order.answer_turn(), None);
        assert_eq!(order.answer(&header(3, 12)), None);
        assert_eq!(order.answer_sync(), None);
        assert_eq!(order.answer(&header(1, 10)), None, "only the same zxid");
        assert_eq!(order.answer(&header(1, 11)), Some(owed(1, txn(11))));
        assert_eq!(order.answer(&header(2, 12)), None, "a sync is first");
        assert_eq!(order.answer_sync(), Some(owed(2, sync())));
        assert_eq!(order.answer(&header(3, 12)), Some(owed(3, txn(12))));
        assert_eq!(order.answer(&header(4, 13)), None, "no transaction either");
        assert_eq!(order.answer_turn(), Some(owed(4, Due::Turn)));
        assert!(order.is_empty());
    }

    #[test]
    fn a_forwarded_request_is_known_by_its_number() {
        let mut order = Order::default();
        let due = Due::Txn(Cause::Forwarded(Xid(-7)));
        order.push(Owed { xid: Xid(1), due });
        assert_eq!(order.answer(&header(1, 5)), None);
        let answered = order.answer(&header(-7, 6));
        assert_eq!(answered.map(|owed| owed.xid), Some(Xid(1)));
    }
}
