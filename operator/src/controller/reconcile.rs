//! One reconcile: fetch, validate, observe, build, apply, plan, act, status. What was observed is told whatever
//! came of the rest.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{ApiResource, DynamicObject, Patch};
use kube::runtime::controller::Action;
use kube::{Api, Client, Resource as _, ResourceExt as _};
use serde_json::{Value, json};
use zk_operator_api::{ConditionType, ProvenRevision, ZookeeperEnsemble, ZookeeperEnsembleStatus};

use super::act::Outcome;
use super::observe::{self, Subject};
use super::proven::proven_revision;
use super::watches::Watched;
use super::{Context, ReconcileError, act, claims, objects, protect, turns};
use crate::ensemble::{Desired, Observation, Step, WaitReason, next_step};
use crate::looks::Seen;
use crate::quorum_client::QuorumAdmin;
use crate::resources;
use crate::status::{self, Failure, PHASE_UNKNOWN};
use crate::validated::ValidatedEnsemble;

/// Brings one ensemble a step closer to its spec.
pub(super) async fn reconcile<A: QuorumAdmin>(
    cached: Arc<Watched>,
    context: Arc<Context<A>>,
) -> Result<Action, ReconcileError> {
    let uid = cached.metadata.uid.as_deref().unwrap_or_default();
    let turn = context.turns.take(uid).await;
    let started = Instant::now();
    // Many may wait for their turn: what a look needs is allocated when it begins.
    let look = Box::pin(reconcile_fresh(&cached, &context));
    let look = tokio::time::timeout(LOOK_TIMEOUT, look);
    let result = look
        .await
        .unwrap_or(Err(ReconcileError::Deadline(LOOK_TIMEOUT.as_secs())));
    if result.as_ref().is_err_and(ReconcileError::saw_nothing) {
        let key = (cached.namespace().unwrap_or_default(), cached.name_any());
        context.looks.unseen(&key, PHASE_UNKNOWN);
    }
    if let Err(error @ (ReconcileError::Fetch(_) | ReconcileError::Deadline(_))) = &result {
        let reference = cached.object_ref(&());
        protect::after_failure(&context.client, &reference, None, error).await;
    }
    context
        .metrics
        .observe_reconcile(result.is_ok(), started.elapsed());
    drop(turn);
    result
}

/// The cached object only says which ensemble to look at: an old spec must not steer a restart.
async fn reconcile_fresh<A: QuorumAdmin>(
    cached: &Watched,
    context: &Context<A>,
) -> Result<Action, ReconcileError> {
    let Some(fetched) = fetch(&context.client, cached).await? else {
        // Owner references let the garbage collector remove what belongs to a deleted ensemble.
        context
            .failures
            .clear(cached.metadata.uid.as_deref().unwrap_or_default());
        return Ok(Action::await_change());
    };
    let result = look(&fetched, context).await;
    if result.is_ok() {
        context
            .failures
            .clear(fetched.reference.uid.as_deref().unwrap_or_default());
    }
    result
}

/// Looks at the ensemble, takes at most one step, and tells what was seen whatever came of the step.
async fn look<A: QuorumAdmin>(
    fetched: &Fetched,
    context: &Context<A>,
) -> Result<Action, ReconcileError> {
    let Fetched {
        reference,
        generation,
        status: previous,
        ensemble,
        deletion,
    } = fetched;
    let (previous, client) = (previous.as_ref(), &context.client);
    let valid = match ensemble {
        Ok(ensemble) => ValidatedEnsemble::new(ensemble, &context.default_image)
            .map(|valid| valid.reached_from(context.operator_namespace.clone()))
            .map_err(ReconcileError::from),
        Err(text) => Err(ReconcileError::Undecodable(text.clone())),
    };
    admit_absence(fetched, context).await;
    let started = Instant::now();
    let subject = subject(reference, previous, valid.as_ref().ok());
    let seen = match observe::observe(client, &context.admin, &context.silence, &subject).await {
        Ok(seen) => seen,
        Err(error) => {
            protect::after_failure(client, reference, None, &error).await;
            let message = error.chain();
            context.announcer.failure(reference, previous, &error).await;
            let failure = failure(&error, &message);
            let status = status::unseen(previous, *generation, failure, Timestamp::now());
            tell(fetched, &status, context).await?;
            return Err(error);
        }
    };
    let kept_waiting = context.turns.looked(&subject.uid, seen.waited);
    let observation = &seen.observation;
    let outcome = match (deletion, valid) {
        (Some(deletion), _) => Err(deletion.failure(Timestamp::now())),
        (None, Ok(valid)) => step_once(&valid, fetched, &seen, started, context).await,
        (None, Err(error)) => Err(error),
    };
    if let Err(error) = &outcome {
        protect::after_failure(client, reference, Some(observation), error).await;
    }
    let message = match &outcome {
        Ok(_) => String::new(),
        Err(error) => {
            context.announcer.failure(reference, previous, error).await;
            error.chain()
        }
    };
    let told = match &outcome {
        Ok(taken) => Ok(&taken.step),
        Err(error) => Err(failure(error, &message)),
    };
    context
        .announcer
        .claims(reference, previous, told.ok(), observation)
        .await;
    context
        .announcer
        .out_of_service(reference, previous, told.ok(), observation)
        .await;
    let mut status = status::observed(previous, *generation, observation, told, Timestamp::now());
    if let Ok(taken) = &outcome {
        if taken.proven.is_some() || taken.forgets {
            status.proven_revision = taken.proven.clone();
        }
        status::add_foreign(&mut status, &taken.foreign);
        context
            .announcer
            .foreign(reference, previous, &status)
            .await;
    }
    note(context, reference, &status);
    context
        .announcer
        .availability(reference, previous, &status)
        .await;
    tell(fetched, &status, context).await?;
    outcome.map(|taken| requeue(&taken.step, taken.outcome, kept_waiting))
}

