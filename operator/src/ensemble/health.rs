//! Quorum arithmetic: who leads, who is in step with the leader, and what remains when one member goes.

use super::{Member, Observation, Role, Zxid};

/// Smallest number of members that any two quorums of `members` share at least one of.
pub fn majority(members: usize) -> usize {
    members / 2 + 1
}

/// The leader as far as the answers tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership<'a> {
    /// No member says that it leads.
    None,
    /// One does.
    One(&'a Member),
    /// Several do, so at least one answer is out of date.
    Several,
}

/// Who leads according to `observation`.
pub fn leadership(observation: &Observation) -> Leadership<'_> {
    let mut leaders = observation.members.iter().filter(|member| member.leads());
    match (leaders.next(), leaders.next()) {
        (None, _) => Leadership::None,
        (Some(leader), None) => Leadership::One(leader),
        (Some(_), Some(_)) => Leadership::Several,
    }
}

/// A leader answers and, with the followers that serve in step with it, is a majority.
pub fn has_serving_majority(observation: &Observation) -> bool {
    let Leadership::One(leader) = leadership(observation) else {
        return false;
    };
    quorum_size(observation, leader, None) >= majority(observation.members.len())
}

/// Number of members that would go on serving in step if `leaving` stopped now.
///
/// The leader's own count of synchronized followers caps what the followers say of themselves: a follower may
/// not have noticed yet that it was cut off. When `leaving` is the leader, what remains are followers that hold
/// what it has acknowledged; they will elect one of themselves.
pub fn remaining_without(observation: &Observation, leader: &Member, leaving: &Member) -> usize {
    quorum_size(observation, leader, Some(leaving))
}

/// The follower serves and has nearly all that the leader has.
pub fn is_in_step(member: &Member, leader: &Member) -> bool {
    let (Some(answer), Some(leader_answer)) = (member.answer, leader.answer) else {
        return false;
    };
    member.is_serving()
        && matches!(
            answer.role,
            Role::Follower | Role::Leader | Role::Standalone
        )
        && lag(answer.zxid, leader_answer.zxid) <= ZXID_LAG_MAX
}

/// Proposals by which `zxid` is behind the leader's.
///
/// A follower keeps the last zxid of the former epoch until the new leader's first proposal reaches it, so
/// across epochs only what the new epoch has brought counts. (It does serve, hence it was synchronized.)
fn lag(zxid: Zxid, leader: Zxid) -> u32 {
    if zxid >= leader {
        0
    } else if zxid.epoch() == leader.epoch() {
        leader.counter() - zxid.counter()
    } else {
        leader.counter()
    }
}

fn quorum_size(observation: &Observation, leader: &Member, leaving: Option<&Member>) -> usize {
    let leaves = |member: &Member| leaving.is_some_and(|leaving| leaving.ordinal == member.ordinal);
    let followers = observation
        .members
        .iter()
        .filter(|member| member.ordinal != leader.ordinal && !leaves(member))
        .filter(|member| is_in_step(member, leader))
        .count();
    let leader_counts = usize::from(leader.is_serving() && !leaves(leader));
    // A follower that leaves may be among those that the leader counts.
    let counted_and_leaving =
        usize::from(leaving.is_some_and(|leaving| {
            leaving.ordinal != leader.ordinal && leaving.has_serving_role()
        }));
    let synced = leader
        .answer
        .and_then(|answer| answer.synced_followers)
        .unwrap_or(0);
    leader_counts + followers.min(synced.saturating_sub(counted_and_leaving))
}

/// Members are asked at slightly different moments; under load this many proposals pass in between.
pub const ZXID_LAG_MAX: u32 = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn majorities_overlap() {
        assert_eq!([1, 3, 5, 7, 9].map(majority), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn lag_counts_within_the_leaders_epoch() {
        assert_eq!(lag(Zxid::new(3, 10), Zxid::new(3, 15)), 5);
        assert_eq!(
            lag(Zxid::new(3, 20), Zxid::new(3, 15)),
            0,
            "asked later than the leader"
        );
        assert_eq!(
            lag(Zxid::new(2, 900), Zxid::new(3, 0)),
            0,
            "no proposal in the new epoch yet"
        );
        assert_eq!(lag(Zxid::new(2, 900), Zxid::new(3, 7)), 7);
    }
}
