//! One reconcile: fetch, validate, build, apply, observe, plan, act, status.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::Patch;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::{Api, Client, Resource as _, ResourceExt as _};
use serde_json::json;
use zk_operator_api::{ZookeeperEnsemble, ZookeeperEnsembleStatus};

use super::act::Outcome;
use super::watches::Guarded;
use super::{Context, ReconcileError, act, apply, observe};
use crate::ensemble::{Desired, Step, next_step};
use crate::quorum_client::QuorumAdmin;
use crate::resources;
use crate::status::{self, Failure};
use crate::validated::ValidatedEnsemble;

/// Brings one ensemble a step closer to its spec.
pub(super) async fn reconcile<A: QuorumAdmin>(
    cached: Arc<Guarded>,
    context: Arc<Context<A>>,
) -> Result<Action, ReconcileError> {
    let started = Instant::now();
    let result = reconcile_fresh(&cached, &context).await;
    context
        .metrics
        .observe_reconcile(result.is_ok(), started.elapsed());
    result
}

/// The cached object only says which ensemble to look at: an old spec must not steer a restart.
async fn reconcile_fresh<A: QuorumAdmin>(
    cached: &Guarded,
    context: &Context<A>,
) -> Result<Action, ReconcileError> {
    let client = &context.client;
    let namespace = cached.namespace().unwrap_or_default();
    let ensembles: Api<Guarded> = Api::namespaced(client.clone(), &namespace);
    let fetched = ensembles
        .get_opt(&cached.name_any())
        .await
        .map_err(|source| ReconcileError::Fetch(Box::new(source)))?;
    let Some(guarded) = fetched.filter(|guarded| guarded.meta().deletion_timestamp.is_none())
    else {
        // Owner references let the garbage collector remove what belongs to a deleted ensemble.
        context
            .failures
            .clear(cached.meta().uid.as_deref().unwrap_or_default());
        return Ok(Action::await_change());
    };
    let reference = guarded.object_ref(&());
    let ensemble = match guarded {
        DeserializeGuard(Ok(ensemble)) => ensemble,
        DeserializeGuard(Err(invalid)) => {
            let error = ReconcileError::Undecodable(invalid.error);
            context.announcer.failure(&reference, None, &error).await;
            write_undecodable(&ensembles, &reference, invalid.metadata.generation, &error).await?;
            return Err(error);
        }
    };
    match step_once(&ensemble, &reference, context).await {
        Ok(action) => {
            context
                .failures
                .clear(ensemble.metadata.uid.as_deref().unwrap_or_default());
            Ok(action)
        }
        Err(error) => {
            context
                .announcer
                .failure(&reference, ensemble.status.as_ref(), &error)
                .await;
            let message = error.chain();
            let failure = Failure {
                reason: error.reason(),
                message: &message,
                spec_is_wrong: error.spec_is_wrong(),
            };
            let generation = ensemble.metadata.generation.unwrap_or_default();
            let status = status::failed(
                ensemble.status.as_ref(),
                generation,
                failure,
                Timestamp::now(),
            );
            write_status(client, &ensemble, &status).await?;
            Err(error)
        }
    }
}

async fn step_once<A: QuorumAdmin>(
    ensemble: &ZookeeperEnsemble,
    reference: &ObjectReference,
    context: &Context<A>,
) -> Result<Action, ReconcileError> {
    let client = &context.client;
    let valid = ValidatedEnsemble::new(ensemble, &context.default_image)?;
    let resources = resources::build(&valid);
    let stateful_set = apply::apply(client, &valid.namespace, &resources).await?;
    let observation = observe::observe(client, &context.admin, &valid).await?;
    let desired = Desired {
        replicas: usize::try_from(valid.replicas).expect("a valid size is 1 to 9"),
        stateful_set_generation: stateful_set.metadata.generation.unwrap_or_default(),
    };
    let step = next_step(&desired, &observation);

    log(&valid, &step);
    context.metrics.count_step(step.name());
    context
        .announcer
        .step(reference, ensemble.status.as_ref(), &step)
        .await;
    let outcome = act::act(client, &valid.namespace, &step).await?;
    let status = status::observed(
        ensemble.status.as_ref(),
        valid.generation,
        &observation,
        &step,
        Timestamp::now(),
    );
    write_status(client, ensemble, &status).await?;
    Ok(requeue(&step, outcome))
}

