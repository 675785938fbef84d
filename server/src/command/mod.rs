//! Operators' windows: four-letter words on the client port and commands of
//! the admin server. Both print the same facts; neither needs the driver to be
//! idle, nor keeps it for long.

mod admin;
mod configuration;
mod connections;
mod date;
mod dump;
mod environment;
mod four_letter;
mod json;
mod watches;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::probe::Probe;

pub(crate) use admin::{Answer, Asked};
pub(crate) use four_letter::is_word;

/// Answers four-letter words and admin commands.
pub(crate) struct Commands {
    probe: Arc<Probe>,
    /// Kept and shown, without another effect: what is logged is set by `--log`.
    trace_mask: AtomicI64,
}

impl Commands {
    pub(crate) const fn new(probe: Arc<Probe>) -> Self {
        Self {
            probe,
            trace_mask: AtomicI64::new(TRACE_MASK_DEFAULT),
        }
    }

    /// What the answers are made of.
    pub(crate) const fn probe(&self) -> &Arc<Probe> {
        &self.probe
    }

    fn trace_mask(&self) -> i64 {
        self.trace_mask.load(Ordering::Relaxed)
    }

    fn set_trace_mask(&self, mask: i64) {
        self.trace_mask.store(mask, Ordering::Relaxed);
    }

    /// Starts the server's own numbers anew. Those that Prometheus reads are
    /// left alone, as the reference's provider leaves them.
    fn reset_stats(&self) {
        let has_prometheus = self.probe.config().metrics.is_some();
        self.probe.metrics().reset(!has_prometheus);
    }
}

/// The version whose behaviour this server has, then its own, in the
/// reference's form: tools take it apart.
pub(crate) const VERSION: &str = concat!(
    "3.9.4-quorate-",
    env!("CARGO_PKG_VERSION"),
    ", built on 2026-11-21 00:00 UTC"
);

/// What is said instead of an answer while this server takes no clients.
const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";

/// `ZooTrace` of 3.9.4: requests, sessions, session events, warnings.
const TRACE_MASK_DEFAULT: i64 = 306;
