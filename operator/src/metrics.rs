//! The operator's own metrics.

use std::time::{Duration, Instant};

use prometheus::{
    Encoder as _, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry,
    TextEncoder,
};

use crate::looks::Looks;

/// Counters of what was reconciled. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    reconcile_seconds: HistogramVec,
    errors: IntCounterVec,
    steps: IntCounterVec,
    list_age: Gauge,
    ensembles: EnsembleGauges,
}

/// Gauges of each ensemble, filled anew for each scrape, so that a deleted ensemble leaves none behind.
#[derive(Clone, Debug)]
struct EnsembleGauges {
    phase: GaugeVec,
    members: GaugeVec,
    ready: GaugeVec,
    has_leader: GaugeVec,
    look_age: GaugeVec,
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
            list_age: Gauge::new(
                "zk_operator_seconds_since_last_list",
                "Seconds since the API server last listed the ensembles.",
            )
            .expect(NAMES_ARE_VALID),
            ensembles: EnsembleGauges::new(),
        };
        let Self {
            registry,
            reconcile_seconds,
            errors,
            steps,
            list_age,
            ensembles,
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
        registry
            .register(Box::new(list_age.clone()))
            .expect(NAMES_ARE_VALID);
        for gauge in ensembles.all() {
            registry
                .register(Box::new(gauge.clone()))
                .expect(NAMES_ARE_VALID);
        }
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

    /// All metrics in Prometheus' text format, those of ensembles as `looks` knows them at `now`.
    pub fn text(&self, looks: &Looks, now: Instant) -> String {
        self.list_age.set(looks.list_age(now).as_secs_f64());
        self.ensembles.fill(looks, now);
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

impl EnsembleGauges {
    fn new() -> Self {
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            GaugeVec::new(Opts::new(name, help), labels).expect(NAMES_ARE_VALID)
        };
        Self {
            phase: gauge(
                "zk_operator_ensemble_phase",
                "1 for the phase that the status of an ensemble shows.",
                &["namespace", "ensemble", "phase"],
            ),
            members: gauge(
                "zk_operator_ensemble_members",
                "Members that an ensemble shall have.",
                ENSEMBLE,
            ),
            ready: gauge(
                "zk_operator_ensemble_members_ready",
                "Members of an ensemble that serve.",
                ENSEMBLE,
            ),
            has_leader: gauge(
                "zk_operator_ensemble_leader_known",
                "1 while exactly one member of an ensemble says that it leads, else 0.",
                ENSEMBLE,
            ),
            look_age: gauge(
                "zk_operator_ensemble_seconds_since_last_look",
                "Seconds since the operator last finished looking at an ensemble.",
                ENSEMBLE,
            ),
        }
    }

    fn all(&self) -> [&GaugeVec; 5] {
        let Self {
            phase,
            members,
            ready,
            has_leader,
            look_age,
        } = self;
        [phase, members, ready, has_leader, look_age]
    }

    fn fill(&self, looks: &Looks, now: Instant) {
        for gauge in self.all() {
            gauge.reset();
        }
        for shown in looks.shown(now) {
            let (namespace, name) = (shown.key.0.as_str(), shown.key.1.as_str());
            let seen = &shown.seen;
            let ensemble = [namespace, name];
            self.look_age
                .with_label_values(&ensemble)
                .set(shown.age.as_secs_f64());
            if seen.phase.is_empty() {
                continue;
            }
            self.phase
                .with_label_values(&[namespace, name, &seen.phase])
                .set(1.0);
            self.members
                .with_label_values(&ensemble)
                .set(f64::from(seen.members));
            self.ready
                .with_label_values(&ensemble)
                .set(f64::from(seen.ready));
            self.has_leader
                .with_label_values(&ensemble)
                .set(f64::from(u8::from(seen.has_leader)));
        }
    }
}

fn counters(name: &str, help: &str, label: &str) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), &[label]).expect(NAMES_ARE_VALID)
}

const ENSEMBLE: &[&str] = &["namespace", "ensemble"];
const NAMES_ARE_VALID: &str = "names and labels are constants, valid and distinct";
const DURATION_BUCKETS_SECONDS: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::looks::Seen;

    #[test]
    fn every_metric_is_exposed_under_its_name() {
        let metrics = Metrics::new();
        metrics.observe_reconcile(true, Duration::from_millis(30));
        metrics.count_error("ApplyFailed");
        metrics.count_step("Done");
        let now = Instant::now();
        let looks = Looks::new(now);
        let key = |name: &str| ("shop".to_owned(), name.to_owned());
        let seen = Seen {
            phase: "Degraded".to_owned(),
            members: 3,
            ready: 2,
            has_leader: true,
        };
        looks.listed([key("zk"), key("new")], now);
        looks.finished(key("zk"), seen, now);
        let text = metrics.text(&looks, now + Duration::from_secs(7));
        for line in [
            "zk_operator_seconds_since_last_list 7",
            "zk_operator_ensemble_phase{ensemble=\"zk\",namespace=\"shop\",phase=\"Degraded\"} 1",
            "zk_operator_ensemble_members{ensemble=\"zk\",namespace=\"shop\"} 3",
            "zk_operator_ensemble_members_ready{ensemble=\"zk\",namespace=\"shop\"} 2",
            "zk_operator_ensemble_leader_known{ensemble=\"zk\",namespace=\"shop\"} 1",
            "zk_operator_ensemble_seconds_since_last_look{ensemble=\"zk\",namespace=\"shop\"} 7",
            "zk_operator_ensemble_seconds_since_last_look{ensemble=\"new\",namespace=\"shop\"} 7",
            "zk_operator_reconcile_duration_seconds_count{result=\"ok\"} 1",
            "zk_operator_reconcile_errors_total{reason=\"ApplyFailed\"} 1",
            "zk_operator_steps_total{step=\"Done\"} 1",
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
        looks.listed([], now);
        let text = metrics.text(&looks, now);
        assert!(
            !text.contains("shop"),
            "deleted ensembles are left:\n{text}"
        );
    }
}
