//! Commands of the admin port: one HTTP GET each, the answer is JSON.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, http};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time;

use super::{AskError, QuorumAdmin, report};
use crate::ensemble::{Answer, Role};

/// Asks with `server_stats`, and a leader with `monitor` as well.
///
/// The admin port is apart from the clients' port, so neither a limit of client connections nor a network policy
/// for clients makes a member look as if it were away.
#[derive(Clone, Copy, Debug)]
pub struct AdminPort {
    timeout: Duration,
}

impl AdminPort {
    /// Waits at most `timeout` for all that is asked of one server.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout }
    }
}

impl Default for AdminPort {
    fn default() -> Self {
        Self::new(TIMEOUT_DEFAULT)
    }
}

impl QuorumAdmin for AdminPort {
    async fn ask(&self, server: SocketAddr) -> Result<Answer, AskError> {
        match time::timeout(self.timeout, ask(server)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(AskError::Timeout(self.timeout.as_millis())),
        }
    }
}

async fn ask(server: SocketAddr) -> Result<Answer, AskError> {
    let (role, zxid) = report::parse_server_stats(&get(server, "server_stats").await?)?;
    let answer = Answer {
        role,
        zxid,
        synced_followers: None,
        digest_mismatches: 0,
    };
    match role {
        Role::Looking => Ok(answer),
        Role::Leader | Role::Follower | Role::Standalone => {
            let monitor = report::parse_monitor(&get(server, "monitor").await?, role)?;
            Ok(Answer {
                synced_followers: monitor.synced_followers,
                digest_mismatches: monitor.digest_mismatches,
                ..answer
            })
        }
    }
}

/// The body of the answer. The status code tells nothing that the body does not.
async fn get(server: SocketAddr, command: &'static str) -> Result<Bytes, AskError> {
    let stream = TcpStream::connect(server).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(format!("/commands/{command}"))
        .header(HOST, server.to_string())
        .body(Empty::<Bytes>::new())
        .map_err(|_invalid: http::Error| AskError::Malformed {
            command,
            field: "request",
        })?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let collected = body.collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                AskError::TooLong(ANSWER_BYTES_MAX)
            } else {
                AskError::Io(std::io::Error::other(error))
            }
        })?;
        Ok(collected.to_bytes())
    };
    tokio::pin!(exchange);
    // The connection is driven here and ends with this function, so that none outlives its question.
    tokio::select! {
        result = &mut exchange => result,
        result = connection => {
            result?;
            exchange.await
        }
    }
}

/// All members are asked at the same time, so this bounds the observation too.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);
/// `monitor` of a server with every metric stays below 64 KiB.
const ANSWER_BYTES_MAX: usize = 512 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::routing::get;
    use tokio::net::TcpListener;

    use super::*;
    use crate::ensemble::Zxid;

    async fn serve(router: Router) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    /// A server that answers each command with the text given for it.
    async fn server(server_stats: String, monitor: &'static str) -> SocketAddr {
        let router = Router::new()
            .route(
                "/commands/server_stats",
                get(move || async { server_stats }),
            )
            .route("/commands/monitor", get(move || async move { monitor }));
        serve(router).await
    }

    #[tokio::test]
    async fn a_leader_is_asked_how_many_followers_are_synchronized() {
        let stats = r#"{"server_stats":{"server_state":"leader","last_processed_zxid":8589934593},"error":null}"#;
        let address = server(stats.to_owned(), r#"{"synced_followers":4.0,"error":null}"#).await;
        assert_eq!(
            AdminPort::default().ask(address).await.unwrap(),
            Answer {
                role: Role::Leader,
                zxid: Zxid::new(2, 1),
                synced_followers: Some(4),
                digest_mismatches: 0,
            }
        );
    }

    #[tokio::test]
    async fn a_follower_is_asked_whether_its_tree_is_the_leaders() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let router = Router::new().fallback(move || {
            count.fetch_add(1, Ordering::Relaxed);
            async {
                r#"{"server_stats":{"server_state":"follower","last_processed_zxid":7},"digest_mismatches_count":18.0,"error":null}"#
            }
        });
        let answer = AdminPort::default().ask(serve(router).await).await.unwrap();
        assert_eq!(
            (answer.role, answer.zxid),
            (Role::Follower, Zxid::new(0, 7))
        );
        assert_eq!(answer.digest_mismatches, 18);
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn an_endless_answer_is_cut_off() {
        let address = server("x".repeat(ANSWER_BYTES_MAX + 1), "").await;
        assert!(matches!(
            AdminPort::default().ask(address).await,
            Err(AskError::TooLong(_))
        ));
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = AdminPort::new(Duration::from_millis(50));
        assert!(matches!(
            admin.ask(listener.local_addr().unwrap()).await,
            Err(AskError::Timeout(50))
        ));
    }

    #[tokio::test]
    async fn a_closed_port_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(matches!(
            AdminPort::default().ask(address).await,
            Err(AskError::Io(_))
        ));
    }
}
