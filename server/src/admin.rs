//! HTTP: commands and probes on the admin port, the metrics on theirs.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep, sleep};

use crate::command::{Answer, Asked, Commands};
use crate::config::AdminConfig;
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
    let probes = Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .with_state(commands.probe().clone());
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
    serve(listener, idle_max, router).await;
}

/// Serves `/metrics` until the task is dropped.
pub(crate) async fn serve_metrics(listener: TcpListener, probe: Arc<Probe>) {
    let router = Router::new()
        .route("/metrics", get(show_metrics))
        .with_state(probe);
    serve(listener, METRICS_IDLE_MAX, router).await;
}

async fn serve(listener: TcpListener, idle_max: Duration, router: Router) {
    let listener = IdleListener { listener, idle_max };
    let service = router.into_make_service_with_connect_info::<Remote>();
    if let Err(error) = axum::serve(listener, service).await {
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

/// Accepts connections that end when nothing happens on them.
struct IdleListener {
    listener: TcpListener,
    idle_max: Duration,
}

impl Listener for IdleListener {
    type Io = IdleStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (IdleStream, SocketAddr) {
        let (stream, remote) = Listener::accept(&mut self.listener).await;
        let stream = IdleStream {
            stream,
            idle_max: self.idle_max,
            idle: Box::pin(sleep(self.idle_max)),
        };
        (stream, remote)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Whose request it is.
#[derive(Clone, Copy, Debug)]
struct Remote(IpAddr);

impl Connected<IncomingStream<'_, IdleListener>> for Remote {
    fn connect_info(stream: IncomingStream<'_, IdleListener>) -> Self {
        Self(stream.remote_addr().ip().to_canonical())
    }
}

/// Fails once nothing was read or written for a while.
struct IdleStream {
    stream: TcpStream,
    idle_max: Duration,
    idle: Pin<Box<Sleep>>,
}

impl IdleStream {
    /// Passes on what the socket says, unless it has been silent for too long.
    fn watch<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.idle.as_mut().reset(Instant::now() + self.idle_max);
            return polled;
        }
        ready!(self.idle.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for IdleStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.watch(polled, cx)
    }
}

impl AsyncWrite for IdleStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(polled, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A silent connection to the metrics port is closed after this, as on the
/// admin port by default.
const METRICS_IDLE_MAX: Duration = Duration::from_secs(30);
