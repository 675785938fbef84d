//! Whether a follower's tree is its leader's, by the digests in transactions.

use zk_proto::Zxid;

use crate::Millis;

/// What a follower's comparisons of its tree with the leader's have shown.
///
/// A leader of ours computes its digests from the tree that it will have, so
/// one difference is proof of another tree. One of the reference is sometimes
/// wrong about itself: it logs a mismatch and goes on, and soon its digests
/// are right again. Digests are sums, so a tree that is another one differs
/// by the same number after every transaction.
#[derive(Default)]
pub(super) struct Digests {
    /// The tree has come as a SNAP since this server last served. A leader of
    /// the reference sends one that changes on the way, and what follows mends
    /// it: until then the digests differ.
    is_snap: bool,
    /// What the last transactions with digests had in common, if they did not
    /// lead to the leader's tree.
    differs: Option<Difference>,
    /// Follower, serving: a transaction after this one that does not lead to
    /// the leader's tree counts.
    counts_after: Option<Zxid>,
    /// When the difference was noticed.
    noticed: Option<Noticed>,
    /// A difference was compared with those that other charsets make.
    has_tried_charsets: bool,
    /// The last transaction after which both trees had the same digest.
    agreed: Option<Zxid>,
    /// This leader hashes paths in a charset that is not known: its digests
    /// tell nothing.
    is_mute: bool,
}

/// Transactions in a row whose digests differ from the tree by the same number.
#[derive(Clone, Copy)]
struct Difference {
    by: u64,
    first: Zxid,
    last: Zxid,
    count: u32,
}

/// A difference and the times of its first and its last transaction.
#[derive(Clone, Copy)]
struct Noticed {
    first: Zxid,
    first_at: Millis,
    last: Zxid,
    last_at: Millis,
}

impl Digests {
    /// After this transaction the leader's digest is above ours by so much.
    /// Returns whether that is worth a line in the log.
    pub(super) fn compared(&mut self, zxid: Zxid, by: u64) -> bool {
        let is_news = by != 0 && self.differs.is_none_or(|known| known.by != by);
        if by == 0 {
            self.agreed = Some(zxid);
        }
        self.differs = match self.differs {
            _ if by == 0 => None,
            Some(known) if known.by == by => Some(Difference {
                last: zxid,
                count: known.count.saturating_add(1),
                ..known
            }),
            Some(_) | None => Some(Difference {
                by,
                first: zxid,
                last: zxid,
                count: 1,
            }),
        };
        is_news && !self.is_mute
    }

    /// Is this the first difference from this leader?
    pub(super) const fn first_difference(&mut self) -> bool {
        !std::mem::replace(&mut self.has_tried_charsets, true)
    }

    /// By how much the leader's digest is above ours.
    pub(super) fn difference(&self) -> u64 {
        self.differs.map_or(0, |known| known.by)
    }

    /// Did the digests agree when a znode was there that this transaction has
    /// created?
    pub(super) fn has_agreed_since(&self, created: Zxid) -> bool {
        self.agreed.is_some_and(|agreed| agreed >= created)
    }

    /// The difference is explained.
    pub(super) const fn explained(&mut self) {
        self.differs = None;
    }

    /// Judges nothing by this leader's digests any more.
    pub(super) const fn mute(&mut self) {
        self.is_mute = true;
    }

    /// The leader's tree was installed.
    pub(super) const fn tree_came(&mut self) {
        self.is_snap = true;
    }

    /// The follower serves from now on, with what was applied and proposed up to here.
    pub(super) fn serves(&mut self, applied: Zxid, proposed: Zxid) {
        let is_wrong = self.differs.is_some_and(|it| it.last == applied);
        self.counts_after = Some(if is_wrong && !self.is_snap {
            Zxid::ZERO
        } else {
            proposed
        });
    }

    /// The transaction that proves that this tree is not the leader's.
    /// `is_exact`: the leader is one of ours. Another one's digests have to
    /// differ in the same way for `patience_ms` and in several transactions.
    pub(super) fn verdict(
        &mut self,
        now: Millis,
        is_exact: bool,
        patience_ms: u64,
    ) -> Option<Zxid> {
        let differs = self.differs.filter(|_| !self.is_mute)?;
        if differs.last <= self.counts_after? {
            return None;
        }
        if is_exact {
            return Some(differs.last);
        }
        let known = self.noticed.filter(|it| it.first == differs.first);
        let mut noticed = known.unwrap_or(Noticed {
            first: differs.first,
            first_at: now,
            last: differs.last,
            last_at: now,
        });
        if noticed.last != differs.last {
            (noticed.last, noticed.last_at) = (differs.last, now);
        }
        self.noticed = Some(noticed);
        let lasts = noticed.last_at - noticed.first_at >= patience_ms;
        (lasts && differs.count >= TRANSACTIONS_MIN).then_some(differs.last)
    }
}

/// So many transactions have to differ by the same number.
const TRANSACTIONS_MIN: u32 = 8;
