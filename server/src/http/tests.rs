use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream as Blocking};
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::Instant as Time;

use axum::routing::get;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;

use super::*;

/// A listener that serves.
async fn listening(gate: Arc<Semaphore>) -> (SocketAddr, Arc<Metrics>) {
    let (listener, router) = bound(gate).await;
    let address = listener.listener.local_addr().unwrap();
    let metrics = listener.metrics.clone();
    tokio::spawn(listener.serve(router));
    (address, metrics)
}

/// A listener with a reply at once, one that waits for `gate`, and one that is
/// longer than what the system keeps of it.
async fn bound(gate: Arc<Semaphore>) -> (HttpListener, Router) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // Its connections have the same: the system keeps little of a long reply.
    SockRef::from(&listener).set_send_buffer_size(4096).unwrap();
    let router = Router::new()
        .route("/live", get(|| async { "alive" }))
        .route("/long", get(|| async { "x".repeat(1 << 20) }))
        .route(
            "/slow",
            get(async move || {
                let _ = gate.acquire().await;
                "done"
            }),
        );
    let listener = HttpListener {
        listener,
        idle_max: Duration::from_secs(60),
        clock: Clock::start(),
        metrics: Arc::default(),
    };
    (listener, router)
}

/// Connects from 127.0.0.`from`.
fn connect(from: u8, to: SocketAddr) -> Blocking {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let own = SocketAddr::from((Ipv4Addr::new(127, 0, 0, from), 0));
    // Little of a reply waits at a client that does not read.
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind(&own.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = Blocking::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn ask(mut stream: &Blocking, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
}

/// The whole reply; nothing if the connection was cut.
async fn reply(stream: Blocking) -> String {
    stream.set_nonblocking(true).unwrap();
    let mut stream = TcpStream::from_std(stream).unwrap();
    let mut reply = String::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut reply));
    let _ = read.await.expect("neither a reply nor an end");
    reply
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Time::now() + PATIENCE;
    while !is_so() {
        assert!(Time::now() < deadline, "{what}");
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_request_that_has_come_is_read_before_its_connection_gives_way() {
    let gate = Arc::new(Semaphore::new(0));
    let (address, metrics) = listening(gate.clone()).await;
    // The listener has not run yet, so it finds all of them at once.
    let slow = connect(2, address);
    ask(&slow, "/slow");
    let honest = connect(2, address);
    ask(&honest, "/live");
    // As many as the system keeps for a listener that accepts nothing.
    let crowd: Vec<_> = (0..100).map(|_| connect(2, address)).collect();
    assert!(reply(honest).await.ends_with("alive"));
    let displaced = || metrics.http_connections_displaced.value();
    // One of them has a request in work, and one has ended by itself.
    let all = 101 - CONNECTIONS_MAX as u64;
    until("the others give way", || displaced() >= all).await;
    gate.add_permits(1);
    assert!(reply(slow).await.ends_with("done"));
    drop(crowd);
}

/// The request has come after the runtime has asked the socket for the last
/// time.
#[tokio::test]
async fn a_request_that_only_the_system_knows_of_keeps_the_place() {
    let (listener, router) = bound(Arc::new(Semaphore::new(0))).await;
    let client = connect(1, listener.listener.local_addr().unwrap());
    let (stream, remote) = listener.listener.accept().await.unwrap();
    let guest = listener.welcome(stream, remote, &router);
    // Its task finds nothing to read.
    yield_now().await;
    ask(&client, "/live");
    guest.presence.wanted.notify_one();
    assert!(reply(client).await.ends_with("alive"));
}

#[tokio::test]
async fn a_crowd_takes_no_place_of_another_address_and_none_of_a_request_in_work() {
    let gate = Arc::new(Semaphore::new(0));
    let (address, metrics) = listening(gate.clone()).await;
    let silent = connect(1, address);
    let in_work = connect(2, address);
    ask(&in_work, "/slow");
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(connect(2, address));
        yield_now().await;
    }
    let displaced = || metrics.http_connections_displaced.value();
    let all = 202 - CONNECTIONS_MAX as u64;
    until("the crowd gives way", || displaced() >= all).await;
    gate.add_permits(1);
    assert!(reply(in_work).await.ends_with("done"));
    ask(&silent, "/live");
    assert!(reply(silent).await.ends_with("alive"));
    drop(crowd);
}

#[tokio::test]
async fn a_client_that_does_not_read_its_reply_gives_way() {
    let (address, metrics) = listening(Arc::new(Semaphore::new(0))).await;
    let deaf: Vec<_> = (0..CONNECTIONS_MAX).map(|_| connect(2, address)).collect();
    deaf.iter().for_each(|stream| ask(stream, "/long"));
    let honest = connect(2, address);
    ask(&honest, "/live");
    assert!(reply(honest).await.ends_with("alive"));
    assert_eq!(metrics.http_connections_displaced.value(), 1);
    drop(deaf);
}

#[tokio::test]
async fn a_connection_whose_request_is_answered_gives_way() {
    let (address, metrics) = listening(Arc::new(Semaphore::new(0))).await;
    let kept: Vec<_> = (0..CONNECTIONS_MAX).map(|_| connect(2, address)).collect();
    for mut stream in &kept {
        stream
            .write_all(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
    }
    let honest = connect(2, address);
    ask(&honest, "/live");
    assert!(reply(honest).await.ends_with("alive"));
    assert_eq!(metrics.http_connections_displaced.value(), 1);
    drop(kept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_silent_connections_cuts_no_probe() {
    let (address, metrics) = listening(Arc::new(Semaphore::new(0))).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let floods = [3, 4].map(|from| {
        let is_over = is_over.clone();
        thread::spawn(move || {
            let mut held = std::collections::VecDeque::new();
            while !is_over.load(Ordering::Relaxed) {
                held.push_back(connect(from, address));
                if held.len() > 300 {
                    held.pop_front();
                }
            }
        })
    });
    until("a flood", || {
        metrics.http_connections_displaced.value() > 500
    })
    .await;
    let cut = Arc::new(AtomicUsize::new(0));
    let (count, of_probes) = (cut.clone(), 40);
    let probes = thread::spawn(move || {
        for _ in 0..of_probes {
            let mut stream = connect(1, address);
            // A client that is not the fastest.
            thread::sleep(Duration::from_millis(20));
            ask(&stream, "/live");
            let mut reply = String::new();
            let is_whole = stream.read_to_string(&mut reply).is_ok() && reply.ends_with("alive");
            count.fetch_add(usize::from(!is_whole), Ordering::Relaxed);
        }
    });
    until("the probes end", || probes.is_finished()).await;
    is_over.store(true, Ordering::Relaxed);
    for flood in floods {
        flood.join().unwrap();
    }
    assert_eq!(
        cut.load(Ordering::Relaxed),
        0,
        "probes of {of_probes} were cut"
    );
}

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(20);
