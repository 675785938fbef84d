//! An API server made of a table: it stores what is applied, knows dry runs, and remembers every request.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{Request, Response, StatusCode};
use kube::client::Body;
use kube::runtime::controller::Action;
use serde_json::{Value, json};

use super::watches::Watched;
use super::{Context, ReconcileError, reconcile};
use crate::ensemble::{Answer, Role, Zxid};
use crate::looks::Looks;
use crate::metrics::Metrics;
use crate::quorum_client::{AskError, QuorumAdmin, Report};
use crate::testing::sample;

/// In place of an error code: the request is never answered.
pub(super) const NEVER: u16 = 0;

/// One request as the API server saw it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) verb: &'static str,
    /// Group, resource and subresource, such as `apps/statefulsets`.
    pub(super) kind: String,
    pub(super) name: Option<String>,
    pub(super) query: String,
    pub(super) body: Value,
}

impl Seen {
    fn object(&self) -> String {
        format!("{} {}", self.kind, self.name.as_deref().unwrap_or_default())
    }

    pub(super) fn line(&self) -> String {
        let name = self
            .name
            .as_deref()
            .map(|name| format!(" {name}"))
            .unwrap_or_default();
        let verb = if self.query.contains("dryRun") {
            "try"
        } else {
            self.verb
        };
        format!("{verb} {}{name}", self.kind)
    }
}

/// Answers requests from stored objects, and remembers the requests.
#[derive(Clone)]
pub(super) struct FakeApi {
    pub(super) ensemble: Arc<Mutex<Value>>,
    pub(super) pods: Arc<Mutex<Vec<Value>>>,
    /// Pods that are made just after the pods of an ensemble were listed.
    pub(super) late_pods: Arc<Mutex<Vec<Value>>>,
    /// What was applied, by kind and name, such as `/configmaps zk-config`.
    pub(super) objects: Arc<Mutex<BTreeMap<String, Value>>>,
    pub(super) refusals: Arc<Mutex<BTreeMap<String, u16>>>,
    /// What a refusal says, where it matters, by the request's line.
    pub(super) words: Arc<Mutex<BTreeMap<String, Value>>>,
    /// Objects with this text in them are refused as invalid.
    pub(super) refused_text: Arc<Mutex<Option<&'static str>>>,
    pub(super) seen: Arc<Mutex<Vec<Seen>>>,
    pub(super) looks: Looks,
    /// Events about the StatefulSet.
    pub(super) events: Arc<Mutex<Vec<Value>>>,
    /// By ordinal, what servers say instead of serving.
    pub(super) says: Arc<Mutex<BTreeMap<i32, Says>>>,
}

impl FakeApi {
    pub(super) fn new() -> Self {
        let api = Self {
            ensemble: Arc::default(),
            pods: Arc::default(),
            late_pods: Arc::default(),
            objects: Arc::default(),
            refusals: Arc::default(),
            words: Arc::default(),
            refused_text: Arc::default(),
            seen: Arc::default(),
            looks: Looks::new(Instant::now()),
            events: Arc::default(),
            says: Arc::default(),
        };
        *api.ensemble.lock().unwrap() = serde_json::to_value(sample("zk", 3)).unwrap();
        *api.pods.lock().unwrap() = (0..3).map(|ordinal| pod(ordinal, "zk-old")).collect();
        api
    }

    /// Answers requests of this line with an error code.
    pub(super) fn refuse(self, line: &str, code: u16) -> Self {
        self.refusals.lock().unwrap().insert(line.to_owned(), code);
        self
    }

    /// Answers requests of this line with an error code and this message.
    pub(super) fn refuse_with(self, line: &str, code: u16, message: &str) -> Self {
        self.refuse_in_words(line, code, json!({ "message": message }))
    }

