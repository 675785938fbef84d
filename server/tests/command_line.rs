//! The binary as a user meets it: usage, ready line, status, signals, exit codes.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

fn quorate(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command
        .args(arguments)
        .current_dir(dir)
        .env_remove("QUORATE_LOG")
        .env_remove("QUORATE_LOG_FORMAT")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A command that ends by itself: exit code, standard output and error.
fn finished(mut command: Command) -> (i32, String, String) {
    let mut child = command.spawn().unwrap();
    wait(&mut child);
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn wait(child: &mut Child) {
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("the command does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A server that has printed its ready line, and the address in it.
struct Serving {
    child: Child,
    address: String,
}

impl Serving {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let stdout = child.stdout.as_mut().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let address = line.strip_prefix("connect string: ");
        let address = address.expect("a ready line").trim().to_owned();
        Self { child, address }
    }

    /// Ends it with a signal; exit code and standard error.
    fn stop(mut self) -> (i32, String) {
        let pid = self.child.id().to_string();
        let kill = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(kill.unwrap().success());
        wait(&mut self.child);
        let mut stderr = String::new();
        let log = self.child.stderr.as_mut().unwrap();
        log.read_to_string(&mut stderr).unwrap();
        let code = self.child.wait().unwrap().code();
        (code.expect("an exit code, not a signal"), stderr)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It has usually ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn wrong_usage_is_one_line_and_code_2() {
    let dir = TempDir::new().unwrap();
    for (arguments, want) in [
        (&[][..], "a command is missing"),
        (&["sreve"], "unrecognized subcommand 'sreve'"),
        (
            &["server", "--nonsense"],
            "unexpected argument '--nonsense'",
        ),
        (
            &["server", "a.cfg", "--config", "b.cfg"],
            "cannot be used with",
        ),
        (&["ensemble", "0"], "invalid value '0'"),
        (&["--log", "=x=", "server"], "\"=x=\" is no list of levels"),
    ] {
        let (code, stdout, stderr) = finished(quorate(dir.path(), arguments));
        assert_eq!((code, &*stdout), (2, ""), "{arguments:?}: {stderr}");
        let last = stderr.lines().last().unwrap();
        assert!(
            last.starts_with("quorate: ") && last.contains(want),
            "{stderr}"
        );
        let lines = stderr.lines().filter(|line| !line.contains("data in"));
        assert_eq!(lines.count(), 1, "{stderr}");
    }
}

#[test]
fn a_bad_zoo_cfg_is_code_2_with_its_line() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("zoo.cfg"), "dataDir=d\ntickTime=often\n").unwrap();
    let (code, _, stderr) = finished(quorate(dir.path(), &["server", "zoo.cfg"]));
    assert_eq!(code, 2);
    let want = "zoo.cfg:2: tickTime=often must be a whole number";
    assert!(stderr.contains(want), "{stderr}");
}

/// A volume whose myid was lost on the way, as it is when only the snapshots and logs are restored.
#[test]
fn a_pod_refuses_the_volume_of_another_member_and_leaves_it_as_it_was() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir_all(data.join("version-2")).unwrap();
    std::fs::write(data.join("version-2/log.1"), "").unwrap();
    let marker = "ensemble=default/zk\nvoters=3\nsid=1\n";
    std::fs::write(data.join("ensemble"), marker).unwrap();
    let servers = [1, 2, 3].map(|sid| format!("server.{sid}=127.0.0.1:2888:3888\n"));
    let text = format!(
        "dataDir={}\nclientPort=0\ninitLimit=5\nsyncLimit=5\n{}",
        data.display(),
        servers.concat()
    );
    std::fs::write(dir.path().join("zoo.cfg"), text).unwrap();
    let mut pod = quorate(dir.path(), &["pod", "--config", "zoo.cfg"]);
    pod.env("POD_NAME", "zk-1")
        .env("QUORATE_ENSEMBLE", "default/zk");
    let (code, _, stderr) = finished(pod);
    assert_eq!(code, 3, "{stderr}");
    let want = "that of member 1, but this pod is member 2";
    assert!(stderr.contains(want), "{stderr}");
    let mut files: Vec<_> = std::fs::read_dir(&data).unwrap().collect();
    files.sort_by_key(|entry| entry.as_ref().unwrap().file_name());
    let names = files.into_iter().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["ensemble", "version-2"]);
    assert_eq!(
        std::fs::read_to_string(data.join("ensemble")).unwrap(),
        marker
    );
}

#[test]
fn help_lists_the_commands() {
    let dir = TempDir::new().unwrap();
    let (code, stdout, _) = finished(quorate(dir.path(), &["--help"]));
    assert_eq!(code, 0);
    for command in ["server", "ensemble", "pod", "status"] {
        assert!(stdout.contains(&format!("\n  {command} ")), "{stdout}");
    }
}

#[test]
fn a_server_without_a_file_names_its_data_and_its_connect_string() {
    let dir = TempDir::new().unwrap();
    let server = Serving::start(quorate(dir.path(), &["server", "--set", "clientPort=0"]));
    let (code, table, _) = finished(quorate(dir.path(), &["status", &server.address]));
    assert_eq!(code, 0, "{table}");
    assert!(table.contains("standalone"), "{table}");

    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let both = format!("{},{closed}", server.address);
    let (code, table, stderr) = finished(quorate(dir.path(), &["status", &both]));
    assert_eq!(code, 1);
    assert!(
        table.contains("standalone") && table.contains("refused"),
        "{table}"
    );
    let want = format!("{closed} does not serve");
    assert!(stderr.contains(&want), "{stderr}");

    let (code, stderr) = server.stop();
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("/quorate-data\n"), "{stderr}");
    let version = zk_server::VERSION;
    for said in [
        &format!("version=\"{version}\""),
        "config=embedded zoo.cfg",
        "/quorate-data data_log_dir=",
        "client=\"127.0.0.1:0\"",
        "role sid=1 role=standalone serving=true",
        "jute_maxbuffer=1048575",
    ] {
        assert!(stderr.contains(said), "{said} is not in\n{stderr}");
    }
    let (code, stdout, _) = finished(quorate(dir.path(), &["version"]));
    assert_eq!((code, stdout.trim()), (0, version));
    assert!(dir.path().join("quorate-data/version-2").is_dir());
}

