//! Facts and the chosen step, told to people: conditions, phase and a row per member.

#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use zk_operator_api::{ConditionType, MemberRole, MemberStatus, ZookeeperEnsembleStatus};

use crate::ensemble::health::{self, Leadership};
use crate::ensemble::{ClaimRisk, Member, Observation, Role, Step, UNHEARD_CAUSE, WaitReason};
use crate::resources::sid_of_ordinal;

/// Status of an ensemble whose members were asked. `outcome` is the chosen step, or what went wrong before one
/// could be taken; either way the rest is what was seen now.
pub fn observed(
    previous: Option<&ZookeeperEnsembleStatus>,
    generation: i64,
    observation: &Observation,
    outcome: Result<&Step, Failure<'_>>,
    now: Timestamp,
) -> ZookeeperEnsembleStatus {
    let leader = match health::leadership(observation) {
        Leadership::One(leader) => Some(leader),
        Leadership::None | Leadership::Several => None,
    };
    let serving = observation
        .members
        .iter()
        .filter(|member| member.is_serving())
        .count();
    let availability = Availability::of(previous, observation);
    let epoch = leader
        .and_then(|leader| leader.answer)
        .map(|answer| i64::from(answer.zxid.epoch()));
    let highest_epoch = previous.and_then(|status| status.highest_epoch).max(epoch);
    let fall = Fall::of(availability, epoch, highest_epoch);
    let mut conditions = Conditions {
        previous,
        generation,
        now,
        list: Vec::new(),
    };
    let (reconciled, reason, message) = match outcome {
        Ok(_) => (
            Truth::True,
            "Applied",
            "every object of the ensemble was applied",
        ),
        Err(failure) => (Truth::False, failure.reason, failure.message),
    };
    conditions.add(ConditionType::Reconciled, reconciled, reason, message);
    conditions.add(
        ConditionType::Available,
        availability.truth(),
        fall.map_or_else(|| availability.reason(), |_| EPOCH_FELL),
        &availability_message(availability, fall, observation),
    );
    let (done, paused, reason, message) = match outcome {
        Ok(step) => {
            let (reason, message) = describe(step, observation);
            (*step == Step::Done, is_paused(step), reason, message)
        }
        Err(failure) => (
            false,
            false,
            failure.reason,
            not_applied(generation, failure),
        ),
    };
    conditions.add(ConditionType::Ready, Truth::of(done), reason, &message);
    conditions.add(
        ConditionType::Progressing,
        Truth::of(!done && !paused),
        reason,
        &message,
    );
    ZookeeperEnsembleStatus {
        observed_generation: Some(generation),
        last_look_time: Some(Time(now)),
        phase: Some(phase(availability, observation, outcome).to_owned()),
        replicas: Some(count(observation.members.len())),
        ready_replicas: Some(count(serving)),
        leader: leader.map(|leader| leader.name.clone()),
        epoch,
        highest_epoch,
        proven_revision: previous.and_then(|status| status.proven_revision.clone()),
        image: observation
            .stateful_set
            .as_ref()
            .map(|set| set.image.clone())
            .filter(|image| !image.is_empty()),
        members: observation.members.iter().map(member_status).collect(),
        conditions: conditions.list,
    }
}

/// Adds to `Reconciled` what somebody else has put into the objects of the ensemble.
pub fn add_foreign(status: &mut ZookeeperEnsembleStatus, foreign: &[String]) {
    let mut conditions = status.conditions.iter_mut();
    let reconciled =
        conditions.find(|condition| condition.type_ == ConditionType::Reconciled.as_str());
    if let Some(condition) = reconciled.filter(|_| !foreign.is_empty()) {
        condition.reason = FOREIGN_FIELDS.to_owned();
        condition.message = shortened(&format!(
            "every object of the ensemble was applied, but {}. The operator does not take out what others put in: undo it with the tool that did it, or see \"Fields of others\" in docs/operator.md",
            foreign.join("; ")
        ));
    }
}

/// Status of an ensemble that could not be looked at: nothing is claimed of its members.
pub fn unseen(
    previous: Option<&ZookeeperEnsembleStatus>,
    generation: i64,
    failure: Failure<'_>,
    now: Timestamp,
) -> ZookeeperEnsembleStatus {
    let mut conditions = Conditions {
        previous,
        generation,
        now,
        list: Vec::new(),
    };
    conditions.add(
        ConditionType::Reconciled,
        Truth::False,
        failure.reason,
        failure.message,
    );
    for kind in [
        ConditionType::Available,
        ConditionType::Ready,
        ConditionType::Progressing,
    ] {
        conditions.add(kind, Truth::Unknown, failure.reason, failure.message);
    }
    ZookeeperEnsembleStatus {
        observed_generation: Some(generation),
        last_look_time: previous.and_then(|status| status.last_look_time.clone()),
        phase: Some(PHASE_UNKNOWN.to_owned()),
        replicas: previous.and_then(|status| status.replicas),
        highest_epoch: previous.and_then(|status| status.highest_epoch),
        proven_revision: previous.and_then(|status| status.proven_revision.clone()),
        conditions: conditions.list,
        ..ZookeeperEnsembleStatus::default()
    }
}