/// Says of a status that nobody has kept up to date for long that it is unknown, before a look that may take its time.
async fn admit_absence<A>(fetched: &Fetched, context: &Context<A>) {
    let previous = fetched.status.as_ref();
    let now = Timestamp::now();
    let Some(last) = previous.and_then(|status| status::outdated_since(status, now)) else {
        return;
    };
    let message =
        format!("nobody has looked at the ensemble since {last:.0}; the operator is looking now");
    let failure = Failure {
        reason: "NotLookedAt",
        message: &message,
        spec_is_wrong: false,
    };
    let status = status::unseen(previous, fetched.generation, failure, now);
    if let Err(error) = tell(fetched, &status, context).await {
        let ObjectReference {
            namespace, name, ..
        } = &fetched.reference;
        tracing::debug!(namespace, ensemble = name, %error, "status not written");
    }
}

fn subject(
    reference: &ObjectReference,
    status: Option<&ZookeeperEnsembleStatus>,
    valid: Option<&ValidatedEnsemble>,
) -> Subject {
    let proven = status.and_then(|status| status.proven_revision.as_ref());
    Subject {
        proven_revision: proven.map(|proven| proven.name.clone()),
        namespace: reference.namespace.clone().unwrap_or_default(),
        name: reference.name.clone().unwrap_or_default(),
        uid: reference.uid.clone().unwrap_or_default(),
        replicas: valid.map(|valid| valid.replicas),
    }
}

fn failure<'a>(error: &ReconcileError, message: &'a str) -> Failure<'a> {
    Failure {
        reason: error.reason(),
        message,
        spec_is_wrong: error.spec_is_wrong(),
    }
}

/// An ensemble as it is stored now.
struct Fetched {
    reference: ObjectReference,
    generation: i64,
    status: Option<ZookeeperEnsembleStatus>,
    /// The whole, or why it cannot be read as one.
    ensemble: Result<ZookeeperEnsemble, String>,
    /// Absent unless it is being deleted.
    deletion: Option<Deletion>,
}

/// A deletion that finalizers hold up.
struct Deletion {
    since: Timestamp,
    finalizers: String,
}

impl Deletion {
    fn failure(&self, now: Timestamp) -> ReconcileError {
        let is_stuck = now.duration_since(self.since) > DELETION_MAX;
        let what_to_do = if is_stuck {
            ". See to whoever must remove them; the objects of the ensemble go when it goes"
        } else {
            ""
        };
        ReconcileError::Deleting {
            finalizers: self.finalizers.clone(),
            is_stuck,
            what_to_do,
        }
    }
}

