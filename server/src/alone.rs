//! `quorate server`: one server, with a zoo.cfg or with what is built in.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use zk_server::Failure;
use zk_server::config::{EMBEDDED, ServerConfig};

use crate::process::{self, Logging};
use crate::settings::{self, Reserved};

/// Arguments of `quorate server`.
#[derive(clap::Args)]
#[command(
    after_help = "Without FILE the server listens on 127.0.0.1:2181 only, keeps its data in ./quorate-data, has no admin\n\
                        port, answers every four-letter word and purges old snapshots daily; --set changes each of these.\n\
                        Once it serves, it prints `connect string: HOST:PORT` on standard output."
)]
pub(crate) struct Server {
    /// The zoo.cfg of the server.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The same as FILE.
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    config: Option<PathBuf>,
    /// Data directory, without a zoo.cfg [default: ./quorate-data]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["file", "config"])]
    data_dir: Option<PathBuf>,
    /// Client port, without a zoo.cfg [default: 2181]
    #[arg(long, value_name = "PORT", conflicts_with_all = ["file", "config"])]
    port: Option<u16>,
    /// Sets a key of zoo.cfg, without a zoo.cfg; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", conflicts_with_all = ["file", "config"])]
    settings: Vec<String>,
}

impl Server {
    /// Runs until a signal.
    pub(crate) fn run(&self, logging: &Logging) -> anyhow::Result<()> {
        let loaded = match self.file.as_ref().or(self.config.as_ref()) {
            Some(file) => ServerConfig::load(file),
            None => {
                let text = self.embedded()?;
                ServerConfig::read(Path::new(EMBEDDED), &text, None)
            }
        };
        logging.start(loaded.as_ref().ok().map(|loaded| &loaded.config.logging))?;
        let loaded = loaded.map_err(Failure::from)?;
        process::warn(&loaded);
        let is_embedded = self.file.is_none() && self.config.is_none();
        let outcome = process::serve(loaded.config, announce);
        outcome.map_err(
            |error| match is_embedded && process::is_port_in_use(&error) {
                true => error.context("--port PORT chooses another port"),
                false => error,
            },
        )
    }

    /// A zoo.cfg for a first try: on loopback, nothing but the client port.
    fn embedded(&self) -> anyhow::Result<String> {
        let dir = self.data_dir.as_deref();
        let dir = std::path::absolute(dir.unwrap_or_else(|| Path::new("quorate-data")))
            .context("there is no current directory")?;
        settings::check(&self.settings, &RESERVED)?;
        let port = self.port.unwrap_or(CLIENT_PORT);
        let defaults = [
            ("clientPort", port.to_string()),
            ("clientPortAddress", "127.0.0.1".to_owned()),
            ("admin.enableServer", "false".to_owned()),
            ("4lw.commands.whitelist", "*".to_owned()),
            ("autopurge.purgeInterval", "24".to_owned()),
        ];
        let mut text = settings::lines(&defaults, &self.settings);
        text += &process::path_property("dataDir", &dir)?;
        // Logging has not started; whoever tries it out is to know where to look.
        writeln!(
            io::stderr(),
            "quorate: no zoo.cfg is given; data in {}",
            dir.display()
        )?;
        Ok(text)
    }
}

fn announce(address: SocketAddr) {
    // Nobody reads it if standard output is closed.
    let _ = writeln!(io::stdout(), "connect string: {address}").and_then(|()| io::stdout().flush());
}

/// Where clients look for a server by default.
const CLIENT_PORT: u16 = 2181;
/// What `--set` does not take.
const RESERVED: [Reserved; 1] = [("dataDir", "--data-dir DIR sets it")];
