//! `quorate status`: what servers say of themselves, side by side.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::process;

mod reason;

/// Arguments of `quorate status`.
#[derive(clap::Args)]
#[command(
    after_help = "It sends the four-letter word srvr, so it works with Apache ZooKeeper, too. A server that does not \
                  serve is asked at its admin port why.\n\
                  Exits with 1 if a server cannot be reached or does not serve."
)]
pub(crate) struct Status {
    /// Client ports of the servers; a connect string with commas works, too.
    #[arg(
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:2181",
        value_delimiter = ','
    )]
    servers: Vec<String>,
    /// Admin port of the servers. One that does not serve says there why.
    #[arg(long, value_name = "PORT", default_value_t = ADMIN_PORT)]
    admin_port: u16,
}

/// What a server has answered.
#[derive(Debug, PartialEq)]
struct Answer {
    role: String,
    zxid: u64,
    connections: String,
    latency: String,
    version: String,
}

impl Status {
    /// Prints a table; an error if it does not show all servers at work.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let (servers, answers) = process::runtime(1)?.block_on(async {
            let mut servers = Vec::new();
            // A connect string may end in a comma.
            let named = self.servers.iter().filter(|server| !server.is_empty());
            for server in named {
                servers.extend(addresses(address(server)).await);
            }
            let asked: Vec<_> = servers
                .iter()
                .map(|server| tokio::spawn(ask(server.clone(), self.admin_port)))
                .collect();
            let mut answers = Vec::new();
            for answer in asked {
                answers.push(answer.await.context("a question was dropped")?);
            }
            anyhow::Ok((servers, answers))
        })?;
        io::stdout().write_all(table(&servers, &answers).as_bytes())?;
        let missing: Vec<_> = servers
            .iter()
            .zip(&answers)
            .filter(|(_, answer)| answer.is_err())
            .map(|(server, _)| server.as_str())
            .collect();
        match &*missing {
            [] => Ok(()),
            [only] => bail!("{only} does not serve"),
            all => bail!("these servers do not serve: {}", all.join(", ")),
        }
    }
}

/// Every address of a name that has more than one, such as that of a headless
/// Service; otherwise the name itself, whose look-up may still fail.
async fn addresses(server: String) -> Vec<String> {
    let found: BTreeSet<_> = match timeout(PATIENCE, lookup_host(&server)).await {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(_)) | Err(_) => BTreeSet::new(),
    };
    each(server, &found)
}

/// The servers behind a name that has these addresses.
fn each(server: String, found: &BTreeSet<SocketAddr>) -> Vec<String> {
    // "localhost" is one server with an address of each family.
    if found.len() < 2 || found.iter().any(|address| address.ip().is_loopback()) {
        return vec![server];
    }
    found.iter().map(ToString::to_string).collect()
}

/// With the reference's port where none is given, without a path behind.
fn address(server: &str) -> String {
    let server = server.split('/').next().unwrap_or_default();
    let has_port = server.rsplit_once(':').is_some_and(|(host, _)| {
        !host.contains(':') || (host.starts_with('[') && host.ends_with(']'))
    });
    match (has_port, server.contains(':') && !server.starts_with('[')) {
        (true, _) => server.to_owned(),
        (false, true) => format!("[{server}]:{CLIENT_PORT}"),
        (false, false) => format!("{server}:{CLIENT_PORT}"),
    }
}

async fn ask(server: String, admin_port: u16) -> anyhow::Result<Answer> {
    let talk = async {
        let mut stream = TcpStream::connect(&server).await?;
        stream.write_all(b"srvr").await?;
        let mut text = String::new();
        let limited = &mut (&mut stream).take(ANSWER_BYTES_MAX);
        limited.read_to_string(&mut text).await?;
        anyhow::Ok(text)
    };
    let text = match timeout(PATIENCE, talk).await {
        Ok(text) => text?,
        Err(_) => bail!("no answer within {} s", PATIENCE.as_secs()),
    };
    if !text.contains(NOT_SERVING) {
        return read(&text);
    }
    let host = server.rsplit_once(':').map_or(&*server, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match timeout(PATIENCE, reason::ask(host, admin_port)).await {
        Ok(Some(reason)) => bail!("not serving: {reason}"),
        Ok(None) | Err(_) => {
            bail!("not serving; its port {admin_port} does not say why (--admin-port)")
        }
    }
}

fn read(text: &str) -> anyhow::Result<Answer> {
    let value = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(": "));
        lines.find_map(|(key, value)| (key == name).then(|| value.trim().to_owned()))
    };
    let Some(role) = value("Mode") else {
        match text.lines().next() {
            Some(line) => bail!("{line}"),
            None => bail!("closed without an answer"),
        }
    };
    let zxid = value("Zxid").context("an answer without a zxid")?;
    let version = value("Zookeeper version").unwrap_or_default();
    Ok(Answer {
        role,
        zxid: u64::from_str_radix(zxid.trim_start_matches("0x"), 16)
            .context("a zxid that is no number")?,
        connections: value("Connections").unwrap_or_default(),
        latency: value("Latency min/avg/max").unwrap_or_default(),
        version: version.split(',').next().unwrap_or_default().to_owned(),
    })
}

