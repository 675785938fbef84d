//! How often an ensemble is looked at whose members do not answer.

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::controller::Action;
use serde_json::json;

use crate::controller::fake_api::{FakeApi, Says, pod};

#[tokio::test(start_paused = true)]
async fn an_ensemble_whose_members_are_silent_is_looked_at_less_and_less_often() {
    let api = FakeApi::new();
    *api.pods.lock().unwrap() = (0..3).map(|ordinal| pod(ordinal, "zk-new")).collect();
    api.settle().await;
    let context = Arc::new(api.context("quorate/quorate:test"));
    // Something is awaited, which alone would be looked for every 3 s.
    api.pods.lock().unwrap()[0]["status"]["conditions"] = json!([]);
    let pause = |seconds| Action::requeue(Duration::from_secs(seconds));
    let look = || async { api.reconcile_in(Arc::clone(&context)).await.unwrap() };
    assert_eq!(look().await, pause(3));
    api.says.lock().unwrap().insert(0, Says::Nothing);
    for seconds in [3, 6, 12, 15, 15] {
        assert_eq!(look().await, pause(seconds));
    }
    api.says.lock().unwrap().clear();
    assert_eq!(look().await, pause(3), "it answers again");
}