/// Reads the ensemble; `None` when it is gone, or goes and nothing holds it up.
async fn fetch(client: &Client, cached: &Watched) -> Result<Option<Fetched>, ReconcileError> {
    let failed = |source| ReconcileError::Fetch(Box::new(source));
    let kind = ApiResource::erase::<ZookeeperEnsemble>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(
        client.clone(),
        &cached.namespace().unwrap_or_default(),
        &kind,
    );
    let stored = api.get_opt(&cached.name_any()).await.map_err(failed)?;
    let is_going = |object: &DynamicObject| {
        object.metadata.deletion_timestamp.is_some() && object.finalizers().is_empty()
    };
    let Some(mut object) = stored.filter(|object| !is_going(object)) else {
        return Ok(None);
    };
    // Nobody asks for them, and there may be a megabyte of them.
    let metadata = &mut object.metadata;
    (
        metadata.labels,
        metadata.annotations,
        metadata.managed_fields,
    ) = (None, None, None);
    let deletion = object.metadata.deletion_timestamp.as_ref();
    let deletion = deletion.map(|time| Deletion {
        since: time.0,
        finalizers: object.finalizers().join(", "),
    });
    let status = object
        .data
        .get("status")
        .cloned()
        .and_then(|status| serde_json::from_value(status).ok());
    let generation = object.metadata.generation.unwrap_or_default();
    let reference = object.object_ref(&kind);
    let whole =
        serde_json::to_value(object).map_err(|error| failed(kube::Error::SerdeError(error)))?;
    let ensemble = whole_ensemble(whole);
    Ok(Some(Fetched {
        reference,
        generation,
        status,
        ensemble,
        deletion,
    }))
}

/// The ensemble, if every field of its spec is one that this operator knows. The definition leaves parts of a spec
/// open, such as an affinity, and a slip in them would silently have no effect.
fn whole_ensemble(whole: Value) -> Result<ZookeeperEnsemble, String> {
    let ensemble: ZookeeperEnsemble =
        serde_json::from_value(whole.clone()).map_err(|error| error.to_string())?;
    let known = serde_json::to_value(&ensemble.spec).map_err(|error| error.to_string())?;
    match unknown_field(&whole["spec"], &known) {
        Some(path) => Err(format!("spec{path} is no field that the operator knows")),
        None => Ok(ensemble),
    }
}

/// Path of a field of `given` that is lost in `known`. Empty values count as absent.
fn unknown_field(given: &Value, known: &Value) -> Option<String> {
    match (given, known) {
        (Value::Object(given), known) => given.iter().find_map(|(name, given)| {
            let inner = match known.get(name) {
                Some(known) => unknown_field(given, known),
                None => (!is_empty(given)).then(String::new),
            };
            inner.map(|path| format!(".{name}{path}"))
        }),
        (Value::Array(given), Value::Array(known)) => {
            given
                .iter()
                .zip(known)
                .enumerate()
                .find_map(|(at, (given, known))| {
                    unknown_field(given, known).map(|path| format!("[{at}]{path}"))
                })
        }
        (Value::Array(_), _) => None,
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), _) => None,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Applies what the spec asks for, and then takes the step that the observation calls for.
async fn step_once<A: QuorumAdmin>(
    ensemble: &ValidatedEnsemble,
    fetched: &Fetched,
    seen: &observe::Seen,
    started: Instant,
    context: &Context<A>,
) -> Result<Taken, ReconcileError> {
    let client = &context.client;
    let observation = Observation {
        age: started.elapsed(),
        ..seen.observation.clone()
    };
    let closes = closes(ensemble, &observation);
    if closes {
        let set = observation.stateful_set.as_ref();
        act::act(client, ensemble, set, &Step::Protect).await?;
    }
    let resources = resources::build(ensemble);
    let known = fetched.status.as_ref();
    let known = known.and_then(|status| status.proven_revision.as_ref());
    let wanted = objects::wanted(ensemble, &resources, known);
    let applied = objects::apply(client, ensemble, &wanted).await?;
    if let Some(lost) = &applied.lost_configuration {
        let announcer = &context.announcer;
        announcer.lost_configuration(&fetched.reference, lost).await;
    }
    if applied.has_new_template && is_applied(fetched) {
        announce_other_pods(ensemble, fetched, &observation, context).await;
    }
    if resources.network_policy.is_none() {
        objects::remove_network_policy(client, ensemble).await?;
    }
    claims::mark(client, ensemble, &seen.claims).await?;
    let desired = desired(ensemble, applied.stateful_set_generation);
    let observation = Observation {
        age: started.elapsed(),
        ..observation
    };
    let step = if closes {
        Step::Protect
    } else {
        next_step(&desired, &observation)
    };
    let (template, config_map) = (applied.template, &resources.config_map);
    let proven = proven_revision(&desired, &observation, template, config_map, known);

    log(ensemble, &step, &observation);
    context.metrics.count_step(step.name());
    let outcome = if closes {
        Outcome::Changed
    } else {
        act::act(client, ensemble, observation.stateful_set.as_ref(), &step).await?
    };
    let step = match outcome {
        Outcome::Contested => {
            let template = resources
                .stateful_set
                .spec
                .as_ref()
                .map(|spec| &spec.template);
            let labels = template.and_then(|template| template.metadata.as_ref()?.labels.clone());
            let others = act::other_budgets(client, ensemble, &labels.unwrap_or_default()).await;
            contested(step, others)
        }
        Outcome::Idle
        | Outcome::Restarting
        | Outcome::Changed
        | Outcome::Refused
        | Outcome::Superseded => told(step, outcome),
    };
    context
        .announcer
        .step(
            &fetched.reference,
            fetched.status.as_ref(),
            &step,
            &observation,
        )
        .await;
    // Until the status names the revision, the one before may be needed again, and with it its configuration.
    let is_known = known.map(|known| &known.name) == proven.as_ref().map(|proven| &proven.name);
    if step == Step::Done && is_known {
        objects::collect_config_maps(client, ensemble, &resources.config_map).await?;
    }
    Ok(Taken {
        step,
        outcome,
        foreign: applied.foreign,
        forgets: applied.lost_configuration.is_some(),
        proven,
    })
}

