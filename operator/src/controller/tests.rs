//! The controller against an API server made of a table: which requests it sends, in which order, with what.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::PERMISSIONS;
use super::fake_api::{FakeApi, NEVER, pod};
use crate::testing::sample;

#[tokio::test]
async fn nothing_is_written_before_all_was_looked_at_and_tried() {
    let api = FakeApi::new();
    api.reconcile().await.unwrap();
    assert_eq!(
        api.lines(),
        [
            "get quorate.dev/zookeeperensembles zk",
            "get apps/statefulsets zk",
            "list /pods",
            "list events.k8s.io/events",
            "get /serviceaccounts zk-server",
            "get /configmaps zk-config",
            "get /services zk-headless",
            "get /services zk-client",
            "get networking.k8s.io/networkpolicies zk",
            "get policy/poddisruptionbudgets zk",
            "get apps/statefulsets zk",
            "try /serviceaccounts zk-server",
            "try /configmaps zk-config",
            "try /services zk-headless",
            "try /services zk-client",
            "try networking.k8s.io/networkpolicies zk",
            "try policy/poddisruptionbudgets zk",
            "try apps/statefulsets zk",
            "patch /serviceaccounts zk-server",
            "patch /configmaps zk-config",
            "patch /services zk-headless",
            "patch /services zk-client",
            "patch networking.k8s.io/networkpolicies zk",
            "patch policy/poddisruptionbudgets zk",
            "patch apps/statefulsets zk",
            "create events.k8s.io/events",
            "patch quorate.dev/zookeeperensembles/status zk",
        ]
    );
}

#[tokio::test]
async fn objects_are_applied_by_one_field_manager() {
    let api = FakeApi::new();
    api.reconcile().await.unwrap();
    let seen = api.seen.lock().unwrap().clone();
    for request in seen.iter().filter(|seen| seen.verb == "patch") {
        assert!(
            request.query.contains("fieldManager=quorate-operator"),
            "{request:?}"
        );
        assert!(request.query.contains("force=true"), "{request:?}");
    }
}

#[tokio::test]
async fn a_pod_is_deleted_only_as_it_was_observed() {
    let api = FakeApi::new();
    api.settle().await;
    api.reconcile().await.unwrap();
    let delete = api.find("delete /pods zk-1").unwrap();
    assert_eq!(
        delete.body["preconditions"],
        json!({ "uid": "uid-1", "resourceVersion": "101" })
    );
}

#[tokio::test]
async fn a_pod_that_changed_in_the_meantime_is_left_alone() {
    for code in [404, 409] {
        let api = FakeApi::new().refuse("delete /pods zk-1", code);
        api.settle().await;
        api.reconcile().await.unwrap();
        assert!(api.find("delete /pods zk-1").is_some());
        assert!(
            api.find("patch quorate.dev/zookeeperensembles/status")
                .is_some()
        );
    }
}

#[tokio::test]
async fn pods_of_a_former_stateful_set_are_no_members() {
    let api = FakeApi::new();
    api.settle().await;
    for pod in api.pods.lock().unwrap().iter_mut() {
        pod["metadata"]["ownerReferences"][0]["uid"] = json!("former-uid");
    }
    api.reconcile().await.unwrap();
    assert!(api.find("delete").is_none());
    assert_eq!(api.status()["readyReplicas"], 0);
}

#[tokio::test]
async fn an_object_that_would_be_refused_is_found_before_the_first_is_written() {
    let wanted = ["policy/poddisruptionbudgets zk", "apps/statefulsets zk"];
    for refused in wanted {
        let api = FakeApi::new().refuse(&format!("try {refused}"), 403);
        let error = api.reconcile().await.unwrap_err();
        assert_eq!(error.reason(), "ApplyFailed");
        assert!(api.objects.lock().unwrap().is_empty());
        assert_eq!(
            api.find("create events.k8s.io/events").unwrap().body["reason"],
            "ApplyFailed"
        );
    }
}

#[tokio::test]
async fn members_are_observed_although_an_object_is_refused() {
    let api = FakeApi::new();
    *api.pods.lock().unwrap() = (0..3).map(|ordinal| pod(ordinal, "zk-new")).collect();
    api.settle().await;
    api.reconcile().await.unwrap();
    assert_eq!(api.status()["phase"], "Serving");

    let api = api.refuse("try apps/statefulsets zk", 403);
    api.ensemble.lock().unwrap()["metadata"]["generation"] = json!(2);
    api.pods
        .lock()
        .unwrap()
        .retain(|pod| pod["metadata"]["name"] != "zk-2");
    api.reconcile().await.unwrap_err();
    let status = api.status();
    assert_eq!(status["leader"], Value::Null, "zk-2 led and is gone");
    assert_eq!(status["members"][2]["role"], "unknown");
    assert_eq!(status["observedGeneration"], 2);
    let told = |kind: &str| condition(&status, kind);
    assert_eq!(
        told("Ready"),
        ("False".to_owned(), "ApplyFailed".to_owned())
    );
    assert_eq!(told("Reconciled").1, "ApplyFailed");
    assert_eq!(told("Available").0, "False");
}

