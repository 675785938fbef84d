//! Which revision a pod gets that is made anew, whoever took the old one away.
//!
//! While no member serves on the wanted revision, pods that crash, are evicted or lose their node come back on
//! the revision that is known to work. Only for the moment in which one chosen pod is replaced do new pods get
//! the wanted revision; see docs/decisions/0009.

use std::time::Duration;

use super::health;
use super::{
    Desired, Member, Observation, PodFacts, Recreation, RestartReason, StatefulSetFacts, Step,
    Target, WaitReason,
};

/// Makes sure that the pod of `step` will come back on the right revision, before the step itself is taken.
pub(super) fn guard(
    step: Step,
    desired: &Desired,
    set: &StatefulSetFacts,
    observation: &Observation,
) -> Step {
    if set.current_revision == set.update_revision {
        return match step {
            Step::Done if set.recreation == Recreation::Wanted => Step::Protect,
            other => other,
        };
    }
    match set.recreation {
        Recreation::Proven => guard_protected(step, desired, set, observation),
        Recreation::Wanted => guard_released(step, set, observation),
    }
}

/// A revision that was tried for this generation of the spec is left alone for a while. A new generation is a new
/// wish, although its revision may be one of before: what failed outside may have been put right since.
fn guard_protected(
    step: Step,
    desired: &Desired,
    set: &StatefulSetFacts,
    observation: &Observation,
) -> Step {
    match &step {
        Step::RestartPod { target, why } | Step::RestartLeader { target, why } => {
            let tried = set.released.is_some_and(|release| {
                release.generation == desired.generation && release.ago < RETRY_AFTER
            });
            if *why == RestartReason::Unproven {
                step
            } else if tried && !has_updated(set, observation) {
                wait(WaitReason::TriedBefore)
            } else {
                Step::Release {
                    next: target.name.clone(),
                }
            }
        }
        Step::Done => wait(WaitReason::RevisionNotRecorded),
        Step::Wait { .. } | Step::Release { .. } | Step::Protect => step,
    }
}

fn guard_released(step: Step, set: &StatefulSetFacts, observation: &Observation) -> Step {
    let is_recent = is_recent(set);
    match &step {
        Step::RestartPod { why, .. } | Step::RestartLeader { why, .. } => match why {
            RestartReason::Unproven => Step::Protect,
            RestartReason::Outdated
            | RestartReason::OutdatedAndNotServing
            | RestartReason::OutdatedAndDefective(_)
            | RestartReason::OnlyMember
            | RestartReason::OutdatedAndAllReady => {
                if is_recent || is_proven(set, observation) || has_updated(set, observation) {
                    step
                } else {
                    Step::Protect
                }
            }
        },
        Step::Done => Step::Protect,
        Step::Wait { .. } if is_due_to_close(set, Some(observation)) => Step::Protect,
        Step::Wait { .. } => step,
        Step::Release { .. } | Step::Protect => step,
    }
}

fn is_recent(set: &StatefulSetFacts) -> bool {
    set.released
        .is_some_and(|release| release.ago < RELEASE_MAX)
}

/// New pods get the wanted revision, on which no member is seen to serve. Without an observation none is seen.
pub fn is_open(set: &StatefulSetFacts, observation: Option<&Observation>) -> bool {
    set.recreation == Recreation::Wanted
        && set.current_revision != set.update_revision
        && !observation.is_some_and(|observation| is_proven(set, observation))
}

/// The same, and the pod for which that was done is there, or has had its time. Where a restart comes next it may stay
/// so all the same.
pub fn is_due_to_close(set: &StatefulSetFacts, observation: Option<&Observation>) -> bool {
    let on_its_way = observation
        .is_none_or(|observation| is_anybody_absent(observation) || !has_updated(set, observation));
    is_open(set, observation) && !(on_its_way && is_recent(set))
}

/// A pod on the wanted revision that cannot come up goes back to the revision that works, if without it there is
/// no majority, or if it is not the only one. One such pod stays where it is for people to look at.
pub(super) fn put_back(set: &StatefulSetFacts, observation: &Observation) -> Option<Step> {
    if !is_known_to_work(set, observation)
        || is_proven(set, observation)
        || is_anybody_absent(observation)
    {
        return None;
    }
    let mut updated = pods(observation).filter(|(_, pod)| pod.revision == set.update_revision);
    let many = updated.clone().count() > 1;
    let others = pods(observation)
        .filter(|(_, pod)| pod.revision != set.update_revision && pod.defect.is_none());
    let others_suffice = others.count() >= health::majority(observation.members.len());
    if !many && (others_suffice || health::has_serving_majority(observation)) {
        return None;
    }
    let (member, pod) = updated.find(|(member, pod)| {
        !pod.ready && !pod.terminating && !member.has_serving_role() && pod.has_definite_defect()
    })?;
    Some(Step::RestartPod {
        target: Target::new(member, pod),
        why: RestartReason::Unproven,
    })
}

/// The revision that pods fall back to differs from the wanted one, and a member lives on it.
pub(super) fn is_known_to_work(set: &StatefulSetFacts, observation: &Observation) -> bool {
    set.current_revision != set.update_revision
        && pods(observation).any(|(member, pod)| {
            pod.revision == set.current_revision && pod.defect.is_none() && member.answer.is_some()
        })
}

/// A member serves on the wanted revision.
pub(super) fn is_proven(set: &StatefulSetFacts, observation: &Observation) -> bool {
    pods(observation).any(|(member, pod)| {
        let ready = pod.ready && !pod.terminating;
        pod.revision == set.update_revision && (member.is_serving() || (member.unheard && ready))
    })
}

/// Every pod has the wanted revision, which is also the one that pods fall back to, and a member serves on it. It is
/// worth remembering elsewhere than in the StatefulSet, which somebody may delete.
pub fn is_settled(desired: &Desired, observation: &Observation) -> bool {
    observation.stateful_set.as_ref().is_some_and(|set| {
        set.observed_generation >= desired.stateful_set_generation
            && set.current_revision == set.update_revision
            && pods(observation).all(|(_, pod)| pod.revision == set.update_revision)
            && is_proven(set, observation)
    })
}

fn has_updated(set: &StatefulSetFacts, observation: &Observation) -> bool {
    pods(observation).any(|(_, pod)| pod.revision == set.update_revision)
}

/// A member has no pod, or one that is going. One that does not go holds nobody else up.
fn is_anybody_absent(observation: &Observation) -> bool {
    let mut members = observation.members.iter();
    members.any(|member| {
        let on_its_way = |pod: &PodFacts| pod.terminating && !pod.is_stuck_terminating();
        member.pod.as_ref().is_none_or(on_its_way)
    })
}

fn pods(observation: &Observation) -> impl Iterator<Item = (&Member, &PodFacts)> + Clone {
    observation
        .members
        .iter()
        .filter_map(|member| Some((member, member.pod.as_ref()?)))
}

fn wait(why: WaitReason) -> Step {
    Step::Wait { why }
}

/// A pod has 30 s to stop, and then the new one must be made. If that takes longer, something keeps it from being
/// made, and others must not be caught by that.
pub const RELEASE_MAX: Duration = Duration::from_secs(60);
/// A revision of which no pod could be made is tried again after this time, if the spec stays the same.
pub const RETRY_AFTER: Duration = Duration::from_secs(300);
