//! Why a member does not serve, as far as Kubernetes tells, in one line for people.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};
use kube::ResourceExt as _;

use super::pod_facts::overdue_since;
use crate::ensemble::STUCK_TERMINATING;

/// The cause that stands in the pod at the time `now`. Absent for a pod that is well or merely slow.
pub(super) fn problem(pod: &Pod, now: Timestamp) -> Option<String> {
    if let Some(due) = overdue_since(pod, now) {
        return Some(format!("{STUCK_TERMINATING}: {}", what_keeps(pod, due)));
    }
    if pod.metadata.deletion_timestamp.is_some() {
        // How its server ended is no trouble of the one that comes in its place.
        return None;
    }
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() == Some("Failed") {
        let reason = status.reason.as_deref().unwrap_or("Failed");
        return Some(with_message(reason, status.message.as_deref()));
    }
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let unschedulable = conditions.iter().find(|condition| {
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.reason.as_deref() == Some(UNSCHEDULABLE)
    });
    if let Some(condition) = unschedulable {
        return Some(with_message(UNSCHEDULABLE, condition.message.as_deref()));
    }
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    containers.iter().find_map(of_container)
}

/// Why a pod is still there that was to be gone at the time `due`, and what a person can do.
fn what_keeps(pod: &Pod, due: Timestamp) -> String {
    let finalizers = pod.finalizers();
    if !finalizers.is_empty() {
        let list = finalizers.join(", ");
        return format!(
            "it was to be gone at {due:.0}, and its finalizers keep it ({list}): see to whoever must remove them"
        );
    }
    let node = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.node_name.as_deref())
        .unwrap_or("it was on");
    let (name, namespace) = (pod.name_any(), pod.namespace().unwrap_or_default());
    format!(
        "it was to be gone at {due:.0}, and the Kubernetes node {node} does not say that it has stopped. Bring the node back, or, only if its machine is off for good, run: kubectl delete pod {name} -n {namespace} --force --grace-period=0"
    )
}

fn of_container(container: &ContainerStatus) -> Option<String> {
    if container.ready {
        return None;
    }
    let ended = |state: &ContainerState| state.terminated.as_ref().map(how_it_ended);
    let now = container.state.as_ref()?;
    if let Some(ended) = ended(now) {
        return Some(ended);
    }
    let last = container.last_state.as_ref().and_then(ended);
    if let Some(waiting) = &now.waiting {
        let reason = waiting.reason.as_deref()?;
        return match (reason, last) {
            ("ContainerCreating" | "PodInitializing", last) => last,
            ("CrashLoopBackOff", Some(last)) => Some(last),
            (reason, _) => Some(with_message(reason, waiting.message.as_deref())),
        };
    }
    last
}

/// Such as "exit code 2: zoo.cfg:12: tickTime=abc must be a whole number".
fn how_it_ended(ended: &ContainerStateTerminated) -> String {
    if ended.reason.as_deref() == Some("OOMKilled") {
        return "OOMKilled: the server used more memory than its limit".to_owned();
    }
    let code = format!("exit code {}", ended.exit_code);
    match ended.message.as_deref().and_then(telling_line) {
        Some(line) => format!("{code}: {}", line.replace(CONFIG_DIR, "")),
        None => code,
    }
}

/// Of the last lines of a log the one that most likely tells the cause: the last that is an error or a warning, or
/// that has no level, as the last words of a server that does not start; only without any of them the last one.
/// The time before it is left out: with it the same cause would be another text after each start.
fn telling_line(log: &str) -> Option<&str> {
    let lines = log.lines().rev().map(|line| without_time(line.trim()));
    let mut lines = lines.filter(|line| !line.is_empty());
    let is_harmless = |line: &&str| HARMLESS.iter().any(|level| line.starts_with(level));
    lines
        .clone()
        .find(|line| !is_harmless(line))
        .or_else(|| lines.next())
}

/// The line without the time that a log line begins with.
fn without_time(line: &str) -> &str {
    match line.split_once(char::is_whitespace) {
        Some((first, rest)) if first.parse::<Timestamp>().is_ok() => rest.trim_start(),
        Some(_) | None => line,
    }
}

/// The reason, and the first line of the message where there is one.
pub(super) fn with_message(reason: &str, message: Option<&str>) -> String {
    let first_line = message.and_then(|message| message.lines().next());
    match first_line.map(str::trim).filter(|line| !line.is_empty()) {
        Some(line) => format!("{reason}: {line}"),
        None => reason.to_owned(),
    }
}

