//! What a server says of itself when it starts: everything that a person needs
//! to tell which server this is and where it can be reached.

use rustix::process::{Resource, getrlimit};

use crate::VERSION;
use crate::config::{HttpAddress, ServerConfig};

/// Logs version, configuration, directories, ports and limits, one line each.
pub(crate) fn log_start(config: &ServerConfig) {
    let address = |host: &str, port: u16| format!("{host}:{port}");
    let client_host = config.client_address.as_deref().unwrap_or("*");
    let http = |at: &HttpAddress| address(&at.host, at.port);
    tracing::info!(
        version = VERSION,
        config = %config.file.display(),
        sid = config.sid.0,
        data_dir = %config.data_dir.display(),
        data_log_dir = %config.data_log_dir.display(),
        "starting"
    );
    let own = config.ensemble.members.get(&config.sid);
    let own = own.filter(|_| !config.standalone);
    let peer_host = |host: &str| match config.quorum_listen_on_all_addresses {
        true => "*".to_owned(),
        false => host.to_owned(),
    };
    tracing::info!(
        client = address(client_host, config.client_port),
        quorum = own.map(|own| address(&peer_host(&own.host), own.quorum_port)),
        election = own.map(|own| address(&peer_host(&own.host), own.election_port)),
        admin = config.admin.as_ref().map(|admin| http(&admin.address)),
        metrics = config.metrics.as_ref().map(http),
        "ports"
    );
    tracing::info!(
        jute_maxbuffer = config.frame_bytes_max,
        max_client_cnxns = config.limits.connections_per_address_max,
        max_cnxns = config.limits.connections_max,
        session_timeout_ms = format!(
            "{}..{}",
            config.session_timeout_min_ms, config.session_timeout_max_ms
        ),
        open_files_max = getrlimit(Resource::Nofile).current,
        "limits"
    );
}
