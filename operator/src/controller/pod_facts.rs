//! What the planner needs to know of a pod, read from its object.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};
use kube::ResourceExt as _;

use crate::ensemble::{NOT_READY_FOR_LONG, PodFacts, STUCK_TERMINATING};

/// Facts of `pod` at the time `now`.
pub(super) fn pod_facts(pod: &Pod, now: Timestamp) -> PodFacts {
    PodFacts {
        uid: pod.uid().unwrap_or_default(),
        resource_version: pod.resource_version().unwrap_or_default(),
        revision: pod
            .labels()
            .get(REVISION_LABEL)
            .cloned()
            .unwrap_or_default(),
        ready: condition(pod, "Ready").is_some_and(|condition| condition.status == "True"),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        defect: defect(pod, now),
    }
}

/// Why the pod will not come up by itself, if so. A pod that is merely slow has no defect.
fn defect(pod: &Pod, now: Timestamp) -> Option<String> {
    if overdue_since(pod, now).is_some() {
        return Some(STUCK_TERMINATING.to_owned());
    }
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() == Some("Failed") {
        return Some("Failed".to_owned());
    }
    let unschedulable = condition(pod, "PodScheduled").filter(|condition| {
        condition.status == "False" && condition.reason.as_deref() == Some("Unschedulable")
    });
    if unschedulable.is_some() {
        return Some("Unschedulable".to_owned());
    }
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    containers
        .iter()
        .find_map(container_defect)
        .or_else(|| stuck(pod, now))
}

/// When the pod was to be gone, if that is long ago. Kubernetes adds the time that the servers have to stop.
pub(super) fn overdue_since(pod: &Pod, now: Timestamp) -> Option<Timestamp> {
    let due = pod.metadata.deletion_timestamp.as_ref()?.0;
    (now.duration_since(due) > OVERDUE_AFTER).then_some(due)
}

fn container_defect(container: &ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    HOPELESS_REASONS
        .contains(&reason)
        .then(|| reason.to_owned())
}

/// Runs, but has not been ready for longer than any election takes.
fn stuck(pod: &Pod, now: Timestamp) -> Option<String> {
    (not_ready_for(pod, now)? > STUCK_AFTER).then(|| NOT_READY_FOR_LONG.to_owned())
}

/// For how long the pod has not been ready; absent while it is.
pub(super) fn not_ready_for(pod: &Pod, now: Timestamp) -> Option<SignedDuration> {
    let ready = condition(pod, "Ready").filter(|condition| condition.status == "False")?;
    Some(now.duration_since(ready.last_transition_time.as_ref()?.0))
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status
        .as_ref()?
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == kind)
}

/// Label in which the StatefulSet controller records the revision.
const REVISION_LABEL: &str = "controller-revision-hash";
/// Reasons of a waiting container that a change of the pod template can cure.
const HOPELESS_REASONS: [&str; 11] = [
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImageInspectError",
    "ImagePullBackOff",
    "InvalidImageName",
    "RegistryUnavailable",
    "RunContainerError",
    "SignatureValidationFailed",
];
/// A kubelet that is there reports the end of a pod within seconds.
const OVERDUE_AFTER: SignedDuration = SignedDuration::from_secs(60);
/// Only a pod on an old revision, in an ensemble without a serving majority, is restarted for this.
const STUCK_AFTER: SignedDuration = SignedDuration::from_secs(120);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn facts(status: Value) -> PodFacts {
        let pod = serde_json::from_value(json!({
            "metadata": {
                "name": "zk-0",
                "uid": "u",
                "resourceVersion": "5",
                "labels": { "controller-revision-hash": "zk-abc" },
            },
            "status": status,
        }))
        .unwrap();
        pod_facts(&pod, "2026-01-01T00:10:00Z".parse().unwrap())
    }

    fn waiting(reason: &str) -> Value {
        json!({
            "phase": "Pending",
            "containerStatuses": [{
                "name": "server", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": { "waiting": { "reason": reason } },
            }],
        })
    }

    fn ready(status: &str, since: &str) -> Value {
        json!({ "conditions": [{ "type": "Ready", "status": status, "lastTransitionTime": since }] })
    }

    #[test]
    fn identity_and_revision_are_read_from_the_metadata() {
        let facts = facts(json!({}));
        assert_eq!(
            (facts.uid.as_str(), facts.resource_version.as_str()),
            ("u", "5")
        );
        assert_eq!(facts.revision, "zk-abc");
        assert!(!facts.ready && !facts.terminating);
    }

    #[test]
    fn what_a_new_template_can_cure_is_a_defect() {
        // The errors of the kubelet's image manager, all of them.
        for reason in [
            "ErrImageNeverPull",
            "ErrImagePull",
            "ImageInspectError",
            "ImagePullBackOff",
            "InvalidImageName",
            "RegistryUnavailable",
            "SignatureValidationFailed",
        ] {
            assert_eq!(facts(waiting(reason)).defect.as_deref(), Some(reason));
        }
        for reason in HOPELESS_REASONS {
            assert_eq!(facts(waiting(reason)).defect.as_deref(), Some(reason));
        }
        let unschedulable = json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable" }] });
        assert_eq!(
            facts(unschedulable).defect.as_deref(),
            Some("Unschedulable")
        );
        assert_eq!(
            facts(json!({ "phase": "Failed" })).defect.as_deref(),
            Some("Failed")
        );
    }

    #[test]
    fn a_pod_that_is_there_a_minute_after_it_was_to_be_gone_is_stuck() {
        let deleted = |due: &str| {
            let pod = json!({ "metadata": { "name": "zk-0", "deletionTimestamp": due } });
            let now = "2026-01-01T00:10:00Z".parse().unwrap();
            pod_facts(&serde_json::from_value(pod).unwrap(), now)
        };
        let slow = deleted("2026-01-01T00:09:00Z");
        assert!(slow.terminating && !slow.is_stuck_terminating());
        assert!(deleted("2026-01-01T00:08:59Z").is_stuck_terminating());
    }

    #[test]
    fn being_slow_is_no_defect_for_two_minutes() {
        assert_eq!(facts(waiting("ContainerCreating")).defect, None);
        assert_eq!(facts(ready("False", "2026-01-01T00:09:00Z")).defect, None);
        assert_eq!(
            facts(ready("False", "2026-01-01T00:07:59Z"))
                .defect
                .as_deref(),
            Some("NotReadyForLong")
        );
        let well = facts(ready("True", "2026-01-01T00:00:00Z"));
        assert!(well.ready && well.defect.is_none());
    }
}
