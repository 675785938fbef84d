//! What keeps a bad change to one member goes on although the rest of a look fails: a look that is refused restarts
//! no pod, so pods that are created meanwhile must get the revision that is known to work.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Api, Client};

use super::observe::stateful_set_facts;
use super::ownership::is_controlled_by;
use super::{ReconcileError, act};
use crate::ensemble::{Observation, StatefulSetFacts, rollout};
use crate::resources::ON_DELETE;

/// Closes what was left open for a restart, after a look at this ensemble that failed. `observation` is absent if the
/// look did not come to see the members. That it cannot be done is logged: the look tells its own error.
pub(super) async fn after_failure(
    client: &Client,
    ensemble: &ObjectReference,
    observation: Option<&Observation>,
    failure: &ReconcileError,
) {
    let closed = close(client, ensemble, observation, failure);
    let problem = match tokio::time::timeout(PROTECT_TIMEOUT, closed).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.chain(),
        Err(_) => ReconcileError::Deadline(PROTECT_TIMEOUT.as_secs()).chain(),
    };
    let ObjectReference {
        namespace, name, ..
    } = ensemble;
    tracing::warn!(
        namespace,
        ensemble = name,
        error = problem,
        "new pods may get a revision on which no member has served"
    );
}

async fn close(
    client: &Client,
    ensemble: &ObjectReference,
    observation: Option<&Observation>,
    failure: &ReconcileError,
) -> Result<(), ReconcileError> {
    let namespace = ensemble.namespace.as_deref().unwrap_or_default();
    let name = ensemble.name.as_deref().unwrap_or_default();
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), namespace);
    let found = sets.get_opt(name).await;
    let found = found.map_err(|source| ReconcileError::Observe {
        what: "StatefulSet",
        source: Box::new(source),
    })?;
    let uid = ensemble.uid.as_deref().unwrap_or_default();
    let Some(set) = found.filter(|set| is_controlled_by(&set.metadata, uid)) else {
        return Ok(());
    };
    let facts = stateful_set_facts(&set, Timestamp::now());
    if must_close(&set, &facts, observation, failure) {
        let replicas = set.spec.as_ref().and_then(|spec| spec.replicas);
        act::protect(client, namespace, name, &facts.uid, replicas.unwrap_or(1)).await?;
        tracing::info!(
            namespace,
            ensemble = name,
            revision = facts.current_revision,
            "new pods get the revision that is known to work"
        );
    }
    Ok(())
}

/// A failure that was no answer is over within seconds, so that the restart which is under way need not be given up.
/// Any other may last until somebody does something.
fn must_close(
    set: &StatefulSet,
    facts: &StatefulSetFacts,
    observation: Option<&Observation>,
    failure: &ReconcileError,
) -> bool {
    let lasts = !failure.got_no_answer();
    is_partition_too_low(set)
        || (lasts && rollout::is_open(facts, observation))
        || rollout::is_due_to_close(facts, observation)
}

/// The StatefulSet controller would restart pods by itself, as after a change by hand.
fn is_partition_too_low(set: &StatefulSet) -> bool {
    let Some(spec) = &set.spec else {
        return false;
    };
    let strategy = spec.update_strategy.as_ref();
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some(ON_DELETE) {
        return false;
    }
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let partition = rolling.and_then(|rolling| rolling.partition);
    partition.unwrap_or(0) < spec.replicas.unwrap_or(1)
}

/// Two requests, after all others have failed.
const PROTECT_TIMEOUT: Duration = Duration::from_secs(10);
