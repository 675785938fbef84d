//! Plain facts about an ensemble at one moment.

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
    /// Generation up to which the controller has looked.
    pub observed_generation: i64,
    /// Revision that pods get when they are created now; empty before the controller has looked at all.
    pub update_revision: String,
    /// Image of the server in the pod template; empty if there is none.
    pub image: String,
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
    /// Why it does not serve, in one line for people, as far as Kubernetes tells. The planner does not look at it.
    pub problem: Option<String>,
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

impl Member {
    /// The server has a part in a quorum and clients are led to it.
    pub fn is_serving(&self) -> bool {
        let pod_serves = self
            .pod
            .as_ref()
            .is_some_and(|pod| pod.ready && !pod.terminating);
        pod_serves && self.has_serving_role()
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
