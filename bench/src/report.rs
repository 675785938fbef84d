//! The one line that a run prints.

use std::time::Duration;

use crate::cpu;
use crate::histogram::Histogram;
use crate::load::Workload;

/// Figures of the measured window.
pub(crate) struct Report {
    pub(crate) workload: Workload,
    pub(crate) servers: usize,
    pub(crate) connections: usize,
    pub(crate) outstanding: usize,
    pub(crate) took: Duration,
    pub(crate) warm_up_rates: Vec<f64>,
    pub(crate) histogram: Histogram,
    /// Replies with an error code, those of the warm-up included.
    pub(crate) errors: u64,
    pub(crate) first_error: Option<i32>,
    pub(crate) cpu: cpu::Sample,
}

impl Report {
    /// A JSON object on one line. Rates are replies per second, `*_us` are microseconds;
    /// `*_cpu_us_per_op` is CPU time divided by replies.
    pub(crate) fn to_json(&self) -> String {
        let Self {
            workload,
            servers,
            connections,
            outstanding,
            took,
            warm_up_rates,
            histogram,
            errors,
            first_error: _,
            cpu,
        } = self;
        let ops = histogram.total();
        let seconds = took.as_secs_f64();
        let per_op = |cpu_seconds: f64| cpu_seconds * 1e6 / (ops.max(1) as f64);
        let quantile_us = |share| histogram.quantile_ns(share) as f64 / 1e3;
        let warm_up_rates: Vec<String> = warm_up_rates
            .iter()
            .map(|rate| format!("{rate:.0}"))
            .collect();
        format!(
            concat!(
                r#"{{"workload":"{}","servers":{},"connections":{},"outstanding":{},"#,
                r#""seconds":{:.3},"ops":{},"errors":{},"ops_per_s":{:.1},"#,
                r#""p50_us":{:.1},"p99_us":{:.1},"p999_us":{:.1},"max_us":{:.1},"#,
                r#""server_cpu_us_per_op":{:.3},"generator_cpu_us_per_op":{:.3},"#,
                r#""server_cores":{:.3},"generator_cores":{:.3},"others_cpu_share":{:.3},"#,
                r#""warm_up_rates":[{}]}}"#
            ),
            workload.name(),
            servers,
            connections,
            outstanding,
            seconds,
            ops,
            errors,
            ops as f64 / seconds,
            quantile_us(0.5),
            quantile_us(0.99),
            quantile_us(0.999),
            histogram.max_ns() as f64 / 1e3,
            per_op(cpu.servers),
            per_op(cpu.generator),
            cpu.servers / seconds,
            cpu.generator / seconds,
            cpu.others_share(),
            warm_up_rates.join(",")
        )
    }
}
