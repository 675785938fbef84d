//! Carries out a step: takes away one pod, exactly the one that was looked at, or says which revision a pod gets
//! that is created now.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Status;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::{ReconcileError, pages};
use crate::ensemble::{StatefulSetFacts, Step, Target};
use crate::resources::{self, MANAGED_BY_VALUE, ON_DELETE, RELEASED_ANNOTATION};
use crate::validated::ValidatedEnsemble;

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// There was nothing to do.
    Idle,
    /// The pod is being deleted.
    Restarting,
    /// New pods get another revision from now on.
    Changed,
    /// The disruption budget lets no pod go at present.
    Refused,
    /// Several disruption budgets select the pod, and Kubernetes evicts none of which that is so.
    Contested,
    /// The pod has changed since it was observed, so it was left alone.
    Superseded,
}

/// Does what `step` says.
pub(super) async fn act(
    client: &Client,
    ensemble: &ValidatedEnsemble,
    stateful_set: Option<&StatefulSetFacts>,
    step: &Step,
) -> Result<Outcome, ReconcileError> {
    match (step, stateful_set) {
        (Step::RestartPod { target, why } | Step::RestartLeader { target, why }, _) => {
            take_away(client, &ensemble.namespace, target, why.takes_a_server()).await
        }
        (Step::Release { .. }, Some(set)) => {
            let (revision, generation) = (&set.update_revision, ensemble.generation);
            let note = format!("{revision} {:.0} {generation}", Timestamp::now());
            let change = json!({
                "metadata": { "uid": set.uid, "annotations": { RELEASED_ANNOTATION: note } },
                "spec": { "updateStrategy": { "type": ON_DELETE, "rollingUpdate": null } },
            });
            change_stateful_set(client, &ensemble.namespace, &ensemble.name, change).await
        }
        (Step::Protect, Some(set)) => {
            let ValidatedEnsemble {
                namespace,
                name,
                replicas,
                ..
            } = ensemble;
            protect(client, namespace, name, &set.uid, *replicas).await
        }
        (Step::Done | Step::Wait { .. }, _) | (Step::Release { .. } | Step::Protect, None) => {
            Ok(Outcome::Idle)
        }
    }
}

/// Lets pods that are created now get the revision that is known to work.
pub(super) async fn protect(
    client: &Client,
    namespace: &str,
    name: &str,
    uid: &str,
    replicas: i32,
) -> Result<Outcome, ReconcileError> {
    let strategy = resources::protected_strategy(replicas);
    let change = json!({
        "metadata": { "uid": uid },
        "spec": { "updateStrategy": strategy },
    });
    change_stateful_set(client, namespace, name, change).await
}

/// Changes the StatefulSet that was looked at, and no other of its name.
async fn change_stateful_set(
    client: &Client,
    namespace: &str,
    name: &str,
    change: Value,
) -> Result<Outcome, ReconcileError> {
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), namespace);
    let params = PatchParams {
        field_manager: Some(MANAGED_BY_VALUE.to_owned()),
        ..PatchParams::default()
    };
    match sets.patch(name, &params, &Patch::Merge(change)).await {
        Ok(_) => Ok(Outcome::Changed),
        Err(kube::Error::Api(status)) if status.code == CONFLICT || status.code == NOT_FOUND => {
            Ok(Outcome::Superseded)
        }
        Err(source) => Err(ReconcileError::Strategy(Box::new(source))),
    }
}

/// Evicts a server that serves, so that a drain at the same moment and the operator count against the same
/// disruption budget. A pod that serves nobody is deleted: the budget would keep it for ever.
async fn take_away(
    client: &Client,
    namespace: &str,
    target: &Target,
    serves: bool,
) -> Result<Outcome, ReconcileError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let exactly_this = Preconditions {
        uid: Some(target.uid.clone()),
        resource_version: Some(target.resource_version.clone()),
    };
    let result = if serves {
        evict(&pods, target, exactly_this).await
    } else {
        let params = DeleteParams::default().preconditions(exactly_this);
        pods.delete(&target.name, &params).await.map(|_| ())
    };
    match result {
        Ok(()) => Ok(Outcome::Restarting),
        Err(kube::Error::Api(status)) if status.code == CONFLICT || status.code == NOT_FOUND => {
            Ok(Outcome::Superseded)
        }
        // The budget is used up, or its controller has not counted the pod that came back last.
        Err(kube::Error::Api(status)) if status.code == TOO_MANY_REQUESTS => Ok(Outcome::Refused),
        Err(kube::Error::Api(status)) if status.message.contains(SEVERAL_BUDGETS) => {
            Ok(Outcome::Contested)
        }
        Err(source) => Err(ReconcileError::Act {
            pod: target.name.clone(),
            source: Box::new(source),
        }),
    }
}

/// Names of the disruption budgets besides the ensemble's own that select pods with these labels. Not to know them
/// must not stop the look.
pub(super) async fn other_budgets(
    client: &Client,
    ensemble: &ValidatedEnsemble,
    labels: &BTreeMap<String, String>,
) -> Vec<String> {
    let api: Api<PodDisruptionBudget> = Api::namespaced(client.clone(), &ensemble.namespace);
    let selects = |budget: &PodDisruptionBudget| {
        let spec = budget.spec.as_ref();
        let selector = spec.and_then(|spec| spec.selector.as_ref());
        selector.is_some_and(|selector| {
            let mut wanted = selector.match_labels.iter().flatten();
            wanted.all(|(key, value)| labels.get(key) == Some(value))
        })
    };
    let is_other =
        |budget: &PodDisruptionBudget| budget.name_any() != ensemble.name && selects(budget);
    match pages::list(&api, &ListParams::default(), is_other).await {
        Ok(others) => others.iter().map(ResourceExt::name_any).collect(),
        Err(error) => {
            tracing::debug!(namespace = %ensemble.namespace, ensemble = %ensemble.name, %error, "PodDisruptionBudgets not read");
            Vec::new()
        }
    }
}

/// `kube` has this request, too, but spells the field with the preconditions so that Kubernetes ignores it.
async fn evict(
    pods: &Api<Pod>,
    target: &Target,
    exactly_this: Preconditions,
) -> Result<(), kube::Error> {
    let eviction = json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": { "name": target.name },
        "deleteOptions": { "preconditions": exactly_this },
    });
    let done: Result<Status, kube::Error> = pods
        .create_subresource("eviction", &target.name, &PostParams::default(), &eviction)
        .await;
    done.map(|_| ())
}

/// How the API server refuses to evict a pod that several budgets select.
const SEVERAL_BUDGETS: &str = "more than one PodDisruptionBudget";
const CONFLICT: u16 = 409;
const NOT_FOUND: u16 = 404;
const TOO_MANY_REQUESTS: u16 = 429;
