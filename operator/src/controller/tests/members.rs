//! What people are told of a member that serves nobody: the words of its server, and what is wrong with its pod.

use serde_json::{Value, json};

use super::condition;
use crate::controller::fake_api::{FakeApi, Says, pod};

/// An ensemble whose member 0 says this, and whose pod has not been ready for a long time.
async fn zk_0_says(says: Says, revision: &str, ready: &str) -> FakeApi {
    let api = FakeApi::new();
    *api.pods.lock().unwrap() = (0..3).map(|ordinal| pod(ordinal, "zk-new")).collect();
    api.settle().await;
    let mut pods = api.pods.lock().unwrap();
    pods[0]["metadata"]["labels"]["controller-revision-hash"] = json!(revision);
    pods[0]["status"]["conditions"][0] = json!({
        "type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    drop(pods);
    api.says.lock().unwrap().insert(0, says);
    api
}

const PARTED: &str =
    "this server's data is of epoch 9, but a majority serves under server 3 in epoch 1";

#[tokio::test]
async fn a_member_that_keeps_itself_out_is_told_with_its_reason_and_its_claim_is_to_stay() {
    for revision in ["zk-new", "zk-old"] {
        let api = zk_0_says(Says::OutOfService(PARTED), revision, "False").await;
        for _ in 0..3 {
            api.reconcile().await.unwrap();
        }
        assert!(!api.took_a_pod(), "it is not started again: {revision}");
        let status = api.status();
        assert_ne!(status["phase"], "Serving");
        assert_eq!(condition(&status, "Progressing").1, "MemberOutOfService");
        assert_eq!(status["members"][0]["ready"], false);
        let problem = status["members"][0]["problem"].as_str().unwrap();
        for part in [
            "OutOfService: do not delete data-zk-0, it may hold the only copy of the data",
            PARTED,
        ] {
            assert!(problem.contains(part), "{problem}");
        }
        let events = api.events_of("MemberOutOfService");
        let [event] = events.as_slice() else {
            panic!("told once: {events:?}");
        };
        assert_eq!(event["type"], "Warning");
        let note = event["note"].as_str().unwrap();
        assert!(note.contains("do not delete data-zk-0"), "{note}");
        let conditions = status["conditions"].as_array().unwrap();
        let available = conditions.iter().find(|is| is["type"] == "Available");
        let message = available.unwrap()["message"].as_str().unwrap();
        assert!(
            message.contains("out of service, perhaps with data that the others do not have: zk-0"),
            "{message}"
        );
    }
}

/// It is told also while something else is waited for.
#[tokio::test]
async fn a_member_that_keeps_itself_out_is_a_warning_whatever_is_waited_for() {
    let api = zk_0_says(Says::OutOfService(PARTED), "zk-new", "False").await;
    api.pods.lock().unwrap().remove(1);
    for _ in 0..2 {
        api.reconcile().await.unwrap();
    }
    assert_eq!(condition(&api.status(), "Progressing").1, "MemberAbsent");
    let events = api.events_of("MemberOutOfService");
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["type"], "Warning");
}

#[tokio::test]
async fn a_member_that_reaches_nobody_says_whom() {
    let server = "zk-1:3888 (connection refused)";
    let api = zk_0_says(Says::Unreachable(server), "zk-new", "False").await;
    for _ in 0..2 {
        api.reconcile().await.unwrap();
    }
    let problem = api.status()["members"][0]["problem"].clone();
    assert_eq!(problem, format!("its server does not reach {server}"));
    let events = api.events_of("MemberNotServing");
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["type"], "Warning");
    // One that has just started reaches nobody yet.
    let now = jiff::Timestamp::now().to_string();
    api.pods.lock().unwrap()[0]["status"]["conditions"][0]["lastTransitionTime"] = json!(now);
    api.reconcile().await.unwrap();
    assert_eq!(api.status()["members"][0]["problem"], Value::Null);
}

#[tokio::test]
async fn a_port_that_answers_something_else_is_told_as_that() {
    let api = zk_0_says(Says::Status(404), "zk-new", "True").await;
    api.reconcile().await.unwrap();
    let problem = api.status()["members"][0]["problem"].clone();
    assert_eq!(
        problem,
        "its admin port answers HTTP 404 to /commands/server_stats, so the operator cannot see its role"
    );
}

#[tokio::test]
async fn a_pod_whose_labels_were_taken_away_is_named_with_the_label() {
    let api = FakeApi::new();
    *api.pods.lock().unwrap() = (0..3).map(|ordinal| pod(ordinal, "zk-new")).collect();
    api.settle().await;
    {
        let mut pods = api.pods.lock().unwrap();
        pods[0]["metadata"]["ownerReferences"] = json!([]);
        pods[0]["metadata"]["labels"] = json!({ "app.kubernetes.io/name": "zookeeper", "app.kubernetes.io/managed-by": "quorate-operator" });
    }
    api.reconcile().await.unwrap();
    let problem = api.status()["members"][0]["problem"].clone();
    let problem = problem.as_str().unwrap();
    assert!(
        problem.contains(
            "kubectl label pod zk-0 -n default app.kubernetes.io/instance=zk --overwrite"
        ),
        "{problem}"
    );
    // One that nobody owns although its labels are right.
    let instance = json!("zk");
    api.pods.lock().unwrap()[0]["metadata"]["labels"]["app.kubernetes.io/instance"] = instance;
    api.reconcile().await.unwrap();
    let problem = api.status()["members"][0]["problem"].clone();
    assert!(
        problem
            .as_str()
            .unwrap()
            .contains("the StatefulSet does not own it"),
        "{problem}"
    );
}