fn table(servers: &[String], answers: &[anyhow::Result<Answer>]) -> String {
    let mut text = String::new();
    let width = servers.iter().map(String::len).max().unwrap_or(0).max(6);
    let mut row = |cells: [&str; 7]| {
        let [server, role, epoch, zxid, connections, latency, version] = cells;
        let line = format!(
            "{server:width$}  {role:10}  {epoch:>5}  {zxid:>18}  {connections:>11}  {latency:>16}  {version}"
        );
        writeln!(text, "{}", line.trim_end()).expect("a string takes all text");
    };
    row([
        "SERVER",
        "ROLE",
        "EPOCH",
        "ZXID",
        "CONNECTIONS",
        "LATENCY ms",
        "VERSION",
    ]);
    for (server, answer) in servers.iter().zip(answers) {
        match answer {
            Ok(answer) => row([
                server,
                &answer.role,
                &(answer.zxid >> 32).to_string(),
                &format!("{:#x}", answer.zxid),
                &answer.connections,
                &answer.latency,
                &answer.version,
            ]),
            Err(error) => row([server, &format!("{error:#}"), "", "", "", "", ""]),
        }
    }
    text
}

const CLIENT_PORT: u16 = 2181;
const ADMIN_PORT: u16 = 8080;
/// A part of what a server of either kind answers that does not serve.
const NOT_SERVING: &str = "not currently serving";
const PATIENCE: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_get_a_port() {
        for (given, want) in [
            ("a", "a:2181"),
            ("a:1", "a:1"),
            ("a:1/chroot", "a:1"),
            ("::1", "[::1]:2181"),
            ("[::1]", "[::1]:2181"),
            ("[::1]:5", "[::1]:5"),
        ] {
            assert_eq!(address(given), want);
        }
    }

    #[test]
    fn a_name_with_several_addresses_is_several_servers() {
        let each = |found: &[&str]| {
            let found = found.iter().map(|it| it.parse().unwrap()).collect();
            each("zk-headless:2181".to_owned(), &found)
        };
        let pods = ["10.0.0.9:2181", "10.0.0.10:2181", "[2001:db8::1]:2181"];
        assert_eq!(each(&pods), pods);
        assert_eq!(each(&[pods[1], pods[0]]), pods[..2]);
        for one in [&[][..], &pods[..1], &["127.0.0.1:2181", "[::1]:2181"]] {
            assert_eq!(each(one), ["zk-headless:2181"], "{one:?}");
        }
    }

    #[test]
    fn answers_and_failures_in_one_table() {
        let text = "Zookeeper version: 3.9.4-1, built on x\nLatency min/avg/max: 0/0.5/12\nReceived: 3\nSent: 2\n\
                    Connections: 4\nOutstanding: 0\nZxid: 0x500000003\nMode: leader\nNode count: 5\n";
        let answers = [
            read(text),
            Err(anyhow::anyhow!("not serving: electing")),
            read("srvr is not executed because it is not in the whitelist.\n"),
        ];
        let servers = [
            "a:1".to_owned(),
            "b:1".to_owned(),
            "long.name:2181".to_owned(),
        ];
        let want = "\
SERVER          ROLE        EPOCH                ZXID  CONNECTIONS        LATENCY ms  VERSION
a:1             leader          5         0x500000003            4          0/0.5/12  3.9.4-1
b:1             not serving: electing
long.name:2181  srvr is not executed because it is not in the whitelist.
";
        assert_eq!(table(&servers, &answers), want);
    }
}
