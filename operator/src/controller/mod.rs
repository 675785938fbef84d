//! The shell: reads from and writes to the Kubernetes API and asks servers. Decisions are made elsewhere.

mod act;
mod claim_risk;
mod claims;
mod clients;
mod error;
mod error_policy;
mod events;
#[cfg(test)]
mod fake_api;
mod foreign;
mod objects;
mod observe;
mod ownership;
mod pages;
mod permissions;
mod pod_events;
mod pod_facts;
mod problem;
mod protect;
mod proven;
mod reconcile;
mod silence;
mod sweep;
#[cfg(test)]
mod tests;
mod turns;
mod watches;

use std::collections::HashSet;
use std::sync::Arc;

use futures::StreamExt as _;
use kube::Client;

pub use clients::{Clients, ClientsError};
pub use error::ReconcileError;
pub use permissions::{PERMISSIONS, Permission};

use crate::looks::Looks;
use crate::metrics::Metrics;
use crate::quorum_client::QuorumAdmin;
use error_policy::Failures;
use events::Announcer;
use silence::Silence;
use turns::Turns;

/// What every reconcile needs.
pub struct Context<A> {
    client: Client,
    admin: A,
    default_image: String,
    /// Namespace of the operator's pods, absent outside the cluster.
    operator_namespace: Option<String>,
    metrics: Metrics,
    looks: Looks,
    announcer: Announcer,
    failures: Failures,
    silence: Silence,
    turns: Turns,
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
    pub fn new(
        client: Client,
        admin: A,
        default_image: String,
        metrics: Metrics,
        looks: Looks,
    ) -> Self {
        let announcer = Announcer::new(client.clone());
        Self {
            client,
            admin,
            default_image,
            operator_namespace: None,
            metrics,
            looks,
            announcer,
            failures: Failures::default(),
            silence: Silence::default(),
            turns: Turns::default(),
        }
    }
}

impl<A> Context<A> {
    /// Names the namespace whose pods are the operator's; NetworkPolicies let them in.
    #[must_use]
    pub fn with_operator_namespace(mut self, namespace: Option<String>) -> Self {
        self.operator_namespace = namespace;
        self
    }
}

/// Reconciles ensembles of one namespace, or of all, until the process is asked to stop.
pub async fn run<A: QuorumAdmin>(context: Context<A>, watches: Client, namespace: Option<&str>) {
    let controller = watches::controller(&watches, namespace);
    let context = Arc::new(context);
    let (client, shared) = (context.client.clone(), Arc::clone(&context));
    let reconciles = controller
        .shutdown_on_signal()
        .run(reconcile::reconcile, error_policy::error_policy, context)
        // Errors of a reconcile are logged by the error policy, those of a watch where it begins again.
        .for_each(|_result| std::future::ready(()));
    let keep = |uids: &HashSet<String>| {
        shared.failures.keep(uids);
        shared.turns.keep(uids);
    };
    tokio::select! {
        () = reconciles => {}
        () = sweep::sweep(client, namespace, &shared.looks, &keep) => {}
    }
}