    /// Answers requests of this line as the API server does while the namespace is being deleted.
    pub(super) fn refuse_in_terminating_namespace(self, line: &str) -> Self {
        let message = "zk is forbidden: unable to create new content in namespace default because it is being terminated";
        let cause = json!({ "reason": "NamespaceTerminating", "message": "namespace default is being terminated", "field": "metadata.namespace" });
        let words = json!({ "message": message, "details": { "name": "zk", "causes": [cause] } });
        self.refuse_in_words(line, 403, words)
    }

    fn refuse_in_words(self, line: &str, code: u16, words: Value) -> Self {
        self.words.lock().unwrap().insert(line.to_owned(), words);
        self.refuse(line, code)
    }

    /// Events of this reason that were written.
    pub(super) fn events_of(&self, reason: &str) -> Vec<Value> {
        let seen = self.seen.lock().unwrap();
        let events = seen
            .iter()
            .filter(|seen| seen.line().starts_with("create events"));
        events
            .filter(|seen| seen.body["reason"] == reason)
            .map(|seen| seen.body.clone())
            .collect()
    }

    pub(super) fn client(&self) -> kube::Client {
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
        self.seen.lock().unwrap().push(seen.clone());
        let (code, answer) = match refusal {
            Some(NEVER) => std::future::pending().await,
            Some(code) => {
                let mut refusal = refusal_of(code);
                if let Some(words) = self.words.lock().unwrap().get(&seen.line()) {
                    merge(&mut refusal, words);
                }
                (code, refusal)
            }
            None => {
                let (code, answer) = self.stored(&seen, body);
                (code, page_of(answer, &seen.query))
            }
        };
        Response::builder()
            .status(StatusCode::from_u16(code).unwrap())
            .body(Body::from(serde_json::to_vec(&answer).unwrap()))
            .unwrap()
    }

    fn stored(&self, seen: &Seen, body: Value) -> (u16, Value) {
        match (seen.verb, seen.kind.as_str()) {
            (
                "list",
                kind @ ("/configmaps" | "/persistentvolumeclaims" | "policy/poddisruptionbudgets"),
            ) => {
                let objects = self.objects.lock().unwrap();
                let found = objects.iter().filter(|(key, _)| key.starts_with(kind));
                // No test has labels of others.
                let any = !seen.query.contains("labelSelector") || kind == "/configmaps";
                let found =
                    found.filter(|(_, object)| any || object["metadata"]["labels"].is_object());
                let items: Vec<Value> = found.map(|(_, object)| object.clone()).collect();
                (
                    200,
                    json!({ "kind": "List", "apiVersion": "v1", "metadata": {}, "items": items }),
                )
            }
            ("delete", "/configmaps") => {
                self.objects.lock().unwrap().remove(&seen.object());
                (
                    200,
                    json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" }),
                )
            }
            ("list", "/pods") => {
                let mut pods = self.pods.lock().unwrap();
                let listed = pods.clone();
                pods.append(&mut self.late_pods.lock().unwrap());
                (
                    200,
                    json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": listed }),
                )
            }
            ("list", "events.k8s.io/events") => (
                200,
                json!({ "kind": "EventList", "apiVersion": "events.k8s.io/v1", "metadata": {}, "items": *self.events.lock().unwrap() }),
            ),
            ("list", "quorate.dev/zookeeperensembles") => {
                let items = [self.ensemble.lock().unwrap().clone()];
                (
                    200,
                    json!({ "kind": "List", "apiVersion": "v1", "metadata": {}, "items": items }),
                )
            }
            ("get", "quorate.dev/zookeeperensembles") => {
                (200, self.ensemble.lock().unwrap().clone())
            }
            ("patch", "quorate.dev/zookeeperensembles/status") => {
                let mut ensemble = self.ensemble.lock().unwrap();
                ensemble["status"] = body["status"].clone();
                (200, ensemble.clone())
            }
            ("create", "/pods/eviction")
            | ("delete", "/pods" | "networking.k8s.io/networkpolicies") => (
                200,
                json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" }),
            ),
            ("get", _) => match self.objects.lock().unwrap().get(&seen.object()) {
                Some(object) => (200, object.clone()),
                None => (404, refusal_of(404)),
            },
            ("patch", _) if seen.query.contains("force=true") => self.applied(seen, body),
            ("patch", _) => self.merged(seen, &body),
            _ => (200, body),
        }
    }

