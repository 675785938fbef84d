//! Commands of the admin port: one HTTP GET each, the answer is JSON.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body as _, Bytes};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode, http};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time;

use super::picked::Picked;
use super::report::{self, Monitor, Words, parse_ready};
use super::{AskError, QuorumAdmin, Report};
use crate::ensemble::{Answer, Role};

/// Asks with `server_stats`, and a server that serves with `monitor` as well. One that does not serve says at
/// `/ready` what keeps it from it; Apache ZooKeeper has no such path, and then nothing is known.
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
    async fn ask(&self, server: SocketAddr) -> Result<Report, AskError> {
        match time::timeout(self.timeout, ask(server, self.timeout / 2)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(AskError::Timeout(self.timeout.as_millis())),
        }
    }
}

/// Waits at most `patience` for the words of a server that does not serve: without them its role is still known.
async fn ask(server: SocketAddr, patience: Duration) -> Result<Report, AskError> {
    let stats = get(server, "/commands/server_stats").await?;
    let (role, zxid) = stats.read(report::parse_server_stats)?;
    let answer = Answer {
        role,
        zxid,
        synced_followers: None,
        digest_mismatches: 0,
        out_of_service: false,
    };
    match role {
        Role::Looking => {
            let words = time::timeout(patience, get(server, "/ready")).await;
            let words = words.ok().and_then(Result::ok);
            let words = words.map_or_else(Words::default, |words| parse_ready(&words.body));
            Ok(Report {
                answer: Answer {
                    out_of_service: words.problem.is_some(),
                    ..answer
                },
                problem: words.problem,
                unreachable: words.unreachable,
            })
        }
        Role::Leader | Role::Follower | Role::Standalone => {
            let monitor = ask_monitor(server, role).await?;
            Ok(Report::from(Answer {
                synced_followers: monitor.synced_followers,
                digest_mismatches: monitor.digest_mismatches,
                ..answer
            }))
        }
    }
}

/// Whoever makes znodes with quotas makes this answer longer, so it is not kept as a whole.
async fn ask_monitor(server: SocketAddr, role: Role) -> Result<Monitor, AskError> {
    let path = "/commands/monitor";
    let mut picked = Picked::new(report::monitor_fields(role));
    let status = exchange(server, path, MONITOR_BYTES_MAX, |bytes| picked.read(bytes)).await?;
    read(path, status, || report::read_monitor(picked, role))
}

/// What came back for one path.
struct Page {
    path: &'static str,
    status: StatusCode,
    body: Vec<u8>,
}

impl Page {
    fn read<T>(&self, parse: impl FnOnce(&[u8]) -> Result<T, AskError>) -> Result<T, AskError> {
        read(self.path, self.status, || parse(&self.body))
    }
}

/// Reads a body. A command says in its body what is wrong, whatever its status code; only if the body is none that
/// a command gives, the code is what people need to know.
fn read<T>(
    path: &'static str,
    status: StatusCode,
    parse: impl FnOnce() -> Result<T, AskError>,
) -> Result<T, AskError> {
    parse().map_err(|error| {
        if status.is_success() {
            error
        } else {
            AskError::Refused {
                path,
                status: status.as_u16(),
            }
        }
    })
}

async fn get(server: SocketAddr, path: &'static str) -> Result<Page, AskError> {
    let mut body = Vec::new();
    let status = exchange(server, path, ANSWER_BYTES_MAX, |bytes| {
        body.extend_from_slice(bytes);
        false
    })
    .await?;
    Ok(Page { path, status, body })
}

