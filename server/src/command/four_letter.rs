//! Four-letter words: the text that the reference prints, because tools take
//! it apart (`org.apache.zookeeper.server.command` of 3.9.4).

use std::fmt::Write;

use super::{Commands, NOT_SERVING, VERSION, connections, dump, watches};
use crate::metrics::{Number, double, monitor};
use crate::probe::Facts;

/// Is this one of the four-letter words?
pub(crate) fn is_word(name: &str) -> bool {
    WORDS.contains(&name)
}

impl Commands {
    /// The word that these first bytes of a connection are, if any.
    pub(crate) fn word(&self, head: [u8; 4]) -> Option<&'static str> {
        if head == TELNET_CLOSE_BYTES {
            return Some(TELNET_CLOSE);
        }
        WORDS.iter().copied().find(|word| word.as_bytes() == head)
    }

    /// How many bytes belong to this word after itself.
    pub(crate) fn argument_bytes(&self, word: &str) -> usize {
        let has_one = word == "stmk" && self.is_allowed(word);
        if has_one { size_of::<i64>() } else { 0 }
    }

    /// The text that answers a word. `argument` is what follows it.
    pub(crate) async fn answer(&self, word: &'static str, argument: &[u8]) -> String {
        if !self.is_allowed(word) {
            return format!("{word} is not executed because it is not in the whitelist.\n");
        }
        match word {
            "ruok" => return "imok".into(),
            "envi" => return self.environment_text().await,
            "gtmk" => return self.trace_mask().to_string(),
            "stmk" => {
                let mask = argument
                    .first_chunk()
                    .map_or(0, |mask| i64::from_be_bytes(*mask));
                self.set_trace_mask(mask);
                return mask.to_string();
            }
            TELNET_CLOSE => return String::new(),
            _ => {}
        }
        let facts = self.probe.facts().await;
        match (word, facts.is_serving()) {
            ("isro", is_serving) => if is_serving { "rw" } else { "null" }.into(),
            ("hash", false) => NOT_SERVING.into(),
            (_, false) => format!("{NOT_SERVING}\n"),
            (_, true) => self.answer_serving(word, &facts).await,
        }
    }

    async fn answer_serving(&self, word: &str, facts: &Facts) -> String {
        match word {
            "conf" => self.configuration_text().await,
            "cons" => connections::long(&self.probe.registry().list()),
            "crst" => {
                self.probe.registry().reset_stats();
                "Connection stats reset.\n".into()
            }
            "dirs" => {
                let (data, log) = self.directory_sizes().await;
                format!("datadir_size: {data}\nlogdir_size: {log}\n")
            }
            "dump" => dump::text(&self.probe, facts).await,
            "hash" => hash(facts),
            "mntr" => mntr(facts),
            "srst" => {
                self.reset_stats();
                "Server stats reset.\n".into()
            }
            "srvr" => server(facts, None),
            "stat" => {
                let clients = connections::brief(&self.probe.registry().list());
                server(facts, Some(&clients))
            }
            "wchc" => watches::by_connection(&self.probe),
            "wchp" => watches::by_path(&self.probe),
            "wchs" => watches::summary(&self.probe),
            other => unreachable!("{other} is among the words and was not answered"),
        }
    }

    fn is_allowed(&self, word: &str) -> bool {
        let config = self.probe.config();
        config.commands.allows(word) || word == "isro" && config.read_only_mode
    }
}

/// `srvr`, and `stat` with its clients.
fn server(facts: &Facts, clients: Option<&str>) -> String {
    let metrics = facts.metrics();
    let status = facts.status().expect("a serving server has a status");
    let ms = |micros: Option<u64>| micros.unwrap_or(0) / 1000;
    let mut text = format!("Zookeeper version: {VERSION}\n");
    if let Some(clients) = clients {
        text += &format!("Clients:\n{clients}\n");
    }
    text += &format!(
        "Latency min/avg/max: {}/{}/{}\n\
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
        text += &format!("Proposal sizes last/min/max: {last}/{min}/{max}\n");
    }
    text
}

fn mntr(facts: &Facts) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        writeln!(text, "zk_{name}\t{value}").expect("a string takes all text");
    };
    for (name, value) in head(facts) {
        line(name, &value);
    }
    for (name, value) in monitor(facts) {
        match value {
            Number::Whole(number) => line(&name, &number.to_string()),
            Number::Double(number) => line(&name, &double(number)),
        }
    }
    text
}

/// What `mntr` tells before the metrics (`ZooKeeperServer.dumpMonitorValues`).
pub(super) fn head(facts: &Facts) -> Vec<(&'static str, String)> {
    let mut head = vec![
        ("version", VERSION.to_owned()),
        ("server_state", facts.role().to_owned()),
    ];
    if !facts.is_standalone() {
        let role = if facts.role() == "leader" {
            "leading"
        } else {
            "following"
        };
        head.push(("peer_state", format!("{role} - broadcast")));
    }
    head
}

fn hash(facts: &Facts) -> String {
    let mut text = String::new();
    for (zxid, digest) in facts.probe().digests() {
        writeln!(text, "{:x}: {digest}", zxid.0).expect("a string takes all text");
    }
    text
}

/// Every word of the reference: none of them is the length of a frame.
const WORDS: [&str; 18] = [
    "conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro", "mntr", "ruok", "srst",
    "srvr", "stat", "stmk", "wchc", "wchp", "wchs",
];

/// What telnet sends when it is interrupted. The reference takes it for a
/// word, so that it is no reason to complain of a bad frame.
const TELNET_CLOSE: &str = "telnet close";
const TELNET_CLOSE_BYTES: [u8; 4] = [0xff, 0xf4, 0xff, 0xfd];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::{names, rows};

    #[test]
    fn the_document_lists_every_word() {
        let rows = rows("docs/compatibility.md", "four-letter words");
        let listed: Vec<_> = rows.iter().flat_map(|row| names(&row[0])).collect();
        assert_eq!(listed, WORDS);
    }
}
