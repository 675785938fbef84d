//! Brings the objects of an ensemble to the API server. First it is looked whose each object is, then the API
//! server is asked whether it would take them all, and only then is the first one written.

use futures::future;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions,
};
use kube::core::PartialObjectMeta;
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde_json::{Value, json};
use zk_operator_api::ProvenRevision;

use super::ownership::{Ownership, is_controlled_by, ownership};
use super::{ReconcileError, claims, error, foreign, pages, proven};
use crate::resources::{self, MANAGED_BY_VALUE, ON_DELETE, Resources, object_selector};
use crate::validated::ValidatedEnsemble;

/// One object as it shall be.
pub(super) struct Wanted {
    /// What people call it in a message, such as `headless Service`.
    kind: &'static str,
    resource: ApiResource,
    name: String,
    body: Value,
    /// Pod template with which the StatefulSet is made if there is none; that of `body` when absent.
    first_template: Option<Value>,
}

/// Every object of an ensemble, the StatefulSet last: its pods need all the rest. A StatefulSet that has to be made
/// begins with the revision that is known to work, and gets the wanted template once its controller has looked at it.
/// So the controller takes that revision for the current one, as it was before somebody deleted the StatefulSet.
/// What that revision needs is kept beside what the spec asks for.
pub(super) fn wanted(
    ensemble: &ValidatedEnsemble,
    resources: &Resources,
    proven: Option<&ProvenRevision>,
) -> Vec<Wanted> {
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
    let kept = proven.and_then(|proven| proven.configuration.as_ref());
    if let Some(kept) = kept.filter(|kept| Some(&kept.name) != config_map.metadata.name.as_ref()) {
        let config_map = resources::proven_config_map(ensemble, kept);
        wanted.push(Wanted::new("ConfigMap", &config_map));
    }
    wanted.extend(
        network_policy
            .as_ref()
            .map(|policy| Wanted::new("NetworkPolicy", policy)),
    );
    wanted.push(Wanted::new("PodDisruptionBudget", disruption_budget));
    let set = Wanted::new("StatefulSet", stateful_set);
    let first_template = proven
        .map(|proven| without_nulls(&proven.template))
        .filter(|template| set.selects(template));
    wanted.push(Wanted {
        first_template,
        ..set
    });
    wanted
}

impl Wanted {
    fn new<K: Resource<DynamicType = ()> + Serialize>(kind: &'static str, object: &K) -> Self {
        Self {
            kind,
            resource: ApiResource::erase::<K>(&()),
            name: object.meta().name.clone().unwrap_or_default(),
            body: serde_json::to_value(object).expect("an object of Kubernetes is JSON"),
            first_template: None,
        }
    }