#[test]
fn the_log_follows_argument_environment_and_key() {
    let dir = TempDir::new().unwrap();
    let with = |arguments: &[&str], environment: &[(&str, &str)]| {
        let always = [
            "server",
            "--set",
            "clientPort=0",
            "--set",
            "quorate.logFormat=json",
        ];
        let mut command = quorate(dir.path(), &[&always[..], arguments].concat());
        command.envs(environment.iter().copied());
        let (code, stderr) = Serving::start(command).stop();
        assert_eq!(code, 0);
        let line = stderr.lines().find(|line| line.contains("server started"));
        line.unwrap_or_default().to_owned()
    };
    let line = with(&[], &[]);
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["fields"]["message"], "server started");
    let text = with(&[], &[("QUORATE_LOG_FORMAT", "text")]);
    assert!(text.contains(" INFO "), "{text}");
    let json = with(&["--log-format", "json"], &[("QUORATE_LOG_FORMAT", "text")]);
    assert!(json.starts_with('{'), "{json}");
    assert_eq!(with(&["--set", "quorate.log=warn"], &[]), "");
}

#[test]
fn a_taken_client_port_is_code_4() {
    let dir = TempDir::new().unwrap();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, stdout, stderr) = finished(quorate(dir.path(), &["server", "--port", &port]));
    assert_eq!((code, &*stdout), (4, ""), "{stderr}");
    let want = format!("cannot listen for clients on port {port}, which is in use");
    assert!(stderr.contains(&want), "{stderr}");
}

