//! Which epochs there are, and how far the word of a voter raises them.

use zk_proto::Epoch;

/// The last epoch. An epoch is the upper half of a zxid and a 32-bit number
/// with a sign in ACKEPOCH.
pub(crate) const EPOCH_LAST: Epoch = Epoch(i32::MAX as i64);

/// The last epochs are kept for elections. Below them the word of a voter that
/// speaks from its own host raises the epoch by any distance: servers that are
/// far apart have to find together again, and all that a false word can do is
/// to use up epochs. These are left after it, enough for an election a minute
/// over two years.
const RESERVE: i64 = 1 << 20;

/// How far such a voter raises the epoch within the reserve, at most. Each
/// failed discovery raises the promise of those who took part by one, so that
/// sound servers do not get that far apart.
const STEP_LISTED: i64 = 1 << 10;

/// How far a voter raises the epoch that does not speak from its own host and
/// could be anybody.
const STEP_UNLISTED: i64 = 1 << 6;

/// Can a server have accepted this epoch? 0 stands for none.
pub(crate) const fn is_possible(epoch: Epoch) -> bool {
    epoch.0 >= 0 && epoch.0 <= EPOCH_LAST.0
}

/// The epoch to propose after what this server and a voter have accepted, or
/// why there is none.
pub(super) fn after(own: Epoch, theirs: Epoch) -> Result<Epoch, &'static str> {
    let next = Epoch(own.max(theirs).0 + 1);
    if next > EPOCH_LAST {
        return Err("all epochs are used up");
    }
    Ok(next)
}

/// The highest accepted epoch of a voter that a server believes which has
/// accepted `own`. An epoch is left after it.
pub(super) fn reach(own: Epoch, is_listed: bool) -> Epoch {
    let highest = if is_listed {
        (own.0 + STEP_LISTED).max(EPOCH_LAST.0 - RESERVE)
    } else {
        own.0 + STEP_UNLISTED
    };
    Epoch(highest.min(EPOCH_LAST.0 - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: i64 = EPOCH_LAST.0;

    #[test]
    fn there_is_a_last_epoch() {
        let next = |own, theirs| after(Epoch(own), Epoch(theirs)).ok().map(|epoch| epoch.0);
        assert_eq!(next(4, 0), Some(5));
        assert_eq!(next(4, 7), Some(8));
        assert_eq!(next(4, LAST), None);
        assert_eq!(next(LAST - 1, LAST - 1), Some(LAST));
        assert_eq!(next(LAST, 0), None);
        assert!(is_possible(EPOCH_LAST) && !is_possible(Epoch(LAST + 1)));
    }

    #[test]
    fn only_who_speaks_from_its_host_reaches_far_and_nobody_into_the_reserve() {
        let fence = LAST - RESERVE;
        let listed = |own| reach(Epoch(own), true).0;
        assert_eq!(listed(4), fence);
        assert_eq!(listed(fence), fence + STEP_LISTED);
        assert_eq!(listed(LAST - 1), LAST - 1);
        let unlisted = |own| reach(Epoch(own), false).0;
        assert_eq!(unlisted(4), 4 + STEP_UNLISTED);
        assert_eq!(unlisted(LAST - 3), LAST - 1);
    }
}
