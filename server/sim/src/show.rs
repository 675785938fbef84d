//! The state of one server, for who replays a seed.

use std::fmt::Write;

use zk_store::Disk;

use crate::World;

impl World {
    /// What a server has in memory and on its disk now. `sid` counts from 1.
    #[must_use]
    pub fn show(&self, sid: usize) -> String {
        let mut text = String::new();
        let host = sid
            .checked_sub(1)
            .and_then(|server| self.servers.get(server));
        let Some(host) = host else {
            return format!("there is no server {sid}\n");
        };
        let ms = self.now_us / 1000;
        let mut line = |line: String| writeln!(text, "{line}").expect("a string takes all text");
        line(format!("server {sid} at {ms} ms, life {}", host.life));
        let (accepted, current) = host.confirmed;
        line(format!(
            "  disk: acceptedEpoch {accepted}, currentEpoch {current}"
        ));
        match host.confirmed_log {
            Some(zxid) => line(format!("  disk: the log is durable up to {zxid}")),
            None => line("  disk: the history is being rewritten".to_owned()),
        }
        let dir = std::path::Path::new("/data/version-2");
        for name in host.disk.list(dir).unwrap_or_default() {
            let length = host.disk.length(&dir.join(&name)).unwrap_or_default();
            line(format!("  file: {name}, {length} bytes"));
        }
        let Some(process) = &host.process else {
            line("  the process does not run".to_owned());
            return text;
        };
        line(format!("  log in memory ends with {}", process.tip));
        let status = process.replica.status();
        line(format!(
            "  {:?}, {}, epoch {}",
            status.role, status.phase, status.epoch
        ));
        line(match status.leader {
            Some(leader) => format!("  the leader is server {leader}"),
            None => "  there is no leader".to_owned(),
        });
        line(format!("  serves clients: {}", status.is_serving));
        line(format!(
            "  {} clients are connected, {} of their writes have no reply",
            status.connections, status.outstanding
        ));
        line(format!(
            "  as a leader: {} learners, {} of them synchronized, {} syncs wait",
            status.learners, status.synced_followers, status.pending_syncs
        ));
        if let Some(problem) = status.problem {
            line(format!("  problem: {problem}"));
        }
        let view = process.replica.view();
        let guard = view.read();
        let tree = guard.tree();
        let (zxid, digest) = (tree.last_zxid(), tree.digest());
        line(format!(
            "  tree at {zxid}, digest {digest:x}, {} sessions",
            tree.sessions().len()
        ));
        for (session, timeout_ms) in tree.sessions() {
            let paths: Vec<_> = tree.ephemerals(*session).map(str::to_owned).collect();
            line(format!(
                "  session {session}, {timeout_ms} ms: {}",
                paths.join(" ")
            ));
        }
        text
    }
}
