//! Limits on subtrees (reference: `ZooKeeperServer.checkQuota`).

use zk_proto::client::ErrorCode;

use super::Run;
use crate::tree::QuotaVerdict;

/// When the last line about a quota went to the log.
#[derive(Debug)]
pub(super) struct QuotaLog {
    next_ms: i64,
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
}

impl Default for QuotaLog {
    fn default() -> Self {
        Self { next_ms: i64::MIN }
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
            QuotaVerdict::Hard => Err(ErrorCode::QuotaExceeded),
            QuotaVerdict::Within | QuotaVerdict::Soft => Ok(()),
        }
    }
}

/// Pause between two lines of the log.
const PAUSE_MS: i64 = 10_000;
