//! Plain facts about an ensemble at one moment.

use std::fmt;
use std::time::Duration;

use super::Zxid;

/// Everything the planner may look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Time since the first of these facts was gathered.
    pub age: Duration,
    /// The StatefulSet, if it exists.
    pub stateful_set: Option<StatefulSetFacts>,
    /// One entry per member that there shall be, by ordinal, whether or not it has a pod.
    pub members: Vec<Member>,
}

/// What the StatefulSet controller has made of the StatefulSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatefulSetFacts {
    /// Identity of the object.
    pub uid: String,
    /// Generation up to which the controller has looked.
    pub observed_generation: i64,
    /// Revision made from the template as it is now; empty before the controller has looked at all.
    pub update_revision: String,
    /// Image of the server in the pod template; empty if there is none.
    pub image: String,
    /// Revision that every pod had, and was ready on, when that was last so; at the beginning the first.
    pub current_revision: String,
    /// The status of the ensemble keeps the current revision as one that every pod had while a member served on it.
    /// Otherwise it may merely be the first one.
    pub current_is_proven: bool,
    /// Which of the two a pod gets that is created now.
    pub recreation: Recreation,
    /// When pods were last let in on the update revision; absent if that was never so for this revision.
    pub released: Option<Release>,
}

/// Pods were let in on the wanted revision, so that the next one that is created gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// Time since then.
    pub ago: Duration,
    /// Generation of the `ZookeeperEnsemble` for which it was done.
    pub generation: i64,
}

/// Which revision a pod gets that is created now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recreation {
    /// The current revision: the StatefulSet's strategy is `RollingUpdate` with all ordinals below the partition.
    Proven,
    /// The update revision: the strategy is `OnDelete`.
    Wanted,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Pod name.
    pub name: String,
    /// Number of the pod; the server id is one more.
    pub ordinal: i32,
    /// Its pod, absent between a deletion and the re-creation.
    pub pod: Option<PodFacts>,
    /// What the server in it said, absent when it did not answer in time.
    pub answer: Option<Answer>,
    /// Its pod has been ready for so long without an answer that the operator must be cut off from it: a pod on a
    /// Kubernetes node that is gone stops being ready within a minute. Never set together with an answer.
    pub unheard: bool,
    /// Why it does not serve or cannot be asked, in one line for people, as far as its server or Kubernetes tells.
    /// The planner does not look at it.
    pub problem: Option<String>,
    /// Why the volume of its pod would not come back with the next pod; absent when it would.
    pub claim_risk: Option<ClaimRisk>,
}

/// The PersistentVolumeClaim of a member does not keep the volume that its pod uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRisk {
    /// Short constant for Events, such as `ClaimInDeletion`.
    pub reason: &'static str,
    /// What it means and what to do, for people. The planner does not look at it.
    pub text: String,
}

/// What Kubernetes says of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFacts {
    /// Identity of this incarnation of the pod.
    pub uid: String,
    /// Version of the pod object that these facts were read from.
    pub resource_version: String,
    /// Revision of the pod template that it was made from.
    pub revision: String,
    /// The readiness probe succeeds: member of a quorum, synchronized, serving.
    pub ready: bool,
    /// It is being deleted.
    pub terminating: bool,
    /// Why it cannot come up by waiting, in a word of Kubernetes or of ours.
    pub defect: Option<String>,
}

/// What a server says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its role.
    pub role: Role,
    /// The last zxid that it has processed.
    pub zxid: Zxid,
    /// Followers that are synchronized with it, if it is the leader and says so.
    pub synced_followers: Option<usize>,
    /// Transactions after which its tree differed from the leader's, since it started.
    pub digest_mismatches: u64,
    /// It runs, and keeps itself out of the ensemble for a reason that it names, such as a history that is not that
    /// of the majority. Only ever set together with [`Role::Looking`].
    pub out_of_service: bool,
}

/// Role of a server that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Established leader.
    Leader,
    /// Follower of an established leader.
    Follower,
    /// Only member of an ensemble of one.
    Standalone,
    /// Serves no requests at present.
    Looking,
}

impl fmt::Display for ClaimRisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.text)
    }
}

impl PodFacts {
    /// It should have been gone a while ago, and nothing says that it will be.
    pub fn is_stuck_terminating(&self) -> bool {
        self.terminating && self.defect.as_deref() == Some(STUCK_TERMINATING)
    }

    /// It cannot come up, and Kubernetes itself says so. Not being ready for long is no such defect: a server may
    /// be waiting for others.
    pub fn has_definite_defect(&self) -> bool {
        self.defect
            .as_deref()
            .is_some_and(|defect| defect != NOT_READY_FOR_LONG)
    }
}

impl Member {
    /// The server has a part in a quorum and clients are led to it.
    pub fn is_serving(&self) -> bool {
        let pod_serves = self
            .pod
            .as_ref()
            .is_some_and(|pod| pod.ready && !pod.terminating);
        pod_serves && self.has_serving_role() && !self.has_parted()
    }

    /// The server says that its tree differs from the leader's. What its clients read is not what others read, so
    /// it does not count as serving.
    pub fn has_parted(&self) -> bool {
        self.answer
            .is_some_and(|answer| answer.digest_mismatches > 0)
    }

    /// The server keeps itself out of the ensemble, and its volume may hold data that the others do not have.
    pub fn is_out_of_service(&self) -> bool {
        self.answer.is_some_and(|answer| answer.out_of_service)
    }

    /// The server counts itself part of a quorum, whatever Kubernetes thinks of its pod.
    pub fn has_serving_role(&self) -> bool {
        self.answer
            .is_some_and(|answer| answer.role != Role::Looking)
    }

    /// Kubernetes leads clients to it, and its server did not answer the operator.
    pub fn is_ready_without_answer(&self) -> bool {
        let ready = self
            .pod
            .as_ref()
            .is_some_and(|pod| pod.ready && !pod.terminating);
        ready && self.answer.is_none()
    }

    /// The server says that it leads.
    pub fn leads(&self) -> bool {
        self.answer
            .is_some_and(|answer| matches!(answer.role, Role::Leader | Role::Standalone))
    }
}

/// Defect of a pod that is still there long after it was to be gone.
pub const STUCK_TERMINATING: &str = "StuckTerminating";
/// With this the problem of a member begins that keeps itself out of the ensemble.
pub const OUT_OF_SERVICE: &str = "OutOfService";
/// Defect of a pod that runs, but has not been ready for longer than any election takes.
pub const NOT_READY_FOR_LONG: &str = "NotReadyForLong";
