//! Labels by which objects of an ensemble are found. The selector never changes: a StatefulSet's is immutable.

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

/// The two labels that select an ensemble's pods.
pub(super) fn selector(ensemble: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (NAME_LABEL.to_owned(), NAME_VALUE.to_owned()),
        (INSTANCE_LABEL.to_owned(), ensemble.to_owned()),
    ])
}

/// The same selection in the form that list requests take.
pub fn pod_selector(ensemble: &str) -> String {
    format!("{NAME_LABEL}={NAME_VALUE},{INSTANCE_LABEL}={ensemble}")
}
