//! What the server was told at its start (`ZooKeeperServerConf` of 3.9.4), and
//! how much its directories hold.

use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;
use zk_store::VERSION_DIR;

use super::Commands;
use crate::config::ServerConfig;

impl Commands {
    /// `conf`.
    pub(super) async fn configuration_text(&self) -> String {
        let config = self.probe.config();
        let (data_bytes, log_bytes) = self.directory_sizes().await;
        let mut text = format!(
            "clientPort={}\nsecureClientPort=-1\n\
             dataDir={}\ndataDirSize={data_bytes}\ndataLogDir={}\ndataLogSize={log_bytes}\n\
             tickTime={}\nmaxClientCnxns={}\nminSessionTimeout={}\nmaxSessionTimeout={}\n\
             clientPortListenBacklog={BACKLOG_DEFAULT}\nserverId={}\n",
            self.client_port(),
            versioned(&config.data_dir).display(),
            versioned(&config.data_log_dir).display(),
            config.tick_ms,
            config.limits.connections_per_address_max,
            config.session_timeout_min_ms,
            config.session_timeout_max_ms,
            server_id(config),
        );
        if !config.standalone {
            let own = &config.ensemble.members[&config.sid];
            text += &format!(
                "initLimit={}\nsyncLimit={}\nelectionAlg=3\nelectionPort={}\nquorumPort={}\n\
                 peerType=0\nmembership: \n{}",
                config.init_limit,
                config.sync_limit,
                own.election_port,
                own.quorum_port,
                config.ensemble.text(),
            );
        }
        text
    }

    /// Bytes of all files with data and with logs.
    pub(super) async fn directory_sizes(&self) -> (u64, u64) {
        let config = self.probe.config();
        let (data, log) = (versioned(&config.data_dir), versioned(&config.data_log_dir));
        let sizes = spawn_blocking(move || (size_of_files(&data), size_of_files(&log)));
        sizes.await.unwrap_or_default()
    }

    pub(super) fn client_port(&self) -> u16 {
        let bound = self.probe.client_address().map(|address| address.port());
        bound.unwrap_or_else(|| self.probe.config().client_port)
    }
}

/// The reference's standalone server has no id.
pub(super) const fn server_id(config: &ServerConfig) -> i64 {
    if config.standalone { 0 } else { config.sid.0 }
}

/// The directory below the configured one that holds the files.
pub(super) fn versioned(dir: &Path) -> PathBuf {
    let dir = dir.join(VERSION_DIR);
    std::path::absolute(&dir).unwrap_or(dir)
}

/// A directory that is gone has none. There is one level of files.
fn size_of_files(dir: &Path) -> u64 {
    let Ok(entries) = dir.read_dir() else {
        return 0;
    };
    let files = entries.filter_map(|entry| entry.ok()?.metadata().ok());
    files
        .filter(std::fs::Metadata::is_file)
        .map(|file| file.len())
        .sum()
}

/// `clientPortListenBacklog` of the reference: the system's own.
pub(super) const BACKLOG_DEFAULT: i32 = -1;
