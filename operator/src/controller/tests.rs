//! The controller against an API server made of a table: which requests it sends, in which order, with what.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::{Request, Response, StatusCode};
use kube::client::Body;
use kube::runtime::controller::Action;
use serde_json::{Value, json};

use super::watches::Guarded;
use super::{Context, PERMISSIONS, ReconcileError, reconcile};
use crate::ensemble::{Answer, Role, Zxid};
use crate::metrics::Metrics;
use crate::quorum_client::{AskError, QuorumAdmin};
use crate::testing::sample;

/// One request as the API server saw it.
#[derive(Clone, Debug)]
struct Seen {
    verb: &'static str,
    /// Group, resource and subresource, such as `apps/statefulsets`.
    kind: String,
    name: Option<String>,
    query: String,
    body: Value,
}

impl Seen {
    fn line(&self) -> String {
        let name = self
            .name
            .as_deref()
            .map(|name| format!(" {name}"))
            .unwrap_or_default();
        format!("{} {}{name}", self.verb, self.kind)
    }
}

/// Answers requests from stored objects, and remembers the requests.
#[derive(Clone, Default)]
struct FakeApi {
    ensemble: Arc<Mutex<Value>>,
    pods: Arc<Mutex<Vec<Value>>>,
    refusals: Arc<Mutex<BTreeMap<String, u16>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl FakeApi {
    fn new() -> Self {
        let api = Self::default();
        *api.ensemble.lock().unwrap() = serde_json::to_value(sample("zk", 3)).unwrap();
        *api.pods.lock().unwrap() = (0..3).map(|ordinal| pod(ordinal, "zk-old")).collect();
        api
    }

    /// Answers requests of this line with an error code.
    fn refuse(self, line: &str, code: u16) -> Self {
        self.refusals.lock().unwrap().insert(line.to_owned(), code);
        self
    }

    fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move { Ok::<_, std::convert::Infallible>(api.answer(request).await) }
        });
        kube::Client::new(service, "default")
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let bytes = body.collect_bytes().await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let (kind, name) = kind_and_name(parts.uri.path());
        let verb = match (parts.method.as_str(), &name) {
            ("GET", Some(_)) => "get",
            ("GET", None) => "list",
            ("PATCH", _) => "patch",
            ("POST", _) => "create",
            ("DELETE", _) => "delete",
            (other, _) => panic!("unexpected method {other}"),
        };
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let seen = Seen {
            verb,
            kind: kind.clone(),
            name,
            query,
            body: body.clone(),
        };
        let refusal = self.refusals.lock().unwrap().get(&seen.line()).copied();
        self.seen.lock().unwrap().push(seen);
        let (code, answer) = match refusal {
            Some(code) => (code, refusal_of(code)),
            None => (200, self.stored(verb, &kind, body)),
        };
        Response::builder()
            .status(StatusCode::from_u16(code).unwrap())
            .body(Body::from(serde_json::to_vec(&answer).unwrap()))
            .unwrap()
    }

    fn stored(&self, verb: &str, kind: &str, body: Value) -> Value {
        match (verb, kind) {
            ("get" | "patch", "apps/statefulsets") => stateful_set(),
            ("list", "/pods") => {
                json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": *self.pods.lock().unwrap() })
            }
            ("get", "quorate.dev/zookeeperensembles") => self.ensemble.lock().unwrap().clone(),
            ("patch", "quorate.dev/zookeeperensembles/status") => {
                let mut ensemble = self.ensemble.lock().unwrap();
                ensemble["status"] = body["status"].clone();
                ensemble.clone()
            }
            ("delete", "/pods") => {
                json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" })
            }
            _ => body,
        }
    }

    fn lines(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(Seen::line).collect()
    }

    fn find(&self, line: &str) -> Option<Seen> {
        self.seen
            .lock()
            .unwrap()
            .iter()
            .find(|seen| seen.line().starts_with(line))
            .cloned()
    }

    fn status(&self) -> Value {
        self.ensemble.lock().unwrap()["status"].clone()
    }

    async fn reconcile(&self) -> Result<Action, ReconcileError> {
        let context = Context::new(
            self.client(),
            FakeAdmin,
            "quorate/quorate:test".to_owned(),
            Metrics::new(),
        );
        let cached: Guarded =
            serde_json::from_value(serde_json::to_value(sample("zk", 3)).unwrap()).unwrap();
        reconcile::reconcile(Arc::new(cached), Arc::new(context)).await
    }
}

