//! Objects that tests begin with.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::ObjectMeta;
use zk_operator_api::{Storage, ZookeeperEnsemble, ZookeeperEnsembleSpec};

/// The smallest ensemble of `replicas` members, as the API server would return it.
pub(crate) fn sample(name: &str, replicas: i32) -> ZookeeperEnsemble {
    ZookeeperEnsemble {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("default".to_owned()),
            uid: Some("0c2f6f1e-4f0e-4f6c-9b39-0d8f4e6a7b11".to_owned()),
            generation: Some(1),
            ..ObjectMeta::default()
        },
        spec: ZookeeperEnsembleSpec {
            replicas,
            image: None,
            image_pull_policy: None,
            image_pull_secrets: Vec::new(),
            config: BTreeMap::new(),
            resources: None,
            storage: Storage {
                size: Quantity("1Gi".to_owned()),
                storage_class_name: None,
                reclaim_policy: None,
            },
            cluster_domain: None,
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            affinity: None,
            network_policy: None,
            paused: None,
            pod_labels: BTreeMap::new(),
            pod_annotations: BTreeMap::new(),
        },
        status: None,
    }
}
