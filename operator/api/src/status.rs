//! What the operator observed, never what it was asked for.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Observed state of an ensemble.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ZookeeperEnsembleStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When the operator last looked at the ensemble, to the minute. An older time means that nobody looks, and
    /// that the rest of the status may be wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_look_time: Option<Time>,
    /// One word for people: Forming, Serving, Restarting, Paused, Degraded, Blocked, Electing, Unavailable, Unknown, Deleting or Invalid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Members that the ensemble should have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Members that are part of a quorum, synchronized and serving.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// Pod name of the leader, absent while there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// Epoch of the leader: the high 32 bits of its zxid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// Highest epoch in which a leader was seen. An ensemble that serves in a lower one has begun a new history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub highest_epoch: Option<i64>,
    /// Revision of the pod template that is known to work: the last one that every pod had while a member served on
    /// it. A StatefulSet that was deleted is made again with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proven_revision: Option<ProvenRevision>,
    /// Image that the pods get, whether the spec names it or the operator chose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// One row per member, in order of sid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub members: Vec<MemberStatus>,
    /// Reconciled, Available, Ready and Progressing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<Condition>,
}

/// A revision of the pod template on which members have served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProvenRevision {
    /// Name that the StatefulSet controller gave it.
    pub name: String,
    /// The pod template, as the StatefulSet had it.
    #[schemars(schema_with = "pod_template")]
    pub template: Value,
    /// The configuration that its pods need. Absent if it is too long, or if an older operator wrote the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<ProvenConfiguration>,
}

/// The ConfigMap of a revision that is known to work. Should somebody delete it, it is made again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProvenConfiguration {
    /// Name of the ConfigMap.
    pub name: String,
    /// What is in it, by file name.
    #[schemars(schema_with = "texts")]
    pub data: BTreeMap<String, String>,
}

/// A whole, like the pod template.
fn texts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": { "type": "string" },
        "x-kubernetes-map-type": "atomic",
    })
}

/// A whole: the API server neither checks what is in it nor remembers who wrote which field of it.
fn pod_template(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "x-kubernetes-map-type": "atomic",
    })
}

/// One member as it answered last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// Pod name.
    pub name: String,
    /// Server id, which is the pod's ordinal plus one.
    pub sid: i32,
    /// What the server says it is.
    pub role: MemberRole,
    /// Last zxid the server has processed, in hexadecimal; absent when it did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zxid: Option<String>,
    /// The pod is ready and the server agrees: member of a quorum, synchronized and serving.
    pub ready: bool,
    /// Why it does not serve, in one line: a cause that Kubernetes tells, or exit code and last line of its server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Role of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MemberRole {
    /// Established leader.
    Leader,
    /// Synchronized follower.
    Follower,
    /// The only member of an ensemble of one.
    Standalone,
    /// Answers, but serves no requests: it is loading, electing or synchronizing.
    Looking,
    /// Has no pod, or did not answer.
    Unknown,
}

impl MemberRole {
    /// The spelling used in the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Standalone => "standalone",
            Self::Looking => "looking",
            Self::Unknown => "unknown",
        }
    }
}
