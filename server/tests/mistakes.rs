//! What people get wrong at first, and what the binary says about it.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use zk_proto::Sid;
use zk_proto::quorum::Hello;

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running command and the lines of its standard error.
struct Run {
    child: Child,
    lines: Receiver<String>,
    said: String,
}

impl Run {
    fn start(dir: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_quorate"))
            .args(arguments)
            .current_dir(dir)
            .env_remove("QUORATE_LOG")
            .env_remove("QUORATE_LOG_FORMAT")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, lines) = mpsc::channel();
        let log = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in log.lines() {
                to.send(line.unwrap()).unwrap_or_default();
            }
        });
        Self {
            child,
            lines,
            said: String::new(),
        }
    }

    /// Reads until this was said.
    fn says(&mut self, want: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.said.contains(want) {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.said += &format!("{line}\n"),
                Err(error) => panic!("{want} is not in (and then {error})\n{}", self.said),
            }
        }
    }

    /// Waits for its end: exit code and standard output.
    fn ends(mut self) -> (i32, String, String) {
        drop(self.child.stdin.take());
        let stdout = BufReader::new(self.child.stdout.take().unwrap());
        let stdout: Vec<_> = stdout.lines().map(Result::unwrap).collect();
        let code = self.child.wait().unwrap().code().unwrap();
        for line in &self.lines {
            self.said += &format!("{line}\n");
        }
        (code, stdout.join("\n"), std::mem::take(&mut self.said))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // It has usually ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
        .collect();
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    listeners.iter().map(port).collect()
}

#[test]
fn slips_on_the_command_line_are_answered_with_what_to_write() {
    let dir = TempDir::new().unwrap();
    for (arguments, want) in [
        (
            &["sever"][..],
            "unrecognized subcommand 'sever'; a similar subcommand exists: 'server'; see quorate --help",
        ),
        (
            &["server", "--prot", "1"],
            "a similar argument exists: '--port'; see quorate server --help",
        ),
        (
            &["txnlog"],
            "a command is missing; see quorate txnlog --help",
        ),
        (
            &["server", "-Djute.maxbuffer=8388608", "zoo.cfg"],
            "write jute.maxbuffer=8388608 into zoo.cfg",
        ),
        (&["server", "--set", "dataDir=/d"], "--data-dir DIR sets it"),
        (&["server", "--set", "tickTime"], "write it as KEY=VALUE"),
        (
            &["ensemble", "3", "--set", "clientPort=5"],
            "--client-port PORT sets that of the first server",
        ),
        (&["ensemble", "--set", "dataDir=/d"], "--dir DIR sets where"),
        (
            &["server", "--set", "tickTime=fast"],
            "--set: tickTime=fast must be",
        ),
    ] {
        let (code, stdout, said) = Run::start(dir.path(), arguments).ends();
        assert_eq!((code, &*stdout), (2, ""), "{arguments:?}: {said}");
        assert!(said.contains(want), "{arguments:?}: {said}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn both_ways_to_ask_for_the_version_say_the_same() {
    let dir = TempDir::new().unwrap();
    let said = ["-V", "--version"].map(|flag| Run::start(dir.path(), &[flag]).ends().1);
    let want = format!("quorate {}", zk_server::VERSION);
    assert_eq!(said, [want.clone(), want]);
}

#[test]
fn the_digest_of_the_super_user_is_that_of_the_reference() {
    let dir = TempDir::new().unwrap();
    for (arguments, want) in [
        // Of `DigestAuthenticationProvider.generateDigest("super:admin")`.
        (&["digest"][..], "super:xQJmxLMiHGwaqBvst5y6rkB6HQs="),
        (
            &["digest", "bob", "--algorithm", "SHA-256"],
            "bob:5rEISyAHfxw5DRYMXnoxboUqm+a/T72U6mKKGWswlpU=",
        ),
    ] {
        let mut run = Run::start(dir.path(), arguments);
        run.child
            .stdin
            .take()
            .unwrap()
            .write_all(b"admin\n")
            .unwrap();
        assert_eq!(run.ends(), (0, want.to_owned(), String::new()));
    }
    let (code, _, said) = Run::start(dir.path(), &["digest"]).ends();
    assert_eq!(
        (code, &*said),
        (2, "quorate: standard input has no password\n")
    );
}

#[test]
fn ports_and_addresses_that_cannot_be_had_are_named_with_their_flag_or_key() {
    let dir = TempDir::new().unwrap();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, _, said) = Run::start(dir.path(), &["server", "--port", &port]).ends();
    assert_eq!(code, 4, "{said}");
    let want = format!(
        "--port PORT chooses another port: cannot listen for clients on port {port}, which is in use"
    );
    assert!(said.contains(&want), "{said}");
    // An address that documentation may use and nobody has.
    let arguments = [
        "server",
        "--set",
        "clientPortAddress=192.0.2.1",
        "--port",
        "0",
    ];
    let (code, _, said) = Run::start(dir.path(), &arguments).ends();
    assert_eq!(code, 4, "{said}");
    let want = "the address in clientPortAddress is not one of this machine's: 192.0.2.1:0: ";
    assert!(said.contains(want), "{said}");
}

/// A member of three with these election ports; the others' lines can be given.
fn member(dir: &Path, ports: &[u16], more: &str) -> Run {
    let text = format!(
        "dataDir=data\nclientPort=0\nclientPortAddress=127.0.0.1\ninitLimit=10\nsyncLimit=5\n\
         admin.enableServer=false\nserver.1=127.0.0.1:{}:{}\n{more}",
        ports[0], ports[1]
    );
    std::fs::create_dir_all(dir.join("data")).unwrap();
    std::fs::write(dir.join("data/myid"), "1\n").unwrap();
    std::fs::write(dir.join("zoo.cfg"), text).unwrap();
    Run::start(dir, &["server", "zoo.cfg"])
}

#[test]
fn two_servers_with_one_id_are_told_by_those_that_hear_both() {
    let dir = TempDir::new().unwrap();
    let ports = free_ports(2);
    let more = "server.2=127.0.0.1:3:1\nserver.3=127.0.0.1:4:1\n";
    let mut run = member(dir.path(), &ports, more);
    run.says("server started");
    let hello = Hello {
        sid: Sid(2),
        addresses: vec!["127.0.0.1:1".into()],
    };
    let mut calls = Vec::new();
    for _ in 0..12 {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, ports[1])).unwrap();
        stream.write_all(&hello.encode()).unwrap();
        calls.push(stream);
        thread::sleep(Duration::from_millis(50));
    }
    run.says("another server already answers as server.2");
}

