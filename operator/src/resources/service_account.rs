//! Identity of the pods.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::metadata;
use crate::validated::ValidatedEnsemble;

pub(super) fn build(ensemble: &ValidatedEnsemble) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(ensemble, ensemble.name.clone()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
