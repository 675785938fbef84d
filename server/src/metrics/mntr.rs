//! The lines of `mntr` after its first ones, as the reference's default
//! provider names and prints them (`DefaultMetricsProvider.dump`).

use std::fmt::Write;

use super::catalog::{CATALOG, Value};
use super::summary::QUANTILES;
use crate::probe::Facts;

/// `zk_<name><tab><value>`, one a line. Whole numbers are printed as such,
/// others as Java prints a double.
pub(crate) fn mntr(facts: &Facts) -> String {
    let mut text = String::new();
    for definition in CATALOG {
        let Some(value) = (definition.read)(facts) else {
            continue;
        };
        let name = definition
            .name
            .strip_prefix("zk_")
            .unwrap_or(definition.name);
        let mut line = |name: std::fmt::Arguments<'_>, value: String| {
            writeln!(text, "zk_{name}\t{value}").expect("a string takes all text");
        };
        match value {
            Value::Int(number) => line(format_args!("{name}"), number.to_string()),
            Value::Float(number) => line(format_args!("{name}"), double(number)),
            // The one metric of this kind says what `zk_server_state` said.
            Value::Labelled(..) => {}
            Value::Summary(shown, divisor) => {
                let average = shown.sum as f64 / divisor / (shown.count.max(1)) as f64;
                line(
                    format_args!("avg_{name}"),
                    double((average * 10_000.0).round() / 10_000.0),
                );
                line(format_args!("cnt_{name}"), shown.count.to_string());
                line(
                    format_args!("sum_{name}"),
                    ((shown.sum as f64 / divisor) as u64).to_string(),
                );
                let quantiles = QUANTILES.iter().zip(shown.quantiles);
                for (quantile, at) in quantiles.take(definition.kind.quantiles()).skip(1) {
                    let percent = quantile * 100.0;
                    let at = if at.is_nan() { 0.0 } else { at / divisor };
                    line(format_args!("p{percent}_{name}"), (at as u64).to_string());
                }
            }
        }
    }
    text
}

/// As Java prints it: always with a point.
pub(crate) fn double(number: f64) -> String {
    if number.fract() == 0.0 {
        format!("{number:.1}")
    } else {
        number.to_string()
    }
}
