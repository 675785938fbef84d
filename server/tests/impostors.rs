//! Somebody who is no member speaks on the ports between servers.

mod support;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use zk_proto::client::OpCode;
use zk_proto::quorum::{LearnerInfo, PROTOCOL_VERSION, PacketKind, QuorumPacket};
use zk_proto::{Epoch, Sid};
use zk_server::Server;

/// The 40 bytes and a little more that say who connects and what it has accepted.
fn follower_info(sid: Sid, accepted: i64) -> Vec<u8> {
    let info = LearnerInfo {
        sid,
        protocol_version: PROTOCOL_VERSION,
        config_version: 0,
    };
    let zxid = QuorumPacket::epoch_zxid(Epoch(accepted));
    let mut bytes = Vec::new();
    QuorumPacket::new(PacketKind::FollowerInfo, zxid, Some(info.encode())).write(&mut bytes);
    bytes
}

async fn roles(servers: &BTreeMap<Sid, Running>) -> BTreeMap<Sid, String> {
    let mut roles = BTreeMap::new();
    for (sid, running) in servers {
        let text = word(running.server.client_address, "srvr").await;
        let mode = text.lines().find_map(|line| line.strip_prefix("Mode: "));
        roles.insert(*sid, mode.unwrap_or("none").to_owned());
    }
    roles
}

fn accepted_epochs(servers: &BTreeMap<Sid, Running>) -> Vec<String> {
    let read = |running: &Running| {
        let file = running.dir.path().join("version-2/acceptedEpoch");
        std::fs::read_to_string(file).unwrap()
    };
    servers.values().map(read).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_packet_to_the_quorum_port_deposes_nobody() {
    let ports = free_ports::<3>();
    let servers = ensemble(&ports).await;
    let before = roles(&servers).await;
    let epochs = accepted_epochs(&servers);
    let (leader, _) = before.iter().find(|(_, role)| *role == "leader").unwrap();
    let mut client = Client::connect(servers[leader].server.client_address).await;
    let quorum_port = ports[leader.0 as usize - 1].0;
    let mut links = Vec::new();
    for sid in [1, 2, 3, 99].map(Sid) {
        for accepted in [1, 2, 0x7fff_fffd, 0x7fff_fffe, 0x7fff_ffff] {
            let mut link = TcpStream::connect(("127.0.0.1", quorum_port))
                .await
                .unwrap();
            link.write_all(&follower_info(sid, accepted)).await.unwrap();
            links.push(link);
        }
    }
    sleep(Duration::from_secs(1)).await;
    let body = create("/still", b"", 0);
    let reply = client.call(1, OpCode::Create, &body);
    let reply = timeout(PATIENCE, reply).await.unwrap();
    assert_eq!(reply.header.err, 0, "its client's connection stands");
    assert_eq!(reply.header.zxid.epoch(), Epoch(1));
    assert_eq!(roles(&servers).await, before);
    assert_eq!(accepted_epochs(&servers), epochs);
    drop(links);
}

/// Says again and again, from an address of its own, to be this server.
/// Counts the claims that were answered.
async fn flood(port: u16, sid: Sid, accepted: i64, answered: Arc<AtomicU64>) {
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        let here = (Ipv4Addr::new(127, 0, 0, 9), 0).into();
        socket.bind(here).unwrap();
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let Ok(mut link) = socket.connect(to).await else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        // Whether it is closed at once or kept makes no difference.
        let _ = link.write_all(&follower_info(sid, accepted)).await;
        let mut bytes = [0; 64];
        let answer = timeout(Duration::from_millis(300), link.read(&mut bytes)).await;
        if matches!(answer, Ok(Ok(1..))) {
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_takes_the_place_of_a_member_that_restarts() {
    let ports = free_ports::<3>();
    let mut servers = ensemble(&ports).await;
    let before = roles(&servers).await;
    let (leader, _) = before.iter().find(|(_, role)| *role == "leader").unwrap();
    let sid = *before.keys().find(|sid| *sid != leader).unwrap();
    let quorum_port = ports[leader.0 as usize - 1].0;
    let answered = Arc::<AtomicU64>::default();
    let floods: Vec<_> = [1, 60_000]
        .into_iter()
        .map(|accepted| tokio::spawn(flood(quorum_port, sid, accepted, answered.clone())))
        .collect();
    for _ in 0..3 {
        let Running { server, dir } = servers.remove(&sid).unwrap();
        timeout(PATIENCE, server.stop()).await.unwrap();
        let config = member(&ports, sid.0 as usize, dir.path());
        let server = Server::start(config).await.unwrap();
        let serving = timeout(PATIENCE, server.serving()).await;
        serving.expect("it joins beside the flood");
        servers.insert(sid, Running { server, dir });
    }
    floods.iter().for_each(|flood| flood.abort());
    assert_eq!(answered.load(Ordering::Relaxed), 0);
    assert_eq!(roles(&servers).await, before);
    assert_eq!(accepted_epochs(&servers), ["1"; 3]);
}
