//! Servers in this process and a client that knows nothing but frames.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part of it"
)]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use zk_proto::client::{
    Acl, ConnectRequest, CreateRequest, OpCode, PathWatchRequest, ReplyHeader, SetDataRequest,
};
use zk_proto::jute::{Put, Reader};
use zk_proto::{SessionId, Sid, Zxid};
use zk_server::Server;
use zk_server::config::ServerConfig;

/// Longer than anything takes that works.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running server and its data.
pub struct Running {
    pub server: Server,
    pub dir: TempDir,
}

/// zoo.cfg for tests: everything on loopback, ports chosen by the system.
pub fn zoo_cfg(dir: &Path, more: &str) -> String {
    format!(
        "tickTime=200\ninitLimit=50\nsyncLimit=25\nmaxSessionTimeout=40000\ndataDir={}\nclientPortAddress=127.0.0.1\nclientPort=0\n\
         admin.serverAddress=127.0.0.1\nadmin.serverPort=0\n4lw.commands.whitelist=*\npreAllocSize=64\n\
         metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider\n\
         metricsProvider.httpHost=127.0.0.1\nmetricsProvider.httpPort=0\n{more}",
        dir.display()
    )
}

/// A server without peers that serves.
pub async fn standalone(more: &str) -> Running {
    let dir = TempDir::new().unwrap();
    let text = zoo_cfg(dir.path(), more);
    let config = ServerConfig::read(Path::new("zoo.cfg"), &text, None)
        .unwrap()
        .config;
    let server = Server::start(config).await.unwrap();
    timeout(PATIENCE, server.serving())
        .await
        .expect("a server alone serves at once");
    Running { server, dir }
}

/// Three servers; they serve once all have started.
pub async fn ensemble(ports: &[(u16, u16)]) -> BTreeMap<Sid, Running> {
    let mut servers = BTreeMap::new();
    for sid in 1..=ports.len() {
        let dir = TempDir::new().unwrap();
        let config = member(ports, sid, dir.path());
        let server = Server::start(config).await.unwrap();
        servers.insert(Sid(sid as i64), Running { server, dir });
    }
    for running in servers.values() {
        timeout(PATIENCE, running.server.serving())
            .await
            .expect("an ensemble serves");
    }
    servers
}

/// Configuration of one of several servers.
pub fn member(ports: &[(u16, u16)], sid: usize, dir: &Path) -> ServerConfig {
    member_with(ports, sid, dir, "")
}

/// The same with more lines in its zoo.cfg.
pub fn member_with(ports: &[(u16, u16)], sid: usize, dir: &Path, more: &str) -> ServerConfig {
    let mut lines = more.to_owned();
    for (n, (quorum, election)) in ports.iter().enumerate() {
        lines += &format!("server.{}=127.0.0.1:{quorum}:{election}\n", n + 1);
    }
    let text = zoo_cfg(dir, &lines);
    ServerConfig::read(Path::new("zoo.cfg"), &text, Some(Sid(sid as i64)))
        .unwrap()
        .config
}

/// Ports that were free a moment ago, for peers that must know each other's.
/// No outgoing connection takes one of them while its server is stopped: they
/// are below the range that the system chooses from.
pub fn free_ports<const N: usize>() -> [(u16, u16); N] {
    std::array::from_fn(|_| (free_port(), free_port()))
}

