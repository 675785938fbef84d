//! What people are told when an ensemble waits for something, in its status and in Events.

use serde_json::{Value, json};

use super::{changed, condition};
use crate::controller::fake_api::{FakeApi, pod};

fn about_pods(reason: &str, note: &str, seconds_ago: i64) -> Value {
    let time = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds_ago);
    json!({
        "metadata": { "name": "e" }, "note": note, "reason": reason,
        "regarding": { "kind": "StatefulSet", "name": "zk", "uid": "set-uid" },
        "deprecatedLastTimestamp": time.to_string(),
    })
}

const QUOTA: &str =
    "create Pod zk-0 in StatefulSet zk failed error: pods \"zk-0\" is forbidden: exceeded quota";

#[tokio::test]
async fn why_a_pod_cannot_be_made_reaches_the_row_and_is_a_warning() {
    let api = FakeApi::new();
    api.settle().await;
    api.pods.lock().unwrap().remove(0);
    let made = "create Pod zk-0 in StatefulSet zk successful";
    *api.events.lock().unwrap() = vec![
        about_pods("FailedCreate", QUOTA, 10),
        about_pods("SuccessfulCreate", made, 60),
    ];
    api.reconcile().await.unwrap();
    let status = api.status();
    let problem = status["members"][0]["problem"].as_str().unwrap();
    assert_eq!(problem, format!("FailedCreate: {QUOTA}"));
    let event = api.find("create events.k8s.io/events").unwrap().body;
    assert_eq!(event["type"], "Warning");
    assert!(event["note"].as_str().unwrap().contains("exceeded quota"));
}

/// A pod was made since then, or it was another pod, another StatefulSet, or long ago.
#[tokio::test]
async fn why_a_pod_could_not_be_made_once_says_nothing_of_the_one_that_is_absent_now() {
    let made = "create Pod zk-0 in StatefulSet zk successful";
    let mut former = about_pods("FailedCreate", QUOTA, 10);
    former["regarding"]["uid"] = json!("former");
    let other = QUOTA.replace("zk-0", "zk-1");
    let cases = [
        vec![
            about_pods("FailedCreate", QUOTA, 60),
            about_pods("SuccessfulCreate", made, 10),
        ],
        vec![former],
        vec![about_pods("FailedCreate", &other, 10)],
        vec![about_pods("FailedCreate", QUOTA, 2_000)],
    ];
    for events in cases {
        let api = FakeApi::new();
        api.settle().await;
        api.pods.lock().unwrap().remove(0);
        *api.events.lock().unwrap() = events;
        api.reconcile().await.unwrap();
        assert_eq!(api.status()["members"][0]["problem"], Value::Null);
        let event = api.find("create events.k8s.io/events").unwrap().body;
        assert_eq!(event["type"], "Normal");
    }
}