    /// A merge patch of the StatefulSet.
    fn merged(&self, seen: &Seen, body: &Value) -> (u16, Value) {
        let mut objects = self.objects.lock().unwrap();
        let object = objects.get_mut(&seen.object()).unwrap();
        assert_eq!(body["metadata"]["uid"], object["metadata"]["uid"]);
        merge(object, body);
        let strategy = object["spec"]["updateStrategy"].as_object_mut().unwrap();
        strategy.retain(|_, value| !value.is_null());
        (200, object.clone())
    }

    /// Server-side apply, as far as the operator can tell it from the real one.
    fn applied(&self, seen: &Seen, body: Value) -> (u16, Value) {
        let refused = *self.refused_text.lock().unwrap();
        if refused.is_some_and(|text| body.to_string().contains(text)) {
            return (422, refusal_of(422));
        }
        let mut objects = self.objects.lock().unwrap();
        let found = objects.get(&seen.object());
        let wanted = &body["metadata"];
        let fits = match found {
            Some(object) => {
                wanted["resourceVersion"].is_null() && wanted["uid"] == object["metadata"]["uid"]
            }
            None => wanted["uid"].is_null(),
        };
        if !fits {
            return (409, refusal_of(409));
        }
        let mut object = found.cloned().unwrap_or_else(|| json!({ "metadata": {} }));
        let before = object.clone();
        if let Some(spec) = object["spec"].as_object_mut() {
            spec.remove("updateStrategy");
        }
        merge(&mut object, &body);
        let metadata = &mut object["metadata"];
        metadata.as_object_mut().unwrap().remove("resourceVersion");
        if metadata["uid"].is_null() {
            metadata["uid"] = json!(format!("uid of {}", seen.object()));
        }
        if object != before {
            let generation = before["metadata"]["generation"].as_i64().unwrap_or(0);
            object["metadata"]["generation"] = json!(generation + 1);
        }
        if !seen.query.contains("dryRun") {
            objects.insert(seen.object(), object.clone());
        }
        (200, object)
    }

    /// Stores an object that somebody else made.
    pub(super) fn put(&self, kind_and_name: &str, object: Value) {
        self.objects
            .lock()
            .unwrap()
            .insert(kind_and_name.to_owned(), object);
    }

    /// Lets the StatefulSet controller look at what was applied.
    pub(super) fn seen_by_controller(&self) {
        let mut objects = self.objects.lock().unwrap();
        let set = objects.get_mut("apps/statefulsets zk").unwrap();
        let generation = set["metadata"]["generation"].clone();
        set["status"]["observedGeneration"] = generation;
    }

    /// Makes the claims of an ensemble of this uid and size, as the StatefulSet controller does from the template.
    pub(super) fn keep_claims(&self, ordinals: &[i32], uid: &str, voters: i32) {
        for ordinal in ordinals {
            let name = format!("data-zk-{ordinal}");
            let claim = json!({
                "metadata": {
                    "name": name, "uid": format!("uid of {name}"),
                    "creationTimestamp": "2026-01-01T00:00:00Z",
                    "labels": { "app.kubernetes.io/name": "zookeeper", "app.kubernetes.io/instance": "zk" },
                    "annotations": { "quorate.dev/ensemble-uid": uid, "quorate.dev/voters": voters.to_string() },
                },
                "spec": { "volumeName": "pv", "resources": { "requests": { "storage": "1Gi" } } },
            });
            self.put(&format!("/persistentvolumeclaims {name}"), claim);
        }
    }