#[test]
fn a_line_that_is_a_copy_of_another_is_named_and_fills_no_log() {
    let dir = TempDir::new().unwrap();
    let ports = free_ports(2);
    let (quorum, election) = (ports[0], ports[1]);
    let more = format!("server.2=127.0.0.1:{quorum}:{election}\nserver.3=127.0.0.1:4:1\n");
    let mut run = member(dir.path(), &ports, &more);
    run.says("file=\"zoo.cfg\" line=8 key=\"server.2\"");
    run.says("it has the address of server.1 in line 7");
    // It dials itself several times before it says what it misses.
    run.says("not serving: this server reaches");
    let refused = run.said.matches("it has this server's own id, 1").count();
    assert_eq!(refused, 1, "{}", run.said);
}

#[test]
fn a_request_that_is_too_long_names_the_limit() {
    let dir = TempDir::new().unwrap();
    let mut run = Run::start(dir.path(), &["server", "--port", "0"]);
    let mut line = String::new();
    let mut stdout = BufReader::new(run.child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let address = line.strip_prefix("connect string: ").unwrap().trim();
    let mut stream = TcpStream::connect(address).unwrap();
    // A connect request: protocol, zxid, timeout, session, password, read-only.
    let mut connect = vec![0; 12];
    connect.extend(30_000_u32.to_be_bytes());
    connect.extend([0; 8]);
    connect.extend(16_u32.to_be_bytes());
    connect.extend([0; 17]);
    let length = u32::try_from(connect.len()).unwrap().to_be_bytes();
    stream.write_all(&length).unwrap();
    stream.write_all(&connect).unwrap();
    stream.write_all(&4_000_024_u32.to_be_bytes()).unwrap();
    run.says("length=4000024 reason=\"a request longer than jute.maxbuffer (1048575)\"");
}
