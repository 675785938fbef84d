//! Who looks at an ensemble next: whoever asked first. Ensembles whose members keep the operator waiting have places
//! of their own, so that however many they are, the others are looked at without delay.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// Places for looks that are under way, and which ensembles have kept the operator waiting.
#[derive(Debug)]
pub(super) struct Turns {
    prompt: Semaphore,
    slow: Semaphore,
    /// Ensembles whose members kept the operator waiting within [`SLOW_FOR`], by uid.
    waits: Mutex<HashMap<String, Waits>>,
}

#[derive(Debug)]
struct Waits {
    last: Instant,
    /// Such looks since the last look at which every member answered at once.
    in_a_row: u32,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            prompt: Semaphore::new(PROMPT_LOOKS_MAX),
            slow: Semaphore::new(SLOW_LOOKS_MAX),
            waits: Mutex::default(),
        }
    }
}

impl Turns {
    /// Waits until the ensemble with this uid may be looked at, in the order of asking. The look lasts until the
    /// permit is dropped.
    pub(super) async fn take(&self, uid: &str) -> SemaphorePermit<'_> {
        let places = if self.is_slow(uid) {
            &self.slow
        } else {
            &self.prompt
        };
        places.acquire().await.expect("the places are never closed")
    }

    /// Notes for how long a look waited for the answers of the members. Returns how many looks in a row have now
    /// been kept waiting.
    pub(super) fn looked(&self, uid: &str, waited: Duration) -> u32 {
        let now = Instant::now();
        let mut waits = self.waits();
        waits.retain(|_, waits| now.duration_since(waits.last) < SLOW_FOR);
        if waited < KEPT_WAITING {
            // It has to be prompt for a while: members that answer at every other look are slow ones.
            if let Some(waits) = waits.get_mut(uid) {
                waits.in_a_row = 0;
            }
            return 0;
        }
        let of_this = waits.entry(uid.to_owned()).or_insert(Waits {
            last: now,
            in_a_row: 0,
        });
        of_this.last = now;
        of_this.in_a_row = of_this.in_a_row.saturating_add(1);
        of_this.in_a_row
    }

    /// Forgets ensembles other than these.
    pub(super) fn keep(&self, uids: &HashSet<String>) {
        self.waits().retain(|uid, _| uids.contains(uid));
    }

    fn is_slow(&self, uid: &str) -> bool {
        let waits = self.waits();
        waits
            .get(uid)
            .is_some_and(|waits| waits.last.elapsed() < SLOW_FOR)
    }

    fn waits(&self) -> MutexGuard<'_, HashMap<String, Waits>> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pause before the next look at an ensemble that kept `in_a_row` looks waiting: doubled for each but the first.
pub(super) fn longer(pause: Duration, in_a_row: u32, longest: Duration) -> Duration {
    let doublings = in_a_row.saturating_sub(1).min(DOUBLINGS_MAX);
    pause.saturating_mul(1 << doublings).min(longest)
}

/// Looks at the same time at ensembles that answer at once, or of which nothing is known yet.
const PROMPT_LOOKS_MAX: usize = 16;
/// Looks at the same time at ensembles with members that do not answer. Such a look takes little but time: with 2 s
/// for each, 240 of these ensembles are looked at every 15 s.
const SLOW_LOOKS_MAX: usize = 32;
/// A member answers within milliseconds, and a look gives it 2 s.
const KEPT_WAITING: Duration = Duration::from_secs(1);
/// An ensemble that kept a look waiting counts as slow for this long.
const SLOW_FOR: Duration = Duration::from_secs(60);
const DOUBLINGS_MAX: u32 = 8;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const DEAF: Duration = Duration::from_secs(2);

    /// Looks at an ensemble again and again, as a reconcile does, and remembers when each look began.
    async fn look_for(turns: &Turns, uid: &str, waits: Duration, end: Instant) -> Vec<Instant> {
        let mut begun = Vec::new();
        while Instant::now() < end {
            let turn = turns.take(uid).await;
            begun.push(Instant::now());
            tokio::time::sleep(waits).await;
            let in_a_row = turns.looked(uid, waits);
            drop(turn);
            let pause = longer(Duration::from_secs(3), in_a_row, Duration::from_secs(15));
            tokio::time::sleep(pause).await;
        }
        begun
    }

    fn longest_gap(looks: &[Instant]) -> Duration {
        let gaps = looks.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().expect("there are several looks")
    }

    #[tokio::test(start_paused = true)]
    async fn hundreds_of_deaf_ensembles_keep_neither_others_nor_each_other_waiting() {
        let turns = Arc::new(Turns::default());
        let start = Instant::now();
        let end = start + Duration::from_secs(300);
        let deaf: Vec<_> = (0..240)
            .map(|number| {
                let turns = Arc::clone(&turns);
                tokio::spawn(
                    async move { look_for(&turns, &format!("deaf {number}"), DEAF, end).await },
                )
            })
            .collect();
        tokio::task::yield_now().await;
        let looks = look_for(&turns, "prompt", Duration::from_millis(5), end).await;
        // All of them were unknown when the operator started.
        assert!(looks[0] - start <= Duration::from_secs(32), "{looks:?}");
        let settled: Vec<Instant> = looks[1..].to_vec();
        assert!(
            longest_gap(&settled) < Duration::from_secs(4),
            "{settled:?}"
        );
        for looks in deaf {
            let looks = looks.await.unwrap();
            assert!(longest_gap(&looks) < Duration::from_secs(60));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asked_first_goes_first() {
        let turns = Arc::new(Turns::default());
        let mut places = Vec::new();
        for number in 0..PROMPT_LOOKS_MAX {
            places.push(turns.take(&number.to_string()).await);
        }
        let (sender, mut order) = tokio::sync::mpsc::unbounded_channel();
        for number in 0..100 {
            let (turns, sender) = (Arc::clone(&turns), sender.clone());
            tokio::spawn(async move {
                let turn = turns.take(&format!("waits {number}")).await;
                sender.send(number).unwrap();
                drop(turn);
            });
        }
        tokio::task::yield_now().await;
        drop(places);
        for expected in 0..100 {
            assert_eq!(order.recv().await, Some(expected));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_ensemble_that_answers_now_and_then_stays_among_the_slow_ones() {
        let turns = Turns::default();
        assert_eq!(turns.looked("a", DEAF), 1);
        assert_eq!(turns.looked("a", DEAF), 2);
        assert_eq!(turns.looked("a", Duration::ZERO), 0);
        assert!(turns.is_slow("a") && !turns.is_slow("b"));
        assert_eq!(turns.looked("a", DEAF), 1);
        tokio::time::advance(SLOW_FOR).await;
        assert!(!turns.is_slow("a"));
        assert_eq!(turns.looked("a", DEAF), 1);
        turns.keep(&HashSet::from(["b".to_owned()]));
        assert!(!turns.is_slow("a"));
    }

    #[test]
    fn the_pause_doubles_up_to_the_longest() {
        let pauses: Vec<u64> = [0, 1, 2, 3, 4, u32::MAX]
            .into_iter()
            .map(|in_a_row| {
                longer(Duration::from_secs(3), in_a_row, Duration::from_secs(15)).as_secs()
            })
            .collect();
        assert_eq!(pauses, [3, 3, 6, 12, 15, 15]);
    }
}
