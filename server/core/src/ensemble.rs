//! The members of the ensemble and what makes a quorum of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use sha2::{Digest, Sha256};
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

/// Which ensemble a server belongs to, as it tells the leader that it connects
/// to: the first eight bytes of the SHA-256 of the ensemble's name. Members of
/// two ensembles have equal sids and may come to have each other's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnsembleId([u8; 8]);

impl EnsembleId {
    /// The id of the ensemble with this name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let hash: [u8; 32] = Sha256::digest(name).into();
        Self(*hash.first_chunk().expect("a hash has 32 bytes"))
    }

    /// As it travels.
    pub(crate) const fn bytes(&self) -> &[u8; 8] {
        &self.0
    }

    /// What has travelled.
    pub(crate) const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }
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
            let client = member.client.as_ref();
            let client = client
                .map(|client| format!(";{client}"))
                .unwrap_or_default();
            writeln!(text, "server.{sid}={}{client}", member.peer_addresses())
                .expect("a string takes all text");
        }
        write!(text, "version={:x}", self.version).expect("a string takes all text");
        text
    }

    /// The version of a config that another server has sent, if it is about
    /// the same members as this one. `None` if any member, role or address
    /// between servers differs, if there are groups or weights, or if the text
    /// is no config. Addresses for clients may differ: the reference leaves
    /// those out that stand in zoo.cfg under a key of their own.
    #[must_use]
    pub fn version_of_same_members(&self, text: &str) -> Option<i64> {
        let mut version = None;
        let mut members = BTreeMap::new();
        for line in text.lines() {
            match line.split_once('=')? {
                ("version", hex) => version = i64::from_str_radix(hex, 16).ok(),
                (key, member) => {
                    let sid = key.strip_prefix("server.")?.parse().ok()?;
                    let addresses = member.split(';').next()?;
                    members.insert(Sid(sid), addresses.to_owned());
                }
            }
        }
        let own = self.members.iter();
        let own = own.map(|(sid, member)| (*sid, member.peer_addresses()));
        version.filter(|_| own.eq(members))
    }
}

impl Member {
    /// What servers use among themselves, as in a `server.N` line: host, quorum
    /// port, election port and role.
    fn peer_addresses(&self) -> String {
        let Self {
            host,
            quorum_port,
            election_port,
            ..
        } = self;
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.clone()
        };
        format!("{host}:{quorum_port}:{election_port}:participant")
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

    #[test]
    fn a_config_is_about_the_same_members_if_their_lines_agree() {
        let lines =
            "server.2=h2:2888:3888:participant;0.0.0.0:2181\nserver.1=h1:2888:3888:participant";
        let same = |text: &str| ensemble(2).version_of_same_members(text);
        assert_eq!(same(&format!("{lines}\nversion=100000000")), Some(1 << 32));
        assert_eq!(same(&ensemble(2).text()), Some(0));
        for other in [
            lines.to_owned(),
            format!("{lines}\nversion=seven"),
            format!("{lines}\nserver.3=h3:2888:3888:participant\nversion=1"),
            format!("{lines}\ngroup.1=1:2\nversion=1"),
            format!("{lines}\nversion=1").replace("h2:2888", "h2:2889"),
            format!("{lines}\nversion=1").replace("participant;", "observer;"),
            "server.1=h1:2888:3888:participant\nversion=1".to_owned(),
            String::new(),
        ] {
            assert_eq!(same(&other), None, "{other}");
        }
    }
}
