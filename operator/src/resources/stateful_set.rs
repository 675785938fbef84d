//! The pods. All start at once (a quorum needs several) and none is replaced by the StatefulSet controller
//! itself: which pod restarts when is decided by the planner. The partition leaves no ordinal to the controller,
//! so a pod that is created anew gets the revision that is known to work.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy,
    StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, EnvVarSource,
    HTTPGetAction, ObjectFieldSelector, PersistentVolumeClaim, PersistentVolumeClaimSpec,
    PodAffinityTerm, PodAntiAffinity, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    ResourceRequirements, SeccompProfile, SecurityContext, Volume, VolumeMount,
    VolumeResourceRequirements, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ObjectMeta;
use zk_operator_api::{ComputeResources, PullPolicy, ReclaimPolicy};

use super::{
    ADMIN_PORT, CLIENT_PORT, ELECTION_PORT, METRICS_PORT, QUORUM_PORT, labels, metadata, names,
};
use crate::validated::ValidatedEnsemble;

pub(super) fn build(ensemble: &ValidatedEnsemble, config_hash: &str) -> StatefulSet {
    StatefulSet {
        metadata: metadata(ensemble, ensemble.name.clone()),
        spec: Some(StatefulSetSpec {
            replicas: Some(ensemble.replicas),
            service_name: Some(names::headless_service(&ensemble.name)),
            pod_management_policy: Some("Parallel".to_owned()),
            update_strategy: Some(protected_strategy(ensemble.replicas)),
            // The StatefulSet may be deleted by hand and is made again; volumes go with the ensemble or stay.
            persistent_volume_claim_retention_policy: Some(
                StatefulSetPersistentVolumeClaimRetentionPolicy {
                    when_deleted: Some(ReclaimPolicy::Retain.as_str().to_owned()),
                    when_scaled: Some(ReclaimPolicy::Retain.as_str().to_owned()),
                },
            ),
            selector: LabelSelector {
                match_labels: Some(labels::selector(&ensemble.name)),
                ..LabelSelector::default()
            },
            template: pod_template(ensemble, config_hash),
            volume_claim_templates: Some(vec![volume_claim(ensemble)]),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

/// Strategy with which the controller restarts no pod, and one that is created now gets the revision that all pods
/// had last: every ordinal is below the partition.
pub fn protected_strategy(replicas: i32) -> StatefulSetUpdateStrategy {
    StatefulSetUpdateStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateStatefulSetStrategy {
            partition: Some(replicas),
            ..RollingUpdateStatefulSetStrategy::default()
        }),
    }
}

fn pod_template(ensemble: &ValidatedEnsemble, config_hash: &str) -> PodTemplateSpec {
    let mut pod_labels = ensemble.pod_labels.clone();
    pod_labels.extend(labels::common(&ensemble.name));
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(pod_labels),
            annotations: (!ensemble.pod_annotations.is_empty())
                .then(|| ensemble.pod_annotations.clone()),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            service_account_name: Some(names::service_account(&ensemble.name)),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(TERMINATION_GRACE_SECONDS),
            security_context: Some(pod_security()),
            image_pull_secrets: filled(ensemble.image_pull_secrets.clone()),
            node_selector: (!ensemble.node_selector.is_empty())
                .then(|| ensemble.node_selector.clone()),
            tolerations: filled(ensemble.tolerations.clone()),
            affinity: Some(
                ensemble
                    .affinity
                    .clone()
                    .unwrap_or_else(|| spread_over_hosts(&ensemble.name)),
            ),
            containers: vec![server_container(ensemble)],
            volumes: Some(vec![Volume {
                name: CONFIG_VOLUME.to_owned(),
                config_map: Some(ConfigMapVolumeSource {
                    name: names::config_map(&ensemble.name, config_hash),
                    ..ConfigMapVolumeSource::default()
                }),
                ..Volume::default()
            }]),
            ..PodSpec::default()
        }),
    }
}