#[tokio::test]
async fn a_pod_that_is_made_during_a_look_is_no_stray_one() {
    let api = FakeApi::new();
    *api.pods.lock().unwrap() = (0..3).map(|ordinal| pod(ordinal, "zk-new")).collect();
    api.settle().await;
    {
        let mut late = api.pods.lock().unwrap().pop().unwrap();
        late["metadata"]["labels"]["app.kubernetes.io/name"] = json!("zookeeper");
        late["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("quorate-operator");
        late["metadata"]["labels"]["app.kubernetes.io/instance"] = json!("zk");
        api.late_pods.lock().unwrap().push(late);
    }
    api.reconcile().await.unwrap();
    assert_eq!(api.pods.lock().unwrap().len(), 3);
    assert_eq!(api.status()["members"][2]["role"], "unknown");
    assert_eq!(api.status()["members"][2]["problem"], Value::Null);
}

#[tokio::test]
async fn a_storage_class_that_is_not_there_is_named_in_the_row() {
    let api = FakeApi::new();
    *api.pods.lock().unwrap() = (0..3).map(|ordinal| pod(ordinal, "zk-new")).collect();
    api.settle().await;
    api.keep_claims(&[0, 1, 2], "uid", 3);
    api.change_claim(0, |claim| claim["status"] = json!({ "phase": "Pending" }));
    let scheduled = json!({
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
    });
    api.pods.lock().unwrap()[0]["status"] =
        json!({ "phase": "Pending", "conditions": [scheduled] });
    *api.events.lock().unwrap() = vec![json!({
        "metadata": { "name": "e" }, "type": "Warning", "reason": "ProvisioningFailed",
        "note": "storageclass.storage.k8s.io \"fast\" not found",
        "regarding": { "kind": "PersistentVolumeClaim", "name": "data-zk-0", "uid": "uid of data-zk-0" },
    })];
    api.reconcile().await.unwrap();
    let problem = api.status()["members"][0]["problem"].clone();
    assert_eq!(
        problem,
        "Unschedulable: 0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.; its claim data-zk-0: storageclass.storage.k8s.io \"fast\" not found"
    );
}

#[tokio::test]
async fn a_pod_whose_containers_do_not_start_is_told_by_the_newest_warning_of_the_kubelet() {
    let api = FakeApi::new();
    *api.pods.lock().unwrap() = (0..3).map(|ordinal| pod(ordinal, "zk-new")).collect();
    api.settle().await;
    let creating = |since: &str| {
        json!({
            "phase": "Pending",
            "conditions": [{ "type": "Ready", "status": "False", "lastTransitionTime": since }],
            "containerStatuses": [{
                "name": "server", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": { "waiting": { "reason": "ContainerCreating" } },
            }],
        })
    };
    let event = |type_: &str, reason: &str, note: &str, uid: &str, ago: i64| {
        let time = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(ago);
        json!({
            "metadata": { "name": reason }, "type": type_, "reason": reason, "note": note,
            "deprecatedLastTimestamp": time.to_string(),
            "regarding": { "kind": "Pod", "name": "zk-0", "uid": uid },
        })
    };
    *api.events.lock().unwrap() = vec![
        event(
            "Warning",
            "FailedMount",
            "configmap \"a\" not found",
            "uid-0",
            60,
        ),
        event(
            "Warning",
            "FailedAttachVolume",
            "Multi-Attach error",
            "uid-0",
            20,
        ),
        event("Normal", "Scheduled", "assigned", "uid-0", 10),
        event("Warning", "FailedMount", "of a former pod", "uid-9", 5),
    ];
    let problem = || api.status()["members"][0]["problem"].clone();
    api.pods.lock().unwrap()[0]["status"] = creating("2026-01-01T00:00:00Z");
    api.reconcile().await.unwrap();
    assert_eq!(problem(), "FailedAttachVolume: Multi-Attach error");
    // What is an hour old has passed.
    let old = event("Warning", "FailedMount", "long ago", "uid-0", 3600);
    *api.events.lock().unwrap() = vec![old];
    api.reconcile().await.unwrap();
    assert_eq!(problem(), "NotReadyForLong");
    // It may take a moment.
    api.pods.lock().unwrap()[0]["status"] = creating(&jiff::Timestamp::now().to_string());
    api.seen.lock().unwrap().clear();
    api.reconcile().await.unwrap();
    assert_eq!(problem(), Value::Null);
    assert!(api.find("list events").is_none());
}
