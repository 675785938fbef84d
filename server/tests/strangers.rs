//! Who connects to the ports for servers without being one.

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use support::*;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use zk_proto::quorum::{Hello, LearnerInfo, PROTOCOL_VERSION, PacketKind, QuorumPacket};
use zk_proto::{Sid, Zxid};
use zk_server::Server;
use zk_server::config::ServerConfig;

/// Members 1 and 2 of three, which are a quorum.
async fn two_of_three(ports: &[(u16, u16)]) -> Vec<Running> {
    let mut servers = Vec::new();
    for sid in [1, 2] {
        let dir = tempfile::TempDir::new().unwrap();
        let server = Server::start(member(ports, sid, dir.path())).await.unwrap();
        servers.push(Running { server, dir });
    }
    for running in &servers {
        timeout(PATIENCE, running.server.serving())
            .await
            .expect("two are a quorum");
    }
    servers
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn follower_info(sid: i64) -> Vec<u8> {
    let info = LearnerInfo {
        sid: Sid(sid),
        protocol_version: PROTOCOL_VERSION,
        config_version: 0,
    };
    packet(PacketKind::FollowerInfo, Some(info.encode()))
}

fn packet(kind: PacketKind, data: Option<Bytes>) -> Vec<u8> {
    let mut bytes = Vec::new();
    QuorumPacket::new(kind, Zxid(0), data).write(&mut bytes);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_get_neither_a_place_nor_a_tree_and_keep_nobody_out() {
    let ports = free_ports::<3>();
    let servers = two_of_three(&ports).await;
    let leader = local(ports[1].0);

    // A sid that zoo.cfg does not list is not served.
    let mut stranger = TcpStream::connect(leader).await.unwrap();
    stranger.write_all(&follower_info(99)).await.unwrap();
    assert_eq!(read_to_end(&mut stranger).await, b"");

    // A tree is not taken from one, and nothing is kept of what it begins with.
    let mut stranger = TcpStream::connect(leader).await.unwrap();
    let snap = [
        packet(PacketKind::Snap, None),
        i32::MAX.to_be_bytes().to_vec(),
    ]
    .concat();
    stranger.write_all(&snap).await.unwrap();
    assert_eq!(read_to_end(&mut stranger).await, b"");

    // Neither is the word of one that says nothing waited for by others.
    let mut silent = Vec::new();
    for port in [ports[1].0, ports[1].1, ports[0].0, ports[0].1] {
        for _ in 0..300 {
            silent.push(TcpStream::connect(local(port)).await.unwrap());
        }
    }
    let dir = tempfile::TempDir::new().unwrap();
    let third = Server::start(member(&ports, 3, dir.path())).await.unwrap();
    let joined = timeout(Duration::from_secs(5), third.serving()).await;
    joined.expect("the third one joins beside them");
    drop((silent, servers));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_listed_addresses_are_taken_if_so_configured() {
    let ports = free_ports::<3>();
    let dir = tempfile::TempDir::new().unwrap();
    let lines: String = (1..)
        .zip(&ports)
        .map(|(sid, (quorum, election))| format!("server.{sid}=127.0.0.1:{quorum}:{election}\n"))
        .collect();
    let text = format!(
        "{}quorate.peerAddresses=listed\nquorumListenOnAllIPs=true\n",
        zoo_cfg(dir.path(), &lines)
    );
    let config = ServerConfig::read(Path::new("zoo.cfg"), &text, Some(Sid(1)));
    let server = Server::start(config.unwrap().config).await.unwrap();

    let hello = Hello {
        sid: Sid(2),
        addresses: vec!["127.0.0.1:1".into()],
    };
    let table = [(ports[0].0, follower_info(2)), (ports[0].1, hello.encode())];
    for (port, introduction) in table {
        let socket = TcpSocket::new_v4().unwrap();
        socket
            .bind((Ipv4Addr::new(127, 0, 0, 9), 0).into())
            .unwrap();
        let mut stranger = socket.connect(local(port)).await.unwrap();
        stranger.write_all(&introduction).await.unwrap();
        assert_eq!(read_to_end(&mut stranger).await, b"");
    }
    // Its peers are, and form an ensemble with it.
    let dir = tempfile::TempDir::new().unwrap();
    let peer = Server::start(member(&ports, 2, dir.path())).await.unwrap();
    timeout(PATIENCE, server.serving())
        .await
        .expect("an ensemble");
    timeout(PATIENCE, peer.serving())
        .await
        .expect("an ensemble");
}

#[tokio::test]
async fn a_server_that_waits_says_whom_it_misses() {
    let ports = free_ports::<3>();
    let dir = tempfile::TempDir::new().unwrap();
    let server = Server::start(member(&ports, 2, dir.path())).await.unwrap();
    let admin = server.admin_address.unwrap();
    let unreachable = async {
        loop {
            let (status, body) = get(admin, "/ready").await;
            assert_eq!(status, 503, "{body}");
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            let reason = body["unreachable"]["1"].as_str().unwrap_or_default();
            if reason.contains("refused") {
                return body;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let body = timeout(PATIENCE, unreachable).await.expect("a reason");
    let servers = body["unreachable"].as_object().unwrap();
    assert_eq!(servers.keys().collect::<Vec<_>>(), ["1", "3"]);
    let address = format!("127.0.0.1:{}: ", ports[0].1);
    assert!(
        servers["1"].as_str().unwrap().starts_with(&address),
        "{body}"
    );
    // A person asks at the port for clients and is told, too.
    let status = async |admin_port: u16| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        command.args(["status", &server.client_address.to_string()]);
        command.args(["--admin-port", &admin_port.to_string()]);
        let shown = spawn_blocking(move || command.output());
        let shown = timeout(PATIENCE, shown).await.expect("an answer");
        let shown = shown.unwrap().unwrap();
        assert_eq!(shown.status.code(), Some(1));
        String::from_utf8(shown.stdout).unwrap()
    };
    let shown = status(admin.port()).await;
    let want = format!("  not serving: electing; server.1 at {address}");
    assert!(shown.contains(&want), "{shown}");
    let shown = status(ports[2].0).await;
    assert!(shown.contains("  not serving; its port "), "{shown}");
}