/// The two differ in nothing but a time of the last look that is recent enough in the first.
pub fn says_the_same(previous: &ZookeeperEnsembleStatus, next: &ZookeeperEnsembleStatus) -> bool {
    let is_recent = match (&previous.last_look_time, &next.last_look_time) {
        (Some(before), Some(now)) => now.0.duration_since(before.0) < HEARTBEAT,
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    let aligned = ZookeeperEnsembleStatus {
        last_look_time: previous.last_look_time.clone(),
        ..next.clone()
    };
    is_recent && *previous == aligned
}

/// When the operator last looked, if that is so long ago that the status may be wrong and does not say so.
pub fn outdated_since(status: &ZookeeperEnsembleStatus, now: Timestamp) -> Option<Timestamp> {
    let last = status.last_look_time.as_ref()?.0;
    let is_old = now.duration_since(last) > LOOK_AGE_MAX;
    (is_old && status.phase.as_deref() != Some(PHASE_UNKNOWN)).then_some(last)
}

fn not_applied(generation: i64, failure: Failure<'_>) -> String {
    format!(
        "generation {generation} of the spec is not applied: {}",
        failure.message
    )
}

/// A failed stage.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// Short constant.
    pub reason: &'a str,
    /// The whole chain of causes.
    pub message: &'a str,
    /// Only a change of the spec helps.
    pub spec_is_wrong: bool,
}

/// Reason and message of the conditions that speak of the step, and of its Event: what is done or waited for, and
/// the cause as far as it is known.
pub fn describe(step: &Step, observation: &Observation) -> (&'static str, String) {
    match step {
        Step::Done => (
            "Settled",
            "every member runs the wanted configuration and serves".to_owned(),
        ),
        Step::Wait { why } => {
            let text = match why {
                WaitReason::MemberNotServing(_) => why.to_string(),
                WaitReason::StaleObservation(_)
                | WaitReason::StatefulSetNotObserved
                | WaitReason::MemberAbsent(_)
                | WaitReason::MemberParted(_)
                | WaitReason::MemberOutOfService(_)
                | WaitReason::OutdatedMemberNotServing(_)
                | WaitReason::MembersUnheard(_)
                | WaitReason::RevisionNotRecorded
                | WaitReason::TriedBefore
                | WaitReason::Paused(_)
                | WaitReason::EvictionRefused(_)
                | WaitReason::SeveralBudgets { .. }
                | WaitReason::ClaimAtRisk(_)
                | WaitReason::NoLeader
                | WaitReason::SeveralLeaders
                | WaitReason::OthersNotInStep { .. } => format!("waiting: {why}"),
            };
            let cause = if matches!(why, WaitReason::MembersUnheard(_)) {
                Some(why_no_answer(observation))
            } else {
                problem_of_awaited(step, observation)
            };
            match cause {
                Some(cause) => (why.reason(), format!("{text}: {cause}")),
                None => (why.reason(), text),
            }
        }
        Step::RestartPod { target, why } => {
            (why.reason(), format!("restarting {}: {why}", target.name))
        }
        Step::RestartLeader { target, why } => (
            why.reason(),
            format!("restarting {}, the leader, last: {why}", target.name),
        ),
        Step::Release { next } => (
            "Released",
            format!("{next} is next: a pod that is created now gets the update revision"),
        ),
        Step::Protect => (
            "Protected",
            "a pod that is created now gets the revision that is known to work".to_owned(),
        ),
    }
}

/// The known cause of the trouble of the member that `step` waits for.
pub fn problem_of_awaited<'a>(step: &Step, observation: &'a Observation) -> Option<&'a str> {
    let Step::Wait { why } = step else {
        return None;
    };
    let awaited = why.member()?;
    let mut members = observation.members.iter();
    let member = members.find(|member| member.name == awaited)?;
    if matches!(why, WaitReason::ClaimAtRisk(_)) {
        return member.claim_risk.as_ref().map(|risk| risk.text.as_str());
    }
    member.problem.as_deref()
}

