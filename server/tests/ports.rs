//! Four-letter words, probes, metrics, and garbage on every port.

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zk_proto::client::OpCode;

#[tokio::test]
async fn four_letter_words() {
    let running = standalone("").await;
    let address = running.server.client_address;
    assert_eq!(word(address, "ruok").await, "imok");
    let text = word(address, "srvr").await;
    let keys: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, _)| key)
        .collect();
    let want = [
        "Zookeeper version",
        "Latency min/avg/max",
        "Received",
        "Sent",
        "Connections",
        "Outstanding",
        "Zxid",
        "Mode",
        "Node count",
    ];
    assert_eq!(keys, want);
    assert!(text.contains("\nMode: standalone\n"), "{text}");
    let text = word(address, "mntr").await;
    assert!(text.starts_with("zk_version\t3.9.4-"), "{text}");
    assert!(text.contains("\nzk_server_state\tstandalone\n"), "{text}");
    // With the Prometheus provider every number is a double.
    assert!(text.contains("\nzk_num_alive_connections\t1.0\n"), "{text}");
    let text = word(address, "conf").await;
    let port = format!("clientPort={}\n", address.port());
    assert!(text.starts_with(&port), "{text}");
}

#[tokio::test]
async fn only_listed_words_are_answered() {
    let running = standalone("4lw.commands.whitelist=mntr\n").await;
    let address = running.server.client_address;
    assert!(word(address, "srvr").await.starts_with("Zookeeper version"));
    assert!(word(address, "mntr").await.starts_with("zk_version"));
    let refused = "ruok is not executed because it is not in the whitelist.\n";
    assert_eq!(word(address, "ruok").await, refused);
}

#[tokio::test]
async fn probes_and_metrics() {
    let running = standalone("").await;
    let mut client = Client::connect(running.server.client_address).await;
    client.call(1, OpCode::Create, &create("/m", b"", 0)).await;
    let admin = running.server.admin_address.unwrap();
    for path in ["/live", "/ready"] {
        let (status, body) = get(admin, path).await;
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (status, &body["state"], &body["role"]),
            (200, &"serving".into(), &"standalone".into())
        );
        assert_eq!(body["sid"], 1);
        assert!(body["zxid"].as_str().unwrap().starts_with("0x"), "{body}");
    }
    let (status, text) = get(running.server.metrics_address.unwrap(), "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "zk_server_role{role=\"standalone\"} 1",
        "zk_server_role{role=\"leader\"} 0",
        "num_alive_connections 1",
        "global_sessions 1",
        "updatelatency_count 1",
        "# TYPE packets_received gauge",
    ] {
        assert!(
            text.lines().any(|it| it == line),
            "{line} is not in\n{text}"
        );
    }
    assert!(text.contains("updatelatency{quantile=\"0.99\"} "), "{text}");
    assert!(
        !text.contains("synced_followers"),
        "a leader's gauge on a server without followers\n{text}"
    );
}

#[tokio::test]
async fn a_server_without_a_quorum_lives_but_is_not_ready() {
    let dir = tempfile::tempdir().unwrap();
    let config = member(&free_ports::<3>(), 1, dir.path());
    let server = zk_server::Server::start(config).await.unwrap();
    let admin = server.admin_address.unwrap();
    let (status, body) = get(admin, "/live").await;
    assert_eq!(status, 200, "{body}");
    let (status, body) = get(admin, "/ready").await;
    assert_eq!(status, 503);
    assert!(
        body.contains("\"electing\"") && body.contains("\"looking\""),
        "{body}"
    );
    let mut stream = TcpStream::connect(server.client_address).await.unwrap();
    let mut payload = Vec::new();
    connect_request().write(&mut payload);
    send_frame(&mut stream, &payload).await;
    assert_eq!(
        read_frame(&mut stream).await,
        None,
        "no answer, which would mean an expired session"
    );
    let not_serving = "This ZooKeeper instance is not currently serving requests\n";
    assert_eq!(word(server.client_address, "srvr").await, not_serving);
    assert_eq!(word(server.client_address, "ruok").await, "imok");
}

#[tokio::test]
async fn garbage_on_every_port_ends_in_a_clean_close() {
    let ports = free_ports::<1>();
    let dir = tempfile::tempdir().unwrap();
    // One voter with all its ports.
    let mut config = member(&ports, 1, dir.path());
    config.standalone = false;
    let server = zk_server::Server::start(config).await.unwrap();
    tokio::time::timeout(PATIENCE, server.serving())
        .await
        .unwrap();
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (client, quorum, election) = (server.client_address, local(ports[0].0), local(ports[0].1));

    let negative = (-5_i32).to_be_bytes().to_vec();
    let huge = i32::MAX.to_be_bytes().to_vec();
    let short = [0, 0, 0, 4, 1, 2, 3, 4].to_vec();
    for garbage in [
        negative,
        huge,
        short,
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0xff; 200],
    ] {
        assert_closes(client, &garbage).await;
    }
    // An election peer with an unknown version, and one whose votes have no length.
    assert_closes(election, &[0xff; 64]).await;
    assert_closes(election, &[&2_i64.to_be_bytes()[..], &[0; 4]].concat()).await;
    assert_closes(election, &[&2_i64.to_be_bytes()[..], &[0x7f; 4]].concat()).await;
    // A learner with a packet beyond the limit, and one that starts in the middle.
    assert_closes(quorum, &[&[0; 12][..], &i32::MAX.to_be_bytes()].concat()).await;
    assert_closes(
        quorum,
        &[&7_i32.to_be_bytes()[..], &[0; 8], &[0xff; 8]].concat(),
    )
    .await;

    let mut honest = Client::connect(client).await;
    assert_eq!(
        honest
            .call(1, OpCode::Create, &create("/alive", b"", 0))
            .await
            .header
            .err,
        0
    );
    assert_eq!(get(server.admin_address.unwrap(), "/ready").await.0, 200);
}

