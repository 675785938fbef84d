//! The controller against an API server made of a table: which requests it sends, in which order, with what.

mod claims;
mod gone;
mod members;
mod pages;
mod protect;
mod proven;
mod slow;
mod told;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::PERMISSIONS;
use super::fake_api::{FakeApi, NEVER, pod};
use crate::resources;
use crate::testing::sample;
use crate::validated::ValidatedEnsemble;

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
            "list /persistentvolumeclaims",
            "get /serviceaccounts zk-server",
            &format!("get {}", config_map()),
            "get /services zk-headless",
            "get /services zk-client",
            "get networking.k8s.io/networkpolicies zk",
            "get policy/poddisruptionbudgets zk",
            "get apps/statefulsets zk",
            "list /persistentvolumeclaims",
            "try /serviceaccounts zk-server",
            &format!("try {}", config_map()),
            "try /services zk-headless",
            "try /services zk-client",
            "try networking.k8s.io/networkpolicies zk",
            "try policy/poddisruptionbudgets zk",
            "try apps/statefulsets zk",
            "patch /serviceaccounts zk-server",
            &format!("patch {}", config_map()),
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
async fn a_pod_is_evicted_only_as_it_was_observed() {
    let api = FakeApi::new();
    api.settle().await;
    api.reconcile().await.unwrap();
    let eviction = api.find("create /pods/eviction zk-1").unwrap();
    assert_eq!(
        eviction.body["deleteOptions"]["preconditions"],
        json!({ "uid": "uid-1", "resourceVersion": "101" })
    );
}

