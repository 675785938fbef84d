//! The revision that is known to work outlives the StatefulSet: the status of the ensemble keeps it.

use serde_json::{Value, json};

use super::{changed, condition, config_map, configurations};
use crate::controller::fake_api::{FakeApi, pod};

const SET: &str = "apps/statefulsets zk";
const TRY: &str = "try apps/statefulsets zk";
const WRITE: &str = "patch apps/statefulsets zk";

/// An ensemble that serves on one revision, so that the revision is proven.
async fn proven() -> FakeApi {
    let api = FakeApi::new();
    *api.pods.lock().unwrap() = (0..3).map(|ordinal| pod(ordinal, "zk-new")).collect();
    api.settle().await;
    api.reconcile().await.unwrap();
    api
}

/// The same after a change that does not come up: zk-2 has the new revision and crashes.
async fn proven_and_then_changed_for_the_worse() -> FakeApi {
    let api = proven().await;
    api.ensemble.lock().unwrap()["spec"]["config"] = json!({ "tickTime": "500" });
    api.reconcile().await.unwrap();
    api.seen_by_controller();
    api.set("updateRevision", "zk-bad");
    {
        let mut pods = api.pods.lock().unwrap();
        pods[2] = pod(2, "zk-bad");
        pods[2]["status"] = json!({ "conditions": [{ "type": "Ready", "status": "False" }] });
    }
    api.reconcile().await.unwrap();
    api
}

fn template(api: &FakeApi) -> Value {
    api.objects.lock().unwrap()[SET]["spec"]["template"].clone()
}

/// Somebody deletes the StatefulSet, with its pods or without.
fn delete_set(api: &FakeApi) {
    api.objects.lock().unwrap().remove(SET);
    api.seen.lock().unwrap().clear();
}

#[tokio::test]
async fn the_revision_on_which_every_pod_is_and_a_member_serves_is_kept_in_the_status() {
    let api = proven().await;
    let kept = api.status()["provenRevision"].clone();
    assert_eq!(kept["name"], "zk-new");
    assert_eq!(kept["template"], template(&api));
    // Neither a change that does not come up nor a look that fails makes the operator forget.
    let api = proven_and_then_changed_for_the_worse().await;
    assert_ne!(kept["template"], template(&api));
    assert_eq!(api.status()["provenRevision"], kept);
    let api = api.refuse("list /pods", 500);
    api.reconcile().await.unwrap_err();
    assert_eq!(api.status()["phase"], "Unknown");
    assert_eq!(api.status()["provenRevision"], kept);
}

#[tokio::test]
async fn a_stateful_set_that_is_made_anew_begins_with_the_revision_that_is_known_to_work() {
    let api = proven_and_then_changed_for_the_worse().await;
    let (works, wanted) = (
        api.status()["provenRevision"]["template"].clone(),
        template(&api),
    );
    delete_set(&api);
    api.reconcile().await.unwrap();
    assert_eq!(template(&api), works);
    assert_eq!(api.find(TRY).unwrap().body["spec"]["template"], works);
    let protecting = json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 3 } });
    assert_eq!(api.strategy(), protecting);

    // Until its controller has looked, another template would be the only one that it ever knows.
    api.seen.lock().unwrap().clear();
    api.reconcile().await.unwrap();
    assert!(api.find(WRITE).is_none(), "{:?}", api.lines());
    assert_eq!(template(&api), works);

    for field in ["currentRevision", "updateRevision"] {
        api.set(field, "zk-new");
    }
    api.seen_by_controller();
    api.reconcile().await.unwrap();
    let written = api.find(WRITE).unwrap().body;
    assert_eq!(written["spec"]["updateStrategy"], protecting);
    assert_eq!(template(&api), wanted);
    assert!(!api.took_a_pod());
    let events = api.events_of("PodTemplateChanged");
    let [event] = events.as_slice() else {
        panic!("told once: {events:?}");
    };
    let note = event["note"].as_str().unwrap();
    assert!(
        note.contains("changed or deleted the StatefulSet"),
        "{note}"
    );
    assert_eq!(
        api.status()["provenRevision"]["template"],
        works,
        "nobody has served on the other since"
    );
}

/// The API server has other rules now, or the template is of an operator that labelled its pods otherwise.
#[tokio::test]
async fn a_proven_template_that_no_stateful_set_may_have_any_more_keeps_none_from_being_made() {
    let api = proven_and_then_changed_for_the_worse().await;
    let wanted = template(&api);
    let old_labels = json!({ "app": "zookeeper" });
    api.ensemble.lock().unwrap()["status"]["provenRevision"]["template"]["metadata"]["labels"] =
        old_labels;
    delete_set(&api);
    api.reconcile().await.unwrap();
    assert_eq!(template(&api), wanted);

    let api = proven_and_then_changed_for_the_worse().await;
    let image = "quorate/quorate:not-allowed-any-more";
    api.ensemble.lock().unwrap()["status"]["provenRevision"]["template"]["spec"]["containers"][0]
        ["image"] = json!(image);
    *api.refused_text.lock().unwrap() = Some(image);
    delete_set(&api);
    api.reconcile().await.unwrap();
    assert_eq!(template(&api), wanted);
    assert_eq!(condition(&api.status(), "Reconciled").1, "Applied");
}

