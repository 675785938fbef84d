//! One Event per decision. Saying the same thing again is not a decision.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use zk_operator_api::{ConditionType, ZookeeperEnsembleStatus};

use super::ReconcileError;
use super::error::is_namespace_terminating;
use crate::ensemble::{OUT_OF_SERVICE, Observation, Step, WaitReason};
use crate::resources::MANAGED_BY_VALUE;
use crate::status::{self, EPOCH_FELL, FOREIGN_FIELDS};

/// Writes Events about ensembles. Each is an object of its own: merging them into series, as the recorder of
/// `kube` does by reason, would lose which pod an Event spoke of.
pub(super) struct Announcer {
    client: Client,
    instance: String,
}

impl Announcer {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            instance: pod_name(),
        }
    }

    /// Announces a restart, and waiting or settling when it begins.
    pub(super) async fn step(
        &self,
        ensemble: &ObjectReference,
        previous: Option<&ZookeeperEnsembleStatus>,
        step: &Step,
        observation: &Observation,
    ) {
        // These two only prepare a restart, or end it.
        if matches!(step, Step::Release { .. } | Step::Protect) {
            return;
        }
        let (reason, message) = status::describe(step, observation);
        let is_restart = matches!(step, Step::RestartPod { .. } | Step::RestartLeader { .. });
        if is_restart || is_news(previous, ConditionType::Progressing, reason, &message) {
            let is_grave = matches!(
                step,
                Step::Wait {
                    why: WaitReason::MemberParted(_)
                        | WaitReason::TriedBefore
                        | WaitReason::SeveralBudgets { .. },
                }
            );
            let hurts = is_grave || status::problem_of_awaited(step, observation).is_some();
            let type_ = if hurts { WARNING } else { NORMAL };
            self.publish(ensemble, type_, step.name(), reason, &message)
                .await;
        }
    }

    /// Announces each member whose volume would not come back with its next pod, when that begins. What the step
    /// waits for has been announced with it.
    pub(super) async fn claims(
        &self,
        ensemble: &ObjectReference,
        previous: Option<&ZookeeperEnsembleStatus>,
        step: Option<&Step>,
        observation: &Observation,
    ) {
        for member in &observation.members {
            let Some(risk) = &member.claim_risk else {
                continue;
            };
            let is_known = previous.is_some_and(|status| {
                let mut rows = status.members.iter();
                rows.any(|row| {
                    let problem = row.problem.as_deref().unwrap_or_default();
                    row.name == member.name && problem.contains(risk.reason)
                })
            });
            let is_told = matches!(
                step,
                Some(Step::Wait { why: WaitReason::ClaimAtRisk(name) }) if *name == member.name
            );
            if !is_known && !is_told {
                let note = format!("{}: {}", member.name, risk.text);
                self.publish(ensemble, WARNING, "Look", risk.reason, &note)
                    .await;
            }
        }
    }

    /// Announces each member that keeps itself out of the ensemble, when that begins. What the step waits for has
    /// been announced with it.
    pub(super) async fn out_of_service(
        &self,
        ensemble: &ObjectReference,
        previous: Option<&ZookeeperEnsembleStatus>,
        step: Option<&Step>,
        observation: &Observation,
    ) {
        let members = observation.members.iter();
        for member in members.filter(|member| member.is_out_of_service()) {
            let is_known = previous.is_some_and(|status| {
                let mut rows = status.members.iter();
                rows.any(|row| {
                    let problem = row.problem.as_deref().unwrap_or_default();
                    row.name == member.name && problem.starts_with(OUT_OF_SERVICE)
                })
            });
            let is_told = matches!(
                step,
                Some(Step::Wait { why: WaitReason::MemberOutOfService(name) }) if *name == member.name
            );
            if !is_known && !is_told {
                let problem = member.problem.as_deref().unwrap_or_default();
                let note = format!("{}: {problem}", member.name);
                self.publish(ensemble, WARNING, "Look", "MemberOutOfService", &note)
                    .await;
            }
        }
    }

    /// Announces that all pods are to be different although the spec is as it was.
    pub(super) async fn other_pods(&self, ensemble: &ObjectReference, before: &str, now: &str) {
        let image = if before == now {
            String::new()
        } else {
            format!(" (image {before} becomes {now})")
        };
        let message = format!(
            "the pods are to be different although the spec did not change{image}: the operator was upgraded, or somebody changed or deleted the StatefulSet. Every member is restarted, one after the other; spec.paused: true holds that back"
        );
        self.publish(ensemble, NORMAL, "Apply", "PodTemplateChanged", &message)
            .await;
    }

    /// Announces fields that somebody else has put into an object, when they come.
    pub(super) async fn foreign(
        &self,
        ensemble: &ObjectReference,
        previous: Option<&ZookeeperEnsembleStatus>,
        status: &ZookeeperEnsembleStatus,
    ) {
        let kind = ConditionType::Reconciled;
        let Some(now) = status::find(&status.conditions, kind) else {
            return;
        };
        if now.reason == FOREIGN_FIELDS && is_news(previous, kind, &now.reason, &now.message) {
            self.publish(ensemble, WARNING, "Apply", &now.reason, &now.message)
                .await;
        }
    }

    /// Announces that a StatefulSet is made without the revision that is known to work, because this ConfigMap of it is
    /// gone.
    pub(super) async fn lost_configuration(&self, ensemble: &ObjectReference, name: &str) {
        let message = format!(
            "the StatefulSet is made with the pod template of the spec, although no member has served on it: the ConfigMap {name} of the revision that is known to work is gone, and what was in it is not known"
        );
        self.publish(ensemble, WARNING, "Apply", "ProvenRevisionLost", &message)
            .await;
    }

    /// Announces that the ensemble is no longer available to clients, or is again.
    pub(super) async fn availability(
        &self,
        ensemble: &ObjectReference,
        previous: Option<&ZookeeperEnsembleStatus>,
        status: &ZookeeperEnsembleStatus,
    ) {
        let known = |status: &ZookeeperEnsembleStatus| {
            status::find(&status.conditions, ConditionType::Available).cloned()
        };
        let (Some(before), Some(now)) = (previous.and_then(known), known(status)) else {
            return;
        };
        let has_fallen = now.reason == EPOCH_FELL && before.reason != EPOCH_FELL;
        let type_ = match (before.status.as_str(), now.status.as_str()) {
            _ if has_fallen => WARNING,
            ("True", "True") => return,
            ("True", _) => WARNING,
            (_, "True") => NORMAL,
            _ if before.reason == now.reason => return,
            _ => WARNING,
        };
        self.publish(ensemble, type_, "Look", &now.reason, &now.message)
            .await;
    }

    /// Announces a failure when it begins.
    pub(super) async fn failure(
        &self,
        ensemble: &ObjectReference,
        previous: Option<&ZookeeperEnsembleStatus>,
        error: &ReconcileError,
    ) {
        if error.namespace_terminates() {
            // No Event can be made there any more, either.
            return;
        }
        let (reason, message) = (error.reason(), error.chain());
        if is_news(previous, ConditionType::Reconciled, reason, &message) {
            let type_ = if error.passes_by_itself() {
                NORMAL
            } else {
                WARNING
            };
            self.publish(ensemble, type_, "Reconcile", reason, &message)
                .await;
        }
    }

    /// An Event that cannot be written must not stop the work it speaks of.
    async fn publish(
        &self,
        ensemble: &ObjectReference,
        type_: &str,
        action: &str,
        reason: &str,
        message: &str,
    ) {
        let (Some(name), Some(namespace)) = (&ensemble.name, &ensemble.namespace) else {
            return;
        };
        let now = Timestamp::now();
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{name}.{:x}", now.as_nanosecond())),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            type_: Some(type_.to_owned()),
            action: Some(action.to_owned()),
            reason: Some(reason.to_owned()),
            note: Some(status::shortened(message)),
            regarding: Some(ensemble.clone()),
            reporting_controller: Some(MANAGED_BY_VALUE.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        };
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let written = events.create(&PostParams::default(), &event).await;
        if let Err(error) = written
            && !is_namespace_terminating(&error)
        {
            tracing::warn!(%namespace, ensemble = %name, reason, %error, "Event not written");
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

/// Set by the chart from the downward API; outside a cluster there is none.
fn pod_name() -> String {
    std::env::var("POD_NAME")
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| MANAGED_BY_VALUE.to_owned())
}

const NORMAL: &str = "Normal";
const WARNING: &str = "Warning";