#[test]
fn a_second_server_on_the_same_directory_is_code_4_and_touches_nothing() {
    let dir = TempDir::new().unwrap();
    let arguments = ["server", "--set", "clientPort=0"];
    let first = Serving::start(quorate(dir.path(), &arguments));
    let unfinished = dir.path().join("quorate-data/version-2/tmp.snapshot");
    std::fs::write(&unfinished, "of the first one").unwrap();
    let (code, stdout, stderr) = finished(quorate(dir.path(), &arguments));
    assert_eq!((code, &*stdout), (4, ""), "{stderr}");
    assert!(
        stderr.contains("another server uses the directory"),
        "{stderr}"
    );
    assert!(
        unfinished.exists(),
        "it has cleaned up behind the other's back"
    );
    assert_eq!(first.stop().0, 0);
    assert_eq!(Serving::start(quorate(dir.path(), &arguments)).stop().0, 0);
    assert!(!unfinished.exists(), "{}", unfinished.display());
}

/// A data directory that holds what a start removes.
fn unfinished_in(dir: &Path) -> PathBuf {
    let arguments = ["server", "--set", "clientPort=0"];
    assert_eq!(Serving::start(quorate(dir, &arguments)).stop().0, 0);
    let unfinished = dir.join("quorate-data/version-2/tmp.snapshot");
    std::fs::write(&unfinished, "of another server").unwrap();
    unfinished
}

#[test]
fn a_start_beside_a_server_of_another_kind_touches_nothing() {
    let dir = TempDir::new().unwrap();
    let unfinished = unfinished_in(dir.path());
    // It takes no lock, but it has the client port.
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, _, stderr) = finished(quorate(dir.path(), &["server", "--port", &port]));
    assert_eq!(code, 4, "{stderr}");
    assert!(unfinished.exists(), "{stderr}");
    // Or it has another port, and a log open.
    let log = unfinished.with_file_name("log.1");
    let mut writer = Command::new("sh")
        .args(["-c", "exec 9>>\"$0\"; echo open; exec sleep 60"])
        .arg(&log)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 5];
    writer
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut said)
        .unwrap();
    let (code, _, stderr) = finished(quorate(dir.path(), &["server", "--set", "clientPort=0"]));
    writer.kill().unwrap();
    writer.wait().unwrap();
    assert_eq!(code, 4, "{stderr}");
    let want = format!("process {} (sleep) writes to ", writer.id());
    assert!(
        stderr.contains(&want) && stderr.contains("log.1: stop it"),
        "{stderr}"
    );
    assert!(unfinished.exists(), "{stderr}");
}

#[test]
fn a_log_that_nobody_reads_does_not_end_the_server() {
    let dir = TempDir::new().unwrap();
    let mut server = Serving::start(quorate(dir.path(), &["server", "--set", "clientPort=0"]));
    drop(server.child.stderr.take());
    // It logs the signal, and that it has stopped.
    let pid = server.child.id().to_string();
    let kill = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(kill.unwrap().success());
    wait(&mut server.child);
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_misspelt_level_is_refused() {
    let dir = TempDir::new().unwrap();
    for levels in ["wran", "info,zk_core", "zk_core=loud", "info,"] {
        let (code, _, stderr) = finished(quorate(dir.path(), &["server", "--log", levels]));
        assert_eq!(code, 2, "{levels}: {stderr}");
        let want = format!("quorate: {levels:?} is no list of levels");
        let last = stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with(&want), "{stderr}");
    }
}

