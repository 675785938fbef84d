//! Remembers since when a ready pod has not answered the operator.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ensemble::Member;

/// Members whose pods are ready and which do not answer, by the uid of the pod.
#[derive(Debug, Default)]
pub(super) struct Silence(Mutex<HashMap<String, Since>>);

#[derive(Debug)]
struct Since {
    first: Instant,
    last: Instant,
}

impl Silence {
    /// The member has been ready and without an answer for [`LONG`], at every look in between.
    pub(super) fn is_long(&self, member: &Member, now: Instant) -> bool {
        let Some(pod) = &member.pod else {
            return false;
        };
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.retain(|_, since| now.duration_since(since.last) < FORGOTTEN_AFTER);
        if !member.is_ready_without_answer() {
            map.remove(&pod.uid);
            return false;
        }
        let since = map.entry(pod.uid.clone()).or_insert(Since {
            first: now,
            last: now,
        });
        since.last = now;
        now.duration_since(since.first) >= LONG
    }
}

/// Longer than Kubernetes takes to call the pods of a lost node not ready (50 s).
const LONG: Duration = Duration::from_secs(90);
/// A pod that was not looked at for this long is gone, or has to be silent for [`LONG`] again.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ensemble::{Answer, PodFacts, Role, Zxid};

    fn member(ready: bool, answers: bool) -> Member {
        Member {
            name: "zk-0".to_owned(),
            ordinal: 0,
            pod: Some(PodFacts {
                uid: "u".to_owned(),
                resource_version: String::new(),
                revision: String::new(),
                ready,
                terminating: false,
                defect: None,
            }),
            answer: answers.then_some(Answer {
                role: Role::Follower,
                zxid: Zxid::default(),
                synced_followers: None,
                digest_mismatches: 0,
                out_of_service: false,
            }),
            unheard: false,
            problem: None,
            claim_risk: None,
        }
    }

    fn looks(silence: &Silence, start: Instant, seconds: std::ops::Range<u64>) -> bool {
        seconds.step_by(10).fold(false, |_, second| {
            silence.is_long(&member(true, false), start + Duration::from_secs(second))
        })
    }

    #[test]
    fn only_silence_at_every_look_for_longer_than_a_lost_node_takes_counts() {
        let (silence, start) = (Silence::default(), Instant::now());
        assert!(!looks(&silence, start, 0..90));
        assert!(looks(&silence, start, 90..120));
    }

    #[test]
    fn an_answer_or_a_pod_that_is_not_ready_begins_it_anew() {
        for interruption in [member(true, true), member(false, false)] {
            let (silence, start) = (Silence::default(), Instant::now());
            assert!(!looks(&silence, start, 0..90));
            assert!(!silence.is_long(&interruption, start + Duration::from_secs(90)));
            assert!(!looks(&silence, start, 100..180));
            assert!(looks(&silence, start, 180..200));
        }
    }

    #[test]
    fn time_in_which_nobody_looked_is_no_silence() {
        let (silence, start) = (Silence::default(), Instant::now());
        assert!(!looks(&silence, start, 0..30));
        assert!(!looks(&silence, start, 300..380));
    }
}
