//! The writes of one connection and the order of their replies (reference:
//! `CommitProcessor`): what the client is still owed, oldest first.

use std::collections::VecDeque;

use zk_proto::Xid;

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
    /// Its transaction.
    Txn,
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

    /// A transaction of this session with this cxid has been applied. If it
    /// answers the oldest request, that is returned: everything else came
    /// through another server before the session moved here.
    pub fn answer(&mut self, cxid: Xid) -> Option<Owed> {
        self.owed
            .pop_front_if(|owed| owed.xid == cxid && owed.due == Due::Txn)
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

    #[test]
    fn only_the_oldest_request_is_answered() {
        let mut order = Order::default();
        let sync = || Due::Sync(Some("/a".to_owned()));
        let owed = |xid, due| Owed { xid: Xid(xid), due };
        order.push(owed(1, Due::Txn));
        order.push(owed(2, sync()));
        order.push(owed(3, Due::Txn));
        order.push(owed(4, Due::Turn));
        assert_eq!(order.answer_turn(), None);
        assert_eq!(order.answer(Xid(3)), None);
        assert_eq!(order.answer_sync(), None);
        assert_eq!(order.answer(Xid(1)), Some(owed(1, Due::Txn)));
        assert_eq!(order.answer(Xid(2)), None, "a sync is no transaction");
        assert_eq!(order.answer_sync(), Some(owed(2, sync())));
        assert_eq!(order.answer(Xid(3)), Some(owed(3, Due::Txn)));
        assert_eq!(order.answer(Xid(4)), None, "no transaction either");
        assert_eq!(order.answer_turn(), Some(owed(4, Due::Turn)));
        assert!(order.is_empty());
    }
}
