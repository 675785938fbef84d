//! Which transaction was caused by which request.
//!
//! A session may leave a connection while requests of it are under way and
//! come back on another one, here or at another server, and some clients begin
//! to count again at 1 on each. So session and xid do not tell whose request a
//! transaction was. A connection is answered by the transactions that its own
//! requests have caused; all others are applied and answer nobody.
//!
//! * The leader numbers the requests of its own clients, so it knows the zxid
//!   of each when it comes in ([`Cause::Numbered`]). No two have the same.
//! * A follower hears only session and cxid of a transaction. But the cxid in
//!   it is the number that the follower wrote into the REQUEST packet; leaders
//!   copy it and look at it nowhere, the reference's neither. So a follower
//!   does not forward its client's xid but a number of its own
//!   ([`ForwardNumbers`]) and waits for that ([`Cause::Forwarded`]). It
//!   contains the server's sid, so no other follower uses it. This server uses
//!   it again after eight million requests; a link is answered in the order of
//!   its requests, so the first use is long answered then. What a link that
//!   broke has left at the leader is not answered in that order, but
//!   every connection ended with it, and a session that has come back since
//!   belongs to the new link: the leader refuses what comes from the old one
//!   with SessionMoved. A follower of the reference forwards its client's xid,
//!   which is not negative as these numbers are.
//!
//! So this holds whichever server a session moves to and from, however late
//! and in whatever order the rest of an older connection comes in, and the
//! packets are what they were. The reply still carries the client's own xid.

use zk_proto::txn::TxnHeader;
use zk_proto::{Sid, Xid, Zxid};

/// By what the transaction of a request will be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// This server leads and has numbered the request.
    Numbered(Zxid),
    /// This server follows and has forwarded the request under this number.
    Forwarded(Xid),
}

impl Cause {
    /// Was the transaction with this header caused by the request? The session
    /// is compared by the caller.
    #[must_use]
    pub fn is_of(self, header: &TxnHeader) -> bool {
        match self {
            Self::Numbered(zxid) => header.zxid == zxid,
            Self::Forwarded(number) => header.cxid == number,
        }
    }
}

/// The numbers under which one server forwards requests: the sign bit, the low
/// byte of the sid, and 23 bits that count and begin anew after the last.
#[derive(Debug)]
pub struct ForwardNumbers {
    sid: u32,
    count: u32,
}

impl ForwardNumbers {
    const COUNT_BITS: u32 = 23;

    /// The numbers of one life of a server. `seed` decides where they begin,
    /// so that two lives hardly use the same.
    #[must_use]
    pub const fn new(sid: Sid, seed: u64) -> Self {
        Self {
            sid: (sid.0 & 0xff) as u32,
            count: seed as u32,
        }
    }

    /// The next one.
    #[must_use]
    pub const fn next(&mut self) -> Xid {
        self.count = self.count.wrapping_add(1);
        let count = self.count & ((1 << Self::COUNT_BITS) - 1);
        Xid((1 << 31 | self.sid << Self::COUNT_BITS | count) as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_tell_servers_apart_and_are_never_those_of_clients() {
        for seed in [0, u64::MAX, 0x7f_ffff] {
            let mut one = ForwardNumbers::new(Sid(1), seed);
            let mut other = ForwardNumbers::new(Sid(255), seed);
            let of_one: Vec<_> = (0..1000).map(|_| one.next()).collect();
            assert!(of_one.iter().all(|number| number.0 < 0));
            assert!((0..1000).all(|_| !of_one.contains(&other.next())));
            let mut sorted = of_one.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), of_one.len());
        }
    }
}
