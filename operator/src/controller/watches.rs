//! What wakes a reconcile: the ensemble's spec, the objects made from it, and its pods.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt as _};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{Config, Controller};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::{PredicateConfig, WatchStreamExt as _, predicates, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use zk_operator_api::ZookeeperEnsemble;

use super::clients::{WATCH_SECONDS, WatchBackoff};
use super::error;
use super::pages::PAGE_OBJECTS;

use crate::resources::{INSTANCE_LABEL, MANAGED_BY_LABEL, MANAGED_BY_VALUE};

/// What is watched of an ensemble. The rest is read afresh at every look.
pub(super) type Watched = PartialObjectMeta<ZookeeperEnsemble>;

/// A controller that is ready to run.
pub(super) fn controller(client: &Client, namespace: Option<&str>) -> Controller<Watched> {
    let (reader, writer) = reflector::store();
    let ensembles = watcher(api::<Watched>(client, namespace), config())
        .backoff(WatchBackoff::default())
        .modify(without_ballast)
        .reflect(writer)
        .applied_objects();
    // The status is written by the operator itself; only a new generation is news.
    let changed = without_errors(ensembles)
        .predicate_filter(predicates::generation, PredicateConfig::default());
    Controller::for_stream(changed, reader)
        .with_config(Config::default().concurrency(WITHOUT_BOUND))
        .owns_stream(ours::<ServiceAccount>(client, namespace))
        .owns_stream(ours::<ConfigMap>(client, namespace))
        .owns_stream(ours::<Service>(client, namespace))
        .owns_stream(ours::<NetworkPolicy>(client, namespace))
        .owns_stream(ours::<PodDisruptionBudget>(client, namespace))
        .owns_stream(ours::<StatefulSet>(client, namespace))
        .watches_stream(ours::<Pod>(client, namespace), |pod| ensemble_of(&pod))
}

/// Changes of the objects of one kind that carry the operator's label, as metadata.
fn ours<K>(
    client: &Client,
    namespace: Option<&str>,
) -> impl Stream<Item = Result<PartialObjectMeta<K>, watcher::Error>> + Send + use<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let labelled = config().labels(&format!("{MANAGED_BY_LABEL}={MANAGED_BY_VALUE}"));
    without_errors(
        watcher(api::<PartialObjectMeta<K>>(client, namespace), labelled)
            .backoff(WatchBackoff::default())
            .modify(without_ballast)
            .touched_objects(),
    )
}

/// An error has been answered by the pause before the watch begins again; passed on, it would hold up the others.
/// A line is written when that begins, and now and then while it lasts.
fn without_errors<K: Resource<DynamicType = ()> + Send + 'static>(
    stream: impl Stream<Item = Result<K, watcher::Error>> + Send + 'static,
) -> impl Stream<Item = Result<K, watcher::Error>> + Send {
    let mut told = None;
    stream.filter(move |item| {
        if let Err(error) = item {
            let (kind, error) = (K::plural(&()), cause(error));
            if is_due(told, Instant::now()) {
                told = Some(Instant::now());
                tracing::warn!(%kind, error, "watch interrupted, starting it again until it works");
            } else {
                tracing::debug!(%kind, error, "watch interrupted again");
            }
        }
        std::future::ready(item.is_ok())
    })
}

/// Nobody was told of an interruption of this watch, or so long ago that the line may be lost among others.
fn is_due(told: Option<Instant>, now: Instant) -> bool {
    told.is_none_or(|told| now.duration_since(told) >= TOLD_AGAIN_AFTER)
}

/// The refusal in the API server's own words, without the dump of the whole answer.
fn cause(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error::text(error),
        watcher::Error::WatchError(refusal) => refusal.message.clone(),
        watcher::Error::NoResourceVersion => error.to_string(),
    }
}

/// Drops the metadata that nobody asks for, of which an object may have a megabyte.
fn without_ballast<K>(object: &mut PartialObjectMeta<K>) {
    let metadata = &mut object.metadata;
    metadata.annotations = None;
    metadata.managed_fields = None;
    if let Some(labels) = &mut metadata.labels {
        labels.retain(|name, _| name == INSTANCE_LABEL);
    }
}

fn config() -> watcher::Config {
    watcher::Config::default()
        .timeout(WATCH_SECONDS)
        .page_size(PAGE_OBJECTS)
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
fn ensemble_of(pod: &PartialObjectMeta<Pod>) -> Option<ObjectRef<Watched>> {
    let name = pod.labels().get(INSTANCE_LABEL)?;
    Some(ObjectRef::new(name).within(&pod.namespace()?))
}

/// The library takes those that wait in no order. Each reconcile waits for its turn itself (`turns.rs`).
const WITHOUT_BOUND: u16 = 0;
/// A watch that does not work is begun again every few seconds.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interruption_is_told_when_it_begins_and_every_five_minutes() {
        let start = Instant::now();
        assert!(is_due(None, start));
        assert!(!is_due(Some(start), start + Duration::from_secs(299)));
        assert!(is_due(Some(start), start + Duration::from_secs(300)));
    }

    #[test]
    fn of_the_metadata_only_what_is_asked_for_is_kept() {
        let mut pod = PartialObjectMeta::<Pod>::default();
        pod.metadata.namespace = Some("shop".to_owned());
        pod.metadata.uid = Some("u".to_owned());
        pod.metadata.generation = Some(3);
        pod.metadata.owner_references = Some(Vec::new());
        let expected = {
            let mut expected = pod.clone();
            expected
                .labels_mut()
                .insert(INSTANCE_LABEL.to_owned(), "zk".to_owned());
            expected
        };
        pod.metadata.managed_fields = Some(Vec::new());
        for number in 0..100 {
            let (name, value) = (format!("ballast-{number}"), "x".repeat(60));
            pod.annotations_mut().insert(name.clone(), value.clone());
            pod.labels_mut().insert(name, value);
        }
        pod.labels_mut()
            .insert(INSTANCE_LABEL.to_owned(), "zk".to_owned());
        without_ballast(&mut pod);
        assert_eq!(pod.metadata, expected.metadata);
        assert_eq!(ensemble_of(&pod), Some(ObjectRef::new("zk").within("shop")));
    }

    #[test]
    fn a_pod_wakes_the_ensemble_named_by_its_label() {
        let mut pod = PartialObjectMeta::<Pod>::default();
        assert_eq!(ensemble_of(&pod), None);
        pod.metadata.namespace = Some("shop".to_owned());
        pod.labels_mut()
            .insert(INSTANCE_LABEL.to_owned(), "zk".to_owned());
        assert_eq!(ensemble_of(&pod), Some(ObjectRef::new("zk").within("shop")));
    }
}
