//! Limits of connections and requests: what a client sees when one is hit.

mod support;

use std::time::{Duration, Instant};

use support::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use zk_proto::client::OpCode;

/// Is this connection closed without a byte once it asks for a session?
async fn is_refused(running: &Running) -> bool {
    let mut stream = TcpStream::connect(running.server.client_address)
        .await
        .unwrap();
    let mut payload = Vec::new();
    connect_request().write(&mut payload);
    let mut frame = (payload.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(&payload);
    // The server may have closed it already.
    let _ = stream.write_all(&frame).await;
    read_to_end(&mut stream).await.is_empty()
}

async fn metric(running: &Running, name: &str) -> f64 {
    let (_, text) = get(running.server.metrics_address.unwrap(), "/metrics").await;
    let line = text
        .lines()
        .find(|line| line.starts_with(&format!("{name} ")));
    let value = line
        .unwrap_or_else(|| panic!("{name} in\n{text}"))
        .rsplit(' ')
        .next();
    value.unwrap().parse().unwrap()
}

/// Nobody gets much room before the server knows who it is.
#[tokio::test]
async fn a_connect_request_is_short() {
    let running = standalone("").await;
    let address = running.server.client_address;
    let mut request = connect_request();
    request.password = vec![7; 900];
    let longer = Client::attach(address, request).await;
    assert!(longer.is_some(), "longer than needed, and no harm");
    // The length alone is enough to close it.
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&1025_u32.to_be_bytes()).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, b"");
    let refused = metric(&running, "zk_server_frames_too_long_total").await;
    assert_eq!(refused, 1.0);
}

#[tokio::test]
async fn connections_of_one_address_and_of_all() {
    for limit in [
        "maxClientCnxns=2\n",
        "maxClientCnxns=0\nzookeeper.maxCnxns=2\n",
    ] {
        let running = standalone(limit).await;
        let address = running.server.client_address;
        let first = Client::connect(address).await;
        let _second = Client::connect(address).await;
        assert!(is_refused(&running).await, "{limit}");
        assert_eq!(
            metric(&running, "connection_rejected").await,
            1.0,
            "{limit}"
        );
        drop(first);
        while metric(&running, "num_alive_connections").await > 1.0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Client::connect(address).await;
    }
}

#[tokio::test]
async fn a_connection_must_ask_for_a_session_in_time() {
    let running = standalone("nio.sessionlessCnxnTimeout=150\n").await;
    let start = Instant::now();
    let mut silent = TcpStream::connect(running.server.client_address)
        .await
        .unwrap();
    assert_eq!(read_to_end(&mut silent).await, b"");
    assert!(
        start.elapsed() >= Duration::from_millis(140),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(
        metric(&running, "sessionless_connections_expired").await,
        1.0
    );
}

#[tokio::test]
async fn sessions_that_are_asked_for_too_fast_are_refused() {
    let throttle = "connection_throttle_tokens=2\nconnection_throttle_fill_time=600000\n";
    let running = standalone(throttle).await;
    let _first = Client::connect(running.server.client_address).await;
    let _second = Client::connect(running.server.client_address).await;
    assert!(is_refused(&running).await);
    assert_eq!(metric(&running, "connection_rejected").await, 1.0);
    assert_eq!(metric(&running, "connection_token_deficit_sum").await, 3.0);
}

#[tokio::test]
async fn the_longest_frame_is_taken_and_a_longer_one_is_not() {
    let running = standalone("jute.maxbuffer=2048\n").await;
    let address = running.server.client_address;
    let mut client = Client::connect(address).await;
    let body = |data: usize| create(&format!("/n{data}"), &vec![7; data], 0);
    let room = 2048 - 8 - (body(1000).len() - 1000);
    assert_eq!(
        client.call(1, OpCode::Create, &body(room)).await.header.err,
        0
    );
    client.send(2, OpCode::Create, &body(room + 1)).await;
    client.assert_closed().await;
    assert_eq!(
        metric(&running, "zk_server_frames_too_long_total").await,
        1.0
    );
    Client::connect(address).await;
}

#[tokio::test]
async fn large_requests_have_a_budget() {
    let running = standalone("largeRequestThreshold=1000\nlargeRequestMaxBytes=5000\n").await;
    let address = running.server.client_address;
    let mut client = Client::connect(address).await;
    let body = |data: usize| create(&format!("/n{data}"), &vec![7; data], 0);
    for (xid, data) in [(1, 4000), (2, 4001), (3, 900)] {
        assert_eq!(
            client
                .call(xid, OpCode::Create, &body(data))
                .await
                .header
                .err,
            0
        );
    }
    client.send(4, OpCode::Create, &body(6000)).await;
    client.assert_closed().await;
    assert_eq!(metric(&running, "large_requests_rejected").await, 1.0);
}

#[tokio::test]
async fn a_connection_goes_on_after_more_than_its_client_takes() {
    let running = standalone("").await;
    let mut client = Client::connect(running.server.client_address).await;
    let big = create("/big", &vec![7; 900_000], 0);
    assert_eq!(client.call(1, OpCode::Create, &big).await.header.err, 0);
    for round in 0..2 {
        for xid in 0..12 {
            let get = path_watch("/big", false);
            client.send(10 + xid, OpCode::GetData, &get).await;
        }
        client.send(-2, OpCode::Ping, &[]).await;
        // Until the server is stuck with more than the sockets take.
        tokio::time::sleep(Duration::from_millis(300)).await;
        for xid in 0..12 {
            let frame = client.receive().await;
            assert_eq!(frame.header.xid.0, 10 + xid, "round {round}");
            assert_eq!(data_of(&frame).len(), 900_000);
        }
        assert_eq!(client.receive().await.header.xid.0, -2);
    }
    client.send(-2, OpCode::Ping, &[]).await;
    assert_eq!(client.receive().await.header.xid.0, -2, "it is read again");
}