#[tokio::test]
async fn an_ensemble_that_cannot_be_looked_at_claims_nothing() {
    let api = FakeApi::new();
    *api.pods.lock().unwrap() = (0..3).map(|ordinal| pod(ordinal, "zk-new")).collect();
    api.settle().await;
    api.reconcile().await.unwrap();
    let api = api.refuse("list /pods", 403);
    api.reconcile().await.unwrap_err();
    let status = api.status();
    assert_eq!(status["phase"], "Unknown");
    assert_eq!(
        condition(&status, "Ready"),
        ("Unknown".to_owned(), "ObserveFailed".to_owned())
    );
}

const NAMES: [&str; 7] = [
    "/serviceaccounts zk-server",
    "/configmaps zk-config",
    "/services zk-headless",
    "/services zk-client",
    "networking.k8s.io/networkpolicies zk",
    "policy/poddisruptionbudgets zk",
    "apps/statefulsets zk",
];

/// Objects that an ensemble must not touch: without a controller, with another's, with one of another ensemble.
fn foreign(name: &str) -> Vec<Value> {
    let object = |references: Value| {
        json!({ "metadata": {
            "name": name, "uid": "foreign", "ownerReferences": references, "labels": { "whose": "mine" },
        } })
    };
    let by = |kind: &str, name: &str, controller: Value| json!([{ "apiVersion": "quorate.dev/v1alpha1", "kind": kind, "name": name, "uid": "another", "controller": controller }]);
    vec![
        object(Value::Null),
        object(by("Deployment", "shop", json!(true))),
        object(by("ZookeeperEnsemble", "other", json!(true))),
        object(by("ZookeeperEnsemble", "zk", Value::Null)),
    ]
}

#[tokio::test]
async fn a_name_that_is_taken_stops_everything_whatever_its_kind() {
    for taken in NAMES {
        let name = taken.split(' ').nth(1).unwrap();
        for object in foreign(name) {
            let api = FakeApi::new();
            api.put(taken, object.clone());
            let error = api.reconcile().await.unwrap_err();
            assert_eq!(error.reason(), "NameTaken", "{taken}");
            assert!(error.chain().contains(name), "{}", error.chain());
            let stored = api.objects.lock().unwrap().clone();
            assert_eq!(stored.len(), 1, "{taken}: {stored:?}");
            assert_eq!(stored[taken], object);
            for verb in ["try", "delete"] {
                assert!(api.find(verb).is_none(), "{taken}: {:?}", api.lines());
            }
            let event = api.find("create events.k8s.io/events").unwrap().body;
            assert_eq!(
                (&event["type"], &event["reason"]),
                (&json!("Warning"), &json!("NameTaken"))
            );
            assert_eq!(
                condition(&api.status(), "Reconciled"),
                ("False".to_owned(), "NameTaken".to_owned())
            );
            assert_eq!(api.status()["phase"], "Blocked");
        }
    }
}

#[tokio::test]
async fn an_object_that_is_taken_away_from_a_serving_ensemble_is_not_taken_back() {
    for taken in NAMES {
        let api = FakeApi::new();
        *api.pods.lock().unwrap() = (0..3).map(|ordinal| pod(ordinal, "zk-old")).collect();
        api.settle().await;
        let name = taken.split(' ').nth(1).unwrap();
        api.put(taken, foreign(name)[1].clone());
        let before = api.objects.lock().unwrap().clone();
        assert_eq!(api.reconcile().await.unwrap_err().reason(), "NameTaken");
        assert_eq!(*api.objects.lock().unwrap(), before);
        assert!(api.find("delete").is_none(), "no restart meanwhile");
    }
}

#[tokio::test]
async fn objects_of_a_deleted_ensemble_of_the_same_name_are_waited_for() {
    let api = FakeApi::new();
    let former = json!({ "metadata": { "name": "zk-config", "uid": "old", "ownerReferences": [{
        "apiVersion": "quorate.dev/v1alpha1", "kind": "ZookeeperEnsemble", "name": "zk", "uid": "former", "controller": true,
    }] } });
    api.put("/configmaps zk-config", former);
    assert_eq!(
        api.reconcile().await.unwrap_err().reason(),
        "FormerEnsemble"
    );
    assert_eq!(api.objects.lock().unwrap().len(), 1);
    assert_eq!(
        api.find("create events.k8s.io/events").unwrap().body["type"],
        "Normal"
    );
    api.objects.lock().unwrap().clear();
    api.reconcile().await.unwrap();
    assert_eq!(api.objects.lock().unwrap().len(), NAMES.len());
}

