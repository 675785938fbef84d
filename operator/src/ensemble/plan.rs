//! The next step, at most one per reconcile. Each is safe to repeat: after it the world is observed afresh.

use std::fmt;
use std::time::Duration;

use super::{Member, Observation, PodFacts, restart, rollout};

/// What the ensemble shall be, as far as the planner needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// Number of members.
    pub replicas: usize,
    /// Generation of the `ZookeeperEnsemble` whose spec says so.
    pub generation: i64,
    /// No pod is to be restarted.
    pub paused: bool,
    /// Generation of the StatefulSet that describes the spec.
    pub stateful_set_generation: i64,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: every member serves on the revision that is wanted.
    Done,
    /// Nothing yet.
    Wait {
        /// What is being waited for.
        why: WaitReason,
    },
    /// Delete the pod of a member that does not lead; it comes back on the wanted revision.
    RestartPod {
        /// Which.
        target: Target,
        /// Why this one and why now.
        why: RestartReason,
    },
    /// Delete the pod of the leader, the last one on an old revision.
    RestartLeader {
        /// Which.
        target: Target,
        /// Why.
        why: RestartReason,
    },
    /// Let pods that are created now get the wanted revision, for the restart that comes next.
    Release {
        /// Pod that is to be restarted.
        next: String,
    },
    /// Let pods that are created now get the revision that is known to work.
    Protect,
}

/// A pod exactly as it was when the decision was made. Any change since then voids the decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Pod name.
    pub name: String,
    /// Incarnation.
    pub uid: String,
    /// Version of the object.
    pub resource_version: String,
}

/// Why a pod is restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestartReason {
    /// It serves on an old revision, and the others are a synchronized majority.
    Outdated,
    /// It is on an old revision and does not serve; the others do without it anyway.
    OutdatedAndNotServing,
    /// It is on an old revision on which it cannot come up.
    OutdatedAndDefective(String),
    /// It is on an old revision and there is no other member to wait for.
    OnlyMember,
    /// It cannot come up on the wanted revision, on which nobody serves yet; it goes back to the one that works.
    Unproven,
    /// It is on an old revision; the operator is cut off from some members, but every pod is ready.
    OutdatedAndAllReady,
}

/// What is being waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// The facts are older than a decision may rest on.
    StaleObservation(Duration),
    /// The StatefulSet controller has not looked at the latest StatefulSet yet.
    StatefulSetNotObserved,
    /// A member has no pod, or one that is being deleted.
    MemberAbsent(String),
    /// A member on the wanted revision does not serve. During a rolling restart this stops it.
    MemberNotServing(String),
    /// The tree of this member differs from the leader's.
    MemberParted(String),
    /// This member keeps itself out of the ensemble, and may hold data that the others do not have.
    MemberOutOfService(String),
    /// A member on an old revision does not serve, and without it there may be no majority.
    OutdatedMemberNotServing(String),
    /// The operator is cut off from these members, whose pods are ready.
    MembersUnheard(Vec<String>),
    /// The StatefulSet controller has not recorded yet that every pod has the wanted revision.
    RevisionNotRecorded,
    /// Pods were let in on the wanted revision a short while ago, and none is there.
    TriedBefore,
    /// This pod would be restarted, and the spec says that none may be.
    Paused(String),
    /// The disruption budget does not let this pod go at present.
    EvictionRefused(String),
    /// Several disruption budgets select this pod, so that it is never evicted.
    SeveralBudgets {
        /// The pod.
        pod: String,
        /// Names of the budgets besides the ensemble's own.
        others: Vec<String>,
    },
    /// The volume of this member would not come back with its next pod.
    ClaimAtRisk(String),
    /// Nobody leads.
    NoLeader,
    /// More than one member says that it leads.
    SeveralLeaders,
    /// Restarting this member would leave fewer synchronized members than a majority.
    OthersNotInStep {
        /// The member that is next.
        next: String,
        /// Members that would go on serving.
        remaining: usize,
        /// Members that must.
        needed: usize,
    },
}

/// Chooses the next step from facts alone.
pub fn next_step(desired: &Desired, observation: &Observation) -> Step {
    if observation.age > OBSERVATION_AGE_MAX {
        return when_stale(observation);
    }
    let current = observation.stateful_set.as_ref().filter(|set| {
        set.observed_generation >= desired.stateful_set_generation
            && !set.update_revision.is_empty()
    });
    let Some(stateful_set) = current else {
        return Step::Wait {
            why: WaitReason::StatefulSetNotObserved,
        };
    };
    if observation.members.len() != desired.replicas {
        return Step::Wait {
            why: WaitReason::StatefulSetNotObserved,
        };
    }
    let mut step = rollout::put_back(stateful_set, observation)
        .unwrap_or_else(|| restart::next_step(stateful_set, observation));
    step = spare_volumes(step, observation);
    if desired.paused {
        step = held_back(step);
    }
    rollout::guard(step, desired, stateful_set, observation)
}

