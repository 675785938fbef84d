//! Brings the objects of an ensemble to the API server, by server-side apply with one field manager.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ReconcileError;
use crate::resources::{MANAGED_BY_VALUE, Resources};

/// Applies everything, the StatefulSet last: its pods need all the rest. Returns the StatefulSet as stored.
pub(super) async fn apply(
    client: &Client,
    namespace: &str,
    resources: &Resources,
) -> Result<StatefulSet, ReconcileError> {
    let Resources {
        service_account,
        config_map,
        headless_service,
        client_service,
        disruption_budget,
        stateful_set,
    } = resources;
    apply_one(client, namespace, "ServiceAccount", service_account).await?;
    apply_one(client, namespace, "ConfigMap", config_map).await?;
    apply_one(client, namespace, "headless Service", headless_service).await?;
    apply_one(client, namespace, "client Service", client_service).await?;
    apply_one(client, namespace, "PodDisruptionBudget", disruption_budget).await?;
    apply_one(client, namespace, "StatefulSet", stateful_set).await
}

async fn apply_one<K>(
    client: &Client,
    namespace: &str,
    kind: &'static str,
    object: &K,
) -> Result<K, ReconcileError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    api.patch(&object.name_any(), &field_manager(), &Patch::Apply(object))
        .await
        .map_err(|source| ReconcileError::Apply {
            kind,
            source: Box::new(source),
        })
}

/// The operator's fields are its own: a value that somebody else put there is overwritten.
pub(super) fn field_manager() -> PatchParams {
    PatchParams::apply(MANAGED_BY_VALUE).force()
}
