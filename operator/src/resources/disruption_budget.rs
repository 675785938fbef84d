//! How many members a drain may take.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{labels, metadata};
use crate::validated::ValidatedEnsemble;

/// One at a time whatever the size: while any member is behind, none may be evicted.
pub(super) fn build(ensemble: &ValidatedEnsemble) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: metadata(ensemble, ensemble.name.clone()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(labels::pods(&ensemble.name)),
                ..LabelSelector::default()
            }),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}
