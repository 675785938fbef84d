//! What little requests may make of much work or memory for every server of
//! the ensemble. The reference has no such limits.

use std::collections::VecDeque;

use zk_proto::Zxid;
use zk_proto::client::ErrorCode;

/// What clients may still ask for.
#[derive(Debug)]
pub(super) struct Budget {
    /// Znodes that may be counted for quotas.
    counting: Pool,
    /// Entries of long lists that may be looked at.
    looking: Pool,
    /// By how many bytes outstanding transactions are longer than what their
    /// clients sent.
    grown: VecDeque<(Zxid, usize)>,
    grown_bytes: usize,
}

/// Work that is done at once up to a limit, and later as time passes.
#[derive(Debug)]
struct Pool {
    /// What may be used without a pause.
    max: i64,
    /// What each millisecond adds.
    per_ms: i64,
    /// What is left; below 0 until time has paid for something large.
    left: i64,
    /// Wall clock in ms of the last use.
    used_at: i64,
}

impl Pool {
    const fn new(max: i64, per_ms: i64) -> Self {
        Self {
            max,
            per_ms,
            left: max,
            used_at: 0,
        }
    }

    /// Pays if there is anything left. Only then is `cost` asked for.
    fn pay(&mut self, now_ms: i64, cost: impl FnOnce() -> usize) -> Result<(), ErrorCode> {
        // A clock that was set back must not stop the refilling.
        self.used_at = self.used_at.min(now_ms);
        let passed = now_ms.saturating_sub(self.used_at);
        let more = passed.saturating_mul(self.per_ms);
        let left = self.left.saturating_add(more).min(self.max);
        if left <= 0 {
            return Err(ErrorCode::ThrottledOp);
        }
        self.used_at = now_ms;
        self.left = left - i64::try_from(cost()).unwrap_or(i64::MAX);
        Ok(())
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            counting: Pool::new(COUNTED_MAX, COUNTED_PER_MS),
            looking: Pool::new(LOOKED_AT_MAX, LOOKED_AT_PER_MS),
            grown: VecDeque::new(),
            grown_bytes: 0,
        }
    }
}

impl Budget {
    /// Pays for counting a subtree, which every server does while it applies
    /// the transaction. `cost` is the number of its znodes, with those that are
    /// only outstanding, and finding that out is as much work as counting.
    ///
    /// # Errors
    /// ThrottledOp when much was counted in the last seconds.
    pub(super) fn count(
        &mut self,
        now_ms: i64,
        cost: impl FnOnce() -> usize,
    ) -> Result<(), ErrorCode> {
        self.counting.pay(now_ms, cost)
    }

    /// Pays for so many entries of lists. A request looks at a few for
    /// nothing: `before` is the number that it has looked at.
    ///
    /// # Errors
    /// ThrottledOp when many were looked at in the last seconds.
    pub(super) fn look(
        &mut self,
        now_ms: i64,
        before: usize,
        entries: usize,
    ) -> Result<(), ErrorCode> {
        if before + entries <= LOOKED_AT_FREE {
            return Ok(());
        }
        self.looking.pay(now_ms, || entries)
    }

    /// Is there room for a transaction that is longer than its request by so
    /// many bytes?
    pub(super) const fn may_grow(&self, bytes: usize) -> bool {
        bytes == 0 || self.grown_bytes + bytes <= GROWN_BYTES_MAX
    }

    /// A transaction is proposed.
    pub(super) fn grown(&mut self, zxid: Zxid, bytes: usize) {
        if bytes > 0 {
            self.grown_bytes += bytes;
            self.grown.push_back((zxid, bytes));
        }
    }

    /// The tree now holds everything up to `zxid`.
    pub(super) fn applied(&mut self, zxid: Zxid) {
        while let Some((_, bytes)) = self.grown.pop_front_if(|(at, _)| *at <= zxid) {
            self.grown_bytes -= bytes;
        }
    }
}

/// Znodes that are counted for quotas without a pause, about 100 ms of work.
const COUNTED_MAX: i64 = 2_000_000;
/// Beyond that, how many in each millisecond.
const COUNTED_PER_MS: i64 = 200;
/// Entries that one request may look at whatever else goes on.
const LOOKED_AT_FREE: usize = 1_000;
/// Entries beyond those of all requests that are looked at without a pause,
/// about 200 ms of work.
const LOOKED_AT_MAX: i64 = 2_000_000;
/// Beyond that, how many in each millisecond.
const LOOKED_AT_PER_MS: i64 = 2_000;
/// Bytes by which all outstanding transactions may be longer than their
/// requests.
const GROWN_BYTES_MAX: usize = 32 << 20;
