//! Whether the volume that the pod of a member uses comes back with its next pod, read from its claim.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt as _;

use crate::ensemble::ClaimRisk;
use crate::resources::{claim_name, pod_name};

/// A member as it is named to people.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whose<'a> {
    pub(super) namespace: &'a str,
    pub(super) ensemble: &'a str,
    pub(super) ordinal: i32,
    /// It has no other member to copy the data from.
    pub(super) is_alone: bool,
}

/// When the kubelet took the pod, if it is there and not on its way out. From then on it uses the volume that its
/// claim had.
pub(super) fn runs_since(pod: &Pod) -> Option<Timestamp> {
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    pod.status.as_ref()?.start_time.as_ref().map(|time| time.0)
}

/// Why the volume would be lost with the pod, or why no pod can have it.
pub(super) fn claim_risk(
    whose: Whose<'_>,
    claim: Option<&PersistentVolumeClaim>,
    pod: Option<&Pod>,
) -> Option<ClaimRisk> {
    let since = pod.and_then(runs_since);
    let Some(claim) = claim else {
        return since.map(|_| whose.gone());
    };
    if claim.metadata.deletion_timestamp.is_some() {
        return match since {
            Some(_) => Some(whose.in_deletion(claim)),
            None => whose.kept_by_finalizers(claim),
        };
    }
    let status = claim.status.as_ref();
    if status.and_then(|status| status.phase.as_deref()) == Some("Lost") {
        return Some(whose.lost(claim));
    }
    let made = claim.metadata.creation_timestamp.as_ref()?.0;
    (made > since?).then(|| whose.replaced())
}

impl Whose<'_> {
    fn claim(&self) -> String {
        claim_name(self.ensemble, self.ordinal)
    }

    fn in_deletion(&self, claim: &PersistentVolumeClaim) -> ClaimRisk {
        let keep = match volume(claim) {
            Some(volume) => format!(
                "To keep the data, run first: kubectl patch pv {volume} -p '{RETAIN}'. {}",
                self.replace()
            ),
            None => self.replace(),
        };
        risk(
            "ClaimInDeletion",
            format!(
                "its claim {} is being deleted, and the volume goes as soon as the pod stops. The operator leaves the pod alone. {keep}",
                self.claim()
            ),
        )
    }

    /// Nothing runs on it, so that it goes by itself unless somebody wants it kept.
    fn kept_by_finalizers(&self, claim: &PersistentVolumeClaim) -> Option<ClaimRisk> {
        let mut finalizers = claim.finalizers().to_vec();
        finalizers.retain(|finalizer| finalizer != PROTECTION);
        let list = finalizers.join(", ");
        let text = format!(
            "its claim {} is being deleted, so that no pod can use it, and finalizers keep it ({list}): see to whoever must remove them",
            self.claim()
        );
        (!finalizers.is_empty()).then(|| risk("ClaimInDeletion", text))
    }

    fn lost(&self, claim: &PersistentVolumeClaim) -> ClaimRisk {
        let (name, namespace) = (self.claim(), self.namespace);
        let volume = volume(claim).unwrap_or("that it had");
        risk(
            "ClaimLost",
            format!(
                "its claim {name} has lost the PersistentVolume {volume}: a pod that runs goes on, but no other can start. The operator leaves the pod alone. Make the PersistentVolume again, or give the claim up: kubectl delete pvc {name} -n {namespace} --wait=false. {}",
                self.replace()
            ),
        )
    }

    fn gone(&self) -> ClaimRisk {
        risk(
            "ClaimGone",
            format!(
                "its claim {} does not exist any more, and the next pod gets an empty volume. The operator leaves the pod alone. If the PersistentVolume is still there (kubectl get pv), set its persistentVolumeReclaimPolicy to Retain to keep the data. {}",
                self.claim(),
                self.replace()
            ),
        )
    }

    fn replaced(&self) -> ClaimRisk {
        risk(
            "ClaimReplaced",
            format!(
                "its claim {} is newer than the pod, which uses the volume of a former claim, and the next pod gets the volume of the new one. The operator leaves the pod alone. If the former PersistentVolume is still there (kubectl get pv), set its persistentVolumeReclaimPolicy to Retain to keep the data. {}",
                self.claim(),
                self.replace()
            ),
        )
    }

    /// How the member gets another volume.
    fn replace(&self) -> String {
        if self.is_alone {
            return "No other member has this data: before the pod stops, read \"A claim in deletion\" in docs/operator.md"
                .to_owned();
        }
        format!(
            "Then, while every other member serves, run: kubectl delete pod {} -n {}. The member comes back with an empty volume and copies the data of the others",
            pod_name(self.ensemble, self.ordinal),
            self.namespace
        )
    }
}

