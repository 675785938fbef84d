//! `quorate ensemble`: a whole ensemble on loopback, for trying things out.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::Context;
use tokio::sync::{mpsc, watch};
use zk_proto::Sid;
use zk_server::Failure;
use zk_server::config::{EMBEDDED, ServerConfig};

use crate::process::{self, Logging};
use crate::settings::{self, Reserved};

/// Arguments of `quorate ensemble`.
#[derive(clap::Args)]
pub(crate) struct Ensemble {
    /// Number of servers.
    #[arg(default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    servers: u16,
    /// Data directory; without it, a temporary one that is removed at the end.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Client port of the first server; the others use the ports after it.
    #[arg(long, default_value_t = 21811, value_parser = clap::value_parser!(u16).range(1..=62_000))]
    client_port: u16,
    /// Sets a key of zoo.cfg for all servers; may be repeated. admin.serverPort
    /// and metricsProvider.httpPort are those of the first server; the others
    /// use the ports after them.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

impl Ensemble {
    /// Runs until a signal, or until one of the servers fails.
    pub(crate) fn run(&self, logging: &Logging) -> anyhow::Result<()> {
        let start = Instant::now();
        settings::check(&self.settings, &RESERVED)?;
        logging.start(None)?;
        process::raise_file_limit();
        let temporary = match self.dir {
            Some(_) => None,
            None => Some(Scratch::new()?),
        };
        let dir = self
            .dir
            .as_deref()
            .or_else(|| temporary.as_ref().map(|it| &*it.0));
        let dir = dir.expect("one of the two was given");
        let (stop, stopped) = watch::channel(false);
        let (news, mut heard) = mpsc::unbounded_channel();
        let servers = (1..=self.servers)
            .map(|n| self.spawn(n, dir, stopped.clone(), news.clone()))
            .collect::<anyhow::Result<Vec<_>>>()?;
        drop(news);
        let waited = process::runtime(1)?.block_on(async {
            let signal = process::stop_signal()?;
            tokio::pin!(signal);
            let mut serving = 0;
            loop {
                tokio::select! {
                    () = &mut signal => return anyhow::Ok(()),
                    server = heard.recv() => match server {
                        Some(News::Serving) => {
                            serving += 1;
                            if serving == self.servers {
                                self.announce(start)?;
                            }
                        }
                        // One that ends unasked takes the others with it.
                        Some(News::Ended) | None => return Ok(()),
                    },
                }
            }
        });
        // Servers that have failed no longer listen.
        let _ = stop.send(true);
        let outcomes: Vec<_> = servers.into_iter().map(JoinHandle::join).collect();
        for outcome in outcomes {
            match outcome {
                Ok(Err(error)) if process::is_port_in_use(&error) => {
                    return Err(error.context("--client-port PORT chooses other ports"));
                }
                Ok(outcome) => outcome?,
                Err(_) => return Err(Failure::Panic("a server's thread".into()).into()),
            }
        }
        waited
    }

    fn announce(&self, start: Instant) -> io::Result<()> {
        let hosts: Vec<_> = (1..=self.servers)
            .map(|n| format!("127.0.0.1:{}", self.client_port + n - 1))
            .collect();
        tracing::info!(
            elapsed_ms = start.elapsed().as_millis(),
            "all servers serve"
        );
        writeln!(io::stdout(), "connect string: {}", hosts.join(","))?;
        io::stdout().flush()
    }

    fn spawn(
        &self,
        n: u16,
        dir: &Path,
        stopped: watch::Receiver<bool>,
        news: mpsc::UnboundedSender<News>,
    ) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
        let config = self.config(n, dir)?;
        let body = move || {
            let outcome = serve(config, stopped, news.clone());
            // The announcer is gone only when everything ends.
            let _ = news.send(News::Ended);
            outcome
        };
        let thread = thread::Builder::new().name(format!("server-{n}"));
        thread.spawn(body).context("cannot start a thread")
    }