#[tokio::test]
async fn a_pod_that_does_not_go_is_a_warning_with_what_to_do() {
    let api = FakeApi::new();
    *api.pods.lock().unwrap() = (0..3).map(|ordinal| pod(ordinal, "zk-new")).collect();
    api.settle().await;
    api.pods.lock().unwrap()[0]["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    for _ in 0..2 {
        api.reconcile().await.unwrap();
    }
    let status = api.status();
    assert_eq!(condition(&status, "Progressing").1, "MemberAbsent");
    let events = api.events_of("MemberAbsent");
    let [event] = events.as_slice() else {
        panic!("told once: {events:?}");
    };
    assert_eq!(event["type"], "Warning");
    for text in [&status["members"][0]["problem"], &event["note"]] {
        let text = text.as_str().unwrap();
        assert!(
            text.contains("kubectl delete pod zk-0 -n default --force"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_pause_holds_back_every_restart_and_nothing_else() {
    let api = changed().await;
    api.set("currentRevision", "zk-old");
    api.ensemble.lock().unwrap()["spec"]["paused"] = json!(true);
    api.ensemble.lock().unwrap()["spec"]["podLabels"] = json!({ "team": "shop" });
    for _ in 0..3 {
        api.reconcile().await.unwrap();
        api.seen_by_controller();
    }
    assert!(!api.took_a_pod());
    assert_eq!(api.strategy()["type"], "RollingUpdate");
    let status = api.status();
    assert_eq!(status["phase"], "Paused");
    for kind in ["Progressing", "Ready"] {
        assert_eq!(
            condition(&status, kind),
            ("False".to_owned(), "Paused".to_owned())
        );
    }
    assert_eq!(condition(&status, "Available").0, "True");
    let written = api.find("patch apps/statefulsets zk").unwrap().body;
    let labels = &written["spec"]["template"]["metadata"]["labels"];
    assert_eq!(labels["team"], "shop", "the spec is applied");
    api.ensemble.lock().unwrap()["spec"]["paused"] = json!(false);
    for _ in 0..2 {
        api.reconcile().await.unwrap();
        api.seen_by_controller();
    }
    assert!(api.took_a_pod());
}

#[tokio::test]
async fn pods_that_change_without_a_change_of_the_spec_are_announced_once() {
    let told = |api: &FakeApi| api.events_of("PodTemplateChanged");
    let api = FakeApi::new();
    api.settle().await;
    api.reconcile_by("quorate/quorate:test").await.unwrap();
    assert!(told(&api).is_empty());
    // The operator is upgraded, and with it the image of ensembles that name none.
    for _ in 0..2 {
        api.reconcile_by("quorate/quorate:next").await.unwrap();
    }
    let events = told(&api);
    assert_eq!(events.len(), 1, "{events:?}");
    let note = events[0]["note"].as_str().unwrap();
    assert!(
        note.contains("image quorate/quorate:test becomes quorate/quorate:next")
            && note.contains("spec.paused: true"),
        "{note}"
    );
    // A user's own change is no surprise.
    let mut ensemble = api.ensemble.lock().unwrap().clone();
    ensemble["metadata"]["generation"] = json!(2);
    ensemble["spec"]["podLabels"] = json!({ "team": "shop" });
    *api.ensemble.lock().unwrap() = ensemble;
    api.reconcile_by("quorate/quorate:next").await.unwrap();
    assert_eq!(told(&api).len(), 1);
}

#[tokio::test]
async fn a_definition_that_is_older_than_the_operator_is_named_with_the_cure() {
    let message = "failed to create typed patch object (default/zk; quorate.dev/v1alpha1, Kind=ZookeeperEnsemble): .status.lastLookTime: field not declared in schema";
    let api = FakeApi::new();
    api.settle().await;
    let line = "patch quorate.dev/zookeeperensembles/status zk";
    let api = api.refuse_with(line, 500, message);
    let error = api.reconcile().await.unwrap_err();
    assert_eq!(error.reason(), "DefinitionTooOld");
    let events = api.events_of("DefinitionTooOld");
    let [event] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(event["type"], "Warning");
    let note = event["note"].as_str().unwrap();
    for part in [
        "CustomResourceDefinition zookeeperensembles.quorate.dev",
        "kubectl apply --server-side --force-conflicts -f deploy/crd.yaml",
        ".status.lastLookTime",
    ] {
        assert!(note.contains(part), "{note}");
    }
}

/// The garbage collector of the namespace removes the objects of an ensemble before the ensemble itself.
#[tokio::test]
async fn a_namespace_that_is_being_deleted_is_no_failure_to_warn_of() {
    for line in [
        "try /services zk-client",
        "patch /services zk-client",
        "create /pods/eviction zk-1",
    ] {
        let api = FakeApi::new();
        api.settle().await;
        api.objects.lock().unwrap().remove("/services zk-client");
        let api = api.refuse_in_terminating_namespace(line);
        let error = api.reconcile().await.unwrap_err();
        assert_eq!(error.reason(), "NamespaceTerminating", "{line}");
        assert!(error.passes_by_itself());
        let events = api.events_of("NamespaceTerminating");
        assert!(events.is_empty(), "none can be made there: {events:?}");
        assert_eq!(condition(&api.status(), "Ready").1, "NamespaceTerminating");
    }
}

#[tokio::test]
async fn a_stateful_set_that_is_taken_can_be_deleted_without_its_pods() {
    let taken = |kind_and_name: &'static str| async move {
        let api = FakeApi::new();
        api.put(
            kind_and_name,
            json!({ "metadata": { "name": "zk", "uid": "foreign" } }),
        );
        api.reconcile().await.unwrap_err().chain()
    };
    let text = taken("apps/statefulsets zk").await;
    assert!(
        text.contains("kubectl delete statefulset zk -n default --cascade=orphan"),
        "{text}"
    );
    let text = taken("/services zk-client").await;
    assert!(!text.contains("orphan"), "no pods hang on it: {text}");
}

#[tokio::test]
async fn an_eviction_that_the_budget_refuses_is_waited_for_and_told_once() {
    let api = FakeApi::new().refuse("create /pods/eviction zk-1", 429);
    api.settle().await;
    for _ in 0..3 {
        api.reconcile().await.unwrap();
    }
    assert_eq!(condition(&api.status(), "Progressing").1, "EvictionRefused");
    let mut lines = api.lines();
    lines.retain(|line| line == "create /pods/eviction zk-1");
    assert_eq!(lines.len(), 3, "it is tried again");
    assert_eq!(api.events_of("EvictionRefused").len(), 1);
    assert!(
        api.events_of("Outdated").is_empty(),
        "nothing was restarted"
    );
}

#[tokio::test]
async fn a_status_that_is_old_when_the_operator_comes_back_is_unknown_before_the_look_is_done() {
    let api = FakeApi::new();
    *api.pods.lock().unwrap() = (0..3).map(|ordinal| pod(ordinal, "zk-new")).collect();
    api.settle().await;
    api.reconcile().await.unwrap();
    assert_eq!(api.status()["phase"], "Serving");
    api.ensemble.lock().unwrap()["status"]["lastLookTime"] = json!("2026-01-01T00:00:00Z");
    api.seen.lock().unwrap().clear();
    api.reconcile().await.unwrap();
    let lines = api.lines();
    let told = "patch quorate.dev/zookeeperensembles/status zk";
    let first = lines.iter().position(|line| line == told).unwrap();
    let looked = lines.iter().position(|line| line == "list /pods").unwrap();
    assert!(first < looked, "{lines:?}");
    let body = api.find(told).unwrap().body;
    assert_eq!(body["status"]["phase"], "Unknown");
    assert_eq!(api.status()["phase"], "Serving", "and then it is looked at");
    api.seen.lock().unwrap().clear();
    api.reconcile().await.unwrap();
    assert_eq!(api.find(told).map(|seen| seen.line()), None);
}

#[tokio::test]
async fn the_gauge_of_the_phase_is_unknown_while_nobody_can_look() {
    let phase = |api: &FakeApi| {
        let shown = api.looks.shown(std::time::Instant::now());
        shown[0].seen.phase.clone()
    };
    for line in ["list /pods", "get quorate.dev/zookeeperensembles zk"] {
        let api = FakeApi::new();
        *api.pods.lock().unwrap() = (0..3).map(|ordinal| pod(ordinal, "zk-new")).collect();
        api.settle().await;
        api.reconcile().await.unwrap();
        assert_eq!(phase(&api), "Serving");
        let api = api.refuse(line, 500);
        api.reconcile().await.unwrap_err();
        assert_eq!(phase(&api), "Unknown", "{line}");
    }
}

#[tokio::test]
async fn a_pod_that_several_budgets_select_is_told_with_the_name_of_the_other() {
    let budget = |name: &str, instance: &str| {
        let labels = json!({ "app.kubernetes.io/instance": instance });
        json!({ "metadata": { "name": name }, "spec": { "selector": { "matchLabels": labels } } })
    };
    let message = "Internal error occurred: This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
    let api = FakeApi::new();
    api.settle().await;
    api.put("policy/poddisruptionbudgets other", budget("other", "zk"));
    api.put("policy/poddisruptionbudgets shop", budget("shop", "shop"));
    let api = api.refuse_with("create /pods/eviction zk-1", 500, message);
    for _ in 0..2 {
        api.reconcile().await.unwrap();
    }
    assert_eq!(condition(&api.status(), "Progressing").1, "SeveralBudgets");
    let events = api.events_of("SeveralBudgets");
    let [event] = events.as_slice() else {
        panic!("told once: {events:?}");
    };
    assert_eq!(event["type"], "Warning");
    let note = event["note"].as_str().unwrap();
    assert!(
        note.contains("zk-1 is selected by other besides the ensemble's own"),
        "{note}"
    );
}

#[tokio::test]
async fn an_ensemble_whose_deletion_a_finalizer_holds_up_is_told_as_that_and_looked_at() {
    let api = FakeApi::new();
    *api.pods.lock().unwrap() = (0..3).map(|ordinal| pod(ordinal, "zk-new")).collect();
    api.settle().await;
    api.reconcile().await.unwrap();
    let going =
        json!({ "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.com/hang"] });
    for (key, value) in going.as_object().unwrap() {
        api.ensemble.lock().unwrap()["metadata"][key] = value.clone();
    }
    api.pods.lock().unwrap().remove(0);
    api.seen.lock().unwrap().clear();
    for _ in 0..2 {
        assert_eq!(api.reconcile().await.unwrap_err().reason(), "Deleting");
    }
    let status = api.status();
    assert_eq!(status["phase"], "Deleting");
    assert_eq!(status["readyReplicas"], 2, "it is looked at");
    assert_eq!(condition(&status, "Available").0, "True");
    let mut lines = api.lines();
    lines.retain(|line| line.starts_with("patch") || line.starts_with("try"));
    lines.dedup();
    assert_eq!(lines, ["patch quorate.dev/zookeeperensembles/status zk"]);
    let events = api.events_of("Deleting");
    let [event] = events.as_slice() else {
        panic!("told once: {events:?}");
    };
    assert_eq!(event["type"], "Warning");
    let note = event["note"].as_str().unwrap();
    assert!(note.contains("example.com/hang"), "{note}");
    // Without finalizers it goes by itself.
    api.ensemble.lock().unwrap()["metadata"]["finalizers"] = json!([]);
    api.reconcile().await.unwrap();
}

#[tokio::test]
async fn a_field_that_somebody_else_put_into_an_object_is_told_until_it_is_gone() {
    let api = FakeApi::new();
    *api.pods.lock().unwrap() = (0..3).map(|ordinal| pod(ordinal, "zk-new")).collect();
    api.settle().await;
    let fields = json!({ "f:spec": { "f:type": {} } });
    let entry = json!({ "manager": "kubectl-edit", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": fields });
    let set = |entries: Value| {
        let mut objects = api.objects.lock().unwrap();
        objects.get_mut("/services zk-client").unwrap()["metadata"]["managedFields"] = entries;
    };
    set(json!([entry]));
    for _ in 0..2 {
        api.reconcile().await.unwrap();
    }
    let told = ("True".to_owned(), "ForeignFields".to_owned());
    assert_eq!(condition(&api.status(), "Reconciled"), told);
    let events = api.events_of("ForeignFields");
    let [event] = events.as_slice() else {
        panic!("told once: {events:?}");
    };
    assert_eq!(event["type"], "Warning");
    let note = event["note"].as_str().unwrap();
    assert!(
        note.contains("kubectl-edit has put spec.type into the client Service zk-client"),
        "{note}"
    );
    set(json!([]));
    api.reconcile().await.unwrap();
    assert_eq!(condition(&api.status(), "Reconciled").1, "Applied");
}
