//! The operator as a process: how it starts without a cluster, and how it stops when the API server is silent.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

fn operator() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate-operator"));
    let arguments = [
        "run",
        "--default-image",
        "quorate/quorate:test",
        "--listen",
        "127.0.0.1:0",
    ];
    command.args(arguments);
    for name in [
        "KUBERNETES_SERVICE_HOST",
        "KUBERNETES_SERVICE_PORT",
        "QUORATE_LOG",
        "WATCH_NAMESPACE",
    ] {
        command.env_remove(name);
    }
    command.env("RUST_BACKTRACE", "1");
    command
}

/// A kubeconfig that names this API server.
fn kubeconfig(name: &str, server: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\ncontexts:\n- name: test\n  context: {{cluster: test, user: test}}\nclusters:\n- name: test\n  cluster: {{server: \"{server}\"}}\nusers:\n- name: test\n  user: {{}}\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// Waits for the end of the process, and ends it itself if that takes too long.
fn ends_within(child: &mut Child, time: Duration) -> bool {
    let deadline = Instant::now() + time;
    while Instant::now() < deadline {
        if child.try_wait().unwrap().is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    false
}

#[test]
fn without_an_api_server_it_says_so_in_one_line() {
    let missing = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("no-kubeconfig");
    let output = operator().env("KUBECONFIG", &missing).output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.starts_with("quorate-operator: finding the Kubernetes API server"),
        "{text}"
    );
}

#[test]
fn a_log_level_with_a_slip_is_refused_in_one_line() {
    let output = operator().args(["--log", "inof"]).output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("\"inof\" is no level"), "{text}");
}

#[test]
fn it_names_its_api_server_and_stops_within_seconds_although_that_is_silent() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", silent.local_addr().unwrap());
    let mut child = operator()
        .env("KUBECONFIG", kubeconfig("silent", &server))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let mut lines = stdout.lines().map(Result::unwrap);
    let start = lines.find(|line| line.contains("operator started"));
    let start = start.expect("the operator starts");
    assert!(start.contains(&server), "{start}");
    // It has asked, and waits for an answer.
    let (_connection, _) = silent.accept().unwrap();
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert!(ends_within(&mut child, Duration::from_secs(8)));
    assert!(child.wait().unwrap().success());
}

/// An API server of which the operator is a client, and the operator beside it.
struct Scene {
    operator: Child,
    /// Method and path of each request, without those of watches.
    requests: Arc<Mutex<Vec<String>>>,
    /// Those of them that ask for all objects at once, or for more of them than their metadata.
    greedy: Arc<Mutex<Vec<String>>>,
    /// Reads what the operator writes until it ends; absent once that was asked for.
    lines: Option<JoinHandle<Vec<String>>>,
}

/// A test that fails leaves no operator behind.
impl Drop for Scene {
    fn drop(&mut self) {
        let _it_has_ended = self.operator.kill();
        let _its_end = self.operator.wait();
    }
}

type Answer = fn(&Method, &str) -> (StatusCode, Value);

impl Scene {
    /// `name` is that of the kubeconfig. Watches are never answered, everything else by `answer`.
    fn new(name: &str, answer: Answer, change: impl FnOnce(&mut Command)) -> Self {
        let (requests, greedy) = (Arc::default(), Arc::default());
        let address = serve(answer, Arc::clone(&requests), Arc::clone(&greedy));
        let server = format!("http://{address}");
        let mut command = operator();
        command.env("KUBECONFIG", kubeconfig(name, &server));
        change(&mut command);
        let mut operator = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(operator.stdout.take().unwrap());
        let lines = std::thread::spawn(|| stdout.lines().map(Result::unwrap).collect());
        Self {
            operator,
            requests,
            greedy,
            lines: Some(lines),
        }
    }

    /// Waits until there have been so many requests of this kind.
    fn wait_for(&self, request: &str, times: usize) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.count(request) < times {
            assert!(Instant::now() < deadline, "{:?}", self.requests.lock());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn count(&self, request: &str) -> usize {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|it| *it == request).count()
    }

    /// Ends the operator and returns what it has written.
    fn end(mut self) -> Vec<String> {
        self.operator.kill().unwrap();
        self.operator.wait().unwrap();
        self.lines.take().unwrap().join().unwrap()
    }
}

/// Serves in a thread of its own until the test ends; returns the address.
fn serve(
    answer: Answer,
    requests: Arc<Mutex<Vec<String>>>,
    greedy: Arc<Mutex<Vec<String>>>,
) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let handle = move |request: Request| {
        let (requests, greedy) = (Arc::clone(&requests), Arc::clone(&greedy));
        async move {
            let (method, uri) = (request.method(), request.uri());
            if uri.query().unwrap_or_default().contains("watch=true") {
                return std::future::pending::<Response>().await;
            }
            let line = format!("{method} {}", uri.path());
            let accept = request.headers().get("accept");
            let accept = accept.map(|accept| accept.to_str().unwrap());
            let is_bounded = uri.query().unwrap_or_default().contains("limit=");
            if !is_bounded
                || !accept.is_some_and(|accept| accept.contains("PartialObjectMetadataList"))
            {
                greedy.lock().unwrap().push(line.clone());
            }
            requests.lock().unwrap().push(line);
            let (code, body) = answer(method, uri.path());
            (code, Json(body)).into_response()
        }
    };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let app = axum::Router::new().fallback(handle);
            axum::serve(listener, app).await.unwrap();
        });
    });
    address
}

