//! The writes of one connection and the order of their replies (reference:
//! `CommitProcessor`): what the client is still owed, oldest first.

use std::collections::VecDeque;

use zk_proto::Xid;

/// A request without its reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// The client's number.
    pub xid: Xid,
    /// The path of a sync, which its reply echoes; `None` for a write.
    pub sync: Option<String>,
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
            .pop_front_if(|owed| owed.xid == cxid && owed.sync.is_none())
    }

    /// The oldest request, if it is a sync: its turn has come.
    pub fn answer_sync(&mut self) -> Option<Owed> {
        self.owed.pop_front_if(|owed| owed.sync.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_oldest_request_is_answered() {
        let mut order = Order::default();
        let owed = |xid, sync: Option<&str>| Owed {
            xid: Xid(xid),
            sync: sync.map(str::to_owned),
        };
        order.push(owed(1, None));
        order.push(owed(2, Some("/a")));
        order.push(owed(3, None));
        assert_eq!(order.answer(Xid(3)), None);
        assert_eq!(order.answer_sync(), None);
        assert_eq!(order.answer(Xid(1)), Some(owed(1, None)));
        assert_eq!(order.answer(Xid(2)), None, "a sync is no transaction");
        assert_eq!(order.answer_sync(), Some(owed(2, Some("/a"))));
        assert_eq!(order.answer(Xid(3)), Some(owed(3, None)));
        assert!(order.is_empty());
    }
}