/// Every object but pods and claims is deleted while a bad change stands, or the ConfigMaps alone.
#[tokio::test]
async fn the_configuration_of_the_kept_revision_is_made_again_like_its_template() {
    for with_set in [true, false] {
        let api = proven_and_then_changed_for_the_worse().await;
        let old = config_map();
        let before = api.objects.lock().unwrap().clone();
        api.seen.lock().unwrap().clear();
        api.objects.lock().unwrap().retain(|name, _| {
            name.starts_with("/persistent") || !(with_set || name.starts_with("/configmaps"))
        });
        api.reconcile().await.unwrap();
        let made = api.objects.lock().unwrap()[&old].clone();
        assert_eq!(made["data"], before[&old]["data"]);
        assert!(
            made["data"]["zoo.cfg"]
                .as_str()
                .unwrap()
                .contains("server.3=")
        );
        assert_eq!(made["immutable"], true);
        assert_eq!(configurations(&api).len(), 2);
        if with_set {
            let works = api.status()["provenRevision"]["template"].clone();
            assert_eq!(template(&api), works);
        }
        let written = api.lines();
        let at = |line: &str| written.iter().position(|seen| *seen == line);
        assert!(at(&format!("patch {old}")).is_some(), "{written:?}");
        assert!(
            !with_set || at(&format!("patch {old}")) < at(WRITE),
            "{written:?}"
        );
    }
}

/// An operator before this one kept the template alone.
#[tokio::test]
async fn a_template_whose_configuration_is_gone_for_good_is_not_used_and_that_is_told() {
    for is_gone in [true, false] {
        let api = proven_and_then_changed_for_the_worse().await;
        let wanted = template(&api);
        let works = {
            let mut ensemble = api.ensemble.lock().unwrap();
            let proven = ensemble["status"]["provenRevision"]
                .as_object_mut()
                .unwrap();
            proven.remove("configuration").unwrap();
            proven["template"].clone()
        };
        if is_gone {
            api.objects.lock().unwrap().remove(&config_map());
        }
        delete_set(&api);
        api.reconcile().await.unwrap();
        assert_eq!(template(&api), if is_gone { wanted } else { works.clone() });
        let events = api.events_of("ProvenRevisionLost");
        assert_eq!(events.len(), usize::from(is_gone));
        let kept = api.status()["provenRevision"]["template"].clone();
        assert_eq!(kept, if is_gone { Value::Null } else { works });
        if is_gone {
            let name = config_map();
            let name = name.trim_start_matches("/configmaps ");
            assert!(
                events[0]["note"].as_str().unwrap().contains(name),
                "{events:?}"
            );
            assert_eq!(events[0]["type"], "Warning");
        }
    }
}

/// The pods of the revision that the status still names may have to be made again.
#[tokio::test]
async fn the_configuration_of_the_kept_revision_goes_after_the_status_names_another() {
    let api = proven().await;
    let old = config_map();
    api.ensemble.lock().unwrap()["spec"]["config"] = json!({ "tickTime": "600" });
    api.reconcile().await.unwrap();
    api.seen_by_controller();
    *api.pods.lock().unwrap() = (0..3).map(|ordinal| pod(ordinal, "zk-next")).collect();
    for field in ["currentRevision", "updateRevision"] {
        api.set(field, "zk-next");
    }
    let api = api.refuse("patch quorate.dev/zookeeperensembles/status zk", 500);
    api.reconcile().await.unwrap_err();
    assert!(configurations(&api).contains(&old));
    api.refusals.lock().unwrap().clear();
    api.reconcile().await.unwrap();
    assert_eq!(api.status()["provenRevision"]["name"], "zk-next");
    assert!(configurations(&api).contains(&old));
    api.reconcile().await.unwrap();
    assert!(!configurations(&api).contains(&old));
}

/// A template of which the controller has made one pod so far is not proven, and neither is one that all pods have
/// while nobody serves.
#[tokio::test]
async fn a_revision_that_only_some_pods_have_or_on_which_nobody_serves_is_not_kept() {
    let api = changed().await;
    api.set("currentRevision", "zk-old");
    api.reconcile().await.unwrap();
    assert_eq!(api.status()["provenRevision"], Value::Null);
    let api = FakeApi::new();
    api.settle().await;
    api.reconcile().await.unwrap();
    assert_eq!(
        api.status()["provenRevision"],
        Value::Null,
        "the pods are on zk-old"
    );
    let mut pods: Vec<Value> = (0..3).map(|ordinal| pod(ordinal, "zk-new")).collect();
    for pod in &mut pods {
        pod["status"] = json!({ "conditions": [{ "type": "Ready", "status": "False" }] });
    }
    *api.pods.lock().unwrap() = pods;
    api.reconcile().await.unwrap();
    assert_eq!(api.status()["provenRevision"], Value::Null);
}