    /// Lets the kubelet have taken every pod, so that each uses a volume.
    pub(super) fn run_pods(&self) {
        for pod in self.pods.lock().unwrap().iter_mut() {
            pod["status"]["startTime"] = json!("2026-01-01T00:01:00Z");
        }
    }

    /// Changes a claim, or somebody takes it away.
    pub(super) fn change_claim(&self, ordinal: i32, change: impl FnOnce(&mut Value)) {
        let key = format!("/persistentvolumeclaims data-zk-{ordinal}");
        change(self.objects.lock().unwrap().get_mut(&key).unwrap());
    }

    /// Sets a field of the StatefulSet's status.
    pub(super) fn set(&self, field: &str, value: &str) {
        let mut objects = self.objects.lock().unwrap();
        let set = objects.get_mut("apps/statefulsets zk").unwrap();
        set["status"][field] = json!(value);
    }

    /// A pod was evicted or deleted.
    pub(super) fn took_a_pod(&self) -> bool {
        let seen = self.seen.lock().unwrap();
        seen.iter().any(|seen| {
            ["create /pods/eviction", "delete /pods"]
                .iter()
                .any(|taken| seen.line().starts_with(taken))
        })
    }

    pub(super) fn strategy(&self) -> Value {
        let objects = self.objects.lock().unwrap();
        objects["apps/statefulsets zk"]["spec"]["updateStrategy"].clone()
    }

    /// An annotation of the StatefulSet.
    pub(super) fn note(&self, annotation: &str) -> String {
        let objects = self.objects.lock().unwrap();
        let set = &objects["apps/statefulsets zk"];
        let note = set["metadata"]["annotations"][annotation].as_str();
        note.unwrap_or_default().to_owned()
    }

    /// Writes an annotation of the StatefulSet.
    pub(super) fn annotate(&self, annotation: &str, note: &str) {
        let mut objects = self.objects.lock().unwrap();
        let set = objects.get_mut("apps/statefulsets zk").unwrap();
        set["metadata"]["annotations"][annotation] = json!(note);
    }

    /// Sets the strategy of the StatefulSet.
    pub(super) fn set_strategy(&self, strategy: &Value) {
        let mut objects = self.objects.lock().unwrap();
        let set = objects.get_mut("apps/statefulsets zk").unwrap();
        set["spec"]["updateStrategy"] = strategy.clone();
    }

    /// Stores all objects of a serving ensemble, and the StatefulSet as its controller has seen it.
    pub(super) async fn settle(&self) {
        self.reconcile().await.unwrap();
        let mut objects = self.objects.lock().unwrap();
        let set = objects.get_mut("apps/statefulsets zk").unwrap();
        set["metadata"]["uid"] = json!("set-uid");
        set["status"] = json!({
            "replicas": 3, "updateRevision": "zk-new", "currentRevision": "zk-new",
            "observedGeneration": set["metadata"]["generation"],
        });
        drop(objects);
        self.seen.lock().unwrap().clear();
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(Seen::line).collect()
    }

    pub(super) fn find(&self, line: &str) -> Option<Seen> {
        self.seen
            .lock()
            .unwrap()
            .iter()
            .find(|seen| seen.line().starts_with(line))
            .cloned()
    }

    pub(super) fn status(&self) -> Value {
        self.ensemble.lock().unwrap()["status"].clone()
    }

    pub(super) async fn reconcile(&self) -> Result<Action, ReconcileError> {
        self.reconcile_by("quorate/quorate:test").await
    }

    /// A look by an operator with this default image.
    pub(super) async fn reconcile_by(&self, default_image: &str) -> Result<Action, ReconcileError> {
        self.reconcile_in(Arc::new(self.context(default_image)))
            .await
    }

