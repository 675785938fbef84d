//! What strangers can make the binary write to its log.

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::{PATIENCE, connect_request, free_ports, zoo_cfg};
use tempfile::TempDir;
use zk_proto::quorum::{Hello, LearnerInfo, PROTOCOL_VERSION, PacketKind, QuorumPacket};
use zk_proto::{Sid, Zxid};

/// A process whose log is a file.
struct Logging {
    child: Child,
    dir: TempDir,
}

impl Logging {
    fn start(more: &str) -> Self {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("myid"), "1").unwrap();
        let text = zoo_cfg(dir.path(), more);
        std::fs::write(dir.path().join("zoo.cfg"), text).unwrap();
        let log = File::create(dir.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_quorate"))
            .args(["server", "zoo.cfg"])
            .current_dir(dir.path())
            .env_remove("QUORATE_LOG")
            .env_remove("QUORATE_LOG_FORMAT")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, dir }
    }

    fn lines(&self, what: &str) -> Vec<String> {
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap();
        let lines = log.lines().filter(|line| line.contains(what));
        lines.map(str::to_owned).collect()
    }

    /// There are some of these lines, far fewer than there were causes, and the
    /// next one says how many were left out.
    fn assert_bounded(&self, what: &str, causes: usize, since: Instant, cause: impl Fn()) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // A place that has written many has to rest for one line's time.
            std::thread::sleep(Duration::from_millis(250));
            cause();
            let lines = self.lines(what);
            let left_out = |line: &String| line.rsplit_once(" left_out=")?.1.parse::<usize>().ok();
            let left_out: usize = lines.iter().filter_map(left_out).sum();
            if lines.len() + left_out >= causes {
                let most = 101 + since.elapsed().as_millis() as usize / 200;
                assert!(lines.len() <= most, "{} of {what:?}", lines.len());
                return;
            }
            let last = lines.last();
            assert!(
                Instant::now() < deadline,
                "{left_out} of {what:?}, {last:?}"
            );
        }
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has said then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(port: u16) -> TcpStream {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                return stream;
            }
            Err(error) => assert!(Instant::now() < deadline, "port {port}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends these bytes and no more, and waits until the server has closed the
/// connection.
fn knock(port: u16, bytes: &[u8]) {
    let mut stream = connect(port);
    stream.write_all(bytes).unwrap();
    // It may be closed already.
    let _ = stream.shutdown(Shutdown::Write);
    // Closing with something unread may be a reset.
    let _ = stream.read_to_end(&mut Vec::new());
}

#[test]
fn floods_on_the_ports_for_servers_are_a_few_lines() {
    let ports = free_ports::<3>();
    let [own, peers @ ..] = ports;
    let mut more = format!(
        "initLimit=5\nsyncLimit=5\nserver.1=127.0.0.1:{}:{}\n",
        own.0, own.1
    );
    for (sid, peer) in (2..).zip(peers) {
        more += &format!("server.{sid}=127.0.0.1:{}:{}\n", peer.0, peer.1);
    }
    let server = Logging::start(&more);
    let since = Instant::now();

    // In the name of a member, whose address is this one.
    let info = LearnerInfo {
        sid: Sid(2),
        protocol_version: PROTOCOL_VERSION,
        config_version: 0,
    };
    let mut introduction = Vec::new();
    QuorumPacket::new(PacketKind::FollowerInfo, Zxid(0), Some(info.encode()))
        .write(&mut introduction);
    let learner = || knock(own.0, &introduction);
    (0..500).for_each(|_| learner());
    let what = "reason=\"closed by the peer\"";
    // A few of them may have been closed by this server.
    server.assert_bounded(what, 400, since, learner);

    let hello = Hello {
        sid: Sid(2),
        addresses: vec![format!("127.0.0.1:{}", peers[0].1)],
    };
    let hello = hello.encode();
    let vote = [0, 0, 0, 1, b'x'];
    let end = (-5_i32).to_be_bytes();
    let votes = |count: usize| knock(own.1, &[&hello[..], &vote.repeat(count), &end].concat());
    votes(5000);
    server.assert_bounded("unreadable vote", 5000, since, || votes(1));
    (0..500).for_each(|_| votes(0));
    server.assert_bounded("election connection closed", 500, since, || votes(0));
}

#[test]
fn a_client_that_is_ahead_of_the_server_is_named() {
    let server = Logging::start("quorate.logFormat=text\n");
    let deadline = Instant::now() + PATIENCE;
    let port = loop {
        assert!(Instant::now() < deadline, "the server does not start");
        std::thread::sleep(Duration::from_millis(20));
        let line = server.lines("server started").pop();
        let address = line.and_then(|line| Some(line.split_once("127.0.0.1:")?.1.to_owned()));
        let digits = address.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect());
        if let Some(port) = digits.and_then(|port: String| port.parse().ok()) {
            break port;
        }
    };
    let mut request = connect_request();
    request.last_zxid_seen = Zxid(0x7_0000_0001);
    let mut payload = Vec::new();
    request.write(&mut payload);
    let frame = [&(payload.len() as u32).to_be_bytes()[..], &payload].concat();
    // Until it serves, the server closes connections without such a line.
    let mut locals = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    let line = loop {
        let mut stream = connect(port);
        locals.push(stream.local_addr().unwrap().to_string());
        stream.write_all(&frame).unwrap();
        let mut reply = Vec::new();
        // Nothing, or a reset.
        let _ = stream.read_to_end(&mut reply);
        assert!(reply.is_empty(), "{reply:?}");
        if let Some(line) = server.lines("has seen a newer zxid").pop() {
            break line;
        }
        assert!(Instant::now() < deadline, "no line about the client");
        std::thread::sleep(Duration::from_millis(20));
    };
    let names_one = locals.iter().any(|local| line.contains(local));
    assert!(names_one, "{line}");
}
