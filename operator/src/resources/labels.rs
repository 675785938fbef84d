//! Labels by which objects of an ensemble are found.
//!
//! What selects pods asks for three labels: the first two are those that other charts for ZooKeeper set as well. A
//! StatefulSet keeps the selector of two labels that it was made with, since it is immutable; that is harmless, as a
//! StatefulSet owns the pods that it made and adopts only those that carry its name and a number.

use std::collections::BTreeMap;

/// Label with the application's name.
pub const NAME_LABEL: &str = "app.kubernetes.io/name";
/// Value of [`NAME_LABEL`].
pub const NAME_VALUE: &str = "zookeeper";
/// Label with the ensemble's name.
pub const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";
/// Label that says who made an object.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY_LABEL`], and the field manager of every write.
pub const MANAGED_BY_VALUE: &str = "quorate-operator";

/// Labels on every object of an ensemble.
pub(super) fn common(ensemble: &str) -> BTreeMap<String, String> {
    let mut labels = selector(ensemble);
    labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGED_BY_VALUE.to_owned());
    labels
}

/// The labels that select an ensemble's pods and nobody else's.
pub(super) fn pods(ensemble: &str) -> BTreeMap<String, String> {
    common(ensemble)
}

/// The selector of the StatefulSet, and the labels of its volumes.
pub(super) fn selector(ensemble: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (NAME_LABEL.to_owned(), NAME_VALUE.to_owned()),
        (INSTANCE_LABEL.to_owned(), ensemble.to_owned()),
    ])
}

/// Selects every object that the operator made for an ensemble, in the form that list requests take.
pub fn object_selector(ensemble: &str) -> String {
    terms(common(ensemble))
}

/// Selects the claims of an ensemble, in the form that list requests take.
pub fn claim_selector(ensemble: &str) -> String {
    terms(selector(ensemble))
}

/// What [`claim_selector`] selects has these labels.
pub fn has_claim_labels(ensemble: &str, labels: &BTreeMap<String, String>) -> bool {
    selector(ensemble)
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

/// Selects the pods of an ensemble, in the form that list requests take.
pub fn pod_selector(ensemble: &str) -> String {
    terms(pods(ensemble))
}

fn terms(labels: BTreeMap<String, String>) -> String {
    let terms: Vec<String> = labels
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    terms.join(",")
}
