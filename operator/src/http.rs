//! The operator's own endpoints: `/metrics`, `/healthz` and `/livez`.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Request, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time;

use crate::looks::Looks;
use crate::metrics::Metrics;
use crate::places::{Places, Progress};

/// Listens at `address`, or where none is given on every address of the machine, IPv6 and IPv4.
pub async fn listen(address: Option<SocketAddr>) -> io::Result<TcpListener> {
    match address {
        Some(address) => TcpListener::bind(address).await,
        None => listen_everywhere(PORT_DEFAULT).await,
    }
}

async fn listen_everywhere(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Ok(listener) => Ok(listener),
        // A machine without IPv6.
        Err(_error) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await,
    }
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, metrics: Metrics, looks: Looks) {
    let router = Router::new()
        .route("/metrics", get(text))
        .route("/healthz", get(health))
        .route("/livez", get(liveness))
        .with_state((metrics, looks));
    serve_router(listener, router, HEADER_TIMEOUT).await;
}

async fn serve_router(listener: TcpListener, router: Router, header_timeout: Duration) {
    let mut places = Places::default();
    loop {
        let (stream, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if !places.make_room(CONNECTIONS_MAX) {
            tracing::debug!(%remote, "a connection was refused: a request is in work on every other");
            continue;
        }
        let progress = Progress::default();
        let served = connection(stream, router.clone(), progress.clone(), header_timeout);
        let task = tokio::spawn(served);
        places.take(remote.ip(), progress, task.abort_handle());
    }
}

/// Whoever sends no request, sends it slowly or does not take the answer loses the connection.
async fn connection(
    stream: TcpStream,
    router: Router,
    progress: Progress,
    header_timeout: Duration,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: Request<Incoming>| {
        progress.asked();
        let (answer, progress) = (router.call(request), progress.clone());
        async move {
            let answer = answer.await;
            progress.answered();
            answer
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(HEADER_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match time::timeout(CONNECTION_TIMEOUT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection ended early"),
        Err(_elapsed) => tracing::debug!("a connection took too long"),
    }
}

async fn text(State((metrics, looks)): State<(Metrics, Looks)>) -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        metrics.text(&looks, Instant::now()),
    )
}

/// The operator does its work: the API server lists the ensembles, and each was looked at not long ago.
async fn health(State((_, looks)): State<(Metrics, Looks)>) -> (StatusCode, String) {
    match looks.complaint(Instant::now()) {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(complaint) => (StatusCode::SERVICE_UNAVAILABLE, format!("{complaint}\n")),
    }
}

/// A restart would not help: the operator's own loop goes on, even if the API server is away.
async fn liveness(State((_, looks)): State<(Metrics, Looks)>) -> (StatusCode, &'static str) {
    if looks.is_alive(Instant::now()) {
        (StatusCode::OK, "ok\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the operator's loop stands still\n",
        )
    }
}

const PORT_DEFAULT: u16 = 8080;
/// One Prometheus and two probes need three. The others are for strangers, who lose theirs to whoever comes.
const CONNECTIONS_MAX: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const HEADER_BYTES_MAX: usize = 16 * 1024;
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpSocket;
    use tokio::sync::Notify;

    use axum::routing::get as get_route;

    use super::*;

    const FLOOD_FROM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 31);

    async fn started() -> (SocketAddr, Looks) {
        let listener = listen(Some((Ipv4Addr::LOCALHOST, 0).into())).await.unwrap();
        let address = listener.local_addr().unwrap();
        let looks = Looks::new(Instant::now());
        tokio::spawn(serve(listener, Metrics::new(), looks.clone()));
        (address, looks)
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn health_follows_the_looks_and_liveness_the_loop() {
        let (address, looks) = started().await;
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        let long_ago = Instant::now().checked_sub(Duration::from_secs(70)).unwrap();
        looks.listed([("shop".to_owned(), "zk".to_owned())], long_ago);
        looks.not_listed("forbidden".to_owned(), Instant::now());
        let answer = get(address, "/healthz").await;
        assert!(
            answer.starts_with("HTTP/1.1 503") && answer.contains("forbidden"),
            "{answer}"
        );
        assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"));
        looks.not_listed("forbidden".to_owned(), long_ago);
        assert!(get(address, "/livez").await.starts_with("HTTP/1.1 503"));
    }

    #[tokio::test]
    async fn whoever_sends_no_request_loses_the_connection() {
        let listener = listen(Some((Ipv4Addr::LOCALHOST, 0).into())).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/livez", get_route(|| async { "ok" }));
        tokio::spawn(serve_router(listener, router, Duration::from_millis(200)));
        let mut idle = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HTT").await.unwrap();
            idle.push(stream);
        }
        let answer = time::timeout(Duration::from_secs(10), get(address, "/livez")).await;
        assert!(answer.unwrap().starts_with("HTTP/1.1 200"));
        for mut stream in idle {
            let mut rest = Vec::new();
            let end = time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
            assert!(end.is_ok(), "the connection is still open");
        }
    }

    /// Opens connections from another address without a pause and says nothing on them.
    async fn flood(address: SocketAddr) {
        let mut silent = std::collections::VecDeque::new();
        loop {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind((FLOOD_FROM, 0).into()).unwrap();
            if let Ok(stream) = socket.connect(address).await {
                silent.push_back(stream);
            }
            if silent.len() > 3 * CONNECTIONS_MAX {
                silent.pop_front();
            }
            time::sleep(Duration::from_millis(2)).await;
        }
    }

    #[tokio::test]
    async fn a_flood_of_silent_connections_keeps_no_probe_waiting() {
        let (address, _) = started().await;
        let flood = tokio::spawn(flood(address));
        time::sleep(Duration::from_millis(500)).await;
        for probe in 0..20 {
            let answer = time::timeout(Duration::from_secs(2), get(address, "/livez")).await;
            let answer = answer.unwrap_or_else(|_| panic!("probe {probe} was not answered"));
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            time::sleep(Duration::from_millis(25)).await;
        }
        assert!(!flood.is_finished(), "the flood went on all the while");
        flood.abort();
    }

    #[tokio::test]
    async fn a_request_in_work_keeps_its_place_in_a_crowd_of_its_own_address() {
        let asked = Arc::new(Notify::new());
        let go_on = Arc::new(Notify::new());
        let slow = {
            let (asked, go_on) = (Arc::clone(&asked), Arc::clone(&go_on));
            get_route(move || async move {
                asked.notify_one();
                go_on.notified().await;
                "done"
            })
        };
        let router = Router::new().route("/slow", slow);
        let listener = listen(Some((Ipv4Addr::LOCALHOST, 0).into())).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve_router(listener, router, HEADER_TIMEOUT));
        let answer = tokio::spawn(async move { get(address, "/slow").await });
        asked.notified().await;
        let mut silent = Vec::new();
        for _ in 0..3 * CONNECTIONS_MAX {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        // The first of them was sent away, so every one of them was accepted or is about to be.
        let end = time::timeout(Duration::from_secs(10), silent[0].read(&mut [0; 1])).await;
        assert!(!matches!(end.unwrap(), Ok(1..)));
        go_on.notify_one();
        let answer = time::timeout(Duration::from_secs(10), answer).await;
        assert!(answer.unwrap().unwrap().ends_with("done"));
    }

    #[tokio::test]
    async fn the_default_is_every_address_of_both_families() {
        let listener = listen_everywhere(0).await.unwrap();
        let address = listener.local_addr().unwrap();
        assert!(address.ip().is_unspecified());
        let over_ipv4 = (Ipv4Addr::LOCALHOST, address.port());
        TcpStream::connect(over_ipv4).await.unwrap();
        if address.is_ipv6() {
            let over_ipv6 = (Ipv6Addr::LOCALHOST, address.port());
            TcpStream::connect(over_ipv6).await.unwrap();
        }
    }
}
