//! The operator's own metrics.

use std::time::Duration;

use prometheus::{
    Encoder as _, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder,
};

/// Counters of what was reconciled. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    reconcile_seconds: HistogramVec,
    errors: IntCounterVec,
    steps: IntCounterVec,
}

impl Metrics {
    /// Metrics in a registry of their own.
    pub fn new() -> Self {
        let duration = HistogramOpts::new(
            "zk_operator_reconcile_duration_seconds",
            "Duration of one reconcile, by result (ok or error).",
        )
        .buckets(DURATION_BUCKETS_SECONDS.to_vec());
        let metrics = Self {
            registry: Registry::new(),
            reconcile_seconds: HistogramVec::new(duration, &["result"]).expect(NAMES_ARE_VALID),
            errors: counters(
                "zk_operator_reconcile_errors_total",
                "Failed reconciles, by reason.",
                "reason",
            ),
            steps: counters(
                "zk_operator_steps_total",
                "Decisions of the planner, by step.",
                "step",
            ),
        };
        let Self {
            registry,
            reconcile_seconds,
            errors,
            steps,
        } = &metrics;
        registry
            .register(Box::new(reconcile_seconds.clone()))
            .expect(NAMES_ARE_VALID);
        registry
            .register(Box::new(errors.clone()))
            .expect(NAMES_ARE_VALID);
        registry
            .register(Box::new(steps.clone()))
            .expect(NAMES_ARE_VALID);
        metrics
    }

    /// Records one reconcile.
    pub fn observe_reconcile(&self, ok: bool, elapsed: Duration) {
        let result = if ok { "ok" } else { "error" };
        self.reconcile_seconds
            .with_label_values(&[result])
            .observe(elapsed.as_secs_f64());
    }

    /// Counts a failed reconcile. `reason` comes from a closed list.
    pub fn count_error(&self, reason: &'static str) {
        self.errors.with_label_values(&[reason]).inc();
    }

    /// Counts a decision. `step` comes from a closed list.
    pub fn count_step(&self, step: &'static str) {
        self.steps.with_label_values(&[step]).inc();
    }

    /// All metrics in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("writing to a Vec cannot fail");
        String::from_utf8(text).expect("the text encoder writes UTF-8")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn counters(name: &str, help: &str, label: &str) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), &[label]).expect(NAMES_ARE_VALID)
}

const NAMES_ARE_VALID: &str = "names and labels are constants, valid and distinct";
const DURATION_BUCKETS_SECONDS: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_exposed_under_its_name() {
        let metrics = Metrics::new();
        metrics.observe_reconcile(true, Duration::from_millis(30));
        metrics.count_error("ApplyFailed");
        metrics.count_step("Done");
        let text = metrics.text();
        for line in [
            "zk_operator_reconcile_duration_seconds_count{result=\"ok\"} 1",
            "zk_operator_reconcile_errors_total{reason=\"ApplyFailed\"} 1",
            "zk_operator_steps_total{step=\"Done\"} 1",
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
    }
}
