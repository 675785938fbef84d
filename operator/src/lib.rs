//! Controller that keeps `ZookeeperEnsemble` objects and the Kubernetes objects made from them in step.
//!
//! What must never happen here: a step that takes a serving, synchronized voter away while the others are no
//! majority; a decision made from a stale view; a value written into a user's spec.
//!
//! Pure modules decide: [`validated`] checks an object once, [`resources`] builds objects from it, and later
//! stages choose at most one step at a time.
#![warn(missing_docs)]

pub mod ensemble;
pub mod resources;
pub mod validated;

#[cfg(test)]
mod testing;
