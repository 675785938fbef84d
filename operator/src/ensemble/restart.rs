//! Rolling restart: which pod on an old revision goes next, if any.
//!
//! One at a time; members that do not serve first, then followers from the highest ordinal down, the leader
//! last; never one without which the others are no synchronized majority; and not at all while a member that
//! was restarted has not come back.

use super::health::{self, Leadership};
use super::{
    Member, Observation, PodFacts, RestartReason, StatefulSetFacts, Step, Target, WaitReason,
    rollout,
};

pub(super) fn next_step(set: &StatefulSetFacts, observation: &Observation) -> Step {
    let mut present = Vec::with_capacity(observation.members.len());
    let mut stuck = None;
    for member in &observation.members {
        match &member.pod {
            Some(pod) if !pod.terminating => present.push((member, pod)),
            Some(pod) if pod.is_stuck_terminating() => stuck = Some(member),
            Some(_) | None => return wait(WaitReason::MemberAbsent(member.name.clone())),
        }
    }
    let step = among_present(set, observation, present);
    match (stuck, &step) {
        // Nobody else who may serve goes meanwhile, and what is waited for is the pod that does not go.
        (Some(member), step) if !takes_nothing_away(step) => {
            wait(WaitReason::MemberAbsent(member.name.clone()))
        }
        _ => step,
    }
}

/// The restart of a pod that cannot come up. It may be what an ensemble needs whose other member has lost its
/// Kubernetes node.
fn takes_nothing_away(step: &Step) -> bool {
    matches!(
        step,
        Step::RestartPod {
            why: RestartReason::OutdatedAndDefective(_),
            ..
        }
    )
}

fn among_present(
    set: &StatefulSetFacts,
    observation: &Observation,
    present: Vec<Present<'_>>,
) -> Step {
    let unheard = unheard(&present);
    let all_ready = present.iter().all(|(_, pod)| pod.ready);
    let (current, outdated): (Vec<Present<'_>>, Vec<Present<'_>>) = present
        .into_iter()
        .partition(|(_, pod)| pod.revision == set.update_revision);
    let not_serving = current
        .iter()
        .find(|(member, _)| !member.is_serving() && !member.unheard);

    if let ([], [(member, pod)], 1) = (
        current.as_slice(),
        outdated.as_slice(),
        observation.members.len(),
    ) {
        return Step::RestartPod {
            target: Target::new(member, pod),
            why: RestartReason::OnlyMember,
        };
    }
    if let Some((member, _)) = not_serving {
        let blocked = outdated.iter().all(|(_, pod)| pod.defect.is_none())
            || (rollout::is_known_to_work(set, observation)
                && !rollout::is_proven(set, observation));
        if blocked || health::has_serving_majority(observation) {
            return wait(if member.has_parted() {
                WaitReason::MemberParted(member.name.clone())
            } else if member.is_out_of_service() {
                WaitReason::MemberOutOfService(member.name.clone())
            } else {
                WaitReason::MemberNotServing(member.name.clone())
            });
        }
    }
    if let Some(step) = restart_defective(&outdated, is_known_as_bad(set, &current)) {
        return step;
    }
    // Once it is started again it takes part in elections, and with a history that is not that of the majority.
    if let Some((member, _)) = outdated.iter().find(|(of, _)| of.is_out_of_service()) {
        return wait(WaitReason::MemberOutOfService(member.name.clone()));
    }
    if !unheard.is_empty() {
        return all_ready
            .then(|| restart_by_readiness(&outdated))
            .flatten()
            .unwrap_or_else(|| wait(WaitReason::MembersUnheard(unheard)));
    }
    let leader = match health::leadership(observation) {
        Leadership::One(leader) => leader,
        Leadership::Several => return wait(WaitReason::SeveralLeaders),
        Leadership::None => {
            let waits_for = outdated.iter().find(|(member, _)| !member.is_serving());
            return wait(waits_for.map_or(WaitReason::NoLeader, |(member, _)| {
                WaitReason::OutdatedMemberNotServing(member.name.clone())
            }));
        }
    };
    match next_in_order(&outdated, leader) {
        Some(next) => restart_if_safe(next, leader, observation),
        None => Step::Done,
    }
}