/// Why members that are ready do not answer the operator: what their port says, or what it mostly is.
fn why_no_answer(observation: &Observation) -> &str {
    let mut silent = observation
        .members
        .iter()
        .filter(|member| member.is_ready_without_answer());
    silent
        .find_map(|member| member.problem.as_deref())
        .unwrap_or(UNHEARD_CAUSE)
}

/// The ensemble serves in an older epoch than one in which it was seen before: its members have begun a new history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fall {
    from: i64,
    to: i64,
}

impl Fall {
    /// A leader that is cut off and has not noticed has an older epoch as well, but no majority that serves.
    fn of(availability: Availability, epoch: Option<i64>, highest: Option<i64>) -> Option<Self> {
        let (from, to) = (highest?, epoch?);
        (availability == Availability::Serving && to < from).then_some(Self { from, to })
    }
}

fn availability_message(
    availability: Availability,
    fall: Option<Fall>,
    observation: &Observation,
) -> String {
    let mut text = availability.message(observation);
    if let Some(Fall { from, to }) = fall {
        text = format!(
            "{text}, but in epoch {to}, and the ensemble was in epoch {from} before: members have lost or replaced their data, and what was written before is missing. Delete no claim and no PersistentVolume before you know which member still has it (docs/operator.md, \"A member that keeps itself out\")"
        );
    }
    let out: Vec<&str> = observation
        .members
        .iter()
        .filter(|member| member.is_out_of_service())
        .map(|member| member.name.as_str())
        .collect();
    if !out.is_empty() {
        text = format!(
            "{text}; out of service, perhaps with data that the others do not have: {}",
            out.join(", ")
        );
    }
    text
}

/// Whether clients are served, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Availability {
    Serving,
    Forming,
    Electing,
    Unavailable,
    /// Enough pods are ready, so many of all, but the operator cannot ask enough of them.
    Unheard(usize),
}

impl Availability {
    fn of(previous: Option<&ZookeeperEnsembleStatus>, observation: &Observation) -> Self {
        let answering = observation
            .members
            .iter()
            .filter(|member| member.answer.is_some())
            .count();
        let known = previous.and_then(|status| find(&status.conditions, ConditionType::Available));
        let was_forming = known.is_none_or(|condition| condition.reason == Self::Forming.reason());
        let maybe_serving = observation
            .members
            .iter()
            .filter(|member| member.is_serving() || member.is_ready_without_answer())
            .count();
        let majority = health::majority(observation.members.len());
        if health::has_serving_majority(observation) {
            Self::Serving
        } else if maybe_serving >= majority
            && observation
                .members
                .iter()
                .any(Member::is_ready_without_answer)
        {
            Self::Unheard(maybe_serving)
        } else if was_forming {
            Self::Forming
        } else if answering >= majority {
            Self::Electing
        } else {
            Self::Unavailable
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Serving => "Serving",
            Self::Forming => "Forming",
            Self::Electing => "Electing",
            Self::Unavailable => "Unavailable",
            Self::Unheard(_) => "NoAnswer",
        }
    }

    fn message(self, observation: &Observation) -> String {
        match self {
            Self::Serving => "a leader and a synchronized majority serve".to_owned(),
            Self::Forming => "the members have not formed a quorum yet".to_owned(),
            Self::Electing => {
                "a majority answers, but has no established leader with enough synchronized followers".to_owned()
            }
            Self::Unavailable => "fewer members than a majority answer".to_owned(),
            Self::Unheard(ready) => format!(
                "{ready} members are ready, but too few answer the operator on the admin port: {}",
                why_no_answer(observation)
            ),
        }
    }

    fn truth(self) -> Truth {
        match self {
            Self::Serving => Truth::True,
            Self::Forming | Self::Electing | Self::Unavailable => Truth::False,
            Self::Unheard(_) => Truth::Unknown,
        }
    }
}

fn phase(
    availability: Availability,
    observation: &Observation,
    outcome: Result<&Step, Failure<'_>>,
) -> &'static str {
    match (availability, outcome) {
        (_, Err(failure)) if failure.reason == DELETING => DELETING,
        (_, Err(failure)) if failure.spec_is_wrong => PHASE_INVALID,
        (Availability::Serving | Availability::Forming, Err(_)) => PHASE_BLOCKED,
        (Availability::Serving, Ok(step)) => match step {
            Step::Done => "Serving",
            step if is_paused(step) => "Paused",
            Step::RestartPod { .. } | Step::RestartLeader { .. } | Step::Release { .. } => {
                "Restarting"
            }
            Step::Wait { .. } | Step::Protect if has_outdated(observation) => "Restarting",
            Step::Wait { .. } | Step::Protect => "Degraded",
        },
        (Availability::Unheard(_), _) => PHASE_UNKNOWN,
        (Availability::Forming | Availability::Electing | Availability::Unavailable, _) => {
            availability.reason()
        }
    }
}

