use std::future::{pending, poll_fn};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use tokio::net::TcpSocket;
use zk_proto::quorum::ServerState;
use zk_proto::{Epoch, Round, Zxid};

use super::super::resolver::Resolver;
use super::*;

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    mesh: Arc<Mesh>,
    inbox: Arc<Inbox>,
}

impl Server {
    /// A server of three on these election ports, whose hosts are names.
    fn start(sid: i64, listeners: &[TcpListener], resolver: Arc<Resolver>) -> Self {
        let mut text = "dataDir=/nowhere\nclientPort=1\ninitLimit=5\nsyncLimit=5\n".to_owned();
        for (n, listener) in listeners.iter().enumerate() {
            let port = listener.local_addr().unwrap().port();
            text += &format!("server.{}=zk-{}:1:{port}\n", n + 1, n + 1);
        }
        let config = ServerConfig::read(Path::new("zoo.cfg"), &text, Some(Sid(sid)));
        let config = config.unwrap().config;
        let inbox = Arc::<Inbox>::default();
        let mesh = Mesh::new(inbox.clone(), &config, Listed::new(&config, resolver));
        Self { mesh, inbox }
    }

    fn accept(&self, listener: TcpListener) {
        tokio::spawn(self.mesh.clone().accept(listener));
    }

    /// The peers whose votes have come, once there are any.
    async fn voters(&self) -> Vec<Sid> {
        let mut batch = Vec::new();
        let taken = poll_fn(|cx| self.inbox.poll_take(cx, &mut batch));
        timeout(PATIENCE, taken).await.expect("a vote comes");
        let from = |event| match event {
            Event::Vote { from } => from,
            _ => panic!("votes only"),
        };
        batch.into_iter().map(from).collect()
    }
}

async fn listeners() -> Vec<TcpListener> {
    let mut listeners = Vec::new();
    for _ in 0..3 {
        listeners.push(TcpListener::bind("0.0.0.0:0").await.unwrap());
    }
    listeners
}

/// Every name is this machine.
fn at_home() -> Arc<Resolver> {
    Resolver::new(|_| async { Ok(vec![Ipv4Addr::LOCALHOST.into()]) })
}

fn vote(zxid: i64, config: &str) -> Notification {
    Notification {
        state: ServerState::Looking,
        leader: Sid(3),
        zxid: Zxid(zxid),
        round: Round(1),
        peer_epoch: Epoch(0),
        version: 2,
        config: config.into(),
    }
}

fn frame(vote: &Notification) -> Vec<u8> {
    let (mut payload, mut frame) = (Vec::new(), Vec::new());
    vote.write(&mut payload);
    frame.put_buffer(&payload);
    frame
}

/// Connects from an address of loopback and says to be this server.
async fn say(from: u8, port: u16, sid: i64, address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    let ip: IpAddr = Ipv4Addr::new(127, 0, 0, from).into();
    socket.bind(SocketAddr::new(ip, 0)).unwrap();
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = socket.connect(to).await.unwrap();
    let hello = Hello {
        sid: Sid(sid),
        addresses: vec![address.into()],
    };
    stream.write_all(&hello.encode()).await.unwrap();
    stream
}

/// The other side closes, with or without another byte before.
async fn assert_closes(mut stream: TcpStream) {
    let end = async {
        let mut bytes = [0; 1024];
        while stream.read(&mut bytes).await.is_ok_and(|n| n > 0) {}
    };
    timeout(PATIENCE, end).await.expect("it is closed");
}

#[tokio::test]
async fn votes_travel_while_names_hang_that_were_known_once() {
    let mut listeners = listeners().await;
    let asked = AtomicU64::new(0);
    // The name servers answer once for each name, then never again.
    let resolver = Resolver::new(move |_| {
        let nth = asked.fetch_add(1, Ordering::Relaxed);
        async move {
            if nth >= 3 {
                pending::<()>().await;
            }
            Ok(vec![Ipv4Addr::LOCALHOST.into()])
        }
    });
    for sid in 1..=3 {
        resolver
            .addresses(&format!("zk-{sid}"), PATIENCE)
            .await
            .unwrap();
    }
    sleep(Duration::from_millis(600)).await;
    let one = Server::start(1, &listeners, resolver.clone());
    let two = Server::start(2, &listeners, resolver);
    two.accept(listeners.remove(1));
    one.accept(listeners.remove(0));
    one.mesh.send(Sid(2), &vote(1, ""));
    two.mesh.send(Sid(1), &vote(2, ""));
    assert_eq!(one.voters().await, [Sid(2)]);
    assert_eq!(two.voters().await, [Sid(1)]);
}