    /// Pods made from `template` are those of this StatefulSet. An operator of another version may have used other
    /// labels, and the API server takes no StatefulSet whose own pods are not its.
    fn selects(&self, template: &Value) -> bool {
        let selector = self.body["spec"]["selector"]["matchLabels"].as_object();
        let labels = &template["metadata"]["labels"];
        selector.is_some_and(|selector| {
            let mut selector = selector.iter();
            selector.all(|(key, value)| labels.get(key) == Some(value))
        })
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

    /// Asks the API server whether it would take the object. Where rules have become stricter since a proven template
    /// was in use, it may refuse that one; the wanted one must get its chance then. `first` is the proven template, if the
    /// object shall begin with it.
    async fn attempt(
        &self,
        api: &Api<DynamicObject>,
        found: Option<&DynamicObject>,
        first: Option<&Value>,
    ) -> Result<Tried, ReconcileError> {
        let params = field_manager().dry_run();
        let body = self.request(found);
        let mut refusal = None;
        if let Some(template) = first {
            let mut first = body.clone();
            first["spec"]["template"] = template.clone();
            match self.patch(api, first.clone(), &params).await {
                Err(ReconcileError::Apply { source, .. }) if is_refusal(&source) => {
                    refusal = Some(error::text(&source));
                }
                answer => {
                    return answer.map(|object| Tried {
                        body: first,
                        object,
                    });
                }
            }
        }
        let object = self.patch(api, body.clone(), &params).await?;
        if let Some(error) = refusal {
            let namespace = object.namespace().unwrap_or_default();
            tracing::warn!(%namespace, ensemble = self.name, error, "the revision that is known to work is refused, so the StatefulSet begins with the wanted one");
        }
        Ok(Tried { body, object })
    }

    /// The request that is made after it was tried. A new template is proven by nobody yet: with it, and not a
    /// moment later, pods that are created get the revision that is known to work.
    fn final_request(&self, mut tried: Value, has_new_template: bool) -> Value {
        if has_new_template {
            tried["spec"]["updateStrategy"] = self.body["spec"]["updateStrategy"].clone();
        }
        tried
    }

    /// The StatefulSet has just been made, and its controller does not know a current revision yet. It would take
    /// another template for that one.
    fn is_unseen(&self, found: Option<&DynamicObject>) -> bool {
        let has_no_revision = |found: &DynamicObject| {
            let revision = found.data["status"]["currentRevision"].as_str();
            revision.is_none_or(str::is_empty)
        };
        self.is_stateful_set() && found.is_some_and(has_no_revision)
    }

    /// Members need it although the rest of the spec is refused: the disruption budget as it shall be, and of what
    /// their pods use whatever is gone.
    fn is_kept(&self, found: Option<&DynamicObject>) -> bool {
        let is = |resource: ApiResource| self.resource == resource;
        let is_used = is(ApiResource::erase::<ServiceAccount>(&()))
            || is(ApiResource::erase::<ConfigMap>(&()))
            || is(ApiResource::erase::<Service>(&()));
        is(ApiResource::erase::<PodDisruptionBudget>(&())) || (is_used && found.is_none())
    }

    fn is_config_map(&self, name: &str) -> bool {
        self.name == name && self.resource == ApiResource::erase::<ConfigMap>(&())
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

/// An object that the API server would take.
struct Tried {
    /// What was sent.
    body: Value,
    /// What would be stored.
    object: DynamicObject,
}

/// The API server does not take what was sent, whenever it is asked.
fn is_refusal(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(refusal) if refusal.code == INVALID || refusal.code == FORBIDDEN)
}

/// The value without fields that are null, which mean the same as absent ones.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let filled = fields.iter().filter(|(_, value)| !value.is_null());
            filled
                .map(|(name, value)| (name.clone(), without_nulls(value)))
                .collect()
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
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
    /// The pod template of the StatefulSet as stored.
    pub(super) template: Value,
    /// What somebody else has put into the objects.
    pub(super) foreign: Vec<String>,
    /// The StatefulSet was made, and not with the revision that is known to work: this ConfigMap of it is gone for good.
    pub(super) lost_configuration: Option<String>,
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
    let lost_configuration = lost_configuration(client, ensemble, wanted, &found).await?;
    let is_lost = lost_configuration.is_some();
    let tries = wanted.iter().zip(&found).map(|(object, found)| {
        let first = object.first_template.as_ref();
        let first = first.filter(|_| found.is_none() && !is_lost);
        async move {
            let api = object.api(client, namespace);
            object.attempt(&api, found.as_ref(), first).await
        }
    });
    let tried = future::join_all(tries).await;
    if tried.iter().any(Result::is_err) {
        keep(client, namespace, wanted, &found, &tried).await;
    }
    let tried = tried.into_iter().collect::<Result<Vec<_>, _>>()?;

    let mut applied = Applied {
        stateful_set_generation: 0,
        has_new_template: false,
        template: Value::Null,
        foreign: Vec::new(),
        lost_configuration,
    };
    for ((object, found), tried) in wanted.iter().zip(found).zip(tried) {
        let has_new_template = object.is_stateful_set()
            && !object.is_unseen(found.as_ref())
            && has_other_template(found.as_ref(), &tried.object);
        let stored = match found {
            Some(found) if object.is_unseen(Some(&found)) || found == tried.object => found,
            Some(_) | None => {
                let api = object.api(client, namespace);
                let body = object.final_request(tried.body, has_new_template);
                object.patch(&api, body, &field_manager()).await?
            }
        };
        let foreign = foreign::fields(object.kind, &object.name, &stored);
        applied.foreign.extend(foreign);
        if object.is_stateful_set() {
            applied.stateful_set_generation = stored.metadata.generation.unwrap_or_default();
            applied.has_new_template = has_new_template;
            applied.template = without_nulls(&stored.data["spec"]["template"]);
        }
    }
    Ok(applied)
}

/// Name of a ConfigMap without which no pod of the proven revision can start, of a StatefulSet that has to be made. What
/// an older operator noted does not say what was in it.
async fn lost_configuration(
    client: &Client,
    ensemble: &ValidatedEnsemble,
    wanted: &[Wanted],
    found: &[Option<DynamicObject>],
) -> Result<Option<String>, ReconcileError> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &ensemble.namespace);
    let made = wanted
        .iter()
        .zip(found)
        .filter(|(_, found)| found.is_none());
    let templates = made.filter_map(|(object, _)| object.first_template.as_ref());
    for name in templates.flat_map(proven::config_maps) {
        if wanted.iter().any(|object| object.is_config_map(name)) {
            continue;
        }
        let kept = api.get_opt(name).await;
        let kept = kept.map_err(|source| ReconcileError::Observe {
            what: "ConfigMap",
            source: Box::new(source),
        })?;
        if kept.is_none_or(|kept| ownership(&kept.metadata, &ensemble.owner) != Ownership::Ours) {
            return Ok(Some(name.to_owned()));
        }
    }
    Ok(None)
}

/// One of the objects would be refused, so the spec is not applied. The members go on living all the same: what keeps
/// a majority of them, and what a pod needs that has to be made again, is put back where somebody took it away.
async fn keep(
    client: &Client,
    namespace: &str,
    wanted: &[Wanted],
    found: &[Option<DynamicObject>],
    tried: &[Result<Tried, ReconcileError>],
) {
    let mut all = wanted.iter().zip(found);
    if !all.any(|(object, found)| object.is_stateful_set() && found.is_some()) {
        return;
    }
    for ((object, found), tried) in wanted.iter().zip(found).zip(tried) {
        let (Ok(tried), true) = (tried, object.is_kept(found.as_ref())) else {
            continue;
        };
        if found.as_ref() == Some(&tried.object) {
            continue;
        }
        let api = object.api(client, namespace);
        let written = object
            .patch(&api, tried.body.clone(), &field_manager())
            .await;
        if let Err(error) = written {
            tracing::warn!(namespace, object = object.name, error = %error.chain(), "an object that members need is not put back");
        }
    }
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
    let api: Api<PartialObjectMeta<ConfigMap>> =
        Api::namespaced(client.clone(), &ensemble.namespace);
    let selected = ListParams::default().labels(&object_selector(&ensemble.name));
    let failed = |source| ReconcileError::Collect(Box::new(source));
    let outdated = pages::pick(&api, &selected, |found| {
        let is_current = found.metadata.name == current.metadata.name;
        let is_ours = ownership(&found.metadata, &ensemble.owner) == Ownership::Ours;
        (is_ours && !is_current).then_some(found)
    });
    for found in outdated.await.map_err(failed)? {
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
const FORBIDDEN: u16 = 403;
const INVALID: u16 = 422;
