//! Brings the objects of an ensemble to the API server. First it is looked whose each object is, then the API
//! server is asked whether it would take them all, and only then is the first one written.

use futures::future;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions,
};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde_json::{Value, json};

use super::ownership::{Ownership, is_controlled_by, ownership};
use super::{ReconcileError, claims, foreign};
use crate::resources::{MANAGED_BY_VALUE, ON_DELETE, Resources, object_selector};
use crate::validated::ValidatedEnsemble;

/// One object as it shall be.
pub(super) struct Wanted {
    /// What people call it in a message, such as `headless Service`.
    kind: &'static str,
    resource: ApiResource,
    name: String,
    body: Value,
}

/// Every object of an ensemble, the StatefulSet last: its pods need all the rest.
pub(super) fn wanted(resources: &Resources) -> Vec<Wanted> {
    let Resources {
        service_account,
        config_map,
        headless_service,
        client_service,
        network_policy,
        disruption_budget,
        stateful_set,
    } = resources;
    let mut wanted = vec![
        Wanted::new("ServiceAccount", service_account),
        Wanted::new("ConfigMap", config_map),
        Wanted::new("headless Service", headless_service),
        Wanted::new("client Service", client_service),
    ];
    wanted.extend(
        network_policy
            .as_ref()
            .map(|policy| Wanted::new("NetworkPolicy", policy)),
    );
    wanted.push(Wanted::new("PodDisruptionBudget", disruption_budget));
    wanted.push(Wanted::new("StatefulSet", stateful_set));
    wanted
}

impl Wanted {
    fn new<K: Resource<DynamicType = ()> + Serialize>(kind: &'static str, object: &K) -> Self {
        Self {
            kind,
            resource: ApiResource::erase::<K>(&()),
            name: object.meta().name.clone().unwrap_or_default(),
            body: serde_json::to_value(object).expect("an object of Kubernetes is JSON"),
        }
    }

    fn api(&self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(client.clone(), namespace, &self.resource)
    }

    /// What is sent to an object that was found, or not found. A name that somebody else takes between look and
    /// write is a conflict: an object with another uid is never the one that was found, and no object has
    /// version 1, so that the request can only create.
    fn request(&self, found: Option<&DynamicObject>) -> Value {
        let mut body = self.body.clone();
        match found {
            Some(object) => {
                body["metadata"]["uid"] = json!(object.metadata.uid);
                // Which revision new pods get is a step of the planner, not a part of the spec.
                if object.data["spec"]["updateStrategy"]["type"] == ON_DELETE {
                    body["spec"]["updateStrategy"] = json!({ "type": ON_DELETE });
                }
                // Kubernetes lets nobody change it, and an older operator may have written another one.
                let claims = &object.data["spec"]["volumeClaimTemplates"];
                if self.is_stateful_set() && !claims.is_null() {
                    body["spec"]["volumeClaimTemplates"] = claims.clone();
                }
            }
            None => body["metadata"]["resourceVersion"] = json!(VERSION_OF_NO_OBJECT),
        }
        body
    }

    /// The request that is made after it was tried. A new template is proven by nobody yet: with it, and not a
    /// moment later, pods that are created get the revision that is known to work.
    fn final_request(&self, found: Option<&DynamicObject>, tried: &DynamicObject) -> Value {
        let mut body = self.request(found);
        if self.is_stateful_set() && has_other_template(found, tried) {
            body["spec"]["updateStrategy"] = self.body["spec"]["updateStrategy"].clone();
        }
        body
    }

    fn is_stateful_set(&self) -> bool {
        self.resource == ApiResource::erase::<StatefulSet>(&())
    }

    async fn patch(
        &self,
        api: &Api<DynamicObject>,
        body: Value,
        params: &PatchParams,
    ) -> Result<DynamicObject, ReconcileError> {
        api.patch(&self.name, params, &Patch::Apply(body))
            .await
            .map_err(|source| ReconcileError::Apply {
                kind: self.kind,
                source: Box::new(source),
            })
    }
}

fn has_other_template(found: Option<&DynamicObject>, tried: &DynamicObject) -> bool {
    found.is_some_and(|found| found.data["spec"]["template"] != tried.data["spec"]["template"])
}

/// What applying brought about.
pub(super) struct Applied {
    /// Generation of the StatefulSet as stored.
    pub(super) stateful_set_generation: i64,
    /// The StatefulSet was there and has got another pod template.
    pub(super) has_new_template: bool,
    /// What somebody else has put into the objects.
    pub(super) foreign: Vec<String>,
}

