//! What a user asks for.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, LocalObjectReference, Toleration};
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::status::ZookeeperEnsembleStatus;

/// A ZooKeeper ensemble: servers that replicate one tree of znodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "quorate.dev",
    version = "v1alpha1",
    kind = "ZookeeperEnsemble",
    plural = "zookeeperensembles",
    singular = "zookeeperensemble",
    shortname = "zke",
    category = "all",
    namespaced,
    doc = "A ZooKeeper ensemble: servers that replicate one tree of znodes.",
    status = "ZookeeperEnsembleStatus",
    derive = "PartialEq",
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".spec.replicas"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Leader", type_ = "string", json_path = ".status.leader"),
    printcolumn(name = "Epoch", type_ = "integer", json_path = ".status.epoch"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Looked", type_ = "date", json_path = ".status.lastLookTime", priority = 1),
    printcolumn(name = "Image", type_ = "string", json_path = ".status.image", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 40")
        .message("The name must start with a letter, hold only lower case letters, digits and dashes, and have at most 40 characters, because pod, Service and host names are made from it.")
)]
#[serde(rename_all = "camelCase")]
pub struct ZookeeperEnsembleSpec {
    /// Number of members: 1, 3, 5, 7 or 9. It does not change after creation.
    #[x_kube(
        validation = Rule::new("self in [1, 3, 5, 7, 9]")
            .message("replicas must be 1, 3, 5, 7 or 9: an even number of members tolerates no more failures than the odd number below it."),
        validation = Rule::new("self == oldSelf")
            .message("replicas cannot be changed after the ensemble was created: changing the membership of a running ensemble is not supported yet.")
    )]
    pub replicas: i32,

    /// Container image of the server. The operator's own default image is used when this is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^\S+$"))]
    pub image: Option<String>,

    /// When the image is pulled; as in a container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<PullPolicy>,

    /// Secrets with which the image is pulled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "bounded::secrets")]
    pub image_pull_secrets: Vec<LocalObjectReference>,

    /// Keys and values added to zoo.cfg, such as `tickTime: "2000"`. Keys that describe the ensemble, its
    /// ports or its directories belong to the operator and are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "bounded::config")]
    #[x_kube(
        validation = Rule::new(owned_keys_rule())
            .message(owned_keys_message().as_str()),
        validation = Rule::new("self.all(k, size(k) <= 128 && k.matches('^[A-Za-z0-9][A-Za-z0-9._-]*$'))")
            .message("A key of config must start with a letter or a digit and hold only letters, digits, dots, underscores and dashes, 128 at most."),
        validation = Rule::new(r"self.all(k, !self[k].contains('\n') && !self[k].contains('\r') && !self[k].contains('\\'))")
            .message("A value of config must be one line without backslashes, because it is written into zoo.cfg.")
    )]
    pub config: BTreeMap<String, String>,

    /// Compute resources of each server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ComputeResources>,

    /// The volume of each server.
    pub storage: Storage,

    /// DNS domain of the Kubernetes cluster; `cluster.local` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub cluster_domain: Option<String>,

    /// Labels that a Kubernetes node must have to run a server.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "bounded::label_values")]
    pub node_selector: BTreeMap<String, String>,

    /// Taints that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "bounded::tolerations")]
    pub tolerations: Vec<Toleration>,

    /// Scheduling constraints. When absent, members prefer different Kubernetes nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounded::affinity")]
    #[x_kube(validation = Rule::new("has(self.nodeAffinity) || has(self.podAffinity) || has(self.podAntiAffinity)")
        .message("affinity must hold nodeAffinity, podAffinity or podAntiAffinity: another name in it is a slip, and an empty one would turn off that members prefer different nodes."))]
    pub affinity: Option<Affinity>,

    /// Who may reach the pods. When absent, everybody reaches the client port, the operator the admin port and the
    /// metrics, and only members the ports between members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkAccess>,

    /// `true`: no pod is restarted until the field is `false` or absent again. The spec is applied and the members
    /// are looked at all the same; a pod that goes by itself comes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,

    /// Labels added to the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "bounded::label_values")]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('app.kubernetes.io/') && !k.startsWith('quorate.dev/'))")
        .message("podLabels must not set labels that begin with app.kubernetes.io/ or quorate.dev/, because the operator selects its pods by them."))]
    pub pod_labels: BTreeMap<String, String>,

    /// Annotations added to the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "bounded::annotation_values")]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('quorate.dev/'))")
        .message("podAnnotations must not set annotations that begin with quorate.dev/, because the operator records its own there."))]
    pub pod_annotations: BTreeMap<String, String>,
}

