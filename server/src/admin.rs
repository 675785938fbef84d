//! HTTP: commands and probes on the admin port, the metrics on theirs.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use tokio::net::TcpListener;

use crate::command::{Answer, Asked, Commands};
use crate::config::AdminConfig;
use crate::http::{HttpListener, Remote};
use crate::metrics;
use crate::probe::Probe;

/// Serves the commands, `/live` and `/ready` until the task is dropped.
pub(crate) async fn serve_admin(
    listener: TcpListener,
    commands: Arc<Commands>,
    config: Option<AdminConfig>,
) {
    let Some(AdminConfig {
        command_url: url,
        idle_max,
        ..
    }) = config
    else {
        return;
    };
    let url = url.trim_end_matches('/').to_owned();
    let index = {
        let url = url.clone();
        move |method: Method| async move { show_index(&method, &url) }
    };
    let probe = commands.probe().clone();
    let probes = Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .with_state(probe.clone());
    let router = Router::new()
        .route(&format!("{url}/"), any(index.clone()))
        .route(&format!("{url}/{{name}}"), any(run_command))
        .with_state(commands)
        .merge(probes);
    let router = if url.is_empty() {
        router
    } else {
        router.route(&url, any(index))
    };
    serve(listener, idle_max, &probe, router).await;
}

/// Serves `/metrics` until the task is dropped.
pub(crate) async fn serve_metrics(listener: TcpListener, probe: Arc<Probe>) {
    let router = Router::new()
        .route("/metrics", get(show_metrics))
        .with_state(probe.clone());
    serve(listener, METRICS_IDLE_MAX, &probe, router).await;
}

async fn serve(listener: TcpListener, idle_max: Duration, probe: &Probe, router: Router) {
    let listener = HttpListener {
        listener,
        idle_max,
        clock: probe.clock(),
        metrics: probe.metrics().clone(),
    };
    listener.serve(router).await;
}

async fn live(State(probe): State<Arc<Probe>>) -> Response {
    let status = probe.status().await;
    answer(probe.is_live(), &probe.json(status.as_ref()))
}

async fn ready(State(probe): State<Arc<Probe>>) -> Response {
    let status = probe.status().await;
    let is_ready = status.as_ref().is_some_and(|status| status.is_serving);
    answer(is_ready, &probe.json(status.as_ref()))
}

fn answer(is_well: bool, body: &serde_json::Value) -> Response {
    let code = if is_well {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    json(code, body.to_string())
}

fn json(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Links to all commands (`JettyAdminServer.commandLinks`).
fn show_index(method: &Method, url: &str) -> Response {
    if !is_served(method) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let links =
        Commands::names().map(|name| format!("<a href=\"{url}/{name}\">{name}</a>\n<br/>\n"));
    let page: String = links.collect();
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

async fn run_command(
    State(commands): State<Arc<Commands>>,
    ConnectInfo(Remote(remote)): ConnectInfo<Remote>,
    method: Method,
    Path(name): Path<String>,
    Query(arguments): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    if !is_served(&method) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let trace_mask = arguments.iter().find(|(name, _)| name == "traceMask");
    let authorization = headers.get(header::AUTHORIZATION);
    let asked = Asked {
        name: &name,
        trace_mask: trace_mask.map(|(_, mask)| mask.as_str()),
        authorization: authorization.and_then(|value| value.to_str().ok()),
        remote,
        is_post: method == Method::POST,
    };
    match commands.run(&asked).await {
        Some(Answer { status, body }) => json(status, body),
        None => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

fn is_served(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::POST)
}

async fn show_metrics(State(probe): State<Arc<Probe>>) -> Response {
    match metrics::text(probe.facts().await) {
        Ok(text) => {
            const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
            ([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// A silent connection to the metrics port is closed after this, as on the
/// admin port by default.
const METRICS_IDLE_MAX: Duration = Duration::from_secs(30);
