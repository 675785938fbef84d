//! Which time counts against a session.

use crate::Millis;

/// How long a server must have been silent for that to count as a pause, in ms.
///
/// A leader takes a step at least every half tick, and asks its learners as
/// often. With ticks of a few ms every step comes a tick late, so that no time
/// would ever pass. A step that is up to 100 ms late is normal scheduling.
pub(super) fn pause_ms_min(tick_ms: u64) -> u64 {
    const LATE_STEP_MS: u64 = 100;
    tick_ms.max(LATE_STEP_MS)
}

/// Time in which this server runs. When no step came for the length of a
/// pause, it was stopped, starved or held up, and that time does not count.
#[derive(Debug, Default)]
pub struct Running {
    last_step: Millis,
    /// All that does not count, ms.
    skipped_ms: u64,
    /// End of the last pause, and what had been skipped before it.
    resumed: Millis,
    skipped_before_ms: u64,
}

impl Running {
    /// Running from this moment on.
    #[must_use]
    pub fn from(now: Millis) -> Self {
        Self {
            last_step: now,
            ..Self::default()
        }
    }

    #[cfg(test)]
    pub(super) const fn last_step(&self) -> Millis {
        self.last_step
    }

    /// The server takes a step. To be called at least every half tick: a gap of a
    /// tick, and of 100 ms with shorter ticks, is a pause.
    pub fn step(&mut self, now: Millis, tick_ms: u64) {
        let gap = now - self.last_step;
        self.last_step = now;
        if gap >= pause_ms_min(tick_ms) {
            self.skipped_before_ms = self.skipped_ms;
            self.skipped_ms += gap;
            self.resumed = now;
        }
    }

    /// The running time of the last step.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.at(self.last_step)
    }

    /// The running time at this moment, which may be a while ago.
    #[must_use]
    pub fn at(&self, at: Millis) -> Millis {
        let skipped = if at < self.resumed {
            self.skipped_before_ms
        } else {
            self.skipped_ms
        };
        Millis(at.0.saturating_sub(skipped))
    }

    /// When that will be, if the server goes on running.
    pub(super) fn when(&self, running: Millis) -> Millis {
        running + self.skipped_ms
    }
}
