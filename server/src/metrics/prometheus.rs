//! The catalog in Prometheus' text format.

use prometheus::core::{Collector, Desc};
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType, Quantile, Summary};
use prometheus::{Registry, TextEncoder};

use super::catalog::{CATALOG, Definition, Kind, Value};
use super::summary::{QUANTILES, Shown};
use crate::probe::Facts;

/// What `GET /metrics` answers.
pub(crate) fn text(facts: Facts) -> Result<String, prometheus::Error> {
    let registry = Registry::new();
    registry.register(Box::new(Catalog(facts)))?;
    TextEncoder::new().encode_to_string(&registry.gather())
}

/// The metrics of one moment.
struct Catalog(Facts);

impl Collector for Catalog {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        CATALOG
            .iter()
            .filter_map(|definition| Some(family(definition, (definition.read)(&self.0)?)))
            .collect()
    }
}

fn family(definition: &Definition, value: Value) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(definition.name.into());
    family.set_help(definition.help.into());
    family.set_field_type(match definition.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
        Kind::Summary | Kind::AdvancedSummary => MetricType::SUMMARY,
    });
    let metrics = match value {
        Value::Int(number) => vec![single(definition.kind, number as f64)],
        Value::Float(number) => vec![single(definition.kind, number)],
        Value::Labelled(label, values) => values
            .into_iter()
            .map(|(of, number)| {
                let mut pair = LabelPair::default();
                pair.set_name(label.into());
                pair.set_value(of.into_owned());
                let mut metric = single(definition.kind, number as f64);
                metric.set_label(vec![pair]);
                metric
            })
            .collect(),
        Value::Summary(shown, divisor) => {
            vec![distribution(&shown, divisor, definition.kind.quantiles())]
        }
    };
    family.set_metric(metrics);
    family
}

fn single(kind: Kind, number: f64) -> Metric {
    let mut metric = Metric::default();
    if kind == Kind::Counter {
        let mut counter = prometheus::proto::Counter::default();
        counter.set_value(number);
        metric.set_counter(counter);
    } else {
        let mut gauge = prometheus::proto::Gauge::default();
        gauge.set_value(number);
        metric.set_gauge(gauge);
    }
    metric
}

fn distribution(shown: &Shown, divisor: f64, quantiles: usize) -> Metric {
    let mut summary = Summary::default();
    summary.set_sample_count(shown.count);
    summary.set_sample_sum(shown.sum as f64 / divisor);
    let pairs = QUANTILES.iter().zip(shown.quantiles).take(quantiles);
    summary.set_quantile(
        pairs
            .map(|(quantile, at)| {
                let mut pair = Quantile::default();
                pair.set_quantile(*quantile);
                pair.set_value(at / divisor);
                pair
            })
            .collect(),
    );
    let mut metric = Metric::default();
    metric.set_summary(summary);
    metric
}
