//! Why a server does not serve, as it says itself on its admin port.

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Asks `/ready`. `None` if nobody answers there, or not in the form of this
/// server: Apache ZooKeeper has no such path.
pub(super) async fn ask(host: &str, admin_port: u16) -> Option<String> {
    let stream = TcpStream::connect((host, admin_port)).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let request = Request::get("/ready").header(HOST, host);
    let request = request.body(Empty::<Bytes>::new()).ok()?;
    let answer = sender.send_request(request).await.ok()?;
    let body = Limited::new(answer.into_body(), super::ANSWER_BYTES_MAX as usize);
    let body = body.collect().await.ok()?.to_bytes();
    read(&serde_json::from_slice(&body).ok()?)
}

/// The problem that the server names, or what it is doing and which servers it
/// cannot reach.
fn read(ready: &serde_json::Value) -> Option<String> {
    if let Some(problem) = ready["problem"].as_str() {
        return Some(problem.to_owned());
    }
    let mut text = ready["state"].as_str()?.to_owned();
    for (sid, why) in ready["unreachable"].as_object().into_iter().flatten() {
        text += &format!("; server.{sid} at {}", why.as_str().unwrap_or_default());
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_problem_counts_more_than_what_cannot_be_reached() {
        let unreachable = json!({"1": "zk-1:3888: connection refused"});
        let waits = json!({"state": "electing", "problem": null, "unreachable": unreachable});
        let want = "electing; server.1 at zk-1:3888: connection refused";
        assert_eq!(read(&waits).as_deref(), Some(want));
        let parted = json!({"state": "electing", "problem": "parted", "unreachable": unreachable});
        assert_eq!(read(&parted).as_deref(), Some("parted"));
        assert_eq!(read(&json!({"error": "no such command"})), None);
    }
}