/// With this the problem of a pod begins for which there is no Kubernetes node, or whose claim has no volume.
pub(super) const UNSCHEDULABLE: &str = "Unschedulable";
/// Levels of log lines that tell no cause.
const HARMLESS: [&str; 3] = ["INFO ", "DEBUG ", "TRACE "];
/// Where the configuration is mounted; people know the file by its name.
const CONFIG_DIR: &str = "/etc/quorate/";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T00:10:00Z".parse().unwrap()
    }

    #[test]
    fn a_pod_that_does_not_go_is_told_with_its_node_and_what_to_do() {
        let mut pod = json!({
            "metadata": { "name": "zk-0", "namespace": "shop", "deletionTimestamp": "2026-01-01T00:05:00Z" },
            "spec": { "nodeName": "worker-1", "containers": [] },
        });
        let told = |pod: &Value| problem(&serde_json::from_value(pod.clone()).unwrap(), now());
        let text = told(&pod).unwrap();
        assert!(
            text.starts_with("StuckTerminating: it was to be gone at 2026-01-01T00:05:00Z, and the Kubernetes node worker-1"),
            "{text}"
        );
        assert!(
            text.ends_with("kubectl delete pod zk-0 -n shop --force --grace-period=0"),
            "{text}"
        );
        pod["metadata"]["finalizers"] = json!(["example.org/backup"]);
        let text = told(&pod).unwrap();
        assert!(
            text.contains("finalizers keep it (example.org/backup)"),
            "{text}"
        );
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:09:30Z");
        pod["status"] = json!({ "containerStatuses": [{
            "name": "server", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "terminated": { "exitCode": 0 } },
        }] });
        assert_eq!(told(&pod), None, "it has time");
    }

    fn told(status: Value) -> Option<String> {
        let pod = json!({ "metadata": { "name": "zk-0" }, "status": status });
        problem(&serde_json::from_value(pod).unwrap(), now())
    }

    fn container(state: Value, last_state: Value, ready: bool) -> Option<String> {
        told(json!({ "phase": "Running", "containerStatuses": [{
            "name": "server", "image": "", "imageID": "", "ready": ready, "restartCount": 3,
            "state": state, "lastState": last_state,
        }] }))
    }

    fn crash_loop() -> Value {
        json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 40s restarting" } })
    }

    #[test]
    fn a_crash_loop_is_told_by_the_last_line_of_the_server() {
        let last = json!({ "terminated": {
            "exitCode": 2, "reason": "Error",
            "message": "2026-01-01 INFO starting\n/etc/quorate/zoo.cfg:12: tickTime=abc must be a whole number\n\n",
        } });
        let expected = "exit code 2: zoo.cfg:12: tickTime=abc must be a whole number";
        for state in [crash_loop(), last.clone(), json!({ "running": {} })] {
            assert_eq!(container(state, last.clone(), false).unwrap(), expected);
        }
        assert_eq!(container(json!({ "running": {} }), last, true), None);
    }

    #[test]
    fn the_cause_of_an_end_is_the_last_error_or_warning_and_has_no_time() {
        let told = |log: &str| {
            let last = json!({ "terminated": { "exitCode": 137, "message": log } });
            container(crash_loop(), last, false).unwrap()
        };
        let serving = "2026-01-01T00:00:02.000001Z  INFO role=Leading serving=true\n";
        let error = "2026-01-01T00:00:01.123456Z ERROR the disk is full path=/data\n";
        for log in [
            format!("{error}{serving}"),
            format!("{serving}{error}"),
            error.replace("01.123456Z", "59.5Z"),
        ] {
            assert_eq!(
                told(&log),
                "exit code 137: ERROR the disk is full path=/data"
            );
        }
        assert_eq!(
            told(serving),
            "exit code 137: INFO role=Leading serving=true"
        );
    }

    #[test]
    fn a_server_that_ran_out_of_memory_is_told_as_such() {
        let last = json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } });
        assert_eq!(
            container(crash_loop(), last, false).unwrap(),
            "OOMKilled: the server used more memory than its limit"
        );
    }

    #[test]
    fn pulls_and_scheduling_are_told_in_the_words_of_kubernetes() {
        let pull = json!({ "waiting": { "reason": "ImagePullBackOff", "message": "Back-off pulling image \"x:y\"" } });
        assert_eq!(
            container(pull, json!({}), false).unwrap(),
            "ImagePullBackOff: Back-off pulling image \"x:y\""
        );
        let unschedulable = json!({ "phase": "Pending", "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient memory.",
        }] });
        assert_eq!(
            told(unschedulable).unwrap(),
            "Unschedulable: 0/3 nodes are available: 3 Insufficient memory."
        );
        let evicted = json!({ "phase": "Failed", "reason": "Evicted", "message": "low on memory" });
        assert_eq!(told(evicted).unwrap(), "Evicted: low on memory");
    }

    #[test]
    fn a_pod_that_is_merely_slow_has_no_problem() {
        let creating = json!({ "waiting": { "reason": "ContainerCreating" } });
        assert_eq!(container(creating, json!({}), false), None);
        assert_eq!(container(json!({ "running": {} }), json!({}), false), None);
    }
}
