//! Why the containers of a pod do not start, which the kubelet tells in Events only.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerState, Pod};
use k8s_openapi::api::events::v1::Event;

use super::observe::{EVENT_AGE_MAX, last_seen};
use super::pod_facts::not_ready_for;
use super::problem::with_message;

/// The pod has not been ready for a while, and none of its containers has ever run, as while a volume cannot be
/// mounted.
pub(super) fn has_not_started(pod: &Pod, now: Timestamp) -> bool {
    let containers = pod
        .status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten());
    let has_run = |state: &Option<ContainerState>| {
        let state = state.as_ref();
        state.is_some_and(|state| state.running.is_some() || state.terminated.is_some())
    };
    let mut started = containers.filter(|it| has_run(&it.state) || has_run(&it.last_state));
    pod.metadata.deletion_timestamp.is_none()
        && started.next().is_none()
        && not_ready_for(pod, now).is_some_and(|duration| duration > SLOW_AFTER)
}

/// The newest Warning among the Events about a pod, in the words of the kubelet. An old one speaks of something that
/// has passed: the kubelet repeats what lasts.
pub(super) fn newest_warning(events: &[Event], now: Timestamp) -> Option<String> {
    let warnings = events.iter().filter(|event| {
        event.type_.as_deref() == Some("Warning")
            && now.duration_since(last_seen(event)) < EVENT_AGE_MAX
    });
    let newest = warnings.max_by_key(|event| last_seen(event))?;
    Some(with_message(
        newest.reason.as_deref()?,
        newest.note.as_deref(),
    ))
}

/// An image of usual size has been pulled and a volume attached by then.
const SLOW_AFTER: SignedDuration = SignedDuration::from_secs(30);