fn free_port() -> u16 {
    static HANDED_OUT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Processes that run at the same time begin apart.
        let number = process::id() * 61 + HANDED_OUT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + u16::try_from(number % PORTS.len() as u32).unwrap();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

const PORTS: Range<u16> = 12_000..32_000;

/// One connection.
pub struct Client {
    pub stream: TcpStream,
    pub session: SessionId,
    pub password: Vec<u8>,
    pub timeout_ms: i32,
}

/// A reply or an event: header and what follows it.
#[derive(Debug, PartialEq)]
pub struct Frame {
    pub header: ReplyHeader,
    pub body: Vec<u8>,
}

impl Client {
    /// Opens a session.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::attach(address, connect_request())
            .await
            .expect("a new session is granted")
    }

    /// Sends this connect request; `None` if the answer refuses the session.
    pub async fn attach(address: SocketAddr, request: ConnectRequest) -> Option<Self> {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut payload = Vec::new();
        request.write(&mut payload);
        send_frame(&mut stream, &payload).await;
        let answer = read_frame(&mut stream).await.expect("a connect response");
        let wanted = if request.read_only.is_some() { 37 } else { 36 };
        assert_eq!(
            answer.len(),
            wanted,
            "the readOnly byte is answered in kind"
        );
        let mut reader = Reader::new(&answer);
        assert_eq!(reader.i32().unwrap(), 0);
        let timeout_ms = reader.i32().unwrap();
        let session = SessionId(reader.i64().unwrap());
        let password = reader.buffer().unwrap().to_vec();
        (timeout_ms > 0).then_some(Self {
            stream,
            session,
            password,
            timeout_ms,
        })
    }

    pub async fn send(&mut self, xid: i32, op: OpCode, body: &[u8]) {
        self.stream
            .write_all(&request(xid, op.code(), body))
            .await
            .unwrap();
    }

    pub async fn receive(&mut self) -> Frame {
        let frame = read_frame(&mut self.stream).await.expect("a reply");
        let mut reader = Reader::new(&frame);
        let header = ReplyHeader::read(&mut reader).unwrap();
        Frame {
            header,
            body: reader.rest().to_vec(),
        }
    }

    pub async fn call(&mut self, xid: i32, op: OpCode, body: &[u8]) -> Frame {
        self.send(xid, op, body).await;
        self.receive().await
    }

    /// The peer has closed without another byte.
    pub async fn assert_closed(&mut self) {
        assert_eq!(read_frame(&mut self.stream).await, None);
    }
}

/// A new session of 30 s.
pub fn connect_request() -> ConnectRequest {
    ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid::ZERO,
        timeout_ms: 30_000,
        session_id: SessionId(0),
        password: vec![0; 16],
        read_only: Some(false),
    }
}

pub fn request(xid: i32, op: i32, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.put_count(8 + body.len());
    frame.put_i32(xid);
    frame.put_i32(op);
    frame.extend_from_slice(body);
    frame
}

pub fn create(path: &str, data: &[u8], flags: i32) -> Vec<u8> {
    let mut body = Vec::new();
    let acl = Some(vec![Acl::open()]);
    CreateRequest {
        path: path.into(),
        data: Some(data),
        acl,
        flags,
    }
    .write(&mut body);
    body
}

pub fn set_data(path: &str, data: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    SetDataRequest {
        path: path.into(),
        data: Some(data),
        version: -1,
    }
    .write(&mut body);
    body
}

pub fn path_watch(path: &str, watch: bool) -> Vec<u8> {
    let mut body = Vec::new();
    PathWatchRequest {
        path: path.into(),
        watch,
    }
    .write(&mut body);
    body
}

pub fn path_only(path: &str) -> Vec<u8> {
    let mut body = Vec::new();
    body.put_str(path);
    body
}

/// The data in a getData reply.
pub fn data_of(frame: &Frame) -> Vec<u8> {
    assert_eq!(frame.header.err, 0);
    Reader::new(&frame.body).buffer().unwrap().to_vec()
}

pub async fn send_frame(stream: &mut TcpStream, payload: &[u8]) {
    let mut frame = Vec::new();
    frame.put_buffer(payload);
    stream.write_all(&frame).await.unwrap();
}

/// The next frame, or `None` at the end of the stream.
pub async fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let read = async {
        let length = stream.read_i32().await.ok()?;
        let mut payload = vec![0; usize::try_from(length).expect("replies have a length")];
        stream
            .read_exact(&mut payload)
            .await
            .expect("a whole reply");
        Some(payload)
    };
    timeout(PATIENCE, read).await.expect("an answer in time")
}

/// Everything up to the end of the stream.
pub async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut bytes));
    // A reset after a refusal is an end, too.
    let _ = read.await.expect("the server closes");
    bytes
}

/// Asks a four-letter word.
pub async fn word(address: SocketAddr, word: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(word.as_bytes()).await.unwrap();
    String::from_utf8(read_to_end(&mut stream).await).unwrap()
}

/// Status line and body of a GET.
pub async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let text = String::from_utf8(read_to_end(&mut stream).await).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.expect("a status"), body.to_owned())
}
