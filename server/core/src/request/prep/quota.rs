//! Limits on subtrees (reference: `ZooKeeperServer.checkQuota`).

use std::collections::BTreeMap;

use zk_proto::client::ErrorCode;

use super::Run;
use crate::tree::{NAMESPACE_BYTES_MAX, NAMESPACES_MAX, QuotaVerdict, path};

/// When the last line about a quota went to the log, and what was refused.
#[derive(Debug)]
pub(super) struct QuotaLog {
    next_ms: i64,
    refused: Refused,
}

/// Writes refused for a quota, by the first name of their path: of this many
/// names at most, those that come first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused(BTreeMap<String, u64>);

impl Refused {
    fn count(&mut self, namespace: &str) {
        if let Some(count) = self.0.get_mut(namespace) {
            *count += 1;
        } else if self.0.len() < NAMESPACES_MAX && namespace.len() <= NAMESPACE_BYTES_MAX {
            self.0.insert(namespace.to_owned(), 1);
        }
    }

    /// The sum of both.
    #[must_use]
    pub fn with(mut self, other: &Self) -> Self {
        for (namespace, count) in &other.0 {
            if self.0.len() < NAMESPACES_MAX || self.0.contains_key(namespace) {
                *self.0.entry(namespace.clone()).or_default() += count;
            }
        }
        self
    }

    /// Names and counts, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, count)| (name.as_str(), *count))
    }
}

impl QuotaLog {
    /// May one more line go there?
    fn may_write(&mut self, now_ms: i64) -> bool {
        let may = now_ms >= self.next_ms;
        if may {
            self.next_ms = now_ms.saturating_add(PAUSE_MS);
        }
        may
    }

    pub(super) const fn refused(&self) -> &Refused {
        &self.refused
    }
}

impl Default for QuotaLog {
    fn default() -> Self {
        Self {
            next_ms: i64::MIN,
            refused: Refused::default(),
        }
    }
}

impl Run<'_, '_> {
    /// Asks the quota over `path` for so many more znodes and bytes. What is
    /// outstanding does not count as used.
    pub(super) fn ask_quota(
        &mut self,
        path: &str,
        count: i64,
        bytes: i64,
    ) -> Result<(), ErrorCode> {
        if !self.config.enforce_quota {
            return Ok(());
        }
        // The reference throws upon nonsense in the znodes of the quota, which
        // becomes this answer.
        let verdict = self.edit.tree().check_quota(path, count, bytes);
        let verdict = verdict.map_err(|_| ErrorCode::MarshallingError)?;
        if verdict != QuotaVerdict::Within && self.quota_log.may_write(self.request.time_ms) {
            let quota = self.edit.tree().quota_over(path).unwrap_or_default();
            tracing::warn!(
                quota,
                refused = verdict == QuotaVerdict::Hard,
                "quota exceeded"
            );
        }
        match verdict {
            QuotaVerdict::Hard => {
                self.quota_log.refused.count(path::namespace(path));
                Err(ErrorCode::QuotaExceeded)
            }
            QuotaVerdict::Within | QuotaVerdict::Soft => Ok(()),
        }
    }
}

/// Pause between two lines of the log.
const PAUSE_MS: i64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_counted_for_so_many_names() {
        let (mut before, mut now) = (Refused::default(), Refused::default());
        for _ in 0..3 {
            before.count("a");
        }
        for n in 0..2 * NAMESPACES_MAX {
            now.count(&n.to_string());
        }
        now.count("0");
        assert_eq!(now.iter().count(), NAMESPACES_MAX);
        let sum = before.with(&now);
        assert_eq!(sum.iter().count(), NAMESPACES_MAX);
        assert_eq!(sum.iter().filter(|(_, count)| *count > 1).count(), 2);
        assert_eq!(sum.iter().last(), Some(("a", 3)));
    }
}
