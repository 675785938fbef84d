//! Controller that keeps `ZookeeperEnsemble` objects and the Kubernetes objects made from them in step.
//!
//! What must never happen here: a step that takes a serving, synchronized voter away while the others are no
//! majority; a decision made from a stale view; a value written into a user's spec.
//!
//! Pure modules decide: [`validated`] checks an object once, [`resources`] builds objects from it, [`ensemble`]
//! chooses at most one step at a time, [`status`] tells people. The shell does: [`controller`] talks to the
//! Kubernetes API, [`quorum_client`] to servers.
#![warn(missing_docs)]

pub mod controller;
pub mod ensemble;
pub mod http;
pub mod looks;
pub mod metrics;
mod places;
pub mod quantity;
pub mod quorum_client;
pub mod resources;
pub mod status;
pub mod validated;
pub mod volumes;
pub mod zoo_cfg_keys;

#[cfg(test)]
mod testing;
