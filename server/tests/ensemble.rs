//! Three servers on loopback.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use support::*;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use zk_proto::Sid;
use zk_proto::client::OpCode;
use zk_server::Server;
use zk_server::config::ServerConfig;

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
    let back = Server::start(config).await.unwrap();
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

/// The clients of the older connections are gone, and no network has told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_silent_connection_of_a_session_that_has_moved_is_closed() {
    const TIMEOUT: Duration = Duration::from_secs(3);
    let ports = free_ports::<3>();
    let servers = ensemble(&ports).await;
    let leader = leader_of(&servers).await;
    let mut order: Vec<_> = servers.keys().copied().collect();
    order.sort_by_key(|sid| *sid == leader);
    let address = |nth: usize| servers[&order[nth]].server.client_address;
    let (mut older, mut newer) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    // From a follower to the other one and to the leader.
    for to in [1, 2] {
        let request = zk_proto::client::ConnectRequest {
            timeout_ms: TIMEOUT.as_millis() as i32,
            ..connect_request()
        };
        let first = Client::attach(address(0), request.clone()).await.unwrap();
        let request = zk_proto::client::ConnectRequest {
            session_id: first.session,
            password: first.password.clone(),
            ..request
        };
        newer.push(Client::attach(address(to), request).await.unwrap());
        older.push(first);
    }
    let closed = tokio::spawn(async move {
        for client in &mut older {
            client.assert_closed().await;
        }
    });
    while !closed.is_finished() {
        assert!(begun.elapsed() < PATIENCE, "an older connection stays open");
        for client in &mut newer {
            assert_eq!(client.call(-2, OpCode::Ping, &[]).await.header.err, 0);
        }
        sleep(Duration::from_millis(100)).await;
    }
    closed.await.unwrap();
    assert!(begun.elapsed() > TIMEOUT, "they were closed too early");
    for client in &mut newer {
        let body = path_watch("/", false);
        let reply = client.call(1, OpCode::Exists, &body).await;
        assert_eq!(reply.header.err, 0, "the session lives on");
    }
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

/// The name is one that no name server will ever know.
const NOWHERE: &str = "clientPortAddress=zk-1.invalid\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_client_address_does_not_resolve_still_votes() {
    let ports = free_ports::<3>();
    let dirs: [TempDir; 2] = std::array::from_fn(|_| TempDir::new().unwrap());
    let nameless = member_with(&ports, 1, dirs[0].path(), NOWHERE);
    let without_clients = tokio::spawn(async move { Server::start(nameless).await.map(drop) });
    let server = Server::start(member(&ports, 2, dirs[1].path()))
        .await
        .unwrap();
    timeout(PATIENCE, server.serving())
        .await
        .expect("two of three are a quorum");
    assert!(!without_clients.is_finished(), "it takes no clients yet");
    without_clients.abort();
}

#[tokio::test]
async fn a_server_alone_says_that_its_client_address_does_not_resolve() {
    let dir = TempDir::new().unwrap();
    let text = zoo_cfg(dir.path(), NOWHERE);
    let config = ServerConfig::read(Path::new("zoo.cfg"), &text, None);
    let started = timeout(PATIENCE, Server::start(config.unwrap().config));
    let failure = started.await.expect("it does not wait").err().unwrap();
    assert_eq!(failure.exit_code(), 4);
    let message = failure.to_string();
    let want = "cannot listen for clients: the name zk-1.invalid cannot be resolved: ";
    assert!(message.starts_with(want), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_another_ensemble_is_not_let_in() {
    let ports = free_ports::<3>();
    let dirs: Vec<_> = (0..3).map(|_| TempDir::new().unwrap()).collect();
    let named = |sid: usize, name: &str| {
        let mut config = member(&ports, sid, dirs[sid - 1].path());
        config.ensemble_name = Some(name.to_owned());
        config
    };
    let mut own = Vec::new();
    for sid in [1, 2] {
        own.push(Server::start(named(sid, "default/zk")).await.unwrap());
    }
    for server in &own {
        timeout(PATIENCE, server.serving())
            .await
            .expect("two of three serve");
    }
    let stranger = Server::start(named(3, "elsewhere/zk")).await.unwrap();
    let taken = timeout(Duration::from_secs(3), stranger.serving()).await;
    assert!(taken.is_err(), "it follows the leader of another ensemble");
    timeout(PATIENCE, stranger.stop()).await.unwrap();
    let server = Server::start(named(3, "default/zk")).await.unwrap();
    timeout(PATIENCE, server.serving())
        .await
        .expect("a member is let in");
}
