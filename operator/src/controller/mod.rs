//! The shell: reads from and writes to the Kubernetes API and asks servers. Decisions are made elsewhere.

mod act;
mod error;
mod error_policy;
mod events;
#[cfg(test)]
mod fake_api;
mod objects;
mod observe;
mod ownership;
mod permissions;
mod pod_facts;
mod reconcile;
mod silence;
#[cfg(test)]
mod tests;
mod watches;

use std::sync::Arc;

use futures::StreamExt as _;
use kube::Client;

pub use error::ReconcileError;
pub use permissions::{PERMISSIONS, Permission};

use crate::metrics::Metrics;
use crate::quorum_client::QuorumAdmin;
use error_policy::Failures;
use events::Announcer;
use silence::Silence;

/// What every reconcile needs.
pub struct Context<A> {
    client: Client,
    admin: A,
    default_image: String,
    metrics: Metrics,
    announcer: Announcer,
    failures: Failures,
    silence: Silence,
}

impl<A> std::fmt::Debug for Context<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("default_image", &self.default_image)
            .finish_non_exhaustive()
    }
}

impl<A: QuorumAdmin> Context<A> {
    /// `default_image` serves ensembles that name no image.
    pub fn new(client: Client, admin: A, default_image: String, metrics: Metrics) -> Self {
        let announcer = Announcer::new(client.clone());
        Self {
            client,
            admin,
            default_image,
            metrics,
            announcer,
            failures: Failures::default(),
            silence: Silence::default(),
        }
    }
}

/// Reconciles ensembles of one namespace, or of all, until the process is asked to stop.
pub async fn run<A: QuorumAdmin>(context: Context<A>, namespace: Option<&str>) {
    let controller = watches::controller(&context.client, namespace);
    controller
        .shutdown_on_signal()
        .run(
            reconcile::reconcile,
            error_policy::error_policy,
            Arc::new(context),
        )
        .for_each(|result| {
            // Errors of a reconcile are logged by the error policy; what is left are those of the watches.
            if let Err(kube::runtime::controller::Error::QueueError(error)) = &result {
                tracing::warn!(%error, "watch interrupted, starting it again");
            }
            std::future::ready(())
        })
        .await;
}
