//! Somebody who is no member speaks on the ports between servers.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use support::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use zk_proto::client::OpCode;
use zk_proto::quorum::{LearnerInfo, PROTOCOL_VERSION, PacketKind, QuorumPacket};
use zk_proto::{Epoch, Sid};

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
