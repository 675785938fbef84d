//! Reads that walk through many znodes: one at a time, and all of them together
//! take no more than half of a thread's time.
//!
//! A walk cannot be interrupted. Connections that do nothing but ask for walks
//! would leave the others one turn between many of them.

use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

/// When the next walk may begin.
#[derive(Default)]
pub(crate) struct Walks {
    rests_until: Mutex<Option<Instant>>,
}

/// A walk that has begun.
pub(super) struct Walk<'w> {
    rests_until: MutexGuard<'w, Option<Instant>>,
    since: Instant,
}

impl Walks {
    /// Begins a walk.
    ///
    /// # Errors
    /// With the time to wait before the next attempt.
    pub(super) fn begin(&self) -> Result<Walk<'_>, Duration> {
        let rests_until = self.rests_until.try_lock().ok_or(PAUSE)?;
        let since = Instant::now();
        match *rests_until {
            Some(until) if until > since => Err(until - since),
            _ => Ok(Walk { rests_until, since }),
        }
    }
}

impl Walk<'_> {
    /// The walk is over.
    pub(super) fn end(mut self) {
        let took = self.since.elapsed();
        *self.rests_until = (took >= SHORT).then(|| Instant::now() + took);
    }
}

/// After this long it is seen whether the walk of another has ended.
const PAUSE: Duration = Duration::from_millis(1);
/// Shorter ones are as any other read.
const SHORT: Duration = Duration::from_micros(200);

#[cfg(test)]
mod tests {
    use std::thread::sleep;

    use super::*;

    #[test]
    fn walks_take_half_of_the_time() {
        let walks = Walks::default();
        let walk = walks.begin().ok().unwrap();
        assert!(walks.begin().is_err(), "another has begun");
        sleep(Duration::from_millis(20));
        walk.end();
        let wait = walks.begin().err().unwrap();
        assert!(wait > Duration::from_millis(10), "{wait:?}");
        sleep(wait);
        walks.begin().ok().unwrap().end();
        assert!(walks.begin().is_ok(), "a short one needs no rest");
    }
}