#[test]
fn an_ensemble_with_a_member_that_cannot_start_ends() {
    let dir = TempDir::new().unwrap();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    // The second server's client port; what lies above must fit.
    let first = (port - 1).min(60_000).to_string();
    let keep = if port - 1 > 60_000 {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 60_001)).ok()
    } else {
        None
    };
    let arguments = ["ensemble", "3", "--client-port", &first];
    let (code, stdout, stderr) = finished(quorate(dir.path(), &arguments));
    assert_eq!((code, &*stdout), (4, ""), "{stderr}");
    assert!(stderr.contains("cannot listen for clients"), "{stderr}");
    drop(keep);
}

#[test]
fn sigterm_closes_idle_connections_and_ends_with_0() {
    let dir = TempDir::new().unwrap();
    let server = Serving::start(quorate(dir.path(), &["server", "--set", "clientPort=0"]));
    let mut idle = TcpStream::connect(&server.address).unwrap();
    idle.set_read_timeout(Some(PATIENCE)).unwrap();
    let (code, stderr) = server.stop();
    assert_eq!(code, 0, "{stderr}");
    let mut rest = Vec::new();
    // A reset is an end, too.
    let _ = idle.read_to_end(&mut rest);
    assert_eq!(rest, b"");
}

#[test]
fn a_member_that_waits_says_where_it_listens_and_whom_it_misses() {
    let dir = TempDir::new().unwrap();
    let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let (one, other) = (free(), free());
    let (quorum, election) = (port(&one), port(&other));
    drop((one, other));
    // Nobody listens on port 1, and no name server knows what ends in .invalid.
    let text = format!(
        "dataDir=data\nclientPort=0\nclientPortAddress=127.0.0.1\ninitLimit=10\nsyncLimit=5\n\
         maxClientCnxns=17\nmaxSessionTimeout=50000\n\
         admin.serverAddress=127.0.0.1\nadmin.serverPort=0\n\
         metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider\n\
         metricsProvider.httpHost=127.0.0.1\nmetricsProvider.httpPort=0\n\
         server.1=127.0.0.1:{quorum}:{election}\nserver.2=127.0.0.1:3:1\nserver.3=zk-3.invalid:3:4\n"
    );
    std::fs::write(dir.path().join("zoo.cfg"), text).unwrap();
    std::fs::create_dir(dir.path().join("data")).unwrap();
    std::fs::write(dir.path().join("data/myid"), "1\n").unwrap();
    let mut child = quorate(dir.path(), &["server", "zoo.cfg"]).spawn().unwrap();
    let (to, lines) = mpsc::channel();
    let log = BufReader::new(child.stderr.take().unwrap());
    let reader = std::thread::spawn(move || {
        for line in log.lines() {
            to.send(line.unwrap()).unwrap_or_default();
        }
    });
    let mut said = String::new();
    let end = Instant::now() + PATIENCE;
    let is_told = |said: &str| {
        let plight = said.lines().rfind(|line| line.contains("not serving"));
        plight.is_some_and(|line| line.contains("refused") && line.contains("be resolved"))
    };
    while !is_told(&said) && Instant::now() < end {
        if let Ok(line) = lines.recv_timeout(Duration::from_millis(100)) {
            said = format!("{said}{line}\n");
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    let version = zk_server::VERSION;
    for want in [
        &format!(
            "starting version=\"{version}\" config=zoo.cfg sid=1 data_dir=data data_log_dir=data"
        ),
        &format!(
            "ports client=\"127.0.0.1:0\" quorum=\"127.0.0.1:{quorum}\" election=\"127.0.0.1:{election}\" \
             admin=\"127.0.0.1:0\" metrics=\"127.0.0.1:0\""
        ),
        "limits jute_maxbuffer=1048575 max_client_cnxns=17 max_cnxns=0 session_timeout_ms=\"6000..50000\" open_files_max=",
        "not serving: this server reaches 1 of 3 servers, itself included, and 2 make a quorum",
        "; server.2 at 127.0.0.1:1: ",
        "; server.3 at zk-3.invalid:4: its name cannot be resolved: ",
    ] {
        assert!(said.contains(want), "{want} is not in\n{said}");
    }
}

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(20);
