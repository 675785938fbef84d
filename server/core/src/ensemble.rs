//! The members of the ensemble and what makes a quorum of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use zk_proto::Sid;

/// One `server.N` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Host name or address as configured; IPv6 without brackets.
    pub host: String,
    /// Learners connect here.
    pub quorum_port: u16,
    /// Votes travel here.
    pub election_port: u16,
    /// `;[host:]port` as configured, without the semicolon.
    pub client: Option<String>,
}

/// A membership, all of whose members vote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ensemble {
    /// By sid.
    pub members: BTreeMap<Sid, Member>,
    /// A zxid; 0 for a config that came from zoo.cfg.
    pub version: i64,
}

impl Ensemble {
    /// Does this server vote?
    #[must_use]
    pub fn is_voter(&self, sid: Sid) -> bool {
        self.members.contains_key(&sid)
    }

    /// Is this set a quorum? Only voters count (reference: `QuorumMaj`).
    #[must_use]
    pub fn is_quorum(&self, sids: &BTreeSet<Sid>) -> bool {
        sids.iter().filter(|sid| self.is_voter(**sid)).count() > self.members.len() / 2
    }

    /// The config as peers exchange it and as `/zookeeper/config` shows it:
    /// one line a member, then the version, without a final newline.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (sid, member) in &self.members {
            let host = if member.host.contains(':') {
                format!("[{}]", member.host)
            } else {
                member.host.clone()
            };
            let Member {
                quorum_port,
                election_port,
                client,
                ..
            } = member;
            let client = client
                .as_ref()
                .map(|client| format!(";{client}"))
                .unwrap_or_default();
            writeln!(
                text,
                "server.{sid}={host}:{quorum_port}:{election_port}:participant{client}"
            )
            .expect("a string takes all text");
        }
        write!(text, "version={:x}", self.version).expect("a string takes all text");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ensemble(voters: i64) -> Ensemble {
        let member = |n: i64| Member {
            host: format!("h{n}"),
            quorum_port: 2888,
            election_port: 3888,
            client: None,
        };
        Ensemble {
            members: (1..=voters).map(|n| (Sid(n), member(n))).collect(),
            version: 0,
        }
    }

    #[test]
    fn a_quorum_is_more_than_half_of_the_voters() {
        let set = |sids: &[i64]| sids.iter().copied().map(Sid).collect::<BTreeSet<_>>();
        assert!(!ensemble(3).is_quorum(&set(&[1, 9])));
        assert!(ensemble(3).is_quorum(&set(&[1, 3])));
        assert!(!ensemble(4).is_quorum(&set(&[1, 3])));
        assert!(ensemble(1).is_quorum(&set(&[1])));
    }

    #[test]
    fn the_text_is_the_one_of_the_reference() {
        assert_eq!(
            ensemble(2).text(),
            "server.1=h1:2888:3888:participant\nserver.2=h2:2888:3888:participant\nversion=0"
        );
    }
}
