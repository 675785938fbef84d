//! When to try again after a failed reconcile: never for a wrong spec, ever later for a world that is not ready.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::runtime::controller::Action;

use super::watches::Watched;
use super::{Context, ReconcileError};
use crate::quorum_client::QuorumAdmin;

/// Failures in a row for the same reason and the same generation of the spec, per ensemble, by uid.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<HashMap<String, Streak>>);

#[derive(Debug)]
struct Streak {
    reason: &'static str,
    generation: i64,
    count: u32,
}

impl Failures {
    /// Forgets the failures of ensembles other than these. One that is deleted while it fails is never looked at
    /// again, so nothing else would.
    pub(super) fn keep(&self, uids: &HashSet<String>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|uid, _| uids.contains(uid));
    }

    /// Forgets the failures of an ensemble that was reconciled, or that is gone.
    pub(super) fn clear(&self, uid: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(uid);
    }

    /// The last look did not fail like this.
    pub(super) fn is_new(&self, uid: &str, reason: &str, generation: i64) -> bool {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.get(uid)
            .is_none_or(|streak| streak.reason != reason || streak.generation != generation)
    }

    pub(super) fn count(&self, uid: &str, reason: &'static str, generation: i64) -> u32 {
        let first = Streak {
            reason,
            generation,
            count: 0,
        };
        let is_new = self.is_new(uid, reason, generation);
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_new {
            map.insert(uid.to_owned(), first);
        }
        map.get_mut(uid).map_or(1, |streak| {
            streak.count = streak.count.saturating_add(1);
            streak.count
        })
    }
}

/// Logs the error and says when to try again.
pub(super) fn error_policy<A: QuorumAdmin>(
    ensemble: Arc<Watched>,
    error: &ReconcileError,
    context: Arc<Context<A>>,
) -> Action {
    let meta = &ensemble.metadata;
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let name = meta.name.as_deref().unwrap_or_default();
    let (reason, error_chain) = (error.reason(), error.chain());
    context.metrics.count_error(reason);
    let failures = context.failures.count(
        meta.uid.as_deref().unwrap_or_default(),
        reason,
        meta.generation.unwrap_or_default(),
    );
    if error.spec_is_wrong() {
        if failures == 1 {
            tracing::error!(
                namespace,
                ensemble = name,
                reason,
                error = error_chain,
                "spec is wrong, waiting for a change"
            );
        }
        // The change wakes a look at once; this is for a watch that does not hear of it.
        return Action::requeue(LOOK_AGAIN_INVALID);
    }
    let full_max_ms = if error.got_no_answer() {
        BACKOFF_NO_ANSWER_MAX_MS
    } else {
        BACKOFF_MAX_MS
    };
    let delay = backoff(failures, full_max_ms, RandomState::new().hash_one(failures));
    let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    if !error.passes_by_itself() {
        tracing::warn!(
            namespace,
            ensemble = name,
            reason,
            error = error_chain,
            delay_ms,
            "reconcile failed, trying again"
        );
    } else if failures == 1 {
        tracing::info!(
            namespace,
            ensemble = name,
            reason,
            error = error_chain,
            "waiting for what passes by itself"
        );
    }
    Action::requeue(delay)
}

/// Doubles from 1 s to `full_max_ms`; `random` takes off up to half, so that many ensembles do not try at once.
fn backoff(failures: u32, full_max_ms: u64, random: u64) -> Duration {
    let doublings = failures.saturating_sub(1).min(BACKOFF_DOUBLINGS_MAX);
    let full_ms = BACKOFF_FIRST_MS
        .saturating_mul(1 << doublings)
        .min(full_max_ms);
    Duration::from_millis(full_ms - random % (full_ms / 2))
}

const BACKOFF_FIRST_MS: u64 = 1_000;
const BACKOFF_MAX_MS: u64 = 60_000;
/// An API server that is back is asked within seconds, however long it was away.
const BACKOFF_NO_ANSWER_MAX_MS: u64 = 4_000;
const LOOK_AGAIN_INVALID: Duration = Duration::from_secs(60);
const BACKOFF_DOUBLINGS_MAX: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_minute() {
        let full: Vec<u64> = (1..=9)
            .map(|failures| backoff(failures, BACKOFF_MAX_MS, 0).as_secs())
            .collect();
        assert_eq!(full, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(backoff(9, BACKOFF_NO_ANSWER_MAX_MS, 0).as_secs(), 4);
    }

    #[test]
    fn jitter_takes_off_less_than_half() {
        for random in [1, 999, u64::MAX] {
            let delay = backoff(3, BACKOFF_MAX_MS, random);
            assert!(
                delay > Duration::from_secs(2) && delay <= Duration::from_secs(4),
                "{delay:?}"
            );
        }
    }

    #[test]
    fn a_success_another_reason_or_another_spec_starts_the_count_anew() {
        let failures = Failures::default();
        assert_eq!(
            [
                failures.count("a", "x", 1),
                failures.count("a", "x", 1),
                failures.count("b", "x", 1)
            ],
            [1, 2, 1]
        );
        assert_eq!(
            [failures.count("a", "y", 1), failures.count("a", "y", 1)],
            [1, 2]
        );
        assert!(!failures.is_new("a", "y", 1) && failures.is_new("a", "y", 2));
        assert_eq!(failures.count("a", "y", 2), 1);
        failures.clear("a");
        assert!(failures.is_new("a", "y", 2));
        assert_eq!(failures.count("a", "y", 2), 1);
    }
}
