//! A member whose `jute.maxbuffer` is lower than that of the others.

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use support::*;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use zk_proto::client::OpCode;
use zk_server::Server;

/// Nearly as long as a request of the others may be.
const BYTES: usize = 1_000_000;

async fn start_lowered(ports: &[(u16, u16)], dir: &Path) -> Server {
    let config = member_with(ports, 1, dir, "jute.maxbuffer=2000\n");
    let server = Server::start(config).await.unwrap();
    timeout(PATIENCE, server.serving())
        .await
        .expect("a member with a lower limit joins");
    server
}

/// Waits until the server's tree has the znode.
async fn wait_for(path: &str, address: SocketAddr) {
    let mut client = Client::connect(address).await;
    let seen = async {
        for xid in 1.. {
            let body = path_watch(path, false);
            if client.call(xid, OpCode::Exists, &body).await.header.err == 0 {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, seen)
        .await
        .unwrap_or_else(|_| panic!("{path} does not come"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lowered_limit_keeps_no_member_out() {
    let ports = free_ports::<3>();
    let mut servers = ensemble(&ports).await;
    let (_, first) = servers.pop_first().expect("three were started");
    timeout(PATIENCE, first.server.stop()).await.unwrap();
    let address = servers.values().next().unwrap().server.client_address;
    for running in servers.values() {
        timeout(PATIENCE, running.server.serving()).await.unwrap();
    }
    let mut client = Client::connect(address).await;
    let value = vec![b'x'; BYTES];
    let body = create("/missed", &value, 0);
    assert_eq!(client.call(1, OpCode::Create, &body).await.header.err, 0);

    // What it has missed comes as a DIFF, later ones as proposals.
    let server = start_lowered(&ports, first.dir.path()).await;
    wait_for("/missed", server.client_address).await;
    let body = create("/proposed", &value, 0);
    assert_eq!(client.call(2, OpCode::Create, &body).await.header.err, 0);
    wait_for("/proposed", server.client_address).await;
    timeout(PATIENCE, server.stop()).await.unwrap();

    // With an empty disk all comes as a SNAP.
    let empty = TempDir::new().unwrap();
    let server = start_lowered(&ports, empty.path()).await;
    wait_for("/proposed", server.client_address).await;
    timeout(PATIENCE, server.stop()).await.unwrap();
}