#[tokio::test]
async fn a_pod_that_changed_in_the_meantime_is_left_alone() {
    for code in [404, 409] {
        let api = FakeApi::new().refuse("create /pods/eviction zk-1", code);
        api.settle().await;
        api.reconcile().await.unwrap();
        assert!(api.find("create /pods/eviction zk-1").is_some());
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
    assert!(!api.took_a_pod());
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

fn names() -> [String; 7] {
    [
        "/serviceaccounts zk-server".to_owned(),
        config_map(),
        "/services zk-headless".to_owned(),
        "/services zk-client".to_owned(),
        "networking.k8s.io/networkpolicies zk".to_owned(),
        "policy/poddisruptionbudgets zk".to_owned(),
        "apps/statefulsets zk".to_owned(),
    ]
}

/// Kind and name of the ConfigMap of the sample.
fn config_map() -> String {
    let valid = ValidatedEnsemble::new(&sample("zk", 3), "image").unwrap();
    let name = resources::build(&valid).config_map.metadata.name;
    format!("/configmaps {}", name.unwrap())
}

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
    for taken in names() {
        let taken = taken.as_str();
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
            for verb in ["try", "delete", "create /pods"] {
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
    for taken in names() {
        let taken = taken.as_str();
        let api = FakeApi::new();
        *api.pods.lock().unwrap() = (0..3).map(|ordinal| pod(ordinal, "zk-old")).collect();
        api.settle().await;
        let name = taken.split(' ').nth(1).unwrap();
        api.put(taken, foreign(name)[1].clone());
        let before = api.objects.lock().unwrap().clone();
        assert_eq!(api.reconcile().await.unwrap_err().reason(), "NameTaken");
        assert_eq!(*api.objects.lock().unwrap(), before);
        assert!(!api.took_a_pod());
    }
}

#[tokio::test]
async fn objects_of_a_deleted_ensemble_of_the_same_name_are_waited_for() {
    let api = FakeApi::new();
    let former = json!({ "metadata": { "uid": "old", "ownerReferences": [{
        "apiVersion": "quorate.dev/v1alpha1", "kind": "ZookeeperEnsemble", "name": "zk", "uid": "former", "controller": true,
    }] } });
    api.put(&config_map(), former);
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
    assert_eq!(api.objects.lock().unwrap().len(), names().len());
}

#[tokio::test]
async fn a_write_can_only_create_what_was_absent_and_only_change_what_was_found() {
    let api = FakeApi::new();
    api.settle().await;
    api.objects.lock().unwrap().remove(&config_map());
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
    let tried = format!("try {}", config_map());
    for line in [
        "get quorate.dev/zookeeperensembles zk",
        tried.as_str(),
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
    api.objects.lock().unwrap().remove(&config_map());
    api.reconcile().await.unwrap();
    for seen in api.seen.lock().unwrap().iter() {
        let granted = PERMISSIONS.iter().any(|permission| {
            seen.kind == format!("{}/{}", permission.group, permission.resource)
                && permission.verbs.contains(&seen.verb)
        });
        assert!(granted, "{} is used, but not declared", seen.line());
    }
}

/// An ensemble of which a new template was applied, as the StatefulSet controller has seen it.
async fn changed() -> FakeApi {
    let api = FakeApi::new();
    api.settle().await;
    api.ensemble.lock().unwrap()["spec"]["config"] = json!({ "tickTime": "500" });
    api.reconcile().await.unwrap();
    api.seen_by_controller();
    api.seen.lock().unwrap().clear();
    api
}

#[tokio::test]
async fn a_pod_is_restarted_only_after_new_pods_get_the_wanted_revision() {
    let api = changed().await;
    api.set("currentRevision", "zk-old");
    api.reconcile().await.unwrap();
    assert!(!api.took_a_pod());
    let strategy = api.strategy();
    assert_eq!(strategy, json!({ "type": "OnDelete" }));

    api.seen_by_controller();
    api.reconcile().await.unwrap();
    assert!(api.find("create /pods/eviction zk-1").is_some());
    assert_eq!(
        api.strategy(),
        strategy,
        "applying leaves the strategy as it is"
    );
}

#[tokio::test]
async fn a_revision_is_tried_again_at_once_for_another_generation_of_the_spec() {
    let api = changed().await;
    api.set("currentRevision", "zk-old");
    api.reconcile().await.unwrap();
    let note = api.note("quorate.dev/released");
    assert!(
        note.starts_with("zk-new ") && note.ends_with(" 1"),
        "{note}"
    );
    // No pod of the revision came of it, and new pods get the old one again.
    let protecting = json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 3 } });
    let retried = async |generation: i64| {
        api.set_strategy(&protecting);
        api.seen_by_controller();
        api.ensemble.lock().unwrap()["metadata"]["generation"] = json!(generation);
        api.reconcile().await.unwrap();
        api.strategy()["type"] == "OnDelete"
    };
    assert!(!retried(1).await);
    assert_eq!(
        condition(&api.status(), "Progressing"),
        ("True".to_owned(), "TriedBefore".to_owned())
    );
    api.seen.lock().unwrap().clear();
    assert!(!retried(1).await);
    let events = api.lines();
    let events = events.iter().filter(|line| line.starts_with("create"));
    assert_eq!(events.count(), 0, "waiting goes on, which is no news");
    assert!(retried(2).await);
    // An operator before this one did not write the generation.
    api.annotate("quorate.dev/released", note.trim_end_matches(" 1"));
    assert!(retried(2).await);
}

#[tokio::test]
async fn a_new_template_and_the_strategy_that_protects_are_one_write() {
    let api = changed().await;
    api.set("currentRevision", "zk-old");
    api.reconcile().await.unwrap();
    assert_eq!(api.strategy()["type"], "OnDelete");
    api.ensemble.lock().unwrap()["spec"]["config"] = json!({ "tickTime": "600" });
    api.seen.lock().unwrap().clear();
    api.reconcile().await.unwrap();
    let written = api.find("patch apps/statefulsets zk").unwrap().body;
    let protecting = json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 3 } });
    assert_eq!(written["spec"]["updateStrategy"], protecting);
    assert_eq!(api.strategy(), protecting);
}

fn configurations(api: &FakeApi) -> Vec<String> {
    let objects = api.objects.lock().unwrap();
    let names = objects.keys().filter(|key| key.starts_with("/configmaps"));
    names.cloned().collect()
}

#[tokio::test]
async fn configurations_of_older_revisions_stay_until_every_pod_serves_on_the_wanted_one() {
    let api = changed().await;
    let foreign = json!({ "metadata": { "name": "mine", "uid": "foreign" } });
    api.put("/configmaps mine", foreign);
    api.reconcile().await.unwrap();
    assert_eq!(configurations(&api).len(), 3);
    *api.pods.lock().unwrap() = (0..3).map(|ordinal| pod(ordinal, "zk-new")).collect();
    for _ in 0..2 {
        api.reconcile().await.unwrap();
    }
    assert_eq!(configurations(&api).len(), 2);
    assert!(configurations(&api).contains(&"/configmaps mine".to_owned()));
    assert!(
        !configurations(&api).contains(&config_map()),
        "the former one is gone"
    );
}

fn claims(api: &FakeApi) -> Vec<Value> {
    let objects = api.objects.lock().unwrap();
    let found = objects
        .iter()
        .filter(|(key, _)| key.starts_with("/persistentvolumeclaims"));
    found.map(|(_, claim)| claim.clone()).collect()
}