fn server_container(ensemble: &ValidatedEnsemble) -> Container {
    Container {
        name: SERVER_CONTAINER.to_owned(),
        image: Some(ensemble.image.clone()),
        image_pull_policy: ensemble
            .image_pull_policy
            .map(PullPolicy::as_str)
            .map(str::to_owned),
        env: Some(vec![
            EnvVar {
                // The data volume keeps this name, and is refused to pods of others.
                name: "QUORATE_ENSEMBLE".to_owned(),
                value: Some(format!("{}/{}", ensemble.namespace, ensemble.name)),
                ..EnvVar::default()
            },
            EnvVar {
                name: "POD_NAME".to_owned(),
                value_from: Some(EnvVarSource {
                    field_ref: Some(ObjectFieldSelector {
                        api_version: Some("v1".to_owned()),
                        field_path: "metadata.name".to_owned(),
                    }),
                    ..EnvVarSource::default()
                }),
                ..EnvVar::default()
            },
        ]),
        ports: Some(vec![
            port("client", CLIENT_PORT),
            port("quorum", QUORUM_PORT),
            port("election", ELECTION_PORT),
            port("metrics", METRICS_PORT),
            port("admin", ADMIN_PORT),
        ]),
        // Never fails for lack of a quorum or during a long load, so a failure means a server beyond help.
        liveness_probe: Some(Probe {
            period_seconds: Some(LIVENESS_PERIOD_SECONDS),
            failure_threshold: Some(LIVENESS_FAILURES_MAX),
            ..http_probe("/live")
        }),
        // Succeeds only in a member that is synchronized and serves, which is what clients and the planner need.
        readiness_probe: Some(Probe {
            period_seconds: Some(READINESS_PERIOD_SECONDS),
            failure_threshold: Some(READINESS_FAILURES_MAX),
            ..http_probe("/ready")
        }),
        // The last lines of the log of a server that ended, for the status.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        resources: compute_resources(&ensemble.resources),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                add: None,
            }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(vec![
            mount(CONFIG_VOLUME, CONFIG_DIR, true),
            mount(names::DATA_VOLUME, DATA_DIR, false),
        ]),
        ..Container::default()
    }
}

/// What the `restricted` pod security standard asks of a pod.
fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(SERVER_UID),
        run_as_group: Some(SERVER_UID),
        fs_group: Some(SERVER_UID),
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..PodSecurityContext::default()
    }
}

/// Prefer one member per Kubernetes node, but start on a small cluster all the same.
fn spread_over_hosts(ensemble: &str) -> Affinity {
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![
                WeightedPodAffinityTerm {
                    weight: 100,
                    pod_affinity_term: PodAffinityTerm {
                        label_selector: Some(LabelSelector {
                            match_labels: Some(labels::pods(ensemble)),
                            ..LabelSelector::default()
                        }),
                        topology_key: "kubernetes.io/hostname".to_owned(),
                        ..PodAffinityTerm::default()
                    },
                },
            ]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

/// What a claim belongs to. It has them from the moment of its creation.
pub fn claim_annotations(ensemble: &ValidatedEnsemble) -> BTreeMap<String, String> {
    BTreeMap::from([
        (ENSEMBLE_ANNOTATION.to_owned(), ensemble.owner.uid.clone()),
        (VOTERS_ANNOTATION.to_owned(), ensemble.replicas.to_string()),
    ])
}

fn volume_claim(ensemble: &ValidatedEnsemble) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(names::DATA_VOLUME.to_owned()),
            labels: Some(labels::selector(&ensemble.name)),
            annotations: Some(claim_annotations(ensemble)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: ensemble.storage.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([(
                    "storage".to_owned(),
                    ensemble.storage.size.clone(),
                )])),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

fn compute_resources(resources: &ComputeResources) -> Option<ResourceRequirements> {
    let ComputeResources { requests, limits } = resources;
    if requests.is_empty() && limits.is_empty() {
        return None;
    }
    Some(ResourceRequirements {
        requests: (!requests.is_empty()).then(|| requests.clone()),
        limits: (!limits.is_empty()).then(|| limits.clone()),
        claims: None,
    })
}

fn http_probe(path: &str) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("admin".to_owned()),
            ..HTTPGetAction::default()
        }),
        timeout_seconds: Some(PROBE_TIMEOUT_SECONDS),
        ..Probe::default()
    }
}

fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn mount(volume: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

/// Lists that are empty are left out, as a person would write them.
fn filled<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// Where the volume is mounted, and `dataDir` of zoo.cfg.
pub(super) const DATA_DIR: &str = "/data";
const CONFIG_DIR: &str = "/etc/quorate";
const CONFIG_VOLUME: &str = "config";
const SERVER_CONTAINER: &str = "server";
/// Strategy with which a pod that is created now gets the newest template.
pub const ON_DELETE: &str = "OnDelete";
/// Annotation of a claim: uid of the ensemble that made it or used it last.
pub const ENSEMBLE_ANNOTATION: &str = "quorate.dev/ensemble-uid";
/// Annotation of a claim: number of members of that ensemble.
pub const VOTERS_ANNOTATION: &str = "quorate.dev/voters";
/// Annotation of the StatefulSet: revision on which pods were last let in, when, and for which generation of the
/// `ZookeeperEnsemble`, with a space in between.
pub const RELEASED_ANNOTATION: &str = "quorate.dev/released";
/// The user and group in the server's image.
const SERVER_UID: i64 = 65532;
const TERMINATION_GRACE_SECONDS: i64 = 30;
const LIVENESS_PERIOD_SECONDS: i32 = 10;
const LIVENESS_FAILURES_MAX: i32 = 3;
const READINESS_PERIOD_SECONDS: i32 = 2;
const READINESS_FAILURES_MAX: i32 = 2;
const PROBE_TIMEOUT_SECONDS: i32 = 2;
