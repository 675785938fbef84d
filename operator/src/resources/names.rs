//! Names of the objects of an ensemble, and the numbers in them.

/// Service that publishes a host name per pod.
pub(super) fn headless_service(ensemble: &str) -> String {
    format!("{ensemble}-headless")
}

/// Service for clients.
pub(super) fn client_service(ensemble: &str) -> String {
    format!("{ensemble}-client")
}

/// ConfigMap with the zoo.cfg that has this hash. A change makes another ConfigMap, so that pods which are made of
/// an older revision find what they were made for.
pub(super) fn config_map(ensemble: &str, hash: &str) -> String {
    format!("{ensemble}-config-{hash}")
}

/// Identity of the pods. Never the bare name of the ensemble: an ensemble may be called `default`, and so is the
/// ServiceAccount that every namespace has.
pub(super) fn service_account(ensemble: &str) -> String {
    format!("{ensemble}-server")
}

/// Pod of the member with this ordinal, as the StatefulSet controller names it.
pub fn pod_name(ensemble: &str, ordinal: i32) -> String {
    format!("{ensemble}-{ordinal}")
}

/// Claim of the member with this ordinal, as the StatefulSet controller names it.
pub fn claim_name(ensemble: &str, ordinal: i32) -> String {
    format!("{DATA_VOLUME}-{}", pod_name(ensemble, ordinal))
}

/// Ordinal in a claim's name, if the claim can be a member's of `ensemble`.
pub fn member_of_claim(ensemble: &str, claim: &str) -> Option<i32> {
    let pod = claim.strip_prefix(DATA_VOLUME)?.strip_prefix('-')?;
    member_of_pod(ensemble, pod)
}

/// Server id of the member with this ordinal. Ordinals begin at 0, server ids at 1.
pub fn sid_of_ordinal(ordinal: i32) -> i32 {
    ordinal + 1
}

/// Ordinal in a pod's name, if the pod can be a member of `ensemble`.
pub fn member_of_pod(ensemble: &str, pod: &str) -> Option<i32> {
    let ordinal = pod.strip_prefix(ensemble)?.strip_prefix('-')?;
    let number = ordinal.parse::<i32>().ok()?;
    (number >= 0 && number.to_string() == ordinal).then_some(number)
}

/// Name of the volume with the data, in the pod and in the claim's name.
pub(super) const DATA_VOLUME: &str = "data";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stateful_sets_own_pod_names_are_members() {
        assert_eq!(member_of_pod("zk", "zk-0"), Some(0));
        assert_eq!(member_of_pod("zk", "zk-12"), Some(12));
        for stranger in [
            "zk", "zk-", "zk-a", "zk-01", "zk-+1", "zk--1", "zk-b-0", "other-0",
        ] {
            assert_eq!(member_of_pod("zk", stranger), None, "{stranger}");
        }
        assert_eq!(member_of_claim("zk", &claim_name("zk", 2)), Some(2));
        for stranger in ["zk-2", "data-zk", "log-zk-2", "data-zk-b-0"] {
            assert_eq!(member_of_claim("zk", stranger), None, "{stranger}");
        }
    }
}
