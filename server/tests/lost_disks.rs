//! Two of three servers have lost their disks and serve again.

mod support;

use std::fs;
use std::time::Duration;

use support::*;
use tokio::time::{sleep, timeout};
use zk_proto::Epoch;
use zk_proto::client::OpCode;
use zk_server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_third_one_stays_out_and_says_why() {
    let ports = free_ports::<3>();
    let mut servers = ensemble(&ports).await;
    let third = servers.pop_last().expect("three were started").1;
    for (_, running) in servers {
        timeout(PATIENCE, running.server.stop()).await.unwrap();
    }
    timeout(PATIENCE, third.server.stop()).await.unwrap();
    // As if it had been through some more elections.
    for file in ["acceptedEpoch", "currentEpoch"] {
        fs::write(third.dir.path().join("version-2").join(file), "5").unwrap();
    }

    let dirs = [(); 2].map(|()| tempfile::TempDir::new().unwrap());
    let mut reborn = Vec::new();
    for (at, dir) in dirs.iter().enumerate() {
        let config = member(&ports, at + 1, dir.path());
        reborn.push(Server::start(config).await.unwrap());
    }
    for server in &reborn {
        timeout(PATIENCE, server.serving()).await.unwrap();
    }
    let mut client = Client::connect(reborn[0].client_address).await;
    let body = create("/acknowledged", b"", 0);
    assert_eq!(client.call(1, OpCode::Create, &body).await.header.err, 0);

    let back = Server::start(member(&ports, 3, third.dir.path())).await;
    let back = back.unwrap();
    let admin = back.admin_address.unwrap();
    let problem = async {
        loop {
            let (status, body) = get(admin, "/ready").await;
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(status, 503, "{body}");
            if let Some(problem) = body["problem"].as_str() {
                return problem.to_owned();
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let problem = timeout(PATIENCE, problem).await.expect("it says why");
    assert!(problem.contains("accepted epoch 5"), "{problem}");
    sleep(Duration::from_secs(1)).await;
    let body = path_watch("/acknowledged", false);
    let reply = client.call(2, OpCode::Exists, &body).await;
    assert_eq!(reply.header.err, 0, "the client's connection stands");
    let body = create("/more", b"", 0);
    let reply = client.call(3, OpCode::Create, &body).await;
    assert_eq!((reply.header.err, reply.header.zxid.epoch()), (0, Epoch(1)));
}
