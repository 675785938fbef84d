//! When a server is warm: its rate has stopped rising.

use std::time::Duration;

/// The rule and its bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
    pub(crate) window: Duration,
    /// A window this share above the one before it still counts as rising.
    pub(crate) rise: f64,
}

/// Rates of the windows seen so far.
pub(crate) struct WarmUp {
    rule: Rule,
    rates: Vec<f64>,
}

impl WarmUp {
    pub(crate) fn new(rule: Rule) -> Self {
        Self {
            rule,
            rates: Vec::new(),
        }
    }

    /// Takes the rate of a finished window and tells whether the warm-up is over.
    pub(crate) fn is_over_after(&mut self, rate: f64) -> bool {
        let before = self.rates.last().copied();
        self.rates.push(rate);
        let elapsed = self.rule.window * u32::try_from(self.rates.len()).unwrap_or(u32::MAX);
        let is_rising = before.is_none_or(|before| rate >= before * (1.0 + self.rule.rise));
        elapsed >= self.rule.max || (elapsed >= self.rule.min && !is_rising)
    }

    /// Replies per second, one number per window.
    pub(crate) fn rates(&self) -> &[f64] {
        &self.rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows_until_warm(rates: &[f64]) -> Option<usize> {
        let mut warm_up = WarmUp::new(Rule {
            min: Duration::from_secs(9),
            max: Duration::from_secs(18),
            window: Duration::from_secs(3),
            rise: 0.03,
        });
        let over = rates.iter().position(|rate| warm_up.is_over_after(*rate))?;
        Some(over + 1)
    }

    #[test]
    fn a_flat_rate_is_warm_after_the_shortest_time() {
        assert_eq!(windows_until_warm(&[100.0; 9]), Some(3));
    }

    #[test]
    fn a_rising_rate_is_awaited() {
        assert_eq!(windows_until_warm(&[10.0, 20.0, 40.0, 50.0, 51.0]), Some(5));
    }

    #[test]
    fn the_longest_time_ends_it_even_while_rising() {
        assert_eq!(
            windows_until_warm(&[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]),
            Some(6)
        );
    }
}
