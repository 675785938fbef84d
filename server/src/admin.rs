//! HTTP: the two probes on the admin port, the metrics on theirs.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::metrics;
use crate::probe::Probe;

/// Serves `/live` and `/ready` until the task is dropped.
pub(crate) async fn serve_probes(listener: TcpListener, probe: Arc<Probe>) {
    let router = Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .with_state(probe);
    serve(listener, router).await;
}

/// Serves `/metrics` until the task is dropped.
pub(crate) async fn serve_metrics(listener: TcpListener, probe: Arc<Probe>) {
    let router = Router::new()
        .route("/metrics", get(show_metrics))
        .with_state(probe);
    serve(listener, router).await;
}

async fn serve(listener: TcpListener, router: Router) {
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "an HTTP listener has ended");
    }
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
    (
        code,
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
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
