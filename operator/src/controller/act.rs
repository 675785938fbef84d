//! Carries out a step. The only thing that the operator ever deletes is one pod, exactly the one it looked at.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Client};

use super::ReconcileError;
use crate::ensemble::{Step, Target};

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// There was nothing to do.
    Idle,
    /// The pod is being deleted.
    Restarting,
    /// The pod has changed since it was observed, so it was left alone.
    Superseded,
}

/// Restarts the pod that `step` names, if it names one.
pub(super) async fn act(
    client: &Client,
    namespace: &str,
    step: &Step,
) -> Result<Outcome, ReconcileError> {
    match step {
        Step::Done | Step::Wait { .. } => Ok(Outcome::Idle),
        Step::RestartPod { target, .. } | Step::RestartLeader { target, .. } => {
            delete_pod(client, namespace, target).await
        }
    }
}

async fn delete_pod(
    client: &Client,
    namespace: &str,
    target: &Target,
) -> Result<Outcome, ReconcileError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let exactly_this = DeleteParams::default().preconditions(Preconditions {
        uid: Some(target.uid.clone()),
        resource_version: Some(target.resource_version.clone()),
    });
    match pods.delete(&target.name, &exactly_this).await {
        Ok(_) => Ok(Outcome::Restarting),
        Err(kube::Error::Api(status)) if status.code == CONFLICT || status.code == NOT_FOUND => {
            Ok(Outcome::Superseded)
        }
        Err(source) => Err(ReconcileError::Act {
            pod: target.name.clone(),
            source: Box::new(source),
        }),
    }
}

const CONFLICT: u16 = 409;
const NOT_FOUND: u16 = 404;
