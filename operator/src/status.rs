//! Facts and the chosen step, told to people: conditions, phase and a row per member.

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
        availability.reason(),
        &availability.message(),
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
        epoch: leader
            .and_then(|leader| leader.answer)
            .map(|answer| i64::from(answer.zxid.epoch())),
        image: observation
            .stateful_set
            .as_ref()
            .map(|set| set.image.clone())
            .filter(|image| !image.is_empty()),
        members: observation.members.iter().map(member_status).collect(),
        conditions: conditions.list,
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
            "every member serves on the update revision".to_owned(),
        ),
        Step::Wait { why } => {
            let text = match why {
                WaitReason::MemberNotServing(_) => why.to_string(),
                WaitReason::StaleObservation(_)
                | WaitReason::StatefulSetNotObserved
                | WaitReason::MemberAbsent(_)
                | WaitReason::MemberParted(_)
                | WaitReason::OutdatedMemberNotServing(_)
                | WaitReason::MembersUnheard(_)
                | WaitReason::RevisionNotRecorded
                | WaitReason::TriedBefore
                | WaitReason::Paused(_)
                | WaitReason::EvictionRefused(_)
                | WaitReason::ClaimAtRisk(_)
                | WaitReason::NoLeader
                | WaitReason::SeveralLeaders
                | WaitReason::OthersNotInStep { .. } => format!("waiting: {why}"),
            };
            match problem_of_awaited(step, observation) {
                Some(problem) => (why.reason(), format!("{text}: {problem}")),
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

    fn message(self) -> String {
        match self {
            Self::Serving => "a leader and a synchronized majority serve".to_owned(),
            Self::Forming => "the members have not formed a quorum yet".to_owned(),
            Self::Electing => {
                "a majority answers, but has no established leader with enough synchronized followers".to_owned()
            }
            Self::Unavailable => "fewer members than a majority answer".to_owned(),
            Self::Unheard(ready) => format!(
                "{ready} members are ready, but too few answer the operator on the admin port: {UNHEARD_CAUSE}"
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
const PHASE_UNKNOWN: &str = "Unknown";
const PHASE_INVALID: &str = "Invalid";
const PHASE_BLOCKED: &str = "Blocked";
/// The note of an Event may have 1 kB.
const MESSAGE_BYTES_MAX: usize = 1000;
const ELLIPSIS: &str = "…";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ensemble::{Answer, PodFacts, Recreation, StatefulSetFacts, Zxid};

    fn observation(roles: &[Option<Role>]) -> Observation {
        let members = roles
            .iter()
            .enumerate()
            .map(|(at, role)| Member {
                name: format!("zk-{at}"),
                ordinal: i32::try_from(at).unwrap(),
                pod: Some(PodFacts {
                    uid: String::new(),
                    resource_version: String::new(),
                    revision: "one".to_owned(),
                    ready: role.is_some_and(|role| role != Role::Looking),
                    terminating: false,
                    defect: None,
                }),
                answer: role.map(|role| Answer {
                    role,
                    zxid: Zxid::new(2, 9),
                    synced_followers: (role == Role::Leader).then_some(2),
                    digest_mismatches: 0,
                }),
                unheard: false,
                problem: None,
                claim_risk: None,
            })
            .collect();
        Observation {
            age: Duration::ZERO,
            stateful_set: Some(StatefulSetFacts {
                uid: String::new(),
                observed_generation: 1,
                update_revision: "one".to_owned(),
                image: "quorate/quorate:test".to_owned(),
                current_revision: "one".to_owned(),
                recreation: Recreation::Proven,
                released: None,
            }),
            members,
        }
    }

    fn waiting() -> Step {
        Step::Wait {
            why: WaitReason::NoLeader,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    const SERVING: [Option<Role>; 3] = [
        Some(Role::Follower),
        Some(Role::Leader),
        Some(Role::Follower),
    ];

    #[test]
    fn a_serving_ensemble_shows_leader_epoch_and_every_member() {
        let status = observed(None, 3, &observation(&SERVING), Ok(&Step::Done), at(0));
        assert_eq!(status.phase.as_deref(), Some("Serving"));
        assert_eq!((status.replicas, status.ready_replicas), (Some(3), Some(3)));
        assert_eq!(
            (status.leader.as_deref(), status.epoch),
            (Some("zk-1"), Some(2))
        );
        let row = &status.members[1];
        assert_eq!(
            (row.sid, row.role, row.zxid.as_deref()),
            (2, MemberRole::Leader, Some("0x200000009"))
        );
        assert!(
            status.conditions[..3]
                .iter()
                .all(|condition| condition.status == "True")
        );
        assert_eq!(
            find(&status.conditions, ConditionType::Progressing)
                .unwrap()
                .status,
            "False"
        );
    }

    #[test]
    fn a_member_that_cannot_come_up_says_why() {
        let mut seen = observation(&[None, Some(Role::Leader), Some(Role::Follower)]);
        seen.members[0].pod.as_mut().unwrap().defect = Some("ImagePullBackOff".to_owned());
        let status = observed(None, 1, &seen, Ok(&waiting()), at(0));
        assert_eq!(
            status.members[0].problem.as_deref(),
            Some("ImagePullBackOff")
        );
        assert_eq!(status.members[1].problem, None);
    }

    #[test]
    fn what_is_waited_for_is_told_with_its_cause() {
        let mut seen = observation(&[Some(Role::Leader), None, Some(Role::Follower)]);
        seen.members[1].problem = Some("exit code 2: zoo.cfg:12: tickTime=abc".to_owned());
        let step = Step::Wait {
            why: WaitReason::MemberNotServing("zk-1".to_owned()),
        };
        let status = observed(None, 1, &seen, Ok(&step), at(0));
        let expected = "waiting for zk-1 to become ready: exit code 2: zoo.cfg:12: tickTime=abc";
        let progressing = find(&status.conditions, ConditionType::Progressing).unwrap();
        assert_eq!(progressing.message, expected);
        assert_eq!(
            status.members[1].problem.as_deref(),
            Some("exit code 2: zoo.cfg:12: tickTime=abc")
        );
        assert_eq!(status.image.as_deref(), Some("quorate/quorate:test"));
        assert_eq!(
            describe(&step, &observation(&[None; 3])).1,
            "waiting for zk-1 to become ready"
        );
    }

    #[test]
    fn members_that_are_ready_but_do_not_answer_make_the_state_unknown_and_name_the_usual_cause() {
        let mut seen = observation(&[None; 3]);
        for member in &mut seen.members {
            member.pod.as_mut().unwrap().ready = true;
        }
        let status = observed(None, 1, &seen, Ok(&waiting()), at(0));
        assert_eq!(status.phase.as_deref(), Some("Unknown"));
        let available = find(&status.conditions, ConditionType::Available).unwrap();
        assert_eq!(
            (available.status.as_str(), available.reason.as_str()),
            ("Unknown", "NoAnswer")
        );
        assert!(
            available
                .message
                .starts_with("3 members are ready, but too few answer")
                && available.message.contains("NetworkPolicy"),
            "{}",
            available.message
        );
    }

    #[test]
    fn a_member_whose_tree_differs_is_a_problem_and_never_serves() {
        let mut seen = observation(&SERVING);
        seen.members[0].answer.as_mut().unwrap().digest_mismatches = 18;
        let step = crate::ensemble::next_step(
            &crate::ensemble::Desired {
                replicas: 3,
                generation: 1,
                paused: false,
                stateful_set_generation: 1,
            },
            &seen,
        );
        assert_eq!(
            step,
            Step::Wait {
                why: WaitReason::MemberParted("zk-0".to_owned())
            }
        );
        let status = observed(None, 1, &seen, Ok(&step), at(0));
        assert_eq!(status.phase.as_deref(), Some("Degraded"));
        assert_eq!(status.ready_replicas, Some(2));
        assert!(!status.members[0].ready);
        let problem = status.members[0].problem.as_deref().unwrap();
        assert!(
            problem.starts_with("TreeDiffers") && problem.contains("18"),
            "{problem}"
        );
        let ready = find(&status.conditions, ConditionType::Ready).unwrap();
        assert_eq!(
            (ready.status.as_str(), ready.reason.as_str()),
            ("False", "MemberParted")
        );
    }

    #[test]
    fn two_leaders_are_never_shown_as_one() {
        let status = observed(
            None,
            1,
            &observation(&[Some(Role::Leader), Some(Role::Leader), None]),
            Ok(&waiting()),
            at(0),
        );
        assert_eq!((status.leader, status.epoch), (None, None));
    }

    #[test]
    fn the_phase_tells_forming_from_electing_and_from_unavailable() {
        let looking = observation(&[Some(Role::Looking); 3]);
        let forming = observed(None, 1, &looking, Ok(&waiting()), at(0));
        assert_eq!(forming.phase.as_deref(), Some("Forming"));
        let forming = observed(
            Some(&forming),
            1,
            &observation(&[None; 3]),
            Ok(&waiting()),
            at(1),
        );
        assert_eq!(forming.phase.as_deref(), Some("Forming"));
        let serving = observed(
            Some(&forming),
            1,
            &observation(&SERVING),
            Ok(&Step::Done),
            at(2),
        );
        let electing = observed(Some(&serving), 1, &looking, Ok(&waiting()), at(3));
        assert_eq!(electing.phase.as_deref(), Some("Electing"));
        let gone = observed(
            Some(&electing),
            1,
            &observation(&[None; 3]),
            Ok(&waiting()),
            at(4),
        );
        assert_eq!(gone.phase.as_deref(), Some("Unavailable"));
    }

    #[test]
    fn a_condition_keeps_its_transition_time_until_its_status_changes() {
        let first = observed(None, 1, &observation(&SERVING), Ok(&Step::Done), at(10));
        let second = observed(
            Some(&first),
            2,
            &observation(&SERVING),
            Ok(&waiting()),
            at(20),
        );
        let time = |status: &ZookeeperEnsembleStatus, kind| {
            find(&status.conditions, kind)
                .unwrap()
                .last_transition_time
                .0
                .as_second()
        };
        assert_eq!(time(&second, ConditionType::Available), 10);
        assert_eq!(time(&second, ConditionType::Ready), 20);
    }

    fn refused(spec_is_wrong: bool) -> Failure<'static> {
        Failure {
            reason: "Refused",
            message: "no",
            spec_is_wrong,
        }
    }

    #[test]
    fn a_failure_leaves_nothing_in_the_status_that_was_not_seen_now() {
        let known = observed(None, 1, &observation(&SERVING), Ok(&Step::Done), at(10));
        let seen = observation(&[Some(Role::Leader), Some(Role::Follower), None]);
        let status = observed(Some(&known), 2, &seen, Err(refused(false)), at(20));
        assert_eq!(status.phase.as_deref(), Some("Blocked"));
        assert_eq!(status.leader.as_deref(), Some("zk-0"));
        assert_eq!(status.ready_replicas, Some(2));
        let told = |kind| {
            let condition = find(&status.conditions, kind).unwrap();
            (condition.status.as_str(), condition.reason.as_str())
        };
        assert_eq!(told(ConditionType::Reconciled), ("False", "Refused"));
        assert_eq!(told(ConditionType::Available), ("True", "Serving"));
        assert_eq!(told(ConditionType::Ready), ("False", "Refused"));
        assert_eq!(told(ConditionType::Progressing), ("True", "Refused"));

        let gone = observation(&[None; 3]);
        let status = observed(Some(&known), 2, &gone, Err(refused(false)), at(20));
        assert_eq!(status.phase.as_deref(), Some("Unavailable"));
        let status = observed(Some(&known), 2, &gone, Err(refused(true)), at(20));
        assert_eq!(status.phase.as_deref(), Some("Invalid"));
    }

    #[test]
    fn of_what_could_not_be_looked_at_nothing_is_claimed() {
        let known = observed(None, 1, &observation(&SERVING), Ok(&Step::Done), at(10));
        let status = unseen(Some(&known), 2, refused(false), at(20));
        assert_eq!(status.phase.as_deref(), Some("Unknown"));
        assert_eq!((status.leader, status.ready_replicas), (None, None));
        assert!(status.members.is_empty());
        for kind in [
            ConditionType::Available,
            ConditionType::Ready,
            ConditionType::Progressing,
        ] {
            assert_eq!(find(&status.conditions, kind).unwrap().status, "Unknown");
        }
    }

    #[test]
    fn a_heartbeat_is_written_once_a_minute() {
        let look = |second| {
            let mut status = observed(None, 1, &observation(&SERVING), Ok(&Step::Done), at(second));
            for condition in &mut status.conditions {
                condition.last_transition_time = Time(at(0));
            }
            status
        };
        let mut first = look(100);
        assert!(says_the_same(&first, &look(159)));
        assert!(!says_the_same(&first, &look(160)));
        first.leader = None;
        assert!(!says_the_same(&first, &look(101)));
    }

    #[test]
    fn the_time_of_the_last_look_stays_when_nobody_could_look() {
        let known = observed(None, 1, &observation(&SERVING), Ok(&Step::Done), at(100));
        let status = unseen(Some(&known), 1, refused(false), at(500));
        assert_eq!(status.last_look_time, known.last_look_time);
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let cut = shortened(&"é".repeat(2000));
        assert!(cut.len() <= MESSAGE_BYTES_MAX && cut.ends_with(ELLIPSIS));
        assert_eq!(shortened("short"), "short");
    }
}