/// Applies all of `wanted`, or nothing if one of the names is taken or one object would be refused.
pub(super) async fn apply(
    client: &Client,
    ensemble: &ValidatedEnsemble,
    wanted: &[Wanted],
) -> Result<Applied, ReconcileError> {
    let namespace = ensemble.namespace.as_str();
    let found = find(client, namespace, wanted).await?;
    check_owners(namespace, &ensemble.owner, wanted, &found)?;
    let is_new = |(object, found): (&Wanted, &Option<DynamicObject>)| {
        object.is_stateful_set() && found.is_none()
    };
    if wanted.iter().zip(&found).any(is_new) {
        claims::check(client, ensemble).await?;
    }
    let tries = wanted.iter().zip(&found).map(|(object, found)| async move {
        let api = object.api(client, namespace);
        let params = field_manager().dry_run();
        let body = object.request(found.as_ref());
        object.patch(&api, body, &params).await
    });
    let tried = future::try_join_all(tries).await?;

    let mut applied = Applied {
        stateful_set_generation: 0,
        has_new_template: false,
        foreign: Vec::new(),
    };
    for ((object, found), tried) in wanted.iter().zip(&found).zip(tried) {
        let has_new_template =
            object.is_stateful_set() && has_other_template(found.as_ref(), &tried);
        let stored = if found.as_ref() == Some(&tried) {
            tried
        } else {
            let api = object.api(client, namespace);
            let body = object.final_request(found.as_ref(), &tried);
            object.patch(&api, body, &field_manager()).await?
        };
        let foreign = foreign::fields(object.kind, &object.name, &stored);
        applied.foreign.extend(foreign);
        if object.is_stateful_set() {
            applied.stateful_set_generation = stored.metadata.generation.unwrap_or_default();
            applied.has_new_template = has_new_template;
        }
    }
    Ok(applied)
}

/// Removes the policy that the operator made before the spec turned it off. One of the same name that belongs to
/// somebody else stays.
pub(super) async fn remove_network_policy(
    client: &Client,
    ensemble: &ValidatedEnsemble,
) -> Result<(), ReconcileError> {
    let failed = |source| ReconcileError::Apply {
        kind: "NetworkPolicy",
        source: Box::new(source),
    };
    let api: Api<NetworkPolicy> = Api::namespaced(client.clone(), &ensemble.namespace);
    let found = api.get_opt(&ensemble.name).await.map_err(failed)?;
    let Some(policy) =
        found.filter(|policy| is_controlled_by(&policy.metadata, &ensemble.owner.uid))
    else {
        return Ok(());
    };
    let exactly_this = DeleteParams::default().preconditions(Preconditions {
        uid: policy.metadata.uid,
        resource_version: policy.metadata.resource_version,
    });
    match api.delete(&ensemble.name, &exactly_this).await {
        Ok(_) => Ok(()),
        // Gone or changed in the meantime: the next look sees.
        Err(kube::Error::Api(refusal)) if refusal.is_not_found() || refusal.is_conflict() => Ok(()),
        Err(source) => Err(failed(source)),
    }
}

/// Deletes ConfigMaps of the ensemble other than `current`. Called when every pod has the wanted revision, which is
/// then also the one that new pods get.
pub(super) async fn collect_config_maps(
    client: &Client,
    ensemble: &ValidatedEnsemble,
    current: &ConfigMap,
) -> Result<(), ReconcileError> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &ensemble.namespace);
    let selected = ListParams::default().labels(&object_selector(&ensemble.name));
    let failed = |source| ReconcileError::Collect(Box::new(source));
    for found in api.list(&selected).await.map_err(failed)? {
        let is_current = found.metadata.name == current.metadata.name;
        if is_current || ownership(&found.metadata, &ensemble.owner) != Ownership::Ours {
            continue;
        }
        let exactly_this = DeleteParams::default().preconditions(Preconditions {
            uid: found.metadata.uid.clone(),
            resource_version: found.metadata.resource_version.clone(),
        });
        match api.delete(&found.name_any(), &exactly_this).await {
            Ok(_) => {}
            // Gone or changed in between: the next look sees what is left.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
            Err(source) => return Err(failed(source)),
        }
    }
    Ok(())
}

async fn find(
    client: &Client,
    namespace: &str,
    wanted: &[Wanted],
) -> Result<Vec<Option<DynamicObject>>, ReconcileError> {
    let looks = wanted.iter().map(|object| async move {
        let found = object.api(client, namespace).get_opt(&object.name).await;
        found.map_err(|source| ReconcileError::Observe {
            what: object.kind,
            source: Box::new(source),
        })
    });
    future::try_join_all(looks).await
}

fn check_owners(
    namespace: &str,
    owner: &OwnerReference,
    wanted: &[Wanted],
    found: &[Option<DynamicObject>],
) -> Result<(), ReconcileError> {
    let mut former = Vec::new();
    let mut taken = Vec::new();
    let mut how = String::new();
    for (object, found) in wanted.iter().zip(found) {
        let Some(found) = found else { continue };
        match ownership(&found.metadata, owner) {
            Ownership::Ours => {}
            Ownership::Former => former.push(format!("{} {}", object.kind, object.name)),
            Ownership::Foreign(whose) => {
                taken.push(format!("{} {} ({whose})", object.kind, object.name));
                if object.is_stateful_set() {
                    how = format!(
                        ". To keep the pods of the StatefulSet running, delete it with: kubectl delete statefulset {} -n {namespace} --cascade=orphan",
                        object.name
                    );
                }
            }
        }
    }
    if !taken.is_empty() {
        return Err(ReconcileError::NameTaken {
            objects: taken.join(", "),
            how,
        });
    }
    if !former.is_empty() {
        return Err(ReconcileError::FormerEnsemble(former.join(", ")));
    }
    Ok(())
}

/// The operator's fields are its own: a value that somebody else put there is overwritten.
pub(super) fn field_manager() -> PatchParams {
    PatchParams::apply(MANAGED_BY_VALUE).force()
}

/// Versions of objects begin far above: the API server has written its own objects before any of a user.
const VERSION_OF_NO_OBJECT: &str = "1";