fn desired(ensemble: &ValidatedEnsemble, stateful_set_generation: i64) -> Desired {
    Desired {
        replicas: usize::try_from(ensemble.replicas).expect("a valid size is 1 to 9"),
        generation: ensemble.generation,
        paused: ensemble.paused,
        stateful_set_generation,
    }
}

/// The step is to let new pods get the revision that is known to work, which waits for nothing else of the look. What
/// would be decided is asked of the StatefulSet as its controller has seen it, whatever is applied afterwards.
fn closes(ensemble: &ValidatedEnsemble, observation: &Observation) -> bool {
    let set = observation.stateful_set.as_ref();
    let seen = set.map(|set| set.observed_generation).unwrap_or_default();
    next_step(&desired(ensemble, seen), observation) == Step::Protect
}

/// The step of one look, and what came of it.
struct Taken {
    /// As people are told of it.
    step: Step,
    outcome: Outcome,
    /// What somebody else has put into the objects.
    foreign: Vec<String>,
    /// The revision that was known to work cannot be had any more.
    forgets: bool,
    /// Revision of which this look has shown that it works.
    proven: Option<ProvenRevision>,
}

/// The step as people are told of it: a restart that the API server will never allow.
fn contested(step: Step, others: Vec<String>) -> Step {
    match step {
        Step::RestartPod { target, .. } | Step::RestartLeader { target, .. } => Step::Wait {
            why: WaitReason::SeveralBudgets {
                pod: target.name,
                others,
            },
        },
        Step::Done | Step::Wait { .. } | Step::Release { .. } | Step::Protect => step,
    }
}

/// The step as people are told of it: a restart that was refused is something that is waited for.
fn told(step: Step, outcome: Outcome) -> Step {
    match (step, outcome) {
        (
            Step::RestartPod { target, .. } | Step::RestartLeader { target, .. },
            Outcome::Refused,
        ) => Step::Wait {
            why: WaitReason::EvictionRefused(target.name),
        },
        (step, _) => step,
    }
}

/// This very generation of the spec was applied before.
fn is_applied(fetched: &Fetched) -> bool {
    let conditions = fetched.status.as_ref().map(|status| &status.conditions);
    conditions
        .and_then(|conditions| status::find(conditions, ConditionType::Reconciled))
        .is_some_and(|reconciled| {
            reconciled.status == "True"
                && reconciled.observed_generation == Some(fetched.generation)
        })
}

/// Every member is about to be restarted although nobody changed the spec.
async fn announce_other_pods<A>(
    ensemble: &ValidatedEnsemble,
    fetched: &Fetched,
    observation: &Observation,
    context: &Context<A>,
) {
    let set = observation.stateful_set.as_ref();
    let image = set.map(|set| set.image.as_str()).unwrap_or_default();
    let (namespace, name) = (&ensemble.namespace, &ensemble.name);
    tracing::info!(%namespace, ensemble = %name, from = image, to = %ensemble.image, "other pods are wanted of the same spec");
    context
        .announcer
        .other_pods(&fetched.reference, image, &ensemble.image)
        .await;
}

/// Remembers what a finished look saw, for the gauges and `/healthz`.
fn note<A>(context: &Context<A>, reference: &ObjectReference, status: &ZookeeperEnsembleStatus) {
    let key = (
        reference.namespace.clone().unwrap_or_default(),
        reference.name.clone().unwrap_or_default(),
    );
    let seen = Seen {
        phase: status.phase.clone().unwrap_or_default(),
        members: status.replicas.unwrap_or_default(),
        ready: status.ready_replicas.unwrap_or_default(),
        has_leader: status.leader.is_some(),
    };
    context.looks.finished(key, seen, Instant::now());
}

