//! Three servers on loopback.

mod support;

use std::time::Duration;

use support::*;
use tokio::time::{sleep, timeout};
use zk_proto::Sid;
use zk_proto::client::OpCode;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_through_any_server_are_read_on_all() {
    let ports = free_ports::<3>();
    let servers = ensemble(&ports).await;
    let mut clients = Vec::new();
    for running in servers.values() {
        clients.push(Client::connect(running.server.client_address).await);
    }
    for (n, client) in clients.iter_mut().enumerate() {
        let reply = client
            .call(1, OpCode::Create, &create(&format!("/from-{n}"), b"x", 0))
            .await;
        assert_eq!(reply.header.err, 0, "through server {}", n + 1);
    }
    for client in &mut clients {
        assert_eq!(
            client
                .call(2, OpCode::Sync, &path_only("/"))
                .await
                .header
                .err,
            0
        );
        for n in 0..3 {
            let reply = client
                .call(
                    3,
                    OpCode::GetData,
                    &path_watch(&format!("/from-{n}"), false),
                )
                .await;
            assert_eq!(data_of(&reply), b"x");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_is_replaced_and_comes_back_as_a_follower() {
    let ports = free_ports::<3>();
    let mut servers = ensemble(&ports).await;
    let leader = leader_of(&servers).await;
    let others: Vec<_> = servers
        .keys()
        .copied()
        .filter(|sid| *sid != leader)
        .collect();
    let mut client = Client::connect(servers[&others[0]].server.client_address).await;
    assert_eq!(
        client
            .call(1, OpCode::Create, &create("/before", b"", 0))
            .await
            .header
            .err,
        0
    );

    let stopped = servers.remove(&leader).expect("the leader is one of them");
    timeout(PATIENCE, stopped.server.stop()).await.unwrap();
    let survivor = &servers[&others[0]].server;
    let mut reconnected = reconnect(survivor.client_address, &client).await;
    assert_eq!(
        reconnected
            .call(2, OpCode::Create, &create("/after", b"", 0))
            .await
            .header
            .err,
        0
    );
    assert_ne!(leader_of(&servers).await, leader);

    let config = member(&ports, leader.0 as usize, stopped.dir.path());
    let back = zk_server::Server::start(config).await.unwrap();
    timeout(PATIENCE, back.serving())
        .await
        .expect("a server that was behind is synchronized");
    let mut reader = Client::connect(back.client_address).await;
    for path in ["/before", "/after"] {
        assert_eq!(
            reader
                .call(1, OpCode::Exists, &path_watch(path, false))
                .await
                .header
                .err,
            0,
            "{path}"
        );
    }
}

/// Takes the session of `client` up again as soon as the server serves.
async fn reconnect(address: std::net::SocketAddr, client: &Client) -> Client {
    let request = zk_proto::client::ConnectRequest {
        session_id: client.session,
        password: client.password.clone(),
        ..connect_request()
    };
    for _ in 0..400 {
        if word(address, "srvr").await.contains("Mode: ") {
            return Client::attach(address, request)
                .await
                .expect("the session has outlived the leader");
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("no new leader");
}

async fn leader_of(servers: &std::collections::BTreeMap<Sid, Running>) -> Sid {
    for (sid, running) in servers {
        if word(running.server.client_address, "srvr")
            .await
            .contains("Mode: leader")
        {
            return *sid;
        }
    }
    panic!("nobody leads");
}
