//! What a server says while it waits for a quorum.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, interval};
use zk_proto::Sid;

use super::Mesh;

impl Mesh {
    /// Servers of zoo.cfg without an election connection, where each is, and
    /// why it could not be reached.
    pub(crate) fn unreachable(&self) -> Vec<(Sid, String)> {
        let peers = self.peers.lock();
        let mut missing = Vec::new();
        for (sid, member) in self.listed.members() {
            let peer = peers.get(&sid);
            if sid == self.sid || peer.is_some_and(|peer| peer.connection.is_some()) {
                continue;
            }
            let trouble = self.listed.resolver().trouble(&member.host);
            let trouble = trouble.map(|why| format!("its name cannot be resolved: {why}"));
            let last = || peer.and_then(|peer| peer.trouble.clone());
            let why = trouble.or_else(last);
            let why = why.unwrap_or_else(|| "no connection yet".into());
            let (host, port) = (&member.host, member.election_port);
            missing.push((sid, format!("{host}:{port}: {why}")));
        }
        missing
    }

    /// Logs which servers are missing, for as long as this one serves nobody.
    pub(crate) async fn report(self: Arc<Self>) {
        let mut turn = interval(TURN);
        let mut next: Option<(Instant, Duration)> = None;
        loop {
            turn.tick().await;
            let Some(since) = *self.waiting_since.lock() else {
                next = None;
                continue;
            };
            let (due, pause) = next.unwrap_or((since + FIRST, FIRST));
            if Instant::now() >= due {
                tracing::warn!(sid = self.sid.0, "{}", self.plight());
                let pause = (pause * 2).min(PAUSE_MAX);
                next = Some((Instant::now() + pause, pause));
            }
        }
    }

    fn plight(&self) -> String {
        let missing = self.unreachable();
        let all = self.listed.members().count();
        let here = all - missing.len();
        let mut text = format!(
            "not serving: this server reaches {here} of {all} servers, itself included, and {} make a quorum",
            all / 2 + 1
        );
        for (sid, why) in missing {
            write!(text, "; server.{sid} at {why}").expect("a string takes all text");
        }
        text
    }
}

/// How often it is looked whether something is to be said.
const TURN: Duration = Duration::from_secs(1);
/// Elections are over before.
const FIRST: Duration = Duration::from_secs(3);
/// Each pause is twice as long as the one before, up to this.
const PAUSE_MAX: Duration = Duration::from_secs(60);
