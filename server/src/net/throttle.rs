//! How fast sessions may be asked for (reference: `BlueThrottle`, 3.9).
//!
//! A bucket of tokens that refills with time, and in front of it a random
//! refusal whose chance grows while the bucket is empty and falls while it is
//! full. Many clients that reconnect at once are thinned out before they
//! become work.

use crate::config::ConnectionThrottle;

/// The bucket. Time is in ms of any clock that does not go back.
pub(super) struct Throttle {
    settings: ConnectionThrottle,
    tokens: u64,
    filled_ms: u64,
    changed_ms: u64,
    refusal_chance: f64,
    random: u64,
}

impl Throttle {
    pub(super) const fn new(settings: ConnectionThrottle, now_ms: u64, seed: u64) -> Self {
        Self {
            tokens: settings.tokens,
            settings,
            filled_ms: now_ms,
            changed_ms: now_ms,
            refusal_chance: 0.0,
            random: seed,
        }
    }

    /// May a connection have a session? `is_renewal` if it had one.
    pub(super) fn admits(&mut self, is_renewal: bool, now_ms: u64) -> bool {
        let settings = &self.settings;
        if settings.tokens == 0 {
            return true;
        }
        let passed = now_ms.saturating_sub(self.filled_ms);
        if passed > settings.fill_ms {
            let refill = passed.saturating_mul(settings.fill_tokens) / settings.fill_ms;
            self.tokens = self.tokens.saturating_add(refill).min(settings.tokens);
            self.filled_ms = now_ms;
        }
        if settings
            .freeze_ms
            .is_some_and(|freeze| self.refuses_at_random(freeze, now_ms))
        {
            return false;
        }
        let settings = &self.settings;
        let needed = if is_renewal {
            settings.renewal_weight
        } else {
            settings.session_weight
        };
        let left = self.tokens.checked_sub(needed);
        self.tokens = left.unwrap_or(self.tokens);
        left.is_some()
    }

    /// Chance that the next one is refused at random.
    pub(super) const fn refusal_chance(&self) -> f64 {
        self.refusal_chance
    }

    /// Tokens that the bucket lacks.
    pub(super) const fn deficit(&self) -> u64 {
        self.settings.tokens - self.tokens
    }

    fn refuses_at_random(&mut self, freeze_ms: u64, now_ms: u64) -> bool {
        let settings = &self.settings;
        let threshold = (settings.tokens as f64 * settings.decrease_ratio).round();
        if now_ms.saturating_sub(self.changed_ms) > freeze_ms {
            if self.tokens == 0 {
                self.refusal_chance = (self.refusal_chance + settings.drop_increase).min(1.0);
            } else if self.deficit() as f64 <= threshold {
                self.refusal_chance = (self.refusal_chance - settings.drop_decrease).max(0.0);
            }
            self.changed_ms = now_ms;
        }
        self.random() < self.refusal_chance
    }

    /// From 0 to 1 (splitmix64).
    fn random(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> ConnectionThrottle {
        ConnectionThrottle {
            tokens: 3,
            fill_ms: 100,
            fill_tokens: 1,
            freeze_ms: None,
            drop_increase: 0.5,
            drop_decrease: 0.25,
            decrease_ratio: 0.0,
            session_weight: 1,
            renewal_weight: 1,
        }
    }

    #[test]
    fn a_bucket_empties_and_refills() {
        let mut throttle = Throttle::new(settings(), 1000, 1);
        let mut admitted = |now| (0..5).filter(|_| throttle.admits(false, now)).count();
        assert_eq!(admitted(1000), 3);
        assert_eq!(admitted(1100), 0, "not before the time is over");
        assert_eq!(admitted(1201), 2);
        assert_eq!(admitted(9000), 3, "no fuller than full");
        assert_eq!(throttle.deficit(), 3);
    }

    #[test]
    fn weights_count_and_zero_tokens_never_refuse() {
        let weighed = ConnectionThrottle {
            session_weight: 2,
            ..settings()
        };
        let mut throttle = Throttle::new(weighed, 0, 1);
        assert!(throttle.admits(false, 0));
        assert!(!throttle.admits(false, 0), "one token is left");
        assert!(throttle.admits(true, 0));
        let off = ConnectionThrottle {
            tokens: 0,
            ..settings()
        };
        assert!((0..100).all(|_| Throttle::new(off.clone(), 0, 1).admits(false, 0)));
    }

    #[test]
    fn the_chance_of_a_refusal_grows_while_the_bucket_is_empty() {
        let blue = ConnectionThrottle {
            freeze_ms: Some(10),
            fill_ms: 1_000_000,
            ..settings()
        };
        let mut throttle = Throttle::new(blue, 0, 1);
        assert_eq!((0..3).filter(|_| throttle.admits(false, 0)).count(), 3);
        for now in [11, 22, 33] {
            throttle.admits(false, now);
        }
        assert_eq!(throttle.refusal_chance, 1.0);
        throttle.tokens = 3;
        throttle.admits(false, 44);
        assert_eq!(throttle.refusal_chance, 0.75);
    }
}