#[tokio::test]
async fn volumes_of_another_size_of_ensemble_stop_everything() {
    for (ordinals, voters) in [(vec![0], 1), (vec![0, 1, 2, 3, 4], 5), (vec![0, 2], 3)] {
        let api = FakeApi::new();
        api.keep_claims(&ordinals, "former", voters);
        let before = api.objects.lock().unwrap().clone();
        let error = api.reconcile().await.unwrap_err();
        assert_eq!(error.reason(), "VolumesUnfit");
        assert!(error.chain().contains("data-zk-0"), "{}", error.chain());
        assert_eq!(*api.objects.lock().unwrap(), before);
        assert_eq!(
            api.find("create events.k8s.io/events").unwrap().body["type"],
            "Warning"
        );
        assert_eq!(api.status()["phase"], "Blocked");
    }
}

#[tokio::test]
async fn a_claim_of_somebody_else_is_a_name_that_is_taken() {
    let api = FakeApi::new();
    let claim = json!({ "metadata": { "name": "data-zk-1", "uid": "u" }, "spec": {} });
    api.put("/persistentvolumeclaims data-zk-1", claim);
    let error = api.reconcile().await.unwrap_err();
    assert_eq!(error.reason(), "NameTaken");
    assert_eq!(api.objects.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn kept_volumes_become_the_new_ensembles() {
    let api = FakeApi::new();
    api.keep_claims(&[0, 1, 2], "former", 3);
    api.reconcile().await.unwrap();
    let uid = sample("zk", 3).metadata.uid.unwrap();
    for claim in claims(&api) {
        assert_eq!(
            claim["metadata"]["annotations"]["quorate.dev/ensemble-uid"],
            uid.as_str()
        );
        assert_eq!(claim["metadata"]["ownerReferences"], json!([]));
    }
    api.seen.lock().unwrap().clear();
    api.reconcile().await.unwrap();
    assert!(
        api.find("patch /persistentvolumeclaims").is_none(),
        "once is enough"
    );
}

#[tokio::test]
async fn volumes_go_with_the_ensemble_alone_and_only_if_its_spec_says_so() {
    let api = FakeApi::new();
    let uid = sample("zk", 3).metadata.uid.unwrap();
    api.settle().await;
    api.keep_claims(&[0, 1, 2, 3], &uid, 3);
    api.ensemble.lock().unwrap()["spec"]["storage"]["reclaimPolicy"] = json!("Delete");
    api.reconcile().await.unwrap();
    let owners: Vec<Value> = claims(&api)
        .iter()
        .map(|claim| claim["metadata"]["ownerReferences"].clone())
        .collect();
    for owners in &owners[..3] {
        assert_eq!(owners.as_array().unwrap().len(), 1);
        assert_eq!(
            (&owners[0]["uid"], &owners[0]["controller"]),
            (&json!(uid), &Value::Null)
        );
    }
    assert_eq!(owners[3], Value::Null, "no member has it");
    let set = api.find("try apps/statefulsets").unwrap().body;
    let asked = api.find("list /persistentvolumeclaims").unwrap().query;
    let on_claims = &set["spec"]["volumeClaimTemplates"][0]["metadata"]["labels"];
    assert_eq!(
        asked.matches("%3D").count(),
        on_claims.as_object().unwrap().len()
    );
    let policy = &set["spec"]["persistentVolumeClaimRetentionPolicy"];
    assert_eq!(
        *policy,
        json!({ "whenDeleted": "Retain", "whenScaled": "Retain" })
    );

    api.ensemble.lock().unwrap()["spec"]["storage"]["reclaimPolicy"] = json!("Retain");
    api.reconcile().await.unwrap();
    for claim in &claims(&api)[..3] {
        assert_eq!(claim["metadata"]["ownerReferences"], json!([]));
    }
    assert!(api.find("delete /persistentvolumeclaims").is_none());
}

#[tokio::test]
async fn a_pod_that_serves_nobody_is_deleted_whatever_the_budget_says() {
    let api = FakeApi::new();
    api.settle().await;
    {
        let mut pods = api.pods.lock().unwrap();
        pods[0]["status"] = json!({ "conditions": [{ "type": "Ready", "status": "False" }], "containerStatuses": [{
            "name": "server", "image": "", "imageID": "", "ready": false, "restartCount": 9,
            "state": { "waiting": { "reason": "CrashLoopBackOff" } },
        }] });
    }
    api.reconcile().await.unwrap();
    assert!(api.find("delete /pods zk-0").is_some(), "{:?}", api.lines());
}
