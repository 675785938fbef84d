//! Identity of the pods.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::{metadata, names};
use crate::validated::ValidatedEnsemble;

pub(super) fn build(ensemble: &ValidatedEnsemble) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(ensemble, names::service_account(&ensemble.name)),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
