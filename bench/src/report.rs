//! The one line that a run prints.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::cpu;
use crate::load::Workload;

/// What was measured in the window after the warm-up.
pub(crate) struct Report {
    pub(crate) workload: Workload,
    pub(crate) servers: usize,
    pub(crate) connections: usize,
    pub(crate) outstanding: usize,
    pub(crate) took: Duration,
    pub(crate) warm_up_rates: Vec<f64>,
    /// Latency of each reply in ns.
    pub(crate) histogram: Histogram<u64>,
    /// Replies with an error code, those of the warm-up included.
    pub(crate) errors: u64,
    pub(crate) first_error: Option<i32>,
    pub(crate) cpu: cpu::Sample,
}

/// What is printed of a [`Report`]. Rates are replies per second, `*_us` are microseconds;
/// `*_cpu_us_per_op` is CPU time divided by replies.
#[derive(Serialize)]
pub(crate) struct Figures {
    workload: Workload,
    servers: usize,
    connections: usize,
    outstanding: usize,
    seconds: f64,
    ops: u64,
    errors: u64,
    ops_per_s: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    server_cpu_us_per_op: f64,
    generator_cpu_us_per_op: f64,
    server_cores: f64,
    generator_cores: f64,
    others_cpu_share: f64,
    warm_up_rates: Vec<f64>,
}

impl Report {
    pub(crate) fn figures(&self) -> Figures {
        let ops = self.histogram.len();
        let seconds = self.took.as_secs_f64();
        let per_op = |cpu_seconds: f64| rounded(cpu_seconds * 1e6 / (ops.max(1) as f64), 3);
        let us = |ns: u64| rounded(ns as f64 / 1e3, 1);
        let quantile_us = |share| us(self.histogram.value_at_quantile(share));
        let warm_up_rates = self.warm_up_rates.iter();
        Figures {
            workload: self.workload,
            servers: self.servers,
            connections: self.connections,
            outstanding: self.outstanding,
            seconds: rounded(seconds, 3),
            ops,
            errors: self.errors,
            ops_per_s: rounded(ops as f64 / seconds, 1),
            p50_us: quantile_us(0.5),
            p99_us: quantile_us(0.99),
            p999_us: quantile_us(0.999),
            max_us: us(self.histogram.max()),
            server_cpu_us_per_op: per_op(self.cpu.servers),
            generator_cpu_us_per_op: per_op(self.cpu.generator),
            server_cores: rounded(self.cpu.servers / seconds, 3),
            generator_cores: rounded(self.cpu.generator / seconds, 3),
            others_cpu_share: rounded(self.cpu.others_share(), 3),
            warm_up_rates: warm_up_rates.map(|rate| rounded(*rate, 0)).collect(),
        }
    }
}

/// A value with so many digits behind the point.
pub(crate) fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

/// One JSON object on a line of its own, at once: the other side of a pipe waits for it.
pub(crate) fn print(figures: &impl Serialize) -> Result<()> {
    let line = serde_json::to_string(figures).context("writing the figures as JSON")?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush().context("printing")
}
