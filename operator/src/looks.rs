//! When each ensemble was last looked at, and what was seen: the source of `/healthz` and of the gauges.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Namespace and name of an ensemble.
pub type Key = (String, String);

/// Looks at all ensembles. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Looks(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    started: Instant,
    /// When the API server last listed the ensembles.
    listed: Option<Instant>,
    /// Why it last did not.
    list_error: Option<String>,
    /// When listing was last tried, whatever came of it.
    tried: Instant,
    ensembles: BTreeMap<Key, Look>,
}

#[derive(Debug)]
struct Look {
    /// When the operator first heard of the ensemble.
    heard: Instant,
    finished: Option<Instant>,
    seen: Seen,
}

/// What the last finished look saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// `status.phase`, empty before the first look.
    pub phase: String,
    /// Members that there shall be.
    pub members: i32,
    /// Members that serve.
    pub ready: i32,
    /// Exactly one member leads.
    pub has_leader: bool,
}

/// One ensemble, as the gauges show it.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// Namespace and name.
    pub key: Key,
    /// What was seen.
    pub seen: Seen,
    /// Time since the last finished look, or since the operator first heard of the ensemble.
    pub age: Duration,
}

impl Looks {
    /// No ensemble is known yet.
    pub fn new(now: Instant) -> Self {
        Self(Arc::new(Mutex::new(State {
            started: now,
            listed: None,
            list_error: None,
            tried: now,
            ensembles: BTreeMap::new(),
        })))
    }

    /// A look at an ensemble came to its end.
    pub fn finished(&self, key: Key, seen: Seen, now: Instant) {
        let mut state = self.state();
        let look = state
            .ensembles
            .entry(key)
            .or_insert_with(|| Look::unfinished(now));
        look.finished = Some(now);
        look.seen = seen;
    }

    /// A known ensemble could not be looked at. Its gauges keep the numbers of the last look, and their age grows.
    pub fn unseen(&self, key: &Key, phase: &str) {
        let mut state = self.state();
        if let Some(look) = state.ensembles.get_mut(key) {
            look.seen.phase = phase.to_owned();
        }
    }

    /// The API server listed exactly these ensembles.
    pub fn listed(&self, keys: impl IntoIterator<Item = Key>, now: Instant) {
        let mut state = self.state();
        (state.listed, state.list_error, state.tried) = (Some(now), None, now);
        let mut known = std::mem::take(&mut state.ensembles);
        state.ensembles = keys
            .into_iter()
            .map(|key| {
                let look = known.remove(&key).unwrap_or_else(|| Look::unfinished(now));
                (key, look)
            })
            .collect();
    }

    /// The API server did not list the ensembles.
    pub fn not_listed(&self, error: String, now: Instant) {
        let mut state = self.state();
        (state.list_error, state.tried) = (Some(error), now);
    }

    /// Why the operator is not doing its work, if so.
    pub fn complaint(&self, now: Instant) -> Option<String> {
        let state = self.state();
        let since_list = now.duration_since(state.listed.unwrap_or(state.started));
        if since_list > LIST_AGE_MAX {
            let why = state.list_error.as_deref().unwrap_or("no answer");
            return Some(format!(
                "the ensembles could not be listed for {} s: {why}",
                since_list.as_secs()
            ));
        }
        let late = state
            .ensembles
            .iter()
            .map(|(key, look)| (key, look.age(now)))
            .filter(|(_, age)| *age > LOOK_AGE_MAX)
            .max_by_key(|(_, age)| *age);
        late.map(|((namespace, name), age)| {
            format!(
                "no look at {namespace}/{name} came to its end for {} s",
                age.as_secs()
            )
        })
    }

    /// The operator's own loop goes on, whether or not the API server answers.
    pub fn is_alive(&self, now: Instant) -> bool {
        now.duration_since(self.state().tried) <= LIST_AGE_MAX
    }

    /// Every known ensemble.
    pub fn shown(&self, now: Instant) -> Vec<Shown> {
        let state = self.state();
        let shown = state.ensembles.iter().map(|(key, look)| Shown {
            key: key.clone(),
            seen: look.seen.clone(),
            age: look.age(now),
        });
        shown.collect()
    }

    /// Time since the ensembles were last listed, or since the operator started.
    pub fn list_age(&self, now: Instant) -> Duration {
        let state = self.state();
        now.duration_since(state.listed.unwrap_or(state.started))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Look {
    fn unfinished(now: Instant) -> Self {
        Self {
            heard: now,
            finished: None,
            seen: Seen::default(),
        }
    }

    fn age(&self, now: Instant) -> Duration {
        now.duration_since(self.finished.unwrap_or(self.heard))
    }
}

/// The ensembles are listed every 10 s, and each attempt ends within 15 s.
const LIST_AGE_MAX: Duration = Duration::from_secs(60);
/// A settled ensemble is looked at every 15 s, one that fails at least once a minute.
const LOOK_AGE_MAX: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        ("shop".to_owned(), name.to_owned())
    }

    fn serving() -> Seen {
        Seen {
            phase: "Serving".to_owned(),
            members: 3,
            ready: 3,
            has_leader: true,
        }
    }

    #[test]
    fn a_list_that_fails_for_a_minute_is_a_complaint_with_its_cause() {
        let start = Instant::now();
        let looks = Looks::new(start);
        assert_eq!(looks.complaint(start + Duration::from_secs(60)), None);
        looks.listed([], start + Duration::from_secs(60));
        looks.not_listed("forbidden".to_owned(), start + Duration::from_secs(121));
        assert_eq!(
            looks.complaint(start + Duration::from_secs(121)).unwrap(),
            "the ensembles could not be listed for 61 s: forbidden"
        );
        assert!(looks.is_alive(start + Duration::from_secs(181)));
        assert!(!looks.is_alive(start + Duration::from_secs(182)));
    }

    #[test]
    fn an_ensemble_that_could_not_be_looked_at_is_shown_as_that_and_grows_old() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let looks = Looks::new(start);
        looks.finished(key("a"), serving(), at(0));
        looks.unseen(&key("a"), "Unknown");
        let shown = looks.shown(at(40));
        assert_eq!(shown[0].seen.phase, "Unknown");
        assert_eq!((shown[0].seen.ready, shown[0].age.as_secs()), (3, 40));
        looks.finished(key("a"), serving(), at(50));
        assert_eq!(looks.shown(at(50))[0].seen, serving());
    }

    #[test]
    fn an_ensemble_that_nobody_finished_looking_at_is_a_complaint() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let looks = Looks::new(start);
        looks.listed([key("a"), key("b")], at(0));
        looks.finished(key("a"), serving(), at(100));
        looks.listed([key("a"), key("b")], at(120));
        assert_eq!(looks.complaint(at(120)), None);
        assert_eq!(
            looks.complaint(at(121)).unwrap(),
            "no look at shop/b came to its end for 121 s"
        );
        looks.listed([key("a")], at(200));
        assert_eq!(looks.complaint(at(200)), None, "b is gone");
        let shown = looks.shown(at(201));
        assert_eq!(shown.len(), 1);
        assert_eq!((&shown[0].seen, shown[0].age.as_secs()), (&serving(), 101));
    }
}
