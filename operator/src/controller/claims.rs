//! The PersistentVolumeClaims of members. The StatefulSet controller makes them; the operator looks at them before
//! it makes an ensemble over them, and writes on them what they belong to. It deletes none: with the reclaim policy
//! `Delete` the ensemble owns them, so that they go with it and with nothing else.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{ListParams, Patch};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use zk_operator_api::ReclaimPolicy;

use super::objects::field_manager;
use super::observe::Subject;
use super::{ReconcileError, pages};
use crate::resources::{
    ENSEMBLE_ANNOTATION, VOTERS_ANNOTATION, claim_annotations, claim_name, claim_selector,
    has_claim_labels, member_of_claim,
};
use crate::validated::ValidatedEnsemble;
use crate::volumes::{self, ClaimFacts, Refusal};

/// A claim and the ordinal of the member that it is for.
pub(super) type Claim = (i32, PersistentVolumeClaim);

/// The claims of the members, and of `running` members also those that lack the labels, as one has that a person
/// made. Read after the pods: the claim of a pod is always made before it.
pub(super) async fn of_members(
    client: &Client,
    ensemble: &Subject,
    running: &[i32],
) -> Result<Vec<Claim>, ReconcileError> {
    let (namespace, name) = (&ensemble.namespace, &ensemble.name);
    let labelled = ListParams::default().labels(&claim_selector(name));
    let mut claims = list(client, namespace, name, &labelled).await?;
    for ordinal in running {
        if claims.iter().any(|(of, _)| of == ordinal) {
            continue;
        }
        let named = format!("metadata.name={}", claim_name(name, *ordinal));
        let named = ListParams::default().fields(&named);
        let found = list(client, namespace, name, &named).await?;
        claims.extend(found.into_iter().filter(|(of, _)| of == ordinal));
    }
    Ok(claims)
}

/// Refuses an ensemble whose StatefulSet is yet to be made, if the claims that are there do not fit it.
pub(super) async fn check(
    client: &Client,
    ensemble: &ValidatedEnsemble,
) -> Result<(), ReconcileError> {
    let (namespace, name) = (&ensemble.namespace, &ensemble.name);
    let claims = list(client, namespace, name, &ListParams::default()).await?;
    let facts: Vec<ClaimFacts> = claims
        .iter()
        .map(|(ordinal, claim)| facts(*ordinal, claim))
        .collect();
    volumes::check(ensemble, &facts).map_err(|refusal| match refusal {
        Refusal::Foreign(names) => ReconcileError::NameTaken {
            objects: format!("PersistentVolumeClaim {names}"),
            how: String::new(),
        },
        Refusal::Unfit(text) => ReconcileError::VolumesUnfit(text),
    })
}

/// Writes on the claims of the members whose they are, and lets the ensemble own them if they shall go with it. A
/// claim without the labels of the ensemble is left as it is.
pub(super) async fn mark(
    client: &Client,
    ensemble: &ValidatedEnsemble,
    claims: &[Claim],
) -> Result<(), ReconcileError> {
    let owners = owners(ensemble);
    for (ordinal, claim) in claims {
        let is_labelled = has_claim_labels(&ensemble.name, claim.labels());
        if *ordinal >= ensemble.replicas || !is_labelled || is_marked(claim, ensemble, &owners) {
            continue;
        }
        let body = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": claim.metadata.name,
                "uid": claim.metadata.uid,
                "annotations": claim_annotations(ensemble),
                "ownerReferences": owners,
            },
        });
        let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &ensemble.namespace);
        let result = api
            .patch(&claim.name_any(), &field_manager(), &Patch::Apply(body))
            .await;
        match result {
            Ok(_) => {}
            // Deleted in between: the next look sees what has come of it.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
            Err(source) => {
                return Err(ReconcileError::Apply {
                    kind: "PersistentVolumeClaim",
                    source: Box::new(source),
                });
            }
        }
    }
    Ok(())
}

/// The ensemble, if the claims shall go with it.
fn owners(ensemble: &ValidatedEnsemble) -> Vec<OwnerReference> {
    match ensemble.storage.reclaim_policy.unwrap_or_default() {
        ReclaimPolicy::Retain => Vec::new(),
        ReclaimPolicy::Delete => vec![OwnerReference {
            controller: None,
            block_owner_deletion: None,
            ..ensemble.owner.clone()
        }],
    }
}

fn is_marked(
    claim: &PersistentVolumeClaim,
    ensemble: &ValidatedEnsemble,
    owners: &[OwnerReference],
) -> bool {
    let annotated = claim_annotations(ensemble)
        .iter()
        .all(|(key, value)| claim.annotations().get(key) == Some(value));
    let uids = |list: &[OwnerReference]| -> Vec<String> {
        let kind = &ensemble.owner.kind;
        let ours = list.iter().filter(|owner| owner.kind == *kind);
        ours.map(|owner| owner.uid.clone()).collect()
    };
    annotated && uids(claim.owner_references()) == uids(owners)
}

async fn list(
    client: &Client,
    namespace: &str,
    ensemble: &str,
    params: &ListParams,
) -> Result<Vec<Claim>, ReconcileError> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let ordinal = |claim: &PersistentVolumeClaim| member_of_claim(ensemble, &claim.name_any());
    let listed = pages::list(&api, params, |claim| ordinal(claim).is_some()).await;
    let listed = listed.map_err(|source| ReconcileError::Observe {
        what: "PersistentVolumeClaims",
        source: Box::new(source),
    })?;
    let named = listed
        .into_iter()
        .filter_map(|claim| Some((ordinal(&claim)?, claim)));
    let mut claims: Vec<_> = named.collect();
    claims.sort_by_key(|(ordinal, _)| *ordinal);
    Ok(claims)
}

fn facts(ordinal: i32, claim: &PersistentVolumeClaim) -> ClaimFacts {
    let annotation = |key: &str| claim.annotations().get(key).cloned();
    let spec = claim.spec.clone().unwrap_or_default();
    let requests = spec.resources.and_then(|resources| resources.requests);
    ClaimFacts {
        ordinal,
        ensemble: annotation(ENSEMBLE_ANNOTATION),
        voters: annotation(VOTERS_ANNOTATION).and_then(|voters| voters.parse().ok()),
        class: spec.storage_class_name,
        size: requests
            .and_then(|requests| requests.get("storage").map(|size| size.0.clone()))
            .unwrap_or_default(),
        bound: spec.volume_name.is_some(),
    }
}
