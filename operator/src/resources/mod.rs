//! Kubernetes objects made from one ensemble: values in, values out, no client.

mod config_map;
mod disruption_budget;
mod labels;
mod names;
mod network_policy;
mod service_account;
mod services;
mod stateful_set;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::ObjectMeta;

pub use config_map::proven_config_map;
pub use labels::{
    INSTANCE_LABEL, MANAGED_BY_LABEL, MANAGED_BY_VALUE, NAME_LABEL, NAME_VALUE, claim_selector,
    has_claim_labels, object_selector, pod_selector,
};
pub use names::{claim_name, member_of_claim, member_of_pod, pod_name, sid_of_ordinal};
pub use stateful_set::{
    ENSEMBLE_ANNOTATION, ON_DELETE, RELEASED_ANNOTATION, VOTERS_ANNOTATION, claim_annotations,
    protected_strategy,
};

use crate::validated::ValidatedEnsemble;

/// Everything that one ensemble needs. Taken apart without `..` where it is applied, so that an object added
/// here cannot be forgotten there.
#[derive(Clone, Debug, PartialEq)]
pub struct Resources {
    /// Identity of the pods; it has no rights and no token is mounted.
    pub service_account: ServiceAccount,
    /// Holds zoo.cfg.
    pub config_map: ConfigMap,
    /// Gives every pod a host name, ready or not: servers must find each other before any can be ready.
    pub headless_service: Service,
    /// Leads clients to members that serve.
    pub client_service: Service,
    /// Says who may reach the pods; absent where the spec turns it off.
    pub network_policy: Option<NetworkPolicy>,
    /// Lets at most one member be evicted at a time.
    pub disruption_budget: PodDisruptionBudget,
    /// The pods and their volumes.
    pub stateful_set: StatefulSet,
}

/// Builds every object of `ensemble`.
pub fn build(ensemble: &ValidatedEnsemble) -> Resources {
    let zoo_cfg = config_map::zoo_cfg(ensemble);
    Resources {
        service_account: service_account::build(ensemble),
        config_map: config_map::build(ensemble, &zoo_cfg),
        headless_service: services::headless(ensemble),
        client_service: services::client(ensemble),
        network_policy: network_policy::build(ensemble),
        disruption_budget: disruption_budget::build(ensemble),
        stateful_set: stateful_set::build(ensemble, &config_map::hash(&zoo_cfg)),
    }
}

/// Metadata that all objects of an ensemble share.
fn metadata(ensemble: &ValidatedEnsemble, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(ensemble.namespace.clone()),
        labels: Some(labels::common(&ensemble.name)),
        owner_references: Some(vec![ensemble.owner.clone()]),
        ..ObjectMeta::default()
    }
}

const CLIENT_PORT: u16 = 2181;
const QUORUM_PORT: u16 = 2888;
const ELECTION_PORT: u16 = 3888;
const METRICS_PORT: u16 = 7000;
/// Admin port of every server, where the operator asks and the kubelet probes.
pub const ADMIN_PORT: u16 = 8080;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::testing::sample;

    /// What the best-known chart for ZooKeeper puts on the pods of a release of this name.
    fn labels_of_another_chart() -> BTreeMap<String, String> {
        let pairs = [
            ("app.kubernetes.io/name", "zookeeper"),
            ("app.kubernetes.io/instance", "zk"),
            ("app.kubernetes.io/managed-by", "Helm"),
            ("app.kubernetes.io/component", "zookeeper"),
        ];
        pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
        selector
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
    }

    #[test]
    fn no_selector_takes_the_pods_of_another_chart() {
        let ensemble = ValidatedEnsemble::new(&sample("zk", 3), "image").unwrap();
        let built = build(&ensemble);
        let own = built.stateful_set.spec.unwrap().template;
        let own = own.metadata.unwrap().labels.unwrap();
        let policy = built.network_policy.unwrap().spec.unwrap();
        let budget = built.disruption_budget.spec.unwrap().selector.unwrap();
        let selectors = [
            built.headless_service.spec.unwrap().selector.unwrap(),
            built.client_service.spec.unwrap().selector.unwrap(),
            budget.match_labels.unwrap(),
            policy.pod_selector.unwrap().match_labels.unwrap(),
        ];
        for selector in selectors {
            assert!(selects(&selector, &own), "{selector:?}");
            assert!(
                !selects(&selector, &labels_of_another_chart()),
                "{selector:?}"
            );
        }
    }
}