/// Group with resource, and the object's name, from a path of the API.
fn kind_and_name(path: &str) -> (String, Option<String>) {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (group, rest) = match parts.as_slice() {
        ["api", "v1", "namespaces", "default", rest @ ..] => ("", rest),
        ["apis", group, _, "namespaces", "default", rest @ ..] => (*group, rest),
        _ => panic!("unexpected path {path}"),
    };
    match rest {
        [resource] => (format!("{group}/{resource}"), None),
        [resource, name] => (format!("{group}/{resource}"), Some((*name).to_owned())),
        [resource, name, subresource] => (
            format!("{group}/{resource}/{subresource}"),
            Some((*name).to_owned()),
        ),
        _ => panic!("unexpected path {path}"),
    }
}

fn refusal_of(code: u16) -> Value {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        other => panic!("no reason for {other}"),
    };
    json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": "refused by the test",
    })
}

fn stateful_set() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": { "name": "zk", "namespace": "default", "uid": "set-uid", "generation": 2 },
        "status": { "replicas": 3, "observedGeneration": 2, "updateRevision": "zk-new" },
    })
}

fn pod(ordinal: u8, revision: &str) -> Value {
    json!({
        "metadata": {
            "name": format!("zk-{ordinal}"), "namespace": "default",
            "uid": format!("uid-{ordinal}"), "resourceVersion": format!("10{ordinal}"),
            "labels": { "controller-revision-hash": revision },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "zk", "uid": "set-uid", "controller": true,
            }],
        },
        "status": {
            "podIP": format!("10.0.0.{ordinal}"),
            "conditions": [{ "type": "Ready", "status": "True" }],
        },
    })
}

/// The server at 10.0.0.2 leads.
struct FakeAdmin;

impl QuorumAdmin for FakeAdmin {
    async fn ask(&self, server: SocketAddr) -> Result<Answer, AskError> {
        assert_eq!(server.port(), 8080);
        let leads = server.ip().to_string() == "10.0.0.2";
        Ok(Answer {
            role: if leads { Role::Leader } else { Role::Follower },
            zxid: Zxid::new(1, 5),
            synced_followers: leads.then_some(2),
        })
    }
}

#[tokio::test]
async fn stages_follow_each_other_and_the_stateful_set_is_applied_last() {
    let api = FakeApi::new();
    api.reconcile().await.unwrap();
    assert_eq!(
        api.lines(),
        [
            "get quorate.dev/zookeeperensembles zk",
            "patch /serviceaccounts zk",
            "patch /configmaps zk-config",
            "patch /services zk-headless",
            "patch /services zk-client",
            "patch policy/poddisruptionbudgets zk",
            "patch apps/statefulsets zk",
            "get apps/statefulsets zk",
            "list /pods",
            "create events.k8s.io/events",
            "delete /pods zk-1",
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
        api.reconcile().await.unwrap();
        assert!(
            api.find("patch quorate.dev/zookeeperensembles/status")
                .is_some()
        );
    }
}

#[tokio::test]
async fn pods_of_a_former_stateful_set_are_no_members() {
    let api = FakeApi::new();
    for pod in api.pods.lock().unwrap().iter_mut() {
        pod["metadata"]["ownerReferences"][0]["uid"] = json!("former-uid");
    }
    api.reconcile().await.unwrap();
    assert!(api.find("delete").is_none());
    assert_eq!(api.status()["readyReplicas"], 0);
}

#[tokio::test]
async fn a_refused_object_stops_the_reconcile_and_is_reported() {
    let api = FakeApi::new().refuse("patch policy/poddisruptionbudgets zk", 403);
    let error = api.reconcile().await.unwrap_err();
    assert_eq!(error.reason(), "ApplyFailed");
    assert!(api.find("patch apps/statefulsets").is_none());
    let condition = &api.status()["conditions"][0];
    assert_eq!(
        condition["message"],
        "applying the PodDisruptionBudget: refused by the test"
    );
    assert_eq!(
        (&condition["type"], &condition["status"]),
        (&json!("Reconciled"), &json!("False"))
    );
    assert_eq!(
        api.find("create events.k8s.io/events").unwrap().body["reason"],
        "ApplyFailed"
    );
}

#[tokio::test]
async fn an_object_that_cannot_be_read_keeps_its_status_and_says_so_once() {
    let api = FakeApi::new();
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
    api.reconcile().await.unwrap();
    for seen in api.seen.lock().unwrap().iter() {
        let granted = PERMISSIONS.iter().any(|permission| {
            seen.kind == format!("{}/{}", permission.group, permission.resource)
                && permission.verbs.contains(&seen.verb)
        });
        assert!(granted, "{} is used, but not declared", seen.line());
    }
}