#[tokio::test]
async fn a_name_that_appears_later_is_used_then() {
    let mut listeners = listeners().await;
    let asked = AtomicU64::new(0);
    let resolver = Resolver::new(move |_| {
        let nth = asked.fetch_add(1, Ordering::Relaxed);
        async move {
            match nth {
                0 => Err(io::Error::other("no such name")),
                _ => Ok(vec![Ipv4Addr::LOCALHOST.into()]),
            }
        }
    });
    let one = Server::start(1, &listeners, at_home());
    let two = Server::start(2, &listeners, resolver);
    one.accept(listeners.remove(0));
    two.mesh.send(Sid(1), &vote(2, ""));
    let missing = loop {
        let missing = two.mesh.unreachable();
        if missing[0].1.contains("no such name") {
            break missing;
        }
        sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(missing.len(), 2, "{missing:?}");
    assert_eq!(one.voters().await, [Sid(2)]);
    assert_eq!(
        two.mesh.unreachable().len(),
        1,
        "only the third one is missing"
    );
}

#[tokio::test]
async fn of_the_votes_of_a_peer_the_newest_waits_for_the_driver() {
    let mut listeners = listeners().await;
    let port = listeners[0].local_addr().unwrap().port();
    let one = Server::start(1, &listeners, at_home());
    one.accept(listeners.remove(0));
    let mut peer = say(1, port, 2, "zk-2:1").await;
    let config = "x".repeat(500_000);
    for zxid in 1..=100 {
        peer.write_all(&frame(&vote(zxid, &config))).await.unwrap();
    }
    let has_newest = || {
        let peers = one.mesh.peers.lock();
        let peer = peers.get(&Sid(2));
        peer.is_some_and(|peer| peer.arrived().any(|vote| vote.zxid == Zxid(100)))
    };
    let newest = async {
        while !has_newest() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, newest).await.expect("the newest is kept");
    assert_eq!(one.voters().await, [Sid(2)], "one vote waits");
    assert_eq!(one.mesh.take_vote(Sid(2)).unwrap().1.zxid, Zxid(100));
    assert_eq!(one.mesh.take_vote(Sid(2)), None);
}

#[tokio::test]
async fn a_vote_whose_connection_ended_is_sent_on_the_next_one() {
    let listeners = listeners().await;
    let two = Server::start(2, &listeners, at_home());
    two.mesh.send(Sid(1), &vote(7, ""));
    for _ in 0..2 {
        // The first connection ends with the vote in it.
        let taken = async {
            let (mut stream, _) = listeners[0].accept().await.unwrap();
            let mut bytes = BytesMut::new();
            let hello = read_hello(&mut stream, &mut bytes).await.unwrap();
            assert_eq!(hello.sid, Sid(2));
            while bytes.len() < frame(&vote(7, "")).len() {
                assert!(stream.read_buf(&mut bytes).await.unwrap() > 0);
            }
            assert_eq!(bytes[..], frame(&vote(7, "")));
        };
        timeout(PATIENCE, taken)
            .await
            .expect("it dials again by itself");
    }
}

#[tokio::test]
async fn few_unlisted_peers_are_served_and_none_is_remembered() {
    let mut listeners = listeners().await;
    let port = listeners[0].local_addr().unwrap().port();
    let one = Server::start(1, &listeners, at_home());
    one.accept(listeners.remove(0));
    let mut strangers = Vec::new();
    for sid in 0..UNLISTED_MAX as i64 {
        let mut stranger = say(1, port, 100 + sid, "127.0.0.1:1").await;
        stranger.write_all(&frame(&vote(1, ""))).await.unwrap();
        strangers.push(stranger);
        while one.mesh.peers.lock().len() < strangers.len() {
            sleep(Duration::from_millis(5)).await;
        }
    }
    assert_closes(say(1, port, 200, "127.0.0.1:1").await).await;
    strangers[0]
        .write_all(&frame(&vote(1, &"x".repeat(70_000))))
        .await
        .unwrap();
    assert_closes(strangers.remove(0)).await;
    drop(strangers);
    let forgotten = async {
        while !one.mesh.peers.lock().is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, forgotten)
        .await
        .expect("strangers are forgotten");
}

#[tokio::test]
async fn an_address_in_an_introduction_is_not_dialed() {
    let mut listeners = listeners().await;
    let port = listeners[1].local_addr().unwrap().port();
    let two = Server::start(2, &listeners, at_home());
    two.accept(listeners.remove(1));
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = trap.local_addr().unwrap().to_string();
    // The reference would call each of these back where it says that it is.
    assert_closes(say(1, port, 0, &address).await).await;
    assert_closes(say(1, port, 1, &address).await).await;
    two.mesh.send(Sid(0), &vote(1, ""));
    let (called, _) = timeout(PATIENCE, listeners[0].accept())
        .await
        .expect("zk-1 is")
        .unwrap();
    drop(called);
    assert!(
        timeout(Duration::from_millis(300), trap.accept())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_peer_at_its_own_address_is_not_replaced_by_one_that_is_not() {
    let mut listeners = listeners().await;
    let port = listeners[0].local_addr().unwrap().port();
    let one = Server::start(1, &listeners, at_home());
    one.accept(listeners.remove(0));
    let mut peer = say(1, port, 2, "zk-2:1").await;
    peer.write_all(&frame(&vote(1, ""))).await.unwrap();
    assert_eq!(one.voters().await, [Sid(2)]);
    one.mesh.take_vote(Sid(2)).unwrap();
    assert_closes(say(9, port, 2, "zk-2:1").await).await;
    peer.write_all(&frame(&vote(2, ""))).await.unwrap();
    assert_eq!(one.voters().await, [Sid(2)]);
    // The same server again, from its own address, takes the place.
    let mut again = say(1, port, 2, "zk-2:1").await;
    assert_closes(peer).await;
    one.mesh.take_vote(Sid(2)).unwrap();
    again.write_all(&frame(&vote(3, ""))).await.unwrap();
    assert_eq!(one.voters().await, [Sid(2)]);
}

#[tokio::test]
async fn who_says_nothing_takes_no_place_for_long() {
    let mut listeners = listeners().await;
    let port = listeners[0].local_addr().unwrap().port();
    let one = Server::start(1, &listeners, at_home());
    one.accept(listeners.remove(0));
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let start = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(to).await.unwrap());
    }
    let mut peer = say(1, port, 2, "zk-2:1").await;
    peer.write_all(&frame(&vote(1, ""))).await.unwrap();
    assert_eq!(one.voters().await, [Sid(2)]);
    assert_closes(silent.remove(0)).await;
    let waited = start.elapsed();
    assert!(waited < one.mesh.handshake_max, "only its time was over");
}

/// Its vote is what makes a leader let it in, and nothing else asks for a
/// connection once there is a leader.
#[tokio::test]
async fn a_peer_that_calls_is_called_back_although_there_is_a_leader() {
    let mut listeners = listeners().await;
    let server = Server::start(3, &listeners, at_home());
    let own = listeners.pop().unwrap();
    let address = own.local_addr().unwrap();
    server.accept(own);
    // Server 2 is down, and the first attempt to reach it fails.
    let port = listeners.pop().unwrap().local_addr().unwrap().port();
    let start = std::time::Instant::now();
    {
        let mut peers = server.mesh.peers.lock();
        let peer = peers.entry(Sid(2)).or_default();
        server.mesh.start_dialing(Sid(2), peer);
    }
    server.mesh.set_role(false, true);
    let has_failed = || server.mesh.peers.lock()[&Sid(2)].trouble.is_some();
    while !has_failed() {
        assert!(start.elapsed() < PATIENCE, "it is not dialed");
        sleep(Duration::from_millis(1)).await;
    }
    // It comes up and calls while the pause after that attempt lasts.
    let back = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let _caller = say(1, address.port(), 2, "zk-2:1").await;
    let called = timeout(PATIENCE, back.accept()).await;
    called.expect("it is called back").unwrap();
}

/// It calls because its own end is gone. Nothing is sent on the connection that
/// would show that here.
#[tokio::test]
async fn a_peer_that_calls_again_gets_a_new_connection() {
    let mut listeners = listeners().await;
    let server = Server::start(3, &listeners, at_home());
    let own = listeners.pop().unwrap();
    let port = own.local_addr().unwrap().port();
    server.accept(own);
    let peer = listeners.pop().unwrap();
    let mut connections = Vec::new();
    for _ in 0..2 {
        let _caller = say(1, port, 2, "zk-2:1").await;
        let called = timeout(PATIENCE, peer.accept()).await;
        connections.push(called.expect("it is called back").unwrap().0);
    }
    assert_closes(connections.remove(0)).await;
}