type Present<'a> = (&'a Member, &'a PodFacts);

/// A pod cannot come up on the wanted revision, while the one that pods fall back to is known to work.
fn is_known_as_bad(set: &StatefulSetFacts, current: &[Present<'_>]) -> bool {
    set.current_is_proven
        && current
            .iter()
            .any(|(member, pod)| pod.has_definite_defect() && !member.has_serving_role())
}

/// A pod that cannot come up takes nothing away when it goes, and it cannot help while it stays. One that merely takes
/// long, as when its configuration was gone for a while, is not exchanged for one on a revision that is known as bad.
fn restart_defective(outdated: &[Present<'_>], wanted_is_bad: bool) -> Option<Step> {
    outdated
        .iter()
        .rev()
        .filter(|(_, pod)| !wanted_is_bad || pod.has_definite_defect())
        .filter(|(member, _)| !member.has_serving_role() && !member.is_out_of_service())
        .find_map(|(member, pod)| {
            let defect = pod.defect.clone()?;
            let why = RestartReason::OutdatedAndDefective(defect);
            Some(Step::RestartPod {
                target: Target::new(member, pod),
                why,
            })
        })
}

fn unheard(present: &[Present<'_>]) -> Vec<String> {
    present
        .iter()
        .filter(|(member, _)| member.unheard)
        .map(|(member, _)| member.name.clone())
        .collect()
}

/// The operator is cut off from some members, and so every pod is ready according to the kubelet, which asks the
/// server itself. One may go then, so that a correction of the spec gets through to an ensemble that cannot be
/// asked. A member that says that it leads still goes last.
fn restart_by_readiness(outdated: &[Present<'_>]) -> Option<Step> {
    let next = outdated.iter().rev().find(|(member, _)| !member.leads());
    let why = RestartReason::OutdatedAndAllReady;
    match next {
        Some((member, pod)) => Some(Step::RestartPod {
            target: Target::new(member, pod),
            why,
        }),
        None => outdated.first().map(|(member, pod)| Step::RestartLeader {
            target: Target::new(member, pod),
            why,
        }),
    }
}

/// Members that do not serve come first: they must be restarted anyway, and the others are stronger for it.
fn next_in_order<'a>(outdated: &[Present<'a>], leader: &Member) -> Option<Present<'a>> {
    let followers = || {
        outdated
            .iter()
            .rev()
            .filter(|(member, _)| member.ordinal != leader.ordinal)
    };
    followers()
        .find(|(member, _)| !member.is_serving())
        .or_else(|| followers().next())
        .or_else(|| {
            outdated
                .iter()
                .find(|(member, _)| member.ordinal == leader.ordinal)
        })
        .copied()
}

fn restart_if_safe(next: Present<'_>, leader: &Member, observation: &Observation) -> Step {
    let (member, pod) = next;
    let remaining = health::remaining_without(observation, leader, member);
    let needed = health::majority(observation.members.len());
    let serves = member.is_serving();
    if remaining < needed {
        return wait(if serves {
            WaitReason::OthersNotInStep {
                next: member.name.clone(),
                remaining,
                needed,
            }
        } else {
            WaitReason::OutdatedMemberNotServing(member.name.clone())
        });
    }
    let target = Target::new(member, pod);
    if member.ordinal == leader.ordinal {
        Step::RestartLeader {
            target,
            why: RestartReason::Outdated,
        }
    } else if serves {
        Step::RestartPod {
            target,
            why: RestartReason::Outdated,
        }
    } else {
        Step::RestartPod {
            target,
            why: RestartReason::OutdatedAndNotServing,
        }
    }
}

fn wait(why: WaitReason) -> Step {
    Step::Wait { why }
}
