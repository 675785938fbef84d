//! Versions of the config that other servers know.
//!
//! A server of the reference with `reconfigEnabled=true` gives the config a
//! version when it first leads, and refuses, as this server does, a learner
//! with a config that is newer than its own. This server writes no config; so
//! that it can lead such servers, it takes over the version of a config about
//! the same members. A config about other members is a reconfiguration, and
//! whoever knows of one is not led by a server that does not.

use std::collections::BTreeMap;

use zk_proto::{Epoch, Sid, Zxid};

use super::peer::Peer;
use crate::Millis;

/// Pause between two warnings about the config of one server, in ms.
const WARN_AGAIN_MS: u64 = 60_000;

/// How much of another server's config is logged, in characters.
const LOGGED_CHARS: usize = 500;

/// The newest config of each voter that is not this server's own.
#[derive(Debug, Default)]
pub(super) struct ToldConfigs {
    /// Version of a config about the same members, by the voter that has it.
    same: BTreeMap<Sid, i64>,
    /// When a warning about a voter's config was logged last.
    warned: BTreeMap<Sid, Millis>,
}

impl Peer {
    /// A voter has sent its config with a vote.
    pub(super) fn told_config(&mut self, from: Sid, text: &str, now: Millis) {
        if text.is_empty() || text == self.config_text() {
            return;
        }
        if let Some(version) = self.config.ensemble.version_of_same_members(text) {
            self.told.same.insert(from, version);
            return;
        }
        self.told.same.remove(&from);
        let warned = self.told.warned.get(&from);
        if warned.is_none_or(|at| now - *at >= WARN_AGAIN_MS) {
            self.told.warned.insert(from, now);
            let theirs: String = text.chars().take(LOGGED_CHARS).collect();
            tracing::warn!(
                server = %from, ?theirs, own = ?self.config_text(),
                "another server has other members in its configuration; list the same servers \
                 in the zoo.cfg of every member: dynamic reconfiguration is planned"
            );
        }
    }

    /// May a voter that says that it has this config follow this server? Yes
    /// if it is not newer than the own one, or if the voter has told that it is
    /// about the same members. A version is a zxid of an epoch that the voter
    /// has accepted.
    pub(super) fn is_known_config(&self, sid: Sid, version: i64, accepted: Epoch) -> bool {
        version <= self.config.ensemble.version
            || self.told.same.get(&sid) == Some(&version) && Zxid(version).epoch() <= accepted
    }

    /// The leader has sent its config with NEWLEADER.
    pub(super) fn adopt_config(&mut self, text: &[u8], epoch: Epoch) {
        let text = std::str::from_utf8(text).unwrap_or_default();
        if let Some(version) = self.config.ensemble.version_of_same_members(text) {
            self.adopt_version(version, epoch);
        }
    }

    /// Takes over the version of a config about the same members, which a voter
    /// that is believed, or the leader, has told in this epoch. A version is a
    /// zxid: one of a later epoch cannot be true.
    pub(super) fn adopt_version(&mut self, version: i64, epoch: Epoch) {
        if version > self.config.ensemble.version && Zxid(version).epoch() <= epoch {
            self.set_config_version(version);
        }
    }
}