fn refusal(message: &str, causes: &Value) -> (StatusCode, Value) {
    let refusal = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden",
        "message": message, "details": { "causes": causes },
    });
    (StatusCode::FORBIDDEN, refusal)
}

/// One ensemble, in a namespace that is being deleted.
fn in_a_namespace_that_goes(method: &Method, path: &str) -> (StatusCode, Value) {
    let ensemble = json!({
        "apiVersion": "quorate.dev/v1alpha1", "kind": "ZookeeperEnsemble",
        "metadata": { "name": "zk", "namespace": "default", "uid": "u", "generation": 1, "resourceVersion": "7" },
        "spec": { "replicas": 3, "storage": { "size": "1Gi" } },
    });
    let list = |items: Value| json!({ "kind": "List", "apiVersion": "v1", "metadata": { "resourceVersion": "7" }, "items": items });
    let in_namespace = path.split_once("/namespaces/default/");
    let is_named = in_namespace.is_some_and(|(_, rest)| rest.contains('/'));
    if method != Method::GET && !path.ends_with("/status") {
        let cause = json!([{ "reason": "NamespaceTerminating", "message": "namespace default is being terminated", "field": "metadata.namespace" }]);
        return refusal(
            "zk is forbidden: unable to create new content in namespace default because it is being terminated",
            &cause,
        );
    }
    match path.rsplit('/').next() {
        Some("zk" | "status") if path.contains("zookeeperensembles") => (StatusCode::OK, ensemble),
        Some("zookeeperensembles") => (StatusCode::OK, list(json!([ensemble]))),
        _ if is_named => (
            StatusCode::NOT_FOUND,
            json!({ "kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": "not found" }),
        ),
        Some(_) | None => (StatusCode::OK, list(json!([]))),
    }
}

#[test]
fn a_namespace_that_is_being_deleted_is_one_line_that_says_which_ensemble_and_why() {
    let scene = Scene::new("namespace-goes", in_a_namespace_that_goes, |_| {});
    let look = "GET /apis/quorate.dev/v1alpha1/namespaces/default/zookeeperensembles/zk";
    scene.wait_for(look, 3);
    let lines = scene.end();
    let told = lines.iter().filter(|it| !it.contains("operator started"));
    let told: Vec<&String> = told.collect();
    let [line] = told.as_slice() else {
        panic!("one line: {lines:#?}");
    };
    for part in [
        "INFO zk_operator",
        "namespace=\"default\"",
        "ensemble=\"zk\"",
        "reason=\"NamespaceTerminating\"",
    ] {
        assert!(line.contains(part), "{line}");
    }
    assert!(!line.contains("reconciling object"), "{line}");
}

fn forbidden(_: &Method, path: &str) -> (StatusCode, Value) {
    let kind = path.rsplit('/').next().unwrap_or_default();
    refusal(
        &format!("{kind} is forbidden: the test says so"),
        &json!([]),
    )
}

#[test]
fn rights_that_are_missing_are_one_line_for_each_kind_however_often_they_are_asked_for() {
    let scene = Scene::new("forbidden", forbidden, |_| {});
    scene.wait_for("GET /api/v1/pods", 3);
    let lines = scene.end();
    let about_pods: Vec<&String> = lines.iter().filter(|it| it.contains("pods")).collect();
    let [line] = about_pods.as_slice() else {
        panic!("one line: {lines:#?}");
    };
    assert!(
        line.contains("WARN") && line.ends_with("error=\"pods is forbidden: the test says so\""),
        "{line}"
    );
}

#[test]
fn one_namespace_is_looked_at_if_it_is_named_and_all_if_none_is() {
    let by_flag = |command: &mut Command| {
        command.args(["--namespace", "shop"]);
    };
    let by_environment = |command: &mut Command| {
        command.env("WATCH_NAMESPACE", "shop");
    };
    // What the chart sets when no namespace is named.
    let by_empty = |command: &mut Command| {
        command.env("WATCH_NAMESPACE", "");
    };
    let scenes = [
        (
            Scene::new("by-flag", forbidden, by_flag),
            "/namespaces/shop",
        ),
        (
            Scene::new("by-environment", forbidden, by_environment),
            "/namespaces/shop",
        ),
        (Scene::new("everywhere", forbidden, by_empty), ""),
    ];
    for (scene, namespace) in scenes {
        // The eight kinds that are watched, and the list of the ensembles.
        let groups = [
            ("/api/v1", "pods"),
            ("/api/v1", "configmaps"),
            ("/api/v1", "services"),
            ("/api/v1", "serviceaccounts"),
            ("/apis/apps/v1", "statefulsets"),
            ("/apis/policy/v1", "poddisruptionbudgets"),
            ("/apis/networking.k8s.io/v1", "networkpolicies"),
            ("/apis/quorate.dev/v1alpha1", "zookeeperensembles"),
        ];
        let wanted: BTreeSet<String> = groups
            .iter()
            .map(|(group, kind)| format!("GET {group}{namespace}/{kind}"))
            .collect();
        for request in &wanted {
            scene.wait_for(request, 1);
        }
        let requests = scene.requests.lock().unwrap().clone();
        let greedy = scene.greedy.lock().unwrap().clone();
        scene.end();
        assert_eq!(BTreeSet::from_iter(requests), wanted);
        // One object may have a megabyte of labels.
        assert_eq!(greedy, Vec::<String>::new());
    }
}
