//! Which epochs there are, and how far the word of a voter raises them.

use zk_proto::Epoch;

/// The last epoch. An epoch is the upper half of a zxid and a 32-bit number
/// with a sign in ACKEPOCH.
pub(crate) const EPOCH_LAST: Epoch = Epoch(i32::MAX as i64);

/// A voter that has accepted an epoch this far above this server's own is not
/// believed. Each failed discovery raises the promise of those who took part
/// by one, so that honest voters do not come near it: that takes more than a
/// day of elections that fail every two seconds. Without a bound one packet
/// could use up all epochs; with it that takes 32,768 discoveries.
const STEP_MAX: i64 = 1 << 16;

/// Can a server have accepted this epoch? 0 stands for none.
pub(crate) const fn is_possible(epoch: Epoch) -> bool {
    epoch.0 >= 0 && epoch.0 <= EPOCH_LAST.0
}

/// The epoch to propose after what this server and a voter have accepted, or
/// why the voter is refused.
pub(super) fn after(own: Epoch, theirs: Epoch) -> Result<Epoch, &'static str> {
    if theirs.0 - own.0 > STEP_MAX {
        return Err("the learner's accepted epoch is too far above this server's");
    }
    let next = Epoch(own.max(theirs).0 + 1);
    if next > EPOCH_LAST {
        return Err("all epochs are used up");
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_bounded_and_there_is_a_last_epoch() {
        let next = |own, theirs| after(Epoch(own), Epoch(theirs)).ok().map(|epoch| epoch.0);
        let last = EPOCH_LAST.0;
        assert_eq!(next(4, 0), Some(5));
        assert_eq!(next(4, 7), Some(8));
        assert_eq!(next(4, 4 + STEP_MAX), Some(5 + STEP_MAX));
        assert_eq!(next(4, 5 + STEP_MAX), None);
        assert_eq!(next(4, last), None);
        assert_eq!(next(last - 1, last - 1), Some(last));
        assert_eq!(next(last - 1, last), None);
        assert_eq!(next(last, 0), None);
        assert!(is_possible(EPOCH_LAST) && !is_possible(Epoch(last + 1)));
    }
}