/// Facts that are old are no ground to restart a pod, but to stop others from getting the wanted revision.
fn when_stale(observation: &Observation) -> Step {
    let mut set = observation.stateful_set.iter();
    if set.any(|set| rollout::is_due_to_close(set, Some(observation))) {
        return Step::Protect;
    }
    Step::Wait {
        why: WaitReason::StaleObservation(observation.age),
    }
}

/// The step, unless it would take a volume away that does not come back, or a server that serves while another
/// member may lose its volume at any moment. A pod that serves nobody may still go if its own volume stays.
fn spare_volumes(step: Step, observation: &Observation) -> Step {
    let at_risk = |member: &&Member| member.claim_risk.is_some();
    let mut members = observation.members.iter();
    let Some(first) = members.find(at_risk) else {
        return step;
    };
    let wait = |member: &Member| Step::Wait {
        why: WaitReason::ClaimAtRisk(member.name.clone()),
    };
    match &step {
        Step::RestartPod { target, why } | Step::RestartLeader { target, why } => {
            let mut members = observation.members.iter().filter(at_risk);
            match members.find(|member| member.name == target.name) {
                Some(member) => wait(member),
                None if why.takes_a_server() => wait(first),
                None => step,
            }
        }
        Step::Done => wait(first),
        Step::Wait { .. } | Step::Release { .. } | Step::Protect => step,
    }
}

/// The step, unless it is a restart.
fn held_back(step: Step) -> Step {
    match step {
        Step::RestartPod { target, .. } | Step::RestartLeader { target, .. } => Step::Wait {
            why: WaitReason::Paused(target.name),
        },
        Step::Done | Step::Wait { .. } | Step::Release { .. } | Step::Protect => step,
    }
}

impl Step {
    /// Short constant for metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Done => "Done",
            Self::Wait { .. } => "Wait",
            Self::RestartPod { .. } => "RestartPod",
            Self::RestartLeader { .. } => "RestartLeader",
            Self::Release { .. } => "Release",
            Self::Protect => "Protect",
        }
    }
}

impl Target {
    pub(super) fn new(member: &Member, pod: &PodFacts) -> Self {
        Self {
            name: member.name.clone(),
            uid: pod.uid.clone(),
            resource_version: pod.resource_version.clone(),
        }
    }
}

impl RestartReason {
    /// The pod may serve clients when it is restarted for this reason.
    pub fn takes_a_server(&self) -> bool {
        match self {
            Self::Outdated | Self::OnlyMember | Self::OutdatedAndAllReady => true,
            Self::OutdatedAndNotServing | Self::OutdatedAndDefective(_) | Self::Unproven => false,
        }
    }

    /// Short constant for Events and conditions.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Outdated => "Outdated",
            Self::OutdatedAndNotServing => "OutdatedAndNotServing",
            Self::OutdatedAndDefective(_) => "OutdatedAndDefective",
            Self::OnlyMember => "OnlyMember",
            Self::Unproven => "Unproven",
            Self::OutdatedAndAllReady => "OutdatedAndAllReady",
        }
    }
}

impl fmt::Display for RestartReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outdated => {
                f.write_str("its revision is old and the other members are a synchronized majority")
            }
            Self::OutdatedAndNotServing => {
                f.write_str("its revision is old and it does not serve, while the others do")
            }
            Self::OutdatedAndDefective(defect) => {
                write!(f, "its revision is old and it cannot come up ({defect})")
            }
            Self::OnlyMember => {
                f.write_str("its revision is old and the ensemble has no other member")
            }
            Self::Unproven => f.write_str(
                "it cannot come up on the update revision, and goes back to the one that works",
            ),
            Self::OutdatedAndAllReady => f.write_str(
                "its revision is old and every member is ready, though some do not answer the operator",
            ),
        }
    }
}

