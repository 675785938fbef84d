//! The operator's own endpoints: `/metrics`, `/healthz` and `/livez`.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time;

use crate::looks::Looks;
use crate::metrics::Metrics;

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

/// Serves until the listener fails.
pub async fn serve(listener: TcpListener, metrics: Metrics, looks: Looks) -> io::Result<()> {
    serve_within(listener, metrics, looks, HEADER_TIMEOUT).await
}

async fn serve_within(
    listener: TcpListener,
    metrics: Metrics,
    looks: Looks,
    header_timeout: Duration,
) -> io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(text))
        .route("/healthz", get(health))
        .route("/livez", get(liveness))
        .with_state((metrics, looks));
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let place = place.map_err(io::Error::other)?;
        let stream = match listener.accept().await {
            Ok((stream, _remote)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let router = router.clone();
        tokio::spawn(async move {
            let _place = place;
            connection(stream, router, header_timeout).await;
        });
    }
}

/// Whoever sends no request, sends it slowly or does not take the answer loses the connection.
async fn connection(stream: TcpStream, router: Router, header_timeout: Duration) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(HEADER_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
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
/// One Prometheus and two probes need three.
const CONNECTIONS_MAX: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const HEADER_BYTES_MAX: usize = 16 * 1024;
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

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
    async fn whoever_sends_no_request_loses_the_connection_and_blocks_nobody_for_long() {
        let listener = listen(Some((Ipv4Addr::LOCALHOST, 0).into())).await.unwrap();
        let address = listener.local_addr().unwrap();
        let looks = Looks::new(Instant::now());
        tokio::spawn(serve_within(
            listener,
            Metrics::new(),
            looks,
            Duration::from_millis(200),
        ));
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
