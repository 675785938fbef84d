//! What keeps a bad change to one member goes on, whatever else of a look fails.

use serde_json::{Value, json};

use super::{changed, config_map, foreign};
use crate::controller::fake_api::{FakeApi, NEVER, pod};

/// New pods get the wanted revision since the last look, in which a pod was chosen that shall be restarted.
async fn open() -> FakeApi {
    let api = changed().await;
    api.set("currentRevision", "zk-old");
    api.reconcile().await.unwrap();
    api.seen_by_controller();
    assert_eq!(api.strategy(), json!({ "type": "OnDelete" }));
    api.seen.lock().unwrap().clear();
    api
}

/// The same, and the pod has come back and does not serve.
async fn open_with_a_bad_pod() -> FakeApi {
    let api = open().await;
    {
        let mut pods = api.pods.lock().unwrap();
        pods[1] = pod(1, "zk-new");
        pods[1]["status"]["conditions"] = json!([{ "type": "Ready", "status": "False" }]);
    }
    api
}

fn protecting() -> Value {
    json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 3 } })
}

fn released_long_ago(api: &FakeApi) {
    api.annotate("quorate.dev/released", "zk-new 2026-01-01T00:00:00Z 1");
}

#[tokio::test]
async fn new_pods_get_what_works_whatever_request_is_refused() {
    for line in [
        "try apps/statefulsets zk",
        "try policy/poddisruptionbudgets zk",
        "get /services zk-client",
        "list /pods",
        "list /persistentvolumeclaims",
        "get quorate.dev/zookeeperensembles zk",
    ] {
        for code in [403, 422, 500] {
            let api = open_with_a_bad_pod().await.refuse(line, code);
            api.reconcile().await.unwrap_err();
            assert_eq!(api.strategy(), protecting(), "{line} {code}");
            assert!(!api.took_a_pod());
        }
        let status = "patch quorate.dev/zookeeperensembles/status zk";
        let api = open_with_a_bad_pod().await.refuse(line, 403);
        let api = api.refuse(status, 500);
        api.reconcile().await.unwrap_err();
        assert_eq!(api.strategy(), protecting(), "{line}, and no status");
    }
}

#[tokio::test]
async fn new_pods_get_what_works_whatever_is_wrong_with_the_spec() {
    let invalid = json!({ "spec": { "replicas": 4 } });
    let undecodable = json!({ "spec": { "affinity": { "podAntiAffinity": "yes" } } });
    let going = json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.org/backup"] } });
    for change in [invalid, undecodable, going] {
        let api = open_with_a_bad_pod().await;
        for (part, fields) in change.as_object().unwrap() {
            for (field, value) in fields.as_object().unwrap() {
                api.ensemble.lock().unwrap()[part][field] = value.clone();
            }
        }
        api.reconcile().await.unwrap_err();
        assert_eq!(api.strategy(), protecting(), "{change}");
    }
    let api = open_with_a_bad_pod().await;
    api.put("/services zk-client", foreign("zk-client")[1].clone());
    api.reconcile().await.unwrap_err();
    assert_eq!(api.strategy(), protecting());
}

#[tokio::test]
async fn a_window_that_is_due_is_closed_before_anything_else_is_written_or_tried() {
    let api = open_with_a_bad_pod().await;
    api.reconcile().await.unwrap();
    let lines = api.lines();
    let at = |wanted: &str| lines.iter().position(|line| line.starts_with(wanted));
    let closed = at("patch apps/statefulsets zk");
    assert!(closed < at("get /serviceaccounts"), "{lines:?}");
    assert!(closed.is_some() && closed < at("try "), "{lines:?}");
    assert_eq!(api.strategy(), protecting());
}

/// An answer that does not come says nothing of the spec, and the restart goes on when it comes.
#[tokio::test(start_paused = true)]
async fn a_window_is_left_open_for_its_time_if_the_api_server_merely_does_not_answer() {
    let line = "try /serviceaccounts zk-server";
    let api = open().await.refuse(line, NEVER);
    api.reconcile().await.unwrap_err();
    assert_eq!(api.strategy()["type"], "OnDelete");
    released_long_ago(&api);
    api.reconcile().await.unwrap_err();
    assert_eq!(api.strategy(), protecting());
    let api = open().await.refuse("list /pods", NEVER);
    released_long_ago(&api);
    api.reconcile().await.unwrap_err();
    assert_eq!(api.strategy(), protecting());
}

#[tokio::test]
async fn a_stateful_set_of_somebody_else_is_left_as_it_is() {
    let api = open_with_a_bad_pod().await;
    let set = "apps/statefulsets zk";
    api.objects.lock().unwrap().get_mut(set).unwrap()["metadata"]["ownerReferences"] = json!([]);
    api.reconcile().await.unwrap_err();
    assert_eq!(api.strategy()["type"], "OnDelete");
}

#[tokio::test]
async fn a_partition_that_lets_pods_go_is_put_back_although_the_spec_is_refused() {
    let api = changed().await.refuse("try apps/statefulsets zk", 422);
    api.set_strategy(&json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } }));
    api.reconcile().await.unwrap_err();
    assert_eq!(api.strategy(), protecting());
    api.seen.lock().unwrap().clear();
    api.reconcile().await.unwrap_err();
    assert!(
        api.find("patch apps").is_none(),
        "nothing is left to put back"
    );
}

#[tokio::test]
async fn what_members_need_is_put_back_although_the_stateful_set_is_refused() {
    let api = FakeApi::new();
    api.settle().await;
    let policy = "networking.k8s.io/networkpolicies zk";
    let lost = [
        "policy/poddisruptionbudgets zk",
        "/services zk-headless",
        "/services zk-client",
        "/serviceaccounts zk-server",
        &config_map(),
        policy,
    ];
    let before = api.objects.lock().unwrap().clone();
    let api = api.refuse("try apps/statefulsets zk", 422);
    for name in lost {
        api.objects.lock().unwrap().remove(name);
    }
    api.put("policy/poddisruptionbudgets zk", {
        let mut budget = before["policy/poddisruptionbudgets zk"].clone();
        budget["spec"]["maxUnavailable"] = json!(3);
        budget
    });
    let error = api.reconcile().await.unwrap_err();
    assert_eq!(error.reason(), "ApplyFailed");
    let after = api.objects.lock().unwrap().clone();
    for name in lost.into_iter().filter(|name| *name != policy) {
        assert_eq!(after[name]["spec"], before[name]["spec"], "{name}");
    }
    assert!(!after.contains_key(policy), "the spec may not have had it");
    assert_eq!(
        after["apps/statefulsets zk"],
        before["apps/statefulsets zk"]
    );
}
