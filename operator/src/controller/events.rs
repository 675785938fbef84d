//! One Event per decision. Saying the same thing again is not a decision.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use zk_operator_api::{ConditionType, ZookeeperEnsembleStatus};

use super::ReconcileError;
use crate::ensemble::Step;
use crate::resources::MANAGED_BY_VALUE;
use crate::status;

/// Publishes Events about ensembles.
#[derive(Clone)]
pub(super) struct Announcer {
    recorder: Recorder,
}

impl Announcer {
    pub(super) fn new(client: Client) -> Self {
        let reporter = Reporter {
            controller: MANAGED_BY_VALUE.to_owned(),
            instance: pod_name(),
        };
        Self {
            recorder: Recorder::new(client, reporter),
        }
    }

    /// Announces a restart before it happens, and waiting or settling when it begins.
    pub(super) async fn step(
        &self,
        ensemble: &ObjectReference,
        previous: Option<&ZookeeperEnsembleStatus>,
        step: &Step,
    ) {
        let (reason, message) = status::describe(step);
        let is_restart = matches!(step, Step::RestartPod { .. } | Step::RestartLeader { .. });
        if is_restart || is_news(previous, ConditionType::Progressing, reason, &message) {
            self.publish(ensemble, EventType::Normal, step.name(), reason, &message)
                .await;
        }
    }

    /// Announces a failure when it begins.
    pub(super) async fn failure(
        &self,
        ensemble: &ObjectReference,
        previous: Option<&ZookeeperEnsembleStatus>,
        error: &ReconcileError,
    ) {
        let (reason, message) = (error.reason(), error.chain());
        if is_news(previous, ConditionType::Reconciled, reason, &message) {
            self.publish(ensemble, EventType::Warning, "Reconcile", reason, &message)
                .await;
        }
    }

    /// An Event that cannot be written must not stop the work it speaks of.
    async fn publish(
        &self,
        ensemble: &ObjectReference,
        type_: EventType,
        action: &str,
        reason: &str,
        message: &str,
    ) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(status::shortened(message)),
            action: action.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, ensemble).await {
            tracing::warn!(ensemble = ensemble.name, reason, %error, "Event not written");
        }
    }
}

fn is_news(
    previous: Option<&ZookeeperEnsembleStatus>,
    kind: ConditionType,
    reason: &str,
    message: &str,
) -> bool {
    previous
        .and_then(|status| status::find(&status.conditions, kind))
        .is_none_or(|known| known.reason != reason || known.message != status::shortened(message))
}

/// Set by the chart from the downward API.
fn pod_name() -> Option<String> {
    std::env::var("POD_NAME")
        .ok()
        .filter(|name| !name.is_empty())
}