fn log(ensemble: &ValidatedEnsemble, step: &Step) {
    let (reason, message) = status::describe(step);
    let (namespace, name, generation) = (&ensemble.namespace, &ensemble.name, ensemble.generation);
    match step {
        Step::RestartPod { .. } | Step::RestartLeader { .. } => {
            tracing::info!(%namespace, ensemble = %name, generation, step = step.name(), reason, message, "restarting a pod");
        }
        Step::Wait { .. } | Step::Done => {
            tracing::debug!(%namespace, ensemble = %name, generation, step = step.name(), reason, message, "planned");
        }
    }
}

async fn write_status(
    client: &Client,
    ensemble: &ZookeeperEnsemble,
    status: &ZookeeperEnsembleStatus,
) -> Result<(), ReconcileError> {
    if ensemble.status.as_ref() == Some(status) {
        return Ok(());
    }
    let api: Api<Guarded> =
        Api::namespaced(client.clone(), &ensemble.namespace().unwrap_or_default());
    let object = json!({
        "apiVersion": ZookeeperEnsemble::api_version(&()),
        "kind": ZookeeperEnsemble::kind(&()),
        "metadata": { "uid": ensemble.metadata.uid },
        "status": status,
    });
    patch_status(&api, &ensemble.name_any(), Patch::Apply(object)).await
}

/// An object that cannot be read keeps whatever status it has, but says that it is not being reconciled.
async fn write_undecodable(
    api: &Api<Guarded>,
    reference: &ObjectReference,
    generation: Option<i64>,
    error: &ReconcileError,
) -> Result<(), ReconcileError> {
    let message = error.chain();
    let failure = Failure {
        reason: error.reason(),
        message: &message,
        spec_is_wrong: true,
    };
    let status = status::failed(
        None,
        generation.unwrap_or_default(),
        failure,
        Timestamp::now(),
    );
    let name = reference.name.clone().unwrap_or_default();
    patch_status(api, &name, Patch::Merge(json!({ "status": status }))).await
}

async fn patch_status(
    api: &Api<Guarded>,
    name: &str,
    patch: Patch<serde_json::Value>,
) -> Result<(), ReconcileError> {
    let params = match patch {
        Patch::Apply(_) => apply::field_manager(),
        _ => kube::api::PatchParams::default(),
    };
    match api.patch_status(name, &params, &patch).await {
        Ok(_) => Ok(()),
        // Deleted, or deleted and made anew, in the meantime: there is nobody to tell.
        Err(kube::Error::Api(refusal)) if refusal.is_not_found() || refusal.is_conflict() => Ok(()),
        Err(source) => Err(ReconcileError::Status(Box::new(source))),
    }
}

fn requeue(step: &Step, outcome: Outcome) -> Action {
    Action::requeue(match (step, outcome) {
        (_, Outcome::Superseded) => LOOK_AGAIN_SOON,
        (Step::Done, _) => LOOK_AGAIN_SETTLED,
        _ => LOOK_AGAIN_UNSETTLED,
    })
}

/// A pod changed between look and act.
const LOOK_AGAIN_SOON: Duration = Duration::from_millis(200);
/// Something is awaited that may cause no watch event, such as a follower catching up.
const LOOK_AGAIN_UNSETTLED: Duration = Duration::from_secs(3);
/// Keeps roles and zxids in the status fresh.
const LOOK_AGAIN_SETTLED: Duration = Duration::from_secs(15);