    /// What one operator with this default image knows.
    pub(super) fn context(&self, default_image: &str) -> Context<FakeAdmin> {
        Context::new(
            self.client(),
            FakeAdmin(Arc::clone(&self.says)),
            default_image.to_owned(),
            Metrics::new(),
            self.looks.clone(),
        )
    }

    /// A look by the operator that knows this.
    pub(super) async fn reconcile_in(
        &self,
        context: Arc<Context<FakeAdmin>>,
    ) -> Result<Action, ReconcileError> {
        let cached: Watched =
            serde_json::from_value(serde_json::to_value(sample("zk", 3)).unwrap()).unwrap();
        reconcile::reconcile(Arc::new(cached), context).await
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

/// The page of a list that the query asks for; anything else as it is.
fn page_of(mut answer: Value, query: &str) -> Value {
    let number = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.find(|(found, _)| *found == name)?.1;
        value.parse::<usize>().ok()
    };
    if let (Some(items), Some(limit)) = (answer["items"].as_array(), number("limit")) {
        let start = number("continue").unwrap_or(0);
        let end = items.len().min(start + limit);
        let (page, is_last) = (items[start..end].to_vec(), end == items.len());
        answer["items"] = json!(page);
        if !is_last {
            answer["metadata"]["continue"] = json!(end.to_string());
        }
    }
    answer
}

fn refusal_of(code: u16) -> Value {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        422 => "Invalid",
        429 => "TooManyRequests",
        500 => "InternalError",
        other => panic!("no reason for {other}"),
    };
    json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": "refused by the test",
    })
}

/// Puts what `patch` says into `object`, lists as a whole.
fn merge(object: &mut Value, patch: &Value) {
    match (object, patch) {
        (Value::Object(object), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(object.entry(key).or_insert(Value::Null), value);
            }
        }
        (object, patch) => *object = patch.clone(),
    }
}

pub(super) fn pod(ordinal: u8, revision: &str) -> Value {
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

/// The server at 10.0.0.2 leads, and each says what it was told to say instead.
pub(super) struct FakeAdmin(Arc<Mutex<BTreeMap<i32, Says>>>);

/// What a server says instead of serving.
#[derive(Clone, Debug)]
pub(super) enum Says {
    /// It keeps itself out of the ensemble, for this reason.
    OutOfService(&'static str),
    /// It does not reach this server.
    Unreachable(&'static str),
    /// Its port answers with this status code.
    Status(u16),
    /// Its port takes the question and never answers.
    Nothing,
}

impl QuorumAdmin for FakeAdmin {
    async fn ask(&self, server: SocketAddr) -> Result<Report, AskError> {
        assert_eq!(server.port(), 8080);
        let ip = server.ip().to_string();
        let ordinal: i32 = ip.rsplit('.').next().unwrap().parse().unwrap();
        let leads = ordinal == 2;
        let serving = Report::from(Answer {
            role: if leads { Role::Leader } else { Role::Follower },
            zxid: Zxid::new(1, 5),
            synced_followers: leads.then_some(2),
            digest_mismatches: 0,
            out_of_service: false,
        });
        let looking = Answer {
            role: Role::Looking,
            zxid: Zxid::default(),
            ..serving.answer
        };
        let says = self.0.lock().unwrap().get(&ordinal).cloned();
        match says {
            None => Ok(serving),
            Some(Says::OutOfService(problem)) => Ok(Report {
                answer: Answer {
                    out_of_service: true,
                    ..looking
                },
                problem: Some(problem.to_owned()),
                unreachable: Vec::new(),
            }),
            Some(Says::Unreachable(server)) => Ok(Report {
                unreachable: vec![server.to_owned()],
                ..Report::from(looking)
            }),
            Some(Says::Status(status)) => Err(AskError::Refused {
                path: "/commands/server_stats",
                status,
            }),
            Some(Says::Nothing) => {
                tokio::time::sleep(Duration::from_secs(2)).await;
                Err(AskError::Timeout(2000))
            }
        }
    }
}