fn log(ensemble: &ValidatedEnsemble, step: &Step, observation: &Observation) {
    let (reason, detail) = status::describe(step, observation);
    let (namespace, name, generation) = (&ensemble.namespace, &ensemble.name, ensemble.generation);
    match step {
        Step::RestartPod { .. } | Step::RestartLeader { .. } => {
            tracing::info!(%namespace, ensemble = %name, generation, step = step.name(), reason, detail, "restarting a pod");
        }
        Step::Wait { .. } | Step::Done | Step::Release { .. } | Step::Protect => {
            tracing::debug!(%namespace, ensemble = %name, generation, step = step.name(), reason, detail, "planned");
        }
    }
}

/// Writes the status. That the stored definition does not know it is announced once: the status cannot say so.
async fn tell<A>(
    fetched: &Fetched,
    status: &ZookeeperEnsembleStatus,
    context: &Context<A>,
) -> Result<(), ReconcileError> {
    let (reference, previous) = (&fetched.reference, fetched.status.as_ref());
    let written = write_status(&context.client, reference, previous, status).await;
    if let Err(error @ ReconcileError::OldDefinition(_)) = &written {
        let uid = reference.uid.as_deref().unwrap_or_default();
        if context
            .failures
            .is_new(uid, error.reason(), fetched.generation)
        {
            context.announcer.failure(reference, previous, error).await;
        }
    }
    written
}

async fn write_status(
    client: &Client,
    reference: &ObjectReference,
    previous: Option<&ZookeeperEnsembleStatus>,
    status: &ZookeeperEnsembleStatus,
) -> Result<(), ReconcileError> {
    if previous.is_some_and(|previous| status::says_the_same(previous, status)) {
        return Ok(());
    }
    let (name, namespace) = (reference.name.as_deref(), reference.namespace.as_deref());
    let api: Api<Watched> = Api::namespaced(client.clone(), namespace.unwrap_or_default());
    let object = json!({
        "apiVersion": ZookeeperEnsemble::api_version(&()),
        "kind": ZookeeperEnsemble::kind(&()),
        "metadata": { "uid": reference.uid },
        "status": status,
    });
    match api
        .patch_status(
            name.unwrap_or_default(),
            &objects::field_manager(),
            &Patch::Apply(object),
        )
        .await
    {
        Ok(_) => Ok(()),
        // Deleted, or deleted and made anew, in the meantime: there is nobody to tell.
        Err(kube::Error::Api(refusal)) if refusal.is_not_found() || refusal.is_conflict() => Ok(()),
        Err(kube::Error::Api(refusal)) if refusal.message.contains(UNKNOWN_TO_DEFINITION) => {
            Err(ReconcileError::OldDefinition(refusal.message))
        }
        Err(source) => Err(ReconcileError::Status(Box::new(source))),
    }
}

/// `kept_waiting` is the number of looks in a row at which members did not answer at once.
fn requeue(step: &Step, outcome: Outcome, kept_waiting: u32) -> Action {
    Action::requeue(match (step, outcome) {
        (_, Outcome::Superseded) | (Step::Release { .. } | Step::Protect, _) => LOOK_AGAIN_SOON,
        (
            Step::Done
            | Step::Wait {
                why: WaitReason::Paused(_) | WaitReason::ClaimAtRisk(_),
            },
            _,
        ) => LOOK_AGAIN_SETTLED,
        (Step::Wait { .. } | Step::RestartPod { .. } | Step::RestartLeader { .. }, _) => {
            turns::longer(LOOK_AGAIN_UNSETTLED, kept_waiting, LOOK_AGAIN_SETTLED)
        }
    })
}

/// How the API server refuses to apply a field that the definition does not have.
const UNKNOWN_TO_DEFINITION: &str = "field not declared in schema";
/// Time for a whole look. Each request in it has less; this is for a server that answers each of them slowly.
const LOOK_TIMEOUT: Duration = Duration::from_secs(40);
/// Kubernetes' own finalizers are gone sooner.
const DELETION_MAX: SignedDuration = SignedDuration::from_secs(60);
/// A pod changed between look and act, or the next step is prepared.
const LOOK_AGAIN_SOON: Duration = Duration::from_millis(200);
/// Something is awaited that may cause no watch event, such as a follower catching up.
const LOOK_AGAIN_UNSETTLED: Duration = Duration::from_secs(3);
/// Keeps roles and zxids in the status fresh.
const LOOK_AGAIN_SETTLED: Duration = Duration::from_secs(15);