impl WaitReason {
    /// Short constant for Events and conditions.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::StaleObservation(_) => "StaleObservation",
            Self::StatefulSetNotObserved => "StatefulSetNotObserved",
            Self::MemberAbsent(_) => "MemberAbsent",
            Self::MemberNotServing(_) => "MemberNotServing",
            Self::MemberParted(_) => "MemberParted",
            Self::MemberOutOfService(_) => "MemberOutOfService",
            Self::OutdatedMemberNotServing(_) => "OutdatedMemberNotServing",
            Self::MembersUnheard(_) => "MembersUnheard",
            Self::RevisionNotRecorded => "RevisionNotRecorded",
            Self::TriedBefore => "TriedBefore",
            Self::Paused(_) => "Paused",
            Self::EvictionRefused(_) => "EvictionRefused",
            Self::SeveralBudgets { .. } => "SeveralBudgets",
            Self::ClaimAtRisk(_) => "ClaimAtRisk",
            Self::NoLeader => "NoLeader",
            Self::SeveralLeaders => "SeveralLeaders",
            Self::OthersNotInStep { .. } => "OthersNotInStep",
        }
    }
}

impl WaitReason {
    /// The one member that is waited for, if it is one.
    pub fn member(&self) -> Option<&str> {
        match self {
            Self::MemberAbsent(name)
            | Self::MemberNotServing(name)
            | Self::MemberParted(name)
            | Self::MemberOutOfService(name)
            | Self::OutdatedMemberNotServing(name)
            | Self::ClaimAtRisk(name) => Some(name),
            Self::StaleObservation(_)
            | Self::StatefulSetNotObserved
            | Self::MembersUnheard(_)
            | Self::RevisionNotRecorded
            | Self::TriedBefore
            | Self::Paused(_)
            | Self::EvictionRefused(_)
            | Self::SeveralBudgets { .. }
            | Self::NoLeader
            | Self::SeveralLeaders
            | Self::OthersNotInStep { .. } => None,
        }
    }
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StaleObservation(_) => write!(
                f,
                "observing the ensemble took longer than {} s, too long to act on",
                OBSERVATION_AGE_MAX.as_secs()
            ),
            Self::StatefulSetNotObserved => {
                f.write_str("the StatefulSet controller has not seen the latest StatefulSet yet")
            }
            Self::MemberAbsent(name) => {
                write!(f, "{name} has no pod, or one that is being deleted")
            }
            Self::MemberNotServing(name) => write!(f, "waiting for {name} to become ready"),
            Self::MemberParted(name) => write!(
                f,
                "the tree of {name} differs from the leader's, so that its clients read something else; see docs/operator.md"
            ),
            Self::MemberOutOfService(name) => {
                write!(f, "{name} keeps itself out of the ensemble")
            }
            Self::OutdatedMemberNotServing(name) => {
                write!(
                    f,
                    "{name} does not serve, and the others are no synchronized majority"
                )
            }
            Self::MembersUnheard(names) => write!(
                f,
                "{} ready, but the operator gets no answer from the admin port",
                are(names)
            ),
            Self::RevisionNotRecorded => f.write_str(
                "the StatefulSet controller has not recorded yet that every pod has the update revision",
            ),
            Self::TriedBefore => write!(
                f,
                "a pod was to get the update revision, but there is none: the one before it was not let go, it could not be created, or it was lost again; the next attempt is made {} s after the last, or at once when the spec changes",
                rollout::RETRY_AFTER.as_secs()
            ),
            Self::Paused(next) => write!(
                f,
                "spec.paused is true, so {next}, which is next, is not restarted; remove the field to go on"
            ),
            Self::EvictionRefused(next) => write!(
                f,
                "the PodDisruptionBudget does not let {next} go: it counts another member as away, or has not counted one that came back"
            ),
            Self::SeveralBudgets { pod, others } => write!(
                f,
                "Kubernetes evicts no pod that several PodDisruptionBudgets select, and {pod} is selected by {} besides the ensemble's own: delete what is there besides it, or change its selector",
                if others.is_empty() {
                    "another".to_owned()
                } else {
                    others.join(", ")
                }
            ),
            Self::ClaimAtRisk(name) => write!(
                f,
                "no member that serves is restarted, because {name} would lose its volume with its pod"
            ),
            Self::NoLeader => f.write_str("no member says that it leads"),
            Self::SeveralLeaders => f.write_str("more than one member says that it leads"),
            Self::OthersNotInStep {
                next,
                remaining,
                needed,
            } => {
                write!(
                    f,
                    "without {next} only {remaining} synchronized members would serve, {needed} must"
                )
            }
        }
    }
}

/// "zk-0 is" or "zk-0, zk-1 are".
fn are(names: &[String]) -> String {
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", names.join(", "))
}

/// What mostly keeps the operator from members that clients reach.
pub const UNHEARD_CAUSE: &str = "mostly a NetworkPolicy keeps the operator out; it must let the operator's pods reach port 8080";
/// Asking all members takes at most a few seconds. What took longer is not a picture of one moment.
const OBSERVATION_AGE_MAX: Duration = Duration::from_secs(10);