async fn assert_closes(address: SocketAddr, garbage: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(garbage).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert_eq!(answer, b"", "to {garbage:x?} on {address}");
}

#[tokio::test]
async fn a_stopped_server_starts_again_with_its_data() {
    let dir = tempfile::tempdir().unwrap();
    let config = || {
        let text = zoo_cfg(dir.path(), "");
        zk_server::config::ServerConfig::read("zoo.cfg".as_ref(), &text, None)
            .unwrap()
            .config
    };
    for round in 0..3 {
        let server = zk_server::Server::start(config()).await.unwrap();
        tokio::time::timeout(PATIENCE, server.serving())
            .await
            .unwrap();
        let mut client = Client::connect(server.client_address).await;
        for earlier in 0..round {
            let path = format!("/r{earlier}");
            assert_eq!(
                client
                    .call(1, OpCode::Exists, &path_watch(&path, false))
                    .await
                    .header
                    .err,
                0
            );
        }
        let path = format!("/r{round}");
        assert_eq!(
            client
                .call(2, OpCode::Create, &create(&path, b"", 0))
                .await
                .header
                .err,
            0
        );
        tokio::time::timeout(Duration::from_secs(10), server.stop())
            .await
            .unwrap();
        client.assert_closed().await;
    }
}

/// A member goes on without its admin and metrics ports and takes them as soon
/// as they are free; a standalone server and a pod end.
#[tokio::test]
async fn a_member_serves_although_its_http_ports_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let taken = [0; 2].map(|_| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let addresses = taken.each_ref().map(|port| port.local_addr().unwrap());
    let mut config = member(&free_ports::<1>(), 1, dir.path());
    config.standalone = false;
    let admin = config.admin.as_mut().unwrap();
    (admin.is_required, admin.address.port) = (false, addresses[0].port());
    config.metrics.as_mut().unwrap().port = addresses[1].port();
    let mut insisting = config.clone();
    insisting.admin.as_mut().unwrap().is_required = true;
    let refused = zk_server::Server::start(insisting).await.err().unwrap();
    let want = format!("cannot listen for admin on port {}", addresses[0].port());
    assert!(refused.to_string().starts_with(&want), "{refused}");

    let server = zk_server::Server::start(config).await.unwrap();
    server.serving().await;
    assert_eq!((server.admin_address, server.metrics_address), (None, None));
    assert_eq!(word(server.client_address, "ruok").await, "imok");
    drop(taken);
    for (address, path) in addresses.into_iter().zip(["/ready", "/metrics"]) {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).await.is_err() {
            assert!(std::time::Instant::now() < deadline, "{path} is not served");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(get(address, path).await.0, 200);
    }
}

/// Which of these were closed by the server?
async fn closed(streams: &mut [TcpStream]) -> usize {
    let mut closed = 0;
    for stream in streams {
        let read = stream.read_u8();
        if let Ok(read) = tokio::time::timeout(Duration::from_millis(1), read).await {
            read.expect_err("nothing is answered");
            closed += 1;
        }
    }
    closed
}

#[tokio::test]
async fn idle_http_connections_give_way() {
    let running = standalone("").await;
    let admin = running.server.admin_address.unwrap();
    let metrics = running.server.metrics_address.unwrap();
    for address in [admin, metrics] {
        let mut idle = Vec::new();
        for _ in 0..150 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        let path = if address == admin {
            "/live"
        } else {
            "/metrics"
        };
        assert_eq!(get(address, path).await.0, 200);
        let start = std::time::Instant::now();
        while closed(&mut idle).await < 80 {
            assert!(start.elapsed() < PATIENCE, "they all stay open");
        }
        let (_, text) = get(metrics, "/metrics").await;
        assert!(text.contains("\nzk_server_http_connections_displaced_total "));
    }
}

#[tokio::test]
async fn an_http_request_must_come_in_time() {
    let running = standalone("admin.idleTimeout=300\n").await;
    let mut slow = TcpStream::connect(running.server.admin_address.unwrap())
        .await
        .unwrap();
    let start = std::time::Instant::now();
    // A byte now and then, so that it is never idle for long.
    while slow.write_all(b"G").await.is_ok() && closed(std::slice::from_mut(&mut slow)).await == 0 {
        assert!(start.elapsed() < PATIENCE, "it stays open");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