#[tokio::test]
async fn a_write_can_only_create_what_was_absent_and_only_change_what_was_found() {
    let api = FakeApi::new();
    api.settle().await;
    api.objects.lock().unwrap().remove("/configmaps zk-config");
    api.reconcile().await.unwrap();
    let absent = api.find("try /configmaps").unwrap().body;
    assert_eq!(absent["metadata"]["resourceVersion"], "1");
    let found = api.find("try apps/statefulsets").unwrap().body;
    assert_eq!(found["metadata"]["uid"], "set-uid");
}

#[tokio::test]
async fn what_would_change_nothing_is_not_written() {
    let api = FakeApi::new();
    api.settle().await;
    api.reconcile().await.unwrap();
    let written: Vec<String> = api
        .lines()
        .into_iter()
        .filter(|line| line.starts_with("patch"))
        .collect();
    assert_eq!(written, ["patch quorate.dev/zookeeperensembles/status zk"]);
}

fn condition(status: &Value, kind: &str) -> (String, String) {
    let found = status["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|condition| condition["type"] == kind)
        .unwrap();
    let text = |field: &str| found[field].as_str().unwrap().to_owned();
    (text("status"), text("reason"))
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_still_observed_and_says_so_once() {
    let api = FakeApi::new();
    api.settle().await;
    api.reconcile().await.unwrap();
    api.ensemble.lock().unwrap()["spec"]["affinity"] = json!({ "podAntiAffinity": "yes" });
    api.seen.lock().unwrap().clear();
    for _ in 0..2 {
        let error = api.reconcile().await.unwrap_err();
        assert_eq!(error.reason(), "ObjectUndecodable");
    }
    let status = api.status();
    assert_eq!(
        (&status["phase"], &status["leader"]),
        (&json!("Invalid"), &json!("zk-2"))
    );
    assert_eq!(
        api.lines()
            .iter()
            .filter(|line| line.starts_with("create"))
            .count(),
        1,
        "{:?}",
        api.lines()
    );
    assert!(api.find("patch apps").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_look_ends_although_a_request_is_never_answered() {
    for line in [
        "get quorate.dev/zookeeperensembles zk",
        "try /configmaps zk-config",
        "list /pods",
        "create events.k8s.io/events",
        "patch quorate.dev/zookeeperensembles/status zk",
    ] {
        let api = FakeApi::new().refuse(line, NEVER);
        let look = tokio::time::timeout(Duration::from_secs(60), api.reconcile()).await;
        let error = look.expect("the look ends by itself").unwrap_err();
        assert_eq!(error.reason(), "DeadlineExceeded", "{line}");
        assert!(error.got_no_answer());
    }
}

#[tokio::test]
async fn only_a_look_that_saw_the_ensemble_counts_as_finished() {
    let looked = |api: &FakeApi| api.looks.shown(Instant::now());
    let blind = FakeApi::new().refuse("list /pods", 403);
    blind.reconcile().await.unwrap_err();
    assert!(looked(&blind).is_empty());
    let api = FakeApi::new();
    api.settle().await;
    api.reconcile().await.unwrap();
    let shown = looked(&api);
    assert_eq!(shown[0].key, ("default".to_owned(), "zk".to_owned()));
    assert_eq!((shown[0].seen.ready, shown[0].seen.has_leader), (3, true));
}

#[tokio::test]
async fn a_field_that_nobody_knows_is_refused_by_its_path() {
    let spec = |affinity: Value| {
        let api = FakeApi::new();
        api.ensemble.lock().unwrap()["spec"]["affinity"] = affinity;
        api
    };
    let slip = |field: &str| {
        let term = json!({ "topologyKey": "zone", field: { "matchLabels": { "a": "b" } } });
        json!({ "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [
            { "weight": 1, "podAffinityTerm": term },
        ] } })
    };
    spec(slip("labelSelector")).reconcile().await.unwrap();
    let error = spec(slip("labelSelektor")).reconcile().await.unwrap_err();
    assert_eq!(error.reason(), "ObjectUndecodable");
    let path = "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelektor";
    assert!(error.chain().contains(path), "{}", error.chain());
}

#[tokio::test]
async fn a_network_policy_goes_when_it_is_turned_off_if_it_is_ours() {
    let own = sample("zk", 3).metadata.uid.unwrap();
    for (owner, deleted) in [(own.as_str(), true), ("somebody-else", false)] {
        let api = FakeApi::new();
        api.ensemble.lock().unwrap()["spec"]["networkPolicy"] = json!({ "enabled": false });
        let policy = json!({
            "metadata": {
                "name": "zk", "namespace": "default", "uid": "policy-uid", "resourceVersion": "9",
                "ownerReferences": [{
                    "apiVersion": "quorate.dev/v1alpha1", "kind": "ZookeeperEnsemble", "name": "zk", "uid": owner,
                    "controller": true,
                }],
            },
        });
        api.put("networking.k8s.io/networkpolicies zk", policy);
        api.reconcile().await.unwrap();
        assert_eq!(api.find("delete networking").is_some(), deleted);
        assert!(api.find("patch networking").is_none());
    }
}

#[tokio::test]
async fn why_a_pod_cannot_be_made_reaches_the_row_and_is_a_warning() {
    let api = FakeApi::new();
    api.settle().await;
    api.pods.lock().unwrap().remove(0);
    let note = "create Pod zk-0 in StatefulSet zk failed error: pods \"zk-0\" is forbidden: exceeded quota";
    *api.events.lock().unwrap() = vec![json!({
        "metadata": { "name": "e" }, "note": note, "reason": "FailedCreate",
        "deprecatedLastTimestamp": jiff::Timestamp::now().to_string(),
    })];
    api.reconcile().await.unwrap();
    let status = api.status();
    let problem = status["members"][0]["problem"].as_str().unwrap();
    assert_eq!(problem, format!("FailedCreate: {note}"));
    let event = api.find("create events.k8s.io/events").unwrap().body;
    assert_eq!(event["type"], "Warning");
    assert!(event["note"].as_str().unwrap().contains("exceeded quota"));
}

#[tokio::test]
async fn a_lost_majority_is_a_warning_and_its_return_is_not() {
    let api = FakeApi::new();
    *api.pods.lock().unwrap() = (0..3).map(|ordinal| pod(ordinal, "zk-new")).collect();
    api.settle().await;
    api.reconcile().await.unwrap();
    let types = |api: &FakeApi, reason: &str| -> Vec<String> {
        let seen = api.seen.lock().unwrap();
        let events = seen
            .iter()
            .filter(|seen| seen.line().starts_with("create events"));
        let events = events.filter(|seen| seen.body["reason"] == reason);
        events
            .map(|seen| seen.body["type"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = api.pods.lock().unwrap().split_off(1);
    api.reconcile().await.unwrap();
    assert_eq!(types(&api, "Unavailable"), ["Warning"]);
    api.reconcile().await.unwrap();
    assert_eq!(types(&api, "Unavailable").len(), 1, "it is told once");
    api.pods.lock().unwrap().extend(all);
    api.seen.lock().unwrap().clear();
    api.reconcile().await.unwrap();
    assert_eq!(types(&api, "Serving"), ["Normal"]);
}

#[tokio::test]
async fn an_invalid_spec_is_reported_and_nothing_is_applied() {
    let api = FakeApi::new();
    api.ensemble.lock().unwrap()["spec"]["replicas"] = json!(4);
    let error = api.reconcile().await.unwrap_err();
    assert!(error.spec_is_wrong());
    assert!(api.find("patch /").is_none());
    assert_eq!(api.status()["phase"], "Invalid");
}

#[tokio::test]
async fn a_deleted_ensemble_is_left_to_the_garbage_collector() {
    let going = FakeApi::new();
    going.ensemble.lock().unwrap()["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let gone = FakeApi::new().refuse("get quorate.dev/zookeeperensembles zk", 404);
    for api in [going, gone] {
        api.reconcile().await.unwrap();
        assert_eq!(api.lines(), ["get quorate.dev/zookeeperensembles zk"]);
    }
}

#[tokio::test]
async fn a_status_that_says_nothing_new_is_not_written() {
    let api = FakeApi::new();
    api.settle().await;
    *api.pods.lock().unwrap() = (0..3).map(|ordinal| pod(ordinal, "zk-new")).collect();
    api.reconcile().await.unwrap();
    assert_eq!(api.status()["phase"], "Serving");
    api.seen.lock().unwrap().clear();
    api.reconcile().await.unwrap();
    assert!(api.find("patch quorate.dev").is_none());
    assert!(api.find("create").is_none());
}

#[tokio::test]
async fn no_request_goes_beyond_the_declared_rights() {
    let api = FakeApi::new();
    api.settle().await;
    api.objects.lock().unwrap().remove("/configmaps zk-config");
    api.reconcile().await.unwrap();
    for seen in api.seen.lock().unwrap().iter() {
        let granted = PERMISSIONS.iter().any(|permission| {
            seen.kind == format!("{}/{}", permission.group, permission.resource)
                && permission.verbs.contains(&seen.verb)
        });
        assert!(granted, "{} is used, but not declared", seen.line());
    }
}
