//! A member whose volume would not come back with its next pod is not restarted, and people are told.

use serde_json::{Value, json};

use super::condition;
use crate::controller::fake_api::{FakeApi, pod};
use crate::testing::sample;

/// An ensemble whose pods run on their volumes; all of them are to be restarted, `zk-1` first.
async fn about_to_roll() -> FakeApi {
    let api = FakeApi::new();
    api.settle().await;
    api.run_pods();
    let uid = sample("zk", 3).metadata.uid.unwrap();
    api.keep_claims(&[0, 1, 2], &uid, 3);
    api
}

fn in_deletion(claim: &mut Value) {
    claim["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:05:00Z");
    claim["metadata"]["finalizers"] = json!(["kubernetes.io/pvc-protection"]);
}

#[tokio::test]
async fn no_pod_goes_while_a_claim_is_in_deletion_whichever_is_next() {
    for ordinal in 0..3 {
        let api = about_to_roll().await;
        api.change_claim(ordinal, in_deletion);
        for _ in 0..2 {
            api.reconcile().await.unwrap();
        }
        assert!(!api.took_a_pod(), "{ordinal}: {:?}", api.lines());
        let status = api.status();
        let problem = |of: i32| status["members"][usize::try_from(of).unwrap()]["problem"].clone();
        let text = problem(ordinal);
        let text = text.as_str().unwrap();
        assert!(text.starts_with("ClaimInDeletion: ") && text.contains("kubectl patch pv pv "));
        assert_eq!(problem((ordinal + 1) % 3), Value::Null);
        assert_eq!(
            status["members"][usize::try_from(ordinal).unwrap()]["ready"],
            true
        );
        assert_eq!(condition(&status, "Progressing").1, "ClaimAtRisk");
        let events = api.events_of("ClaimAtRisk");
        let [event] = events.as_slice() else {
            panic!("told once: {events:?}");
        };
        assert_eq!(event["type"], "Warning");
        let note = event["note"].as_str().unwrap();
        let what_to_do = format!("kubectl delete pod zk-{ordinal} -n default");
        assert!(note.contains(&what_to_do), "{note}");
        assert!(api.events_of("ClaimInDeletion").is_empty());
    }
    let api = about_to_roll().await;
    api.reconcile().await.unwrap();
    assert!(api.took_a_pod(), "a roll goes on where every claim is well");
}

#[tokio::test]
async fn each_of_several_claims_is_a_warning_of_its_own() {
    let api = about_to_roll().await;
    api.change_claim(0, in_deletion);
    api.change_claim(1, in_deletion);
    for _ in 0..3 {
        api.reconcile().await.unwrap();
    }
    assert!(!api.took_a_pod());
    let told = [
        api.events_of("ClaimAtRisk"),
        api.events_of("ClaimInDeletion"),
    ]
    .concat();
    let notes: Vec<&str> = told
        .iter()
        .map(|event| event["note"].as_str().unwrap())
        .collect();
    assert_eq!(notes.len(), 2, "{notes:?}");
    for claim in ["data-zk-0", "data-zk-1"] {
        assert!(notes.iter().any(|note| note.contains(claim)), "{notes:?}");
    }
}

#[tokio::test]
async fn a_settled_ensemble_is_not_ready_while_a_claim_is_at_risk() {
    let api = about_to_roll().await;
    let mut pods: Vec<Value> = (0..3).map(|ordinal| pod(ordinal, "zk-new")).collect();
    pods.iter_mut()
        .for_each(|pod| pod["status"]["startTime"] = json!("2026-01-01T00:01:00Z"));
    *api.pods.lock().unwrap() = pods;
    api.reconcile().await.unwrap();
    assert_eq!(api.status()["phase"], "Serving");
    api.change_claim(2, |claim| claim["status"] = json!({ "phase": "Lost" }));
    api.reconcile().await.unwrap();
    let status = api.status();
    assert_eq!(status["phase"], "Degraded");
    assert_eq!(condition(&status, "Available").0, "True");
    assert_eq!(condition(&status, "Ready").1, "ClaimAtRisk");
    let problem = status["members"][2]["problem"].as_str().unwrap();
    assert!(problem.starts_with("ClaimLost"), "{problem}");
}

/// The claim went although a pod uses its volume, because somebody removed its finalizer; perhaps there is a new one.
#[tokio::test]
async fn a_claim_that_is_gone_or_newer_than_its_pod_counts_as_well() {
    let api = about_to_roll().await;
    let key = "/persistentvolumeclaims data-zk-1";
    let mut claim = api.objects.lock().unwrap().remove(key).unwrap();
    api.reconcile().await.unwrap();
    let problem = |api: &FakeApi| api.status()["members"][1]["problem"].clone();
    assert!(problem(&api).as_str().unwrap().starts_with("ClaimGone"));
    claim["metadata"]["creationTimestamp"] = json!("2026-01-01T00:05:00Z");
    api.put(key, claim);
    api.reconcile().await.unwrap();
    assert!(problem(&api).as_str().unwrap().starts_with("ClaimReplaced"));
    assert!(!api.took_a_pod());
}

#[tokio::test]
async fn a_claim_that_a_person_made_without_labels_is_found_by_its_name() {
    let api = about_to_roll().await;
    api.change_claim(1, |claim| claim["metadata"]["labels"] = Value::Null);
    api.reconcile().await.unwrap();
    assert_eq!(api.status()["members"][1]["problem"], Value::Null);
    assert!(api.took_a_pod());
    assert!(
        api.find("patch /persistentvolumeclaims").is_none(),
        "it is not ours to change"
    );
}

#[tokio::test]
async fn a_pod_that_serves_nobody_may_go_unless_it_is_the_one_at_risk() {
    for (ordinal, goes) in [(0, false), (2, true)] {
        let api = about_to_roll().await;
        api.pods.lock().unwrap()[0]["status"] = json!({
            "startTime": "2026-01-01T00:01:00Z",
            "conditions": [{ "type": "Ready", "status": "False" }],
            "containerStatuses": [{
                "name": "server", "image": "", "imageID": "", "ready": false, "restartCount": 9,
                "state": { "waiting": { "reason": "CrashLoopBackOff" } },
            }],
        });
        api.change_claim(ordinal, in_deletion);
        api.reconcile().await.unwrap();
        assert_eq!(api.find("delete /pods zk-0").is_some(), goes, "{ordinal}");
        assert_eq!(api.took_a_pod(), goes);
    }
}
