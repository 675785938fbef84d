//! What wakes a reconcile: the ensemble's spec, the objects made from it, and its pods.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Config, Controller};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::{WatchStreamExt as _, predicates, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use zk_operator_api::ZookeeperEnsemble;

use crate::resources::{INSTANCE_LABEL, MANAGED_BY_LABEL, MANAGED_BY_VALUE};

/// An ensemble, or what is left of an object that cannot be read as one.
pub(super) type Guarded = DeserializeGuard<ZookeeperEnsemble>;

/// A controller that is ready to run.
pub(super) fn controller(client: &Client, namespace: Option<&str>) -> Controller<Guarded> {
    let ensembles: Api<Guarded> = api(client, namespace);
    let (reader, writer) = reflector::store();
    // The status is written by the operator itself; only a new generation is news.
    let changed = watcher(ensembles, watcher::Config::default())
        .default_backoff()
        .reflect(writer)
        .applied_objects()
        .predicate_filter(predicates::generation, predicates_config());
    let ours =
        || watcher::Config::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGED_BY_VALUE}"));
    Controller::for_stream(changed, reader)
        .with_config(Config::default().concurrency(RECONCILES_AT_ONCE_MAX))
        .owns::<ServiceAccount>(api(client, namespace), ours())
        .owns::<ConfigMap>(api(client, namespace), ours())
        .owns::<Service>(api(client, namespace), ours())
        .owns::<PodDisruptionBudget>(api(client, namespace), ours())
        .owns::<StatefulSet>(api(client, namespace), ours())
        .watches::<Pod, _>(api(client, namespace), ours(), |pod| ensemble_of(&pod))
}

fn predicates_config() -> kube::runtime::PredicateConfig {
    kube::runtime::PredicateConfig::default()
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Pods belong to the StatefulSet, so their ensemble is found by label.
fn ensemble_of(pod: &Pod) -> Option<ObjectRef<Guarded>> {
    let name = pod.labels().get(INSTANCE_LABEL)?;
    Some(ObjectRef::new(name).within(&pod.namespace()?))
}

/// Ensembles that are worked on at the same time.
const RECONCILES_AT_ONCE_MAX: u16 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_wakes_the_ensemble_named_by_its_label() {
        let mut pod = Pod::default();
        assert_eq!(ensemble_of(&pod), None);
        pod.metadata.namespace = Some("shop".to_owned());
        pod.labels_mut()
            .insert(INSTANCE_LABEL.to_owned(), "zk".to_owned());
        assert_eq!(ensemble_of(&pod), Some(ObjectRef::new("zk").within("shop")));
    }
}