fn is_paused(step: &Step) -> bool {
    matches!(
        step,
        Step::Wait {
            why: WaitReason::Paused(_)
        }
    )
}

fn has_outdated(observation: &Observation) -> bool {
    let Some(set) = &observation.stateful_set else {
        return false;
    };
    let mut pods = observation
        .members
        .iter()
        .filter_map(|member| member.pod.as_ref());
    pods.any(|pod| pod.revision != set.update_revision)
}

fn member_status(member: &Member) -> MemberStatus {
    let answer = member.answer.filter(|answer| answer.role != Role::Looking);
    MemberStatus {
        name: member.name.clone(),
        sid: sid_of_ordinal(member.ordinal),
        role: match member.answer.map(|answer| answer.role) {
            Some(Role::Leader) => MemberRole::Leader,
            Some(Role::Follower) => MemberRole::Follower,
            Some(Role::Standalone) => MemberRole::Standalone,
            Some(Role::Looking) => MemberRole::Looking,
            None => MemberRole::Unknown,
        },
        zxid: answer.map(|answer| answer.zxid.to_string()),
        ready: member.is_serving(),
        problem: problem(member).map(|problem| shortened(&problem)),
    }
}

fn problem(member: &Member) -> Option<String> {
    let mismatches = member.answer.map_or(0, |answer| answer.digest_mismatches);
    if mismatches > 0 {
        return Some(format!(
            "TreeDiffers: its tree differed from the leader's after {mismatches} transactions"
        ));
    }
    let of_pod = member
        .problem
        .clone()
        .or_else(|| member.pod.as_ref()?.defect.clone())
        .filter(|_| !member.is_serving());
    let of_claim = member.claim_risk.as_ref().map(ClaimRisk::to_string);
    match (of_pod, of_claim) {
        (Some(of_pod), Some(of_claim)) => Some(format!("{of_pod}; {of_claim}")),
        (of_pod, of_claim) => of_pod.or(of_claim),
    }
}

/// Value of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    fn of(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

struct Conditions<'a> {
    previous: Option<&'a ZookeeperEnsembleStatus>,
    generation: i64,
    now: Timestamp,
    list: Vec<Condition>,
}

impl Conditions<'_> {
    /// A condition keeps its transition time for as long as its status stays the same.
    fn add(&mut self, kind: ConditionType, truth: Truth, reason: &str, message: &str) {
        let status = truth.as_str();
        let since = self
            .previous
            .and_then(|previous| find(&previous.conditions, kind))
            .filter(|condition| condition.status == status)
            .map_or(Time(self.now), |condition| {
                condition.last_transition_time.clone()
            });
        self.list.push(Condition {
            type_: kind.as_str().to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: shortened(message),
            observed_generation: Some(self.generation),
            last_transition_time: since,
        });
    }
}

/// Finds a condition by its type.
pub fn find(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions
        .iter()
        .find(|condition| condition.type_ == kind.as_str())
}

/// Cuts a message to what an Event may hold, at a character boundary.
pub(crate) fn shortened(message: &str) -> String {
    if message.len() <= MESSAGE_BYTES_MAX {
        return message.to_owned();
    }
    let mut text: String = message
        .char_indices()
        .take_while(|(at, c)| at + c.len_utf8() + ELLIPSIS.len() <= MESSAGE_BYTES_MAX)
        .map(|(_, c)| c)
        .collect();
    text.push_str(ELLIPSIS);
    text
}

fn count(members: usize) -> i32 {
    i32::try_from(members).expect("an ensemble has at most nine members")
}

/// How old the time of the last look in a status may become while all goes well.
const HEARTBEAT: SignedDuration = SignedDuration::from_secs(60);
/// Age of the last look from which on a status may be wrong; an operator that works looks far more often.
const LOOK_AGE_MAX: SignedDuration = SignedDuration::from_secs(120);
/// Reason of `Available` while the ensemble serves in an older epoch than it once did.
pub(crate) const EPOCH_FELL: &str = "EpochFell";
pub(crate) const PHASE_UNKNOWN: &str = "Unknown";
/// Reason of `Reconciled` while an object has fields that somebody else has put there.
pub(crate) const FOREIGN_FIELDS: &str = "ForeignFields";
/// Phase and reason of an ensemble that is being deleted and is still there.
pub(crate) const DELETING: &str = "Deleting";
const PHASE_INVALID: &str = "Invalid";
const PHASE_BLOCKED: &str = "Blocked";
/// The note of an Event may have 1 kB.
const MESSAGE_BYTES_MAX: usize = 1000;
const ELLIPSIS: &str = "…";
