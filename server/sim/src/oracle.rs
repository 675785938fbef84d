//! What clients did and what they were told about it: acknowledged, failed, or
//! unknown because the connection broke.

use std::collections::{BTreeMap, BTreeSet};

use zk_core::tree::Tree;
use zk_proto::SessionId;

use crate::Violation;

/// Must the znode be there?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Present,
    Absent,
    Either,
}

/// The history of all clients. Their paths are unique, so each answer decides
/// about one znode.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    znodes: BTreeMap<String, Expected>,
    /// Created by one multi.
    pairs: Vec<(String, String)>,
    sequential: BTreeSet<String>,
    timeouts_ms: BTreeMap<SessionId, u64>,
    pub(crate) acked: u64,
    pub(crate) failed: u64,
    pub(crate) unknown: u64,
    /// Watch events that came.
    pub(crate) events: u64,
    /// Sessions that clients found to be gone.
    pub(crate) sessions_ended: u64,
    /// Requests that succeeded, by operation code.
    pub(crate) succeeded: BTreeMap<i32, u64>,
}

impl Oracle {
    /// All that was acknowledged is lost for good.
    pub(crate) fn forget(&mut self) {
        self.znodes.clear();
        self.pairs.clear();
        self.sequential.clear();
        self.timeouts_ms.clear();
    }

    /// A session stands, with the timeout that it was given.
    pub(crate) fn session(&mut self, session: SessionId, timeout_ms: i32) {
        let timeout_ms = u64::try_from(timeout_ms).unwrap_or_default();
        let known = self.timeouts_ms.entry(session).or_insert(timeout_ms);
        *known = timeout_ms.min(*known);
    }

    /// The shortest timeout that a session was given; 0 before it has one.
    pub(crate) fn timeout_ms(&self, session: SessionId) -> u64 {
        self.timeouts_ms.get(&session).copied().unwrap_or_default()
    }

    /// These are about to be created, together if there are two.
    pub(crate) fn create(&mut self, paths: &[String]) {
        for path in paths {
            self.znodes.insert(path.clone(), Expected::Either);
        }
        if let [a, b] = paths {
            self.pairs.push((a.clone(), b.clone()));
        }
    }

    /// The creation has succeeded, or has failed for sure.
    pub(crate) fn created(&mut self, paths: &[String], is_done: bool) {
        let expected = if is_done {
            Expected::Present
        } else {
            Expected::Absent
        };
        for path in paths {
            self.znodes.insert(path.clone(), expected);
        }
    }

    /// A znode with a number was created.
    pub(crate) fn created_sequential(&mut self, path: String) -> Result<(), Violation> {
        if !self.sequential.insert(path.clone()) {
            let detail = format!("{path} was given to two clients");
            return Err(Violation::new("sequence numbers are unique", detail));
        }
        self.znodes.insert(path, Expected::Present);
        Ok(())
    }

    /// This znode, which is there, is about to be deleted.
    pub(crate) fn delete(&mut self, path: &str) {
        self.znodes.insert(path.to_owned(), Expected::Either);
    }

    /// The deletion has succeeded, or there was no such znode.
    pub(crate) fn deleted(&mut self, path: &str, is_done: bool) -> Result<(), Violation> {
        if !is_done {
            let detail = format!("{path} was created and then not found");
            return Err(Violation::new("acknowledged writes survive", detail));
        }
        self.znodes.insert(path.to_owned(), Expected::Absent);
        Ok(())
    }

    /// The last look at a server's tree, when all sessions are gone.
    pub(crate) fn check(&self, sid: usize, tree: &Tree) -> Result<(), Violation> {
        let is_there = |path: &String| tree.znode(path).is_some();
        for (path, expected) in &self.znodes {
            let fits = match expected {
                Expected::Either => true,
                Expected::Present => is_there(path),
                Expected::Absent => !is_there(path),
            };
            if !fits {
                let detail = format!("in the end {path} should be {expected:?} on server {sid}");
                return Err(Violation::new("acknowledged writes survive", detail));
            }
        }
        if let Some((a, b)) = self.pairs.iter().find(|(a, b)| is_there(a) != is_there(b)) {
            let detail = format!("server {sid} has only one of {a} and {b}");
            return Err(Violation::new("a multi is atomic", detail));
        }
        if tree.ephemerals_count() > 0 {
            let detail = format!(
                "server {sid} has {} after all sessions",
                tree.ephemerals_count()
            );
            return Err(Violation::new("ephemerals go with their session", detail));
        }
        Ok(())
    }
}
