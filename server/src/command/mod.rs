//! Four-letter words on the client port.

use std::fmt::Write;
use std::sync::Arc;

use crate::config::CommandWhitelist;
use crate::metrics::{double, mntr};
use crate::probe::{Facts, Probe};

/// Answers four-letter words.
pub(crate) struct Commands {
    whitelist: CommandWhitelist,
    probe: Arc<Probe>,
}

impl Commands {
    pub(crate) const fn new(whitelist: CommandWhitelist, probe: Arc<Probe>) -> Self {
        Self { whitelist, probe }
    }

    /// The word that these first bytes of a connection are, if any.
    pub(crate) fn word(&self, head: [u8; 4]) -> Option<&'static str> {
        WORDS.iter().copied().find(|word| word.as_bytes() == head)
    }

    /// The text that answers a word.
    pub(crate) async fn answer(&self, word: &'static str) -> String {
        let is_here = matches!(word, "ruok" | "srvr" | "mntr");
        if !is_here || !self.whitelist.allows(word) {
            return format!("{word} is not executed because it is not in the whitelist.\n");
        }
        if word == "ruok" {
            return "imok".into();
        }
        let facts = self.probe.facts().await;
        if !facts.status().is_some_and(|status| status.is_serving) {
            return "This ZooKeeper instance is not currently serving requests\n".into();
        }
        if word == "srvr" {
            srvr(&facts)
        } else {
            monitor(&facts)
        }
    }
}

fn srvr(facts: &Facts) -> String {
    let metrics = facts.metrics();
    let status = facts.status().expect("a serving server has a status");
    let ms = |micros: Option<u64>| micros.unwrap_or(0) / 1000;
    let mut text = format!(
        "Zookeeper version: {VERSION}\n\
         Latency min/avg/max: {}/{}/{}\n\
         Received: {}\nSent: {}\nConnections: {}\nOutstanding: {}\n\
         Zxid: {}\nMode: {}\nNode count: {}\n",
        ms(metrics.latency.min()),
        double(metrics.latency_avg_ms()),
        ms(metrics.latency.max()),
        metrics.packets_received.value(),
        metrics.packets_sent.value(),
        metrics.connections.value(),
        metrics.outstanding.value(),
        status.last_zxid,
        facts.role(),
        facts.tree().map_or(0, |tree| tree.znodes),
    );
    if facts.role() == "leader" {
        let size = |size: Option<u64>| size.map_or(-1, |size| size as i64);
        let sizes = &metrics.proposal_bytes;
        let (last, min, max) = (size(sizes.last()), size(sizes.min()), size(sizes.max()));
        writeln!(text, "Proposal sizes last/min/max: {last}/{min}/{max}")
            .expect("a string takes all text");
    }
    text
}

fn monitor(facts: &Facts) -> String {
    let mut text = format!("zk_version\t{VERSION}\nzk_server_state\t{}\n", facts.role());
    if !facts.is_standalone() {
        let role = if facts.role() == "leader" {
            "leading"
        } else {
            "following"
        };
        writeln!(text, "zk_peer_state\t{role} - broadcast").expect("a string takes all text");
    }
    text + &mntr(facts)
}

/// The version whose behaviour this server has, then its own, in the
/// reference's form: tools take it apart.
pub(crate) const VERSION: &str = concat!(
    "3.9.4-quorate-",
    env!("CARGO_PKG_VERSION"),
    ", built on 2026-11-21 00:00 UTC"
);

/// Every word of the reference: none of them is the length of a frame.
const WORDS: [&str; 18] = [
    "conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro", "mntr", "ruok", "srst",
    "srvr", "stat", "stmk", "wchc", "wchp", "wchs",
];