/// Volume of one server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)")
    .message("storage.storageClassName cannot be changed after the ensemble was created, because a volume cannot move to another class."))]
pub struct Storage {
    /// Capacity of the volume, such as `10Gi`. It does not change after creation.
    #[schemars(schema_with = "bounded::amount")]
    #[x_kube(
        validation = Rule::new("isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))")
            .message("storage.size must be a positive amount of bytes, such as 10Gi."),
        validation = Rule::new("self == oldSelf || (isQuantity(self) && isQuantity(oldSelf) && quantity(self).compareTo(quantity(oldSelf)) == 0)")
            .message("storage.size cannot be changed after the ensemble was created: resizing volumes is not supported yet.")
    )]
    pub size: Quantity,

    /// Storage class; the cluster's default class when absent. It does not change after creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,

    /// What becomes of the volumes when the ensemble is deleted; `Retain` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reclaim_policy: Option<ReclaimPolicy>,
}

/// Who may reach the pods of an ensemble, besides its own members and the operator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkAccess {
    /// `false`: the operator makes no NetworkPolicy, and removes the one that it made; `true` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Peers that may reach the client port, 2181, as in a NetworkPolicy; everybody when absent. An empty list is
    /// refused: in a NetworkPolicy it lets everybody in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bounded::client_peers")]
    pub clients: Option<Vec<NetworkPolicyPeer>>,
    /// Peers that may reach the metrics, 7000, and the admin port, 8080, besides the operator; for instance
    /// Prometheus.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "bounded::network_peers")]
    pub monitoring: Vec<NetworkPolicyPeer>,
}

/// Compute resources of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComputeResources {
    /// The least that the scheduler sets aside, for instance `cpu: 500m`, `memory: 1Gi`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "bounded::amounts")]
    pub requests: BTreeMap<String, Quantity>,
    /// The most that a server may use.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "bounded::amounts")]
    pub limits: BTreeMap<String, Quantity>,
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "Kubernetes' own words")]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

impl PullPolicy {
    /// Kubernetes' spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// What becomes of the volumes of a deleted ensemble.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReclaimPolicy {
    /// They are kept; an ensemble of the same name finds its data again.
    #[default]
    Retain,
    /// They are deleted, and the data with them.
    Delete,
}

impl ReclaimPolicy {
    /// The spelling that Kubernetes' retention policies share with ours.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retain => "Retain",
            Self::Delete => "Delete",
        }
    }
}

/// Keys of zoo.cfg that the operator writes itself, that would contradict what it writes, or that would hide the
/// server from the operator and the probes.
pub const OPERATOR_OWNED_KEYS: [&str; 20] = [
    "4lw.commands.whitelist",
    "admin.commandURL",
    "admin.enableServer",
    "admin.idleTimeout",
    "admin.serverAddress",
    "admin.serverPort",
    "clientPort",
    "clientPortAddress",
    "dataDir",
    "dataLogDir",
    "dynamicConfigFile",
    "metricsProvider.className",
    "metricsProvider.httpHost",
    "metricsProvider.httpPort",
    "peerType",
    "quorumListenOnAllIPs",
    "reconfigEnabled",
    "secureClientPort",
    "secureClientPortAddress",
    "standaloneEnabled",
];

/// Beginnings of keys that describe membership, which is the operator's business.
pub const OPERATOR_OWNED_KEY_PREFIXES: [&str; 3] = ["server.", "group.", "weight."];

/// Both spellings of each key are refused, since a server takes it with and without `zookeeper.`.
fn owned_keys_rule() -> String {
    let keys = OPERATOR_OWNED_KEYS
        .map(|key| format!("'{key}', 'zookeeper.{key}'"))
        .join(", ");
    let prefixes = OPERATOR_OWNED_KEY_PREFIXES
        .map(|prefix| {
            format!(" && !k.startsWith('{prefix}') && !k.startsWith('zookeeper.{prefix}')")
        })
        .concat();
    format!("self.all(k, !(k in [{keys}]){prefixes})")
}

fn owned_keys_message() -> String {
    let prefixes = OPERATOR_OWNED_KEY_PREFIXES
        .map(|prefix| format!("{prefix}*"))
        .join(", ");
    let keys = OPERATOR_OWNED_KEYS.join(", ");
    format!("config must not set a key that the operator owns: {prefixes}, {keys}.")
}
