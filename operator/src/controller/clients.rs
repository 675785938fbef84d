//! Clients of the API server in which nothing waits without limit.
//!
//! A connection whose other end has gone without a word looks like one on which nothing happens. Requests and
//! watches therefore have limits of their own, far below the minutes that TCP would take to notice.

use std::time::Duration;

use kube::config::InferConfigError;
use kube::runtime::utils::Backoff;
use kube::{Client, Config};

/// One client for requests and one for watches, which may be silent for longer.
#[derive(Clone)]
pub struct Clients {
    /// For everything that is answered at once.
    pub requests: Client,
    /// For watches.
    pub watches: Client,
    /// Address of the API server, as the kubeconfig or the pod's environment has it.
    pub api_server: String,
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientsError {
    /// Neither a kubeconfig nor the environment of a pod names an API server.
    #[error("no API server is configured")]
    Infer(#[from] InferConfigError),
    /// The configuration cannot be used.
    #[error("the configuration of the API server cannot be used")]
    Client(#[from] kube::Error),
}

impl Clients {
    /// Finds the API server as kubectl does, or as a pod does.
    pub async fn infer() -> Result<Self, ClientsError> {
        Ok(Self::new(Config::infer().await?)?)
    }

    /// Clients with the limits of this module, whatever `config` says of time.
    pub fn new(config: Config) -> Result<Self, kube::Error> {
        let client = |read_timeout| {
            let mut config = config.clone();
            config.connect_timeout = Some(CONNECT_TIMEOUT);
            config.write_timeout = Some(REQUEST_TIMEOUT);
            config.read_timeout = Some(read_timeout);
            // The time in which a connection lay idle is no time of the next request's.
            config.reset_reader_on_write = true;
            Client::try_from(config)
        };
        Ok(Self {
            api_server: config.cluster_url.to_string(),
            requests: client(REQUEST_TIMEOUT)?,
            watches: client(Duration::from_secs(u64::from(WATCH_SECONDS)) + REQUEST_TIMEOUT)?,
        })
    }
}

/// Pauses between attempts to begin a watch again: from half a second to four.
#[derive(Clone, Debug, Default)]
pub(super) struct WatchBackoff {
    failures: u32,
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = WATCH_BACKOFF_FIRST * (1 << self.failures.min(WATCH_BACKOFF_DOUBLINGS_MAX));
        self.failures += 1;
        Some(pause)
    }
}

impl Backoff for WatchBackoff {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Silence after which a request has failed.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The API server ends each watch after this time, and the operator goes on where it ended; a watch that is
/// silent for a few seconds longer has lost its connection.
pub(super) const WATCH_SECONDS: u32 = 20;
const WATCH_BACKOFF_FIRST: Duration = Duration::from_millis(500);
const WATCH_BACKOFF_DOUBLINGS_MAX: u32 = 3;

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kube::Api;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// Accepts connections and never answers.
    async fn deaf_server() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut bytes = [0; 4096];
                    while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
                });
            }
        });
        format!("http://{address}")
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_never_answered_ends() {
        let _other_test_was_first = rustls::crypto::ring::default_provider().install_default();
        let config = Config::new(deaf_server().await.parse().unwrap());
        let clients = Clients::new(config).unwrap();
        let pods: Api<Pod> = Api::all(clients.requests);
        let started = tokio::time::Instant::now();
        let answer = tokio::time::timeout(Duration::from_secs(600), pods.get("zk-0")).await;
        assert!(answer.expect("the request ends by itself").is_err());
        assert!(started.elapsed() <= REQUEST_TIMEOUT + CONNECT_TIMEOUT);
    }

    #[test]
    fn a_watch_is_tried_again_within_seconds_however_long_it_failed() {
        let mut backoff = WatchBackoff::default();
        let pauses: Vec<u128> = backoff
            .by_ref()
            .take(6)
            .map(|pause| pause.as_millis())
            .collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 4000, 4000]);
        backoff.reset();
        assert_eq!(backoff.next(), Some(WATCH_BACKOFF_FIRST));
    }
}
