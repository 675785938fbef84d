//! How a learner gets the leader's history (reference: 3.9.4
//! `LearnerHandler.syncFollower`, `queueCommittedProposals`). Synchronization
//! from the disk's log is not built; where the reference would use it, and
//! where it would send a truncation to -1, the plan is a snapshot.

use zk_proto::Zxid;

/// What to send before NEWLEADER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// The learner keeps all it has and gets the entries from an index on.
    Diff {
        /// Goes into the DIFF packet, for information.
        zxid: Zxid,
        /// Index of the first entry to send.
        from: usize,
    },
    /// The learner drops what is after a zxid, then gets the entries from an
    /// index on.
    Trunc {
        /// Last zxid to keep.
        to: Zxid,
        /// Index of the first entry to send.
        from: usize,
    },
    /// The learner gets a whole tree.
    Snap,
}

/// Decides for a learner whose log ends at `peer_last`. `log` holds the zxids
/// of the leader's newest history in order, without holes within an epoch;
/// `last_processed` is the zxid of the leader's tree.
#[must_use]
pub fn plan(peer_last: Zxid, log: &[Zxid], last_processed: Zxid) -> Plan {
    let min = log.first().copied().unwrap_or(last_processed);
    let max = log.last().copied().unwrap_or(last_processed);
    // Where a leader started without having written: no transaction has it.
    let is_epoch_start = peer_last.counter() == 0;
    if peer_last == last_processed {
        let from = log.partition_point(|zxid| *zxid <= peer_last);
        return Plan::Diff {
            zxid: peer_last,
            from,
        };
    }
    if peer_last > max && !is_epoch_start {
        let from = log.len();
        return Plan::Trunc { to: max, from };
    }
    if peer_last < min || peer_last > max {
        return Plan::Snap;
    }
    let from = log.partition_point(|zxid| *zxid < peer_last);
    let Some(first) = log.get(from).copied() else {
        return Plan::Snap;
    };
    if first == peer_last {
        return Plan::Diff {
            zxid: max,
            from: from + 1,
        };
    }
    if is_epoch_start {
        return Plan::Diff { zxid: max, from };
    }
    // The learner has something here that the leader has not.
    match from.checked_sub(1) {
        Some(previous) if first.epoch() == peer_last.epoch() => Plan::Trunc {
            to: log[previous],
            from,
        },
        _ => Plan::Snap,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zk_proto::Epoch;

    const fn z(epoch: i64, counter: u32) -> Zxid {
        Zxid::new(Epoch(epoch), counter)
    }

    #[test]
    fn every_case_of_the_reference() {
        let diff = |zxid, from| Plan::Diff { zxid, from };
        let trunc = |to, from| Plan::Trunc { to, from };
        let two_epochs: Vec<_> = (3..=9)
            .map(|n| z(1, n))
            .chain((1..=4).map(|n| z(2, n)))
            .collect();
        let to_1_8: Vec<_> = (3..=8).map(|n| z(1, n)).collect();
        let with_skip = [z(1, 3), z(1, 6)];
        let table: &[(&str, Zxid, &[Zxid], Zxid, Plan)] = &[
            ("fresh ensemble", z(0, 0), &[], z(0, 0), diff(z(0, 0), 0)),
            ("in sync", z(2, 4), &two_epochs, z(2, 4), diff(z(2, 4), 11)),
            (
                "ten behind, across an epoch",
                z(1, 3),
                &two_epochs,
                z(2, 4),
                diff(z(2, 4), 1),
            ),
            (
                "last entry of the older epoch",
                z(1, 9),
                &two_epochs,
                z(2, 4),
                diff(z(2, 4), 7),
            ),
            (
                "old leader's tail, next epoch has transactions",
                z(1, 10),
                &two_epochs,
                z(2, 4),
                Plan::Snap,
            ),
            (
                "old leader's tail, next epoch is empty",
                z(1, 9),
                &to_1_8,
                z(1, 8),
                trunc(z(1, 8), 6),
            ),
            (
                "the same with a serving leader",
                z(1, 9),
                &to_1_8,
                z(2, 0),
                trunc(z(1, 8), 6),
            ),
            (
                "idle change of epoch",
                z(1, 8),
                &to_1_8,
                z(3, 0),
                diff(z(1, 8), 6),
            ),
            (
                "a tail within the epoch of the next entry",
                z(1, 4),
                &with_skip,
                z(1, 6),
                trunc(z(1, 3), 1),
            ),
            (
                "a start of an epoch within the log",
                z(2, 0),
                &two_epochs,
                z(2, 4),
                diff(z(2, 4), 7),
            ),
            (
                "a start of an epoch above the log",
                z(3, 0),
                &two_epochs,
                z(2, 4),
                Plan::Snap,
            ),
            (
                "the leader's own start of the epoch",
                z(3, 0),
                &two_epochs,
                z(3, 0),
                diff(z(3, 0), 11),
            ),
            ("too far behind", z(1, 2), &two_epochs, z(2, 4), Plan::Snap),
            ("nothing at all", z(0, 0), &two_epochs, z(2, 4), Plan::Snap),
            ("no log, learner behind", z(1, 2), &[], z(1, 5), Plan::Snap),
            (
                "no log, learner ahead",
                z(1, 7),
                &[],
                z(1, 5),
                trunc(z(1, 5), 0),
            ),
            (
                "newcomer to an ensemble that never wrote",
                z(0, 0),
                &[],
                z(1, 0),
                Plan::Snap,
            ),
        ];
        for (name, peer_last, log, last_processed, want) in table {
            assert_eq!(plan(*peer_last, log, *last_processed), *want, "{name}");
        }
    }

    #[test]
    fn what_is_kept_and_sent_makes_the_leaders_history() {
        // Learner and leader with a common beginning, each with more of its own.
        let all: Vec<_> = (1..=3)
            .flat_map(|epoch| (1..=4).map(move |n| z(epoch, n)))
            .collect();
        for keep in 0..all.len() {
            for known in 0..=all.len() {
                let log = &all[keep..];
                let peer = &all[..known];
                let last = peer.last().copied().unwrap_or(Zxid::ZERO);
                let leader_last = *all.last().unwrap();
                let sent = match plan(last, log, leader_last) {
                    Plan::Snap => continue,
                    Plan::Diff { from, .. } => [peer, &log[from..]].concat(),
                    Plan::Trunc { to, from } => {
                        let cut = peer.partition_point(|zxid| *zxid <= to);
                        [&peer[..cut], &log[from..]].concat()
                    }
                };
                assert_eq!(sent, all, "{keep} {known}");
            }
        }
    }
}