fn volume(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref()?.volume_name.as_deref()
}

fn risk(reason: &'static str, text: String) -> ClaimRisk {
    ClaimRisk { reason, text }
}

/// Keeps a claim for as long as a pod uses it.
const PROTECTION: &str = "kubernetes.io/pvc-protection";
const RETAIN: &str = r#"{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}"#;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const STARTED: &str = "2026-01-01T00:05:00Z";

    fn pod(status: &Value, going: bool) -> Value {
        let due = going.then_some("2026-01-01T00:10:00Z");
        json!({ "metadata": { "name": "zk-1", "deletionTimestamp": due }, "status": status })
    }

    fn running() -> Value {
        pod(&json!({ "startTime": STARTED }), false)
    }

    fn claim() -> Value {
        json!({
            "metadata": {
                "name": "data-zk-1", "creationTimestamp": "2026-01-01T00:04:59Z",
                "finalizers": ["kubernetes.io/pvc-protection"],
            },
            "spec": { "volumeName": "pv-7" },
            "status": { "phase": "Bound" },
        })
    }

    fn in_deletion() -> Value {
        let mut claim = claim();
        claim["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:09:00Z");
        claim
    }

    fn of(claim: Option<Value>, pod: Option<Value>, is_alone: bool) -> Option<ClaimRisk> {
        let claim = claim.map(|claim| serde_json::from_value(claim).unwrap());
        let pod = pod.map(|pod| serde_json::from_value(pod).unwrap());
        let whose = Whose {
            namespace: "shop",
            ensemble: "zk",
            ordinal: 1,
            is_alone,
        };
        claim_risk(whose, claim.as_ref(), pod.as_ref())
    }

    fn reason(claim: Option<Value>, pod: Option<Value>) -> Option<&'static str> {
        of(claim, pod, false).map(|risk| risk.reason)
    }

    #[test]
    fn a_claim_in_deletion_says_how_to_keep_the_data_and_how_to_go_on() {
        let risk = of(Some(in_deletion()), Some(running()), false).unwrap();
        assert_eq!(risk.reason, "ClaimInDeletion");
        for part in [
            "data-zk-1 is being deleted",
            r#"kubectl patch pv pv-7 -p '{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}'"#,
            "while every other member serves, run: kubectl delete pod zk-1 -n shop",
        ] {
            assert!(risk.text.contains(part), "{}", risk.text);
        }
        let alone = of(Some(in_deletion()), Some(running()), true).unwrap();
        assert!(!alone.text.contains("delete pod"), "{}", alone.text);
        assert!(
            alone.text.contains("kubectl patch pv pv-7") && alone.text.contains("docs/operator.md")
        );
    }

    #[test]
    fn every_way_to_lose_the_volume_with_the_pod_is_seen() {
        let mut lost = claim();
        lost["status"]["phase"] = json!("Lost");
        let mut newer = claim();
        newer["metadata"]["creationTimestamp"] = json!("2026-01-01T00:05:01Z");
        for (claim, expected) in [
            (Some(in_deletion()), "ClaimInDeletion"),
            (Some(lost), "ClaimLost"),
            (None, "ClaimGone"),
            (Some(newer), "ClaimReplaced"),
        ] {
            assert_eq!(reason(claim, Some(running())), Some(expected));
        }
        assert_eq!(reason(Some(claim()), Some(running())), None);
    }

    /// Such a pod has no volume to lose: it is not made yet, waits to be scheduled, or is on its way out.
    #[test]
    fn a_claim_that_no_pod_runs_on_is_at_no_risk() {
        let pending = pod(&json!({ "phase": "Pending" }), false);
        let going = pod(&json!({ "startTime": STARTED }), true);
        for pod in [None, Some(pending), Some(going)] {
            assert_eq!(reason(None, pod.clone()), None);
            assert_eq!(reason(Some(claim()), pod.clone()), None);
            assert_eq!(reason(Some(in_deletion()), pod), None);
        }
    }

    #[test]
    fn a_claim_that_finalizers_keep_from_going_is_told_with_them() {
        let mut claim = in_deletion();
        claim["metadata"]["finalizers"] =
            json!(["kubernetes.io/pvc-protection", "example.org/backup"]);
        let risk = of(Some(claim), None, false).unwrap();
        assert!(
            risk.text
                .contains("finalizers keep it (example.org/backup)"),
            "{}",
            risk.text
        );
    }
}