    fn config(&self, n: u16, dir: &Path) -> anyhow::Result<ServerConfig> {
        let data = dir.join(format!("server-{n}"));
        fs::create_dir_all(&data).with_context(|| format!("cannot create {}", data.display()))?;
        let defaults = [
            ("tickTime", "2000".to_owned()),
            ("initLimit", "10".to_owned()),
            ("syncLimit", "5".to_owned()),
            ("maxClientCnxns", "0".to_owned()),
            ("admin.enableServer", "false".to_owned()),
            ("4lw.commands.whitelist", "*".to_owned()),
            ("clientPortAddress", "127.0.0.1".to_owned()),
            ("clientPort", (self.client_port + n - 1).to_string()),
            (ADMIN_PORT, (8080 + n - 1).to_string()),
            (METRICS_PORT, (7000 + n - 1).to_string()),
        ];
        let own = settings::shifted(&self.settings, &[ADMIN_PORT, METRICS_PORT], n - 1)?;
        let mut text = settings::lines(&defaults, &own);
        for peer in 1..=self.servers {
            let quorum = self.client_port + QUORUM_OFFSET + peer - 1;
            let election = self.client_port + ELECTION_OFFSET + peer - 1;
            text += &format!("server.{peer}=127.0.0.1:{quorum}:{election}\n");
        }
        text += &process::path_property("dataDir", &data)?;
        let loaded = ServerConfig::read(Path::new(EMBEDDED), &text, Some(Sid(n.into())));
        let loaded = loaded.map_err(Failure::from)?;
        if n == 1 {
            process::warn(&loaded);
        }
        Ok(loaded.config)
    }
}

/// What a server's thread tells.
enum News {
    Serving,
    Ended,
}

/// Runs a server until it is told to stop.
fn serve(
    mut config: ServerConfig,
    mut stopped: watch::Receiver<bool>,
    news: mpsc::UnboundedSender<News>,
) -> anyhow::Result<()> {
    config.worker_threads = 1;
    let stop = async move {
        // An announcer that is gone wants everything to stop, too.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    let announce = move |_| {
        let _ = news.send(News::Serving);
    };
    process::serve_until(config, || Ok(stop), announce)
}

/// A directory that goes away with its owner.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let dir = std::env::temp_dir().join(format!("quorate-ensemble-{}", std::process::id()));
        fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(dir = %self.0.display(), %error, "cannot remove a temporary directory");
        }
    }
}

/// Quorum and election ports lie this far above the client ports.
const QUORUM_OFFSET: u16 = 1000;
const ELECTION_OFFSET: u16 = 2000;
/// Each server has its own: with `--set` that of the first server.
const ADMIN_PORT: &str = "admin.serverPort";
const METRICS_PORT: &str = "metricsProvider.httpPort";
/// What `--set` does not take.
const RESERVED: [Reserved; 4] = [
    (
        "clientPort",
        "--client-port PORT sets that of the first server; the others use the ports after it",
    ),
    (
        "dataDir",
        "--dir DIR sets where the servers keep their data",
    ),
    ("dataLogDir", "each server keeps its logs beside its data"),
    ("server.*", "the command writes these lines itself"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_servers_share_a_port_for_http() {
        const CLASS: &str = "metricsProvider.className=\
                             org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider";
        let dir = tempfile::tempdir().unwrap();
        let ports = |settings: &[&str]| {
            let settings = settings.iter().map(|it| (*it).to_owned());
            let ensemble = Ensemble {
                servers: 3,
                dir: None,
                client_port: 21811,
                settings: settings.collect(),
            };
            [1, 2, 3].map(|n| {
                let config = ensemble.config(n, dir.path()).unwrap();
                let admin = config.admin.map(|admin| admin.address.port);
                (admin, config.metrics.map(|at| at.port))
            })
        };
        assert_eq!(ports(&[]), [(None, None); 3]);
        let on = ["admin.enableServer=true", CLASS];
        let want = [8080, 8081, 8082].map(|port| (Some(port), Some(port - 1080)));
        assert_eq!(ports(&on), want);
        let on_with_ports = [
            &on[..],
            &["admin.serverPort=9000", "metricsProvider.httpPort=9100"],
        ];
        let want = [9000, 9001, 9002].map(|port| (Some(port), Some(port + 100)));
        assert_eq!(ports(&on_with_ports.concat()), want);
    }
}
