//! Nothing is kept of an ensemble that is gone.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::controller::error_policy::Failures;
use crate::controller::fake_api::FakeApi;
use crate::controller::sweep;
use crate::looks::Seen;
use crate::testing::sample;

/// The controller does not look at an ensemble again that was deleted while it failed, so it never learns there.
#[tokio::test(start_paused = true)]
async fn what_is_remembered_of_ensembles_goes_when_they_are_listed_no_more() {
    let api = FakeApi::new();
    let failures = Failures::default();
    let here = sample("zk", 3).metadata.uid.unwrap();
    for uid in [here.as_str(), "gone"] {
        failures.count(uid, "SpecInvalid", 1);
    }
    for name in ["zk", "gone"] {
        let key = ("default".to_owned(), name.to_owned());
        api.looks.finished(key, Seen::default(), Instant::now());
    }
    let keep = |uids: &HashSet<String>| failures.keep(uids);
    let listing = sweep::sweep(api.client(), Some("default"), &api.looks, &keep);
    let endless = tokio::time::timeout(Duration::from_secs(5), listing).await;
    assert!(endless.is_err());
    assert!(failures.is_new("gone", "SpecInvalid", 1));
    assert!(!failures.is_new(&here, "SpecInvalid", 1));
    let known: Vec<String> = api
        .looks
        .shown(Instant::now())
        .into_iter()
        .map(|shown| shown.key.1)
        .collect();
    assert_eq!(known, ["zk"]);
    assert!(api.find("list quorate.dev/zookeeperensembles").is_some());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_forgotten_while_the_ensembles_cannot_be_listed() {
    let api = FakeApi::new().refuse("list quorate.dev/zookeeperensembles", 500);
    let failures = Failures::default();
    failures.count("here", "SpecInvalid", 1);
    let keep = |uids: &HashSet<String>| failures.keep(uids);
    let listing = sweep::sweep(api.client(), Some("default"), &api.looks, &keep);
    let endless = tokio::time::timeout(Duration::from_secs(5), listing).await;
    assert!(endless.is_err());
    assert!(!failures.is_new("here", "SpecInvalid", 1));
}
