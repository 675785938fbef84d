//! The operator as a process: how it starts without a cluster, and how it stops when the API server is silent.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn operator() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate-operator"));
    let arguments = [
        "run",
        "--default-image",
        "quorate/quorate:test",
        "--listen",
        "127.0.0.1:0",
    ];
    command.args(arguments);
    for name in [
        "KUBERNETES_SERVICE_HOST",
        "KUBERNETES_SERVICE_PORT",
        "QUORATE_LOG",
    ] {
        command.env_remove(name);
    }
    command.env("RUST_BACKTRACE", "1");
    command
}

/// A kubeconfig that names this API server.
fn kubeconfig(name: &str, server: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\ncontexts:\n- name: test\n  context: {{cluster: test, user: test}}\nclusters:\n- name: test\n  cluster: {{server: \"{server}\"}}\nusers:\n- name: test\n  user: {{}}\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// Waits for the end of the process, and ends it itself if that takes too long.
fn ends_within(child: &mut Child, time: Duration) -> bool {
    let deadline = Instant::now() + time;
    while Instant::now() < deadline {
        if child.try_wait().unwrap().is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    false
}

#[test]
fn without_an_api_server_it_says_so_in_one_line() {
    let missing = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("no-kubeconfig");
    let output = operator().env("KUBECONFIG", &missing).output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.starts_with("quorate-operator: finding the Kubernetes API server"),
        "{text}"
    );
}

#[test]
fn a_log_level_with_a_slip_is_refused_in_one_line() {
    let output = operator().args(["--log", "inof"]).output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("\"inof\" is no level"), "{text}");
}

#[test]
fn it_names_its_api_server_and_stops_within_seconds_although_that_is_silent() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", silent.local_addr().unwrap());
    let mut child = operator()
        .env("KUBECONFIG", kubeconfig("silent", &server))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let mut lines = stdout.lines().map(Result::unwrap);
    let start = lines.find(|line| line.contains("operator started"));
    let start = start.expect("the operator starts");
    assert!(start.contains(&server), "{start}");
    // It has asked, and waits for an answer.
    let (_connection, _) = silent.accept().unwrap();
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert!(ends_within(&mut child, Duration::from_secs(8)));
    assert!(child.wait().unwrap().success());
}