/// Asks for `path` and hands on the body piece by piece, until its end or until `take` says that it has enough.
async fn exchange(
    server: SocketAddr,
    path: &'static str,
    max: u64,
    mut take: impl FnMut(&[u8]) -> bool + Send,
) -> Result<StatusCode, AskError> {
    let stream = TcpStream::connect(server).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path)
        .header(HOST, server.to_string())
        .body(Empty::<Bytes>::new())
        .map_err(|_invalid: http::Error| AskError::Malformed {
            command: path,
            field: "request",
        })?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let mut body = response.into_body();
        let announced = body.size_hint().exact();
        let mut length: u64 = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame?;
            let Some(bytes) = frame.data_ref() else {
                continue;
            };
            length = length.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            if length > max {
                let size = announced.unwrap_or(length);
                return Err(AskError::TooLong { path, size, max });
            }
            if take(bytes) {
                break;
            }
        }
        Ok(status)
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
/// For the answers that are kept as a whole, which are far below.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// `monitor` of a server with every metric stays below 64 KiB, but each quota adds its path several times.
const MONITOR_BYTES_MAX: u64 = 4 * 1024 * 1024;

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
    async fn server(server_stats: String, monitor: String) -> SocketAddr {
        let router = Router::new()
            .route(
                "/commands/server_stats",
                get(move || async { server_stats }),
            )
            .route("/commands/monitor", get(move || async { monitor }));
        serve(router).await
    }

    const LEADER: &str = r#"{"server_stats":{"server_state":"leader","last_processed_zxid":8589934593},"error":null}"#;

    #[tokio::test]
    async fn a_leader_is_asked_how_many_followers_are_synchronized() {
        let monitor = r#"{"synced_followers":4.0,"error":null}"#;
        let address = server(LEADER.to_owned(), monitor.to_owned()).await;
        assert_eq!(
            AdminPort::default().ask(address).await.unwrap().answer,
            Answer {
                role: Role::Leader,
                zxid: Zxid::new(2, 1),
                synced_followers: Some(4),
                digest_mismatches: 0,
                out_of_service: false,
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
        let report = AdminPort::default().ask(serve(router).await).await.unwrap();
        let answer = report.answer;
        assert_eq!(
            (answer.role, answer.zxid),
            (Role::Follower, Zxid::new(0, 7))
        );
        assert_eq!(answer.digest_mismatches, 18);
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    /// Bodies as the server gives them: `server/src/command/json.rs` and `server/src/probe.rs`.
    const NOT_SERVING: &str = r#"{"command":"server_stats","error":"This ZooKeeper instance is not currently serving requests"}"#;
    const PARTED: &str = r#"{"epoch":9,"problem":"this server's data is of epoch 9, but a majority serves under server 2 in epoch 1: members of that majority have lost or replaced their data; to keep the leader's data, stop this server, move its version-2 directories away and start it again; to keep this server's data, see \"A member whose data differs\" in docs/operations.md","role":"looking","sid":3,"state":"electing","unreachable":{},"zxid":"0x9000003b8f"}"#;
    const CUT_OFF: &str = r#"{"epoch":0,"problem":null,"role":"looking","sid":1,"state":"electing","unreachable":{"2":"zk-1.zk-headless.shop.svc.cluster.local:3888: its name cannot be resolved: the name servers have not answered for 8 s","3":"zk-2.zk-headless.shop.svc.cluster.local:3888: no connection yet"},"zxid":"0x0"}"#;

    fn idle_server(ready: &'static str) -> Router {
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        Router::new()
            .route(
                "/commands/server_stats",
                get(|| async { NOT_SERVING.to_owned() }),
            )
            .route("/ready", get(move || async move { (unavailable, ready) }))
    }

    #[tokio::test]
    async fn a_server_that_put_itself_out_of_service_is_asked_why() {
        let address = serve(idle_server(PARTED)).await;
        let report = AdminPort::default().ask(address).await.unwrap();
        assert_eq!(report.answer.role, Role::Looking);
        assert!(report.answer.out_of_service);
        let problem = report.problem.unwrap();
        assert!(
            problem.starts_with("this server's data is of epoch 9, but a majority serves"),
            "{problem}"
        );
        assert!(report.unreachable.is_empty());
    }

    #[tokio::test]
    async fn a_server_that_reaches_nobody_says_whom_and_why() {
        let address = serve(idle_server(CUT_OFF)).await;
        let report = AdminPort::default().ask(address).await.unwrap();
        assert!(!report.answer.out_of_service);
        assert_eq!(report.problem, None);
        assert_eq!(
            report.unreachable,
            [
                "zk-1:3888 (its name cannot be resolved: the name servers have not answered)",
                "zk-2:3888 (no connection yet)",
            ]
        );
    }

    #[tokio::test]
    async fn a_server_without_that_path_is_still_looking() {
        let router = Router::new().route(
            "/commands/server_stats",
            get(|| async { NOT_SERVING.to_owned() }),
        );
        let report = AdminPort::default().ask(serve(router).await).await.unwrap();
        assert_eq!(report.answer.role, Role::Looking);
        assert_eq!((report.problem, report.unreachable), (None, Vec::new()));
    }

    #[tokio::test]
    async fn a_port_that_answers_something_else_is_told_by_its_status_code() {
        let address = serve(Router::new()).await;
        let error = AdminPort::default().ask(address).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "its admin port answers HTTP 404 to /commands/server_stats"
        );
        assert!(error.answers());
    }

    #[tokio::test]
    async fn an_endless_answer_is_cut_off() {
        let address = server("x".repeat(65_537), String::new()).await;
        let error = AdminPort::default().ask(address).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "its admin port answers /commands/server_stats with 65537 bytes, and the operator reads at most 65536"
        );
        assert!(error.answers());
    }

    /// Every quota has lines of its own in `monitor`, with the path of its znode.
    #[tokio::test]
    async fn a_leader_with_many_long_quotas_is_still_known() {
        let quotas: String = (0..50)
            .map(|number| format!(r#""quota_count_limit_{number}{}":1,"#, "q".repeat(40_000)))
            .collect();
        let monitor = format!(r#"{{{quotas}"synced_followers":2,"error":null}}"#);
        let asked = AdminPort::default()
            .ask(server(LEADER.to_owned(), monitor).await)
            .await;
        assert_eq!(asked.unwrap().answer.synced_followers, Some(2));
        let endless = format!("{{{}", quotas.repeat(3));
        let size = endless.len();
        let asked = AdminPort::default()
            .ask(server(LEADER.to_owned(), endless).await)
            .await;
        assert_eq!(
            asked.unwrap_err().to_string(),
            format!(
                "its admin port answers /commands/monitor with {size} bytes, and the operator reads at most 4194304"
            )
        );
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
