//! The clocks of a process.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use zk_core::{Millis, Now};

/// Monotonic time since the start of this server, and the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// Monotonic time.
    pub(crate) fn mono(self) -> Millis {
        Millis(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Both clocks, as the replica wants them.
    pub(crate) fn now(self) -> Now {
        Now {
            mono: self.mono(),
            wall_ms: wall_ms(),
        }
    }

    /// When `mono` will be reached.
    pub(crate) fn instant(self, mono: Millis) -> Instant {
        self.start + Duration::from_millis(mono.0)
    }
}

/// Wall clock in ms since 1970; 0 before that.
pub(crate) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
