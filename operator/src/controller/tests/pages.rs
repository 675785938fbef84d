//! Lists that are longer than one page, as where somebody gives many objects the labels of an ensemble's.

use serde_json::json;

use super::{changed, config_map, configurations};
use crate::controller::fake_api::{FakeApi, pod};

#[tokio::test]
async fn members_are_found_behind_any_number_of_pods_of_others() {
    let api = FakeApi::new();
    *api.pods.lock().unwrap() = (0..3).map(|ordinal| pod(ordinal, "zk-new")).collect();
    api.settle().await;
    {
        let mut pods = api.pods.lock().unwrap();
        let members = std::mem::take(&mut *pods);
        pods.extend((0..35).map(|number| {
            json!({ "metadata": { "name": format!("a-{number}"), "namespace": "default", "uid": number.to_string() } })
        }));
        pods.extend(members);
    }
    api.reconcile().await.unwrap();
    assert_eq!(api.status()["phase"], "Serving");
    assert_eq!(api.status()["readyReplicas"], 3);
    let seen = api.seen.lock().unwrap();
    let lists = seen.iter().filter(|seen| seen.verb == "list");
    for list in lists.filter(|list| list.kind != "events.k8s.io/events") {
        assert!(list.query.contains("limit=10"), "{list:?}");
    }
}

#[tokio::test]
async fn older_configurations_are_deleted_behind_any_number_of_objects_of_others() {
    let api = changed().await;
    for number in 0..35 {
        let foreign = json!({ "metadata": { "name": format!("a-{number}"), "uid": "foreign" } });
        api.put(&format!("/configmaps a-{number}"), foreign);
    }
    api.reconcile().await.unwrap();
    assert_eq!(configurations(&api).len(), 37);
    *api.pods.lock().unwrap() = (0..3).map(|ordinal| pod(ordinal, "zk-new")).collect();
    for _ in 0..2 {
        api.reconcile().await.unwrap();
    }
    assert_eq!(configurations(&api).len(), 36);
    assert!(!configurations(&api).contains(&config_map()));
}
