//! The catalog as `mntr` and the admin server's `monitor` show it. The form
//! depends on where metrics go, as with the reference: samples of Prometheus
//! (`PrometheusMetricsProvider.dump`) or averages (`DefaultMetricsProvider`).

use super::catalog::{CATALOG, Definition, Value};
use super::summary::{QUANTILES, Shown};
use crate::probe::Facts;

/// A value as Java would have it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    /// Printed without a point.
    Whole(i64),
    /// Printed by [`double`].
    Double(f64),
}

/// All metrics by the reference's names, without `zk_`.
pub(crate) fn monitor(facts: &Facts) -> Vec<(String, Number)> {
    let has_prometheus = facts.probe().config().metrics.is_some();
    let mut lines = Vec::new();
    for definition in CATALOG {
        let Some(value) = (definition.read)(facts) else {
            continue;
        };
        if has_prometheus {
            samples(definition, value, &mut lines);
        } else {
            averages(definition, value, &mut lines);
        }
    }
    lines
}

/// As Java prints a double: always with a point, and with an exponent from
/// 10^7 on and below 10^-3.
pub(crate) fn double(number: f64) -> String {
    let magnitude = number.abs();
    if number.is_nan() {
        "NaN".into()
    } else if number.is_infinite() {
        if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }
        .into()
    } else if magnitude == 0.0 || (1e-3..1e7).contains(&magnitude) {
        with_point(number.to_string())
    } else {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').expect("it has an exponent");
        format!("{}E{exponent}", with_point(digits.to_owned()))
    }
}

fn with_point(digits: String) -> String {
    if digits.contains('.') {
        digits
    } else {
        digits + ".0"
    }
}

fn samples(definition: &Definition, value: Value, lines: &mut Vec<(String, Number)>) {
    let name = short_name(definition);
    let mut line = |name: String, number: f64| lines.push((name, Number::Double(number)));
    match value {
        Value::Int(number) => line(name.into(), number as f64),
        Value::Float(number) => line(name.into(), number),
        Value::Labelled(label, values) => {
            for (of, number) in values {
                line(format!("{name}{{{label}=\"{of}\"}}"), number as f64);
            }
        }
        Value::Summary(shown, divisor) => {
            let quantiles = QUANTILES.iter().zip(shown.quantiles);
            for (quantile, at) in quantiles.take(definition.kind.quantiles()) {
                line(format!("{name}{{quantile=\"{quantile}\"}}"), at / divisor);
            }
            line(format!("{name}_count"), shown.count as f64);
            line(format!("{name}_sum"), shown.sum as f64 / divisor);
        }
    }
}

fn averages(definition: &Definition, value: Value, lines: &mut Vec<(String, Number)>) {
    let name = short_name(definition);
    match value {
        Value::Int(number) => lines.push((name.into(), Number::Whole(number))),
        Value::Float(number) => lines.push((name.into(), Number::Double(number))),
        Value::Labelled(_, values) => {
            for (of, number) in values {
                lines.push((format!("{of}_{name}"), Number::Whole(number)));
            }
        }
        Value::Summary(shown, divisor) => {
            let whole = |number: f64| {
                Number::Whole(if number.is_nan() {
                    0
                } else {
                    number.round() as i64
                })
            };
            let of_micros = |number: u64| whole((number as f64 / divisor).floor());
            let average = shown.sum as f64 / divisor / shown.count.max(1) as f64;
            lines.push((format!("avg_{name}"), Number::Double(rounded(average))));
            lines.push((format!("min_{name}"), of_micros(shown.min)));
            lines.push((format!("max_{name}"), of_micros(shown.max)));
            lines.push((format!("cnt_{name}"), Number::Whole(shown.count as i64)));
            lines.push((format!("sum_{name}"), of_micros(shown.sum)));
            if definition.kind.quantiles() > 1 {
                for (percent, at) in Shown::PERCENTILES.iter().zip(shown.percentiles) {
                    lines.push((format!("{percent}_{name}"), whole(at / divisor)));
                }
            }
        }
    }
}

fn short_name(definition: &Definition) -> &'static str {
    let name = definition.name;
    name.strip_prefix("zk_").unwrap_or(name)
}

/// To four digits, as the reference rounds averages.
fn rounded(number: f64) -> f64 {
    (number * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_printed_as_by_java() {
        for (number, want) in [
            (0.0, "0.0"),
            (20_000.0, "20000.0"),
            (5.3333, "5.3333"),
            (-1.0, "-1.0"),
            (0.001, "0.001"),
            (0.0005, "5.0E-4"),
            (9_999_999.0, "9999999.0"),
            (10_000_000.0, "1.0E7"),
            (35_782_656.0, "3.5782656E7"),
            (1_795_271_542.971, "1.795271542971E9"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(double(number), want);
        }
    }
}
