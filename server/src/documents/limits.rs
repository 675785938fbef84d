//! The table of limits in docs/operations.md against the constants of the code.

use std::collections::BTreeSet;

use super::{read, rows};

/// Row, figure as it stands in the row, file below `server`, constant.
const FIGURES: &[(&str, &str, &str, &str)] = &[
    (
        "connections, by open files",
        "512",
        "src/net/client.rs",
        "FILES_KEPT",
    ),
    (
        "a connect request",
        "1 KiB",
        "src/net/client.rs",
        "CONNECT_BYTES_MAX",
    ),
    (
        "requests that are not processed yet",
        "256 KiB",
        "src/net/connection.rs",
        "INBOX_BYTES_MAX",
    ),
    (
        "silence on a connection",
        "2",
        "src/driver/clients.rs",
        "GRACE_TICKS",
    ),
    (
        "writes without a reply",
        "10,000",
        "src/net/client.rs",
        "OUTSTANDING_PER_CONNECTION_MAX",
    ),
    (
        "replies to reads that the client does not read",
        "1 MiB",
        "src/net/taking.rs",
        "OUTBOX_BYTES_MAX",
    ),
    (
        "a reply to multiRead",
        "16 MiB",
        "core/src/request/read/znodes.rs",
        "MULTI_READ_BYTES_MAX",
    ),
    (
        "lists of children that one multiRead measures",
        "16 MiB",
        "core/src/request/read/znodes.rs",
        "MULTI_READ_BYTES_MAX",
    ),
    (
        "entries of access lists that one multiRead looks at",
        "200,000",
        "core/src/request/read/znodes.rs",
        "MULTI_READ_ENTRIES_MAX",
    ),
    (
        "watch events that the client does not read",
        "64 MiB",
        "src/net/connection.rs",
        "OUTBOX_BYTES_LIMIT",
    ),
    (
        "time for what is left when a connection ends",
        "5 s",
        "src/net/connection.rs",
        "FAREWELL_MAX",
    ),
    (
        "time for consecutive reads of one connection",
        "1 ms",
        "src/net/taking.rs",
        "TURN_MAX",
    ),
    (
        "watches",
        "1,048,576",
        "core/src/watch/table.rs",
        "WATCHES_PER_CONNECTION_MAX",
    ),
    (
        "identities; their bytes",
        "1,000",
        "core/src/auth/ids.rs",
        "IDS_PER_CONNECTION_MAX",
    ),
    (
        "identities; their bytes",
        "64 KiB",
        "core/src/auth/ids.rs",
        "IDS_BYTES_MAX",
    ),
    (
        "bytes of watched paths, beyond 256 of each",
        "16 MiB",
        "core/src/watch/table.rs",
        "LONG_BYTES_PER_CONNECTION_MAX",
    ),
    (
        "bytes of watched paths, beyond 256 of each, of all connections",
        "128 MiB",
        "core/src/watch/table.rs",
        "LONG_BYTES_MAX",
    ),
    (
        "writes without a reply, of all connections",
        "64 MiB",
        "src/net/client.rs",
        "OUTSTANDING_BYTES_MAX",
    ),
    (
        "entries of access lists that writes look at, beyond 1,000 of each request",
        "2,000,000",
        "core/src/request/prep/budget.rs",
        "LOOKED_AT_MAX",
    ),
    (
        "znodes that are counted when `zookeeper_stats` of a quota is created",
        "2,000,000",
        "core/src/request/prep/budget.rs",
        "COUNTED_MAX",
    ),
    (
        "bytes by which outstanding writes grow (ids in the place of `auth`)",
        "32 MiB",
        "core/src/request/prep/budget.rs",
        "GROWN_BYTES_MAX",
    ),
    (
        "watch events handed out at once",
        "4 MiB",
        "core/src/replica/mod.rs",
        "FRAME_BYTES_AT_ONCE",
    ),
    ("connections", "64", "src/http.rs", "CONNECTIONS_MAX"),
    (
        "time for a request; idle time",
        "30 s",
        "src/admin.rs",
        "METRICS_IDLE_MAX",
    ),
    (
        "the headers of a request",
        "16 KiB",
        "src/http.rs",
        "BUFFER_BYTES",
    ),
    (
        "connections without an introduction, on each port for servers",
        "128",
        "src/net/newcomers.rs",
        "PLACES",
    ),
    (
        "connections without an introduction, on each port for servers",
        "32",
        "src/net/newcomers.rs",
        "PLACES_OF_ADDRESS",
    ),
    (
        "time for an introduction",
        "2 s",
        "src/net/quorum.rs",
        "INTRODUCTION_MIN",
    ),
    (
        "an introduction; then each packet until the learner is synchronized",
        "4 KiB",
        "src/net/quorum.rs",
        "INTRODUCTION_BYTES_MAX",
    ),
    (
        "an introduction; then each packet until the learner is synchronized",
        "1 KiB",
        "src/net/link.rs",
        "SYNC_BYTES_MAX",
    ),
    (
        "a packet or a record of a tree from the leader, once it has been answered with ACKEPOCH",
        "512 MiB",
        "src/net/link.rs",
        "OF_LEADER_BYTES_MAX",
    ),
    (
        "a packet or a record of a tree from the leader, once it has been answered with ACKEPOCH",
        "1 KiB",
        "src/net/link.rs",
        "SYNC_BYTES_MAX",
    ),
    (
        "servers on the election port that zoo.cfg does not list; each vote of theirs",
        "16",
        "src/net/election.rs",
        "UNLISTED_MAX",
    ),
    (
        "servers on the election port that zoo.cfg does not list; each vote of theirs",
        "64 KiB",
        "src/net/election.rs",
        "UNLISTED_FRAME_BYTES_MAX",
    ),
    (
        "queued votes of one server",
        "4",
        "src/net/election/peers.rs",
        "VOTES_MAX",
    ),
    (
        "events that the server has not processed; packets of other servers among them",
        "65,536",
        "src/inbox.rs",
        "EVENTS_MAX",
    ),
    (
        "events that the server has not processed; packets of other servers among them",
        "64 MiB",
        "src/inbox.rs",
        "PEER_BYTES_MAX",
    ),
    (
        "packets that a peer does not read; while it receives a snapshot, also as many bytes as it has received of it",
        "256 MiB",
        "src/net/link/outbox.rs",
        "UNSENT_BYTES_MAX",
    ),
    (
        "addresses of a server's host",
        "16",
        "src/net/resolver.rs",
        "ADDRESSES_MAX",
    ),
    (
        "connections that the leader has not heard an introduction from",
        "64",
        "core/src/zab/introductions.rs",
        "UNKNOWN_MAX",
    ),
    (
        "the same while a server looks for a leader; packets of each",
        "64",
        "core/src/zab/mod.rs",
        "EARLY_LINKS_MAX",
    ),
    (
        "the same while a server looks for a leader; packets of each",
        "4",
        "core/src/zab/mod.rs",
        "EARLY_PACKETS_MAX",
    ),
    (
        "packets that a follower keeps while its disk prepares the log",
        "512 MiB",
        "core/src/zab/follower.rs",
        "DEFERRED_BYTES_MAX",
    ),
    (
        "transactions in memory for followers that are behind",
        "32 MiB",
        "core/src/zab/committed_log.rs",
        "BYTES_MAX",
    ),
    (
        "transactions in memory for followers that are behind",
        "128 MiB",
        "core/src/zab/committed_log.rs",
        "COUNT_BYTES_MAX",
    ),
    (
        "one record in a snapshot",
        "2 GiB",
        "store/src/snapshot/pieces.rs",
        "RECORD_BYTES_MAX",
    ),
    (
        "transactions that are not on the disk yet",
        "128 MiB",
        "src/inbox.rs",
        "UNWRITTEN_BYTES_MAX",
    ),
];

/// Rows whose figures are the defaults of keys, which the table of keys shows,
/// and rows without a figure of their own.
const WITHOUT_CONSTANTS: &[&str] = &[
    "connections of one address; of all",
    "time for a connect request",
    "a request",
    "queued requests, replies and watch events; an event counts for each client that it waits for",
    "reads that walk through many znodes (getAllChildrenNumber)",
    "outstanding writes",
    "large requests",
    "learners of a leader",
];

#[test]
fn every_limit_is_what_the_code_has() {
    let mut compared = BTreeSet::new();
    let rows = rows("docs/operations.md", "limits");
    for (row, figure, file, constant) in FIGURES {
        let found = rows.iter().find(|cells| cells[0] == *row);
        let limit = &found.unwrap_or_else(|| panic!("no row {row}"))[1];
        assert!(mentions(limit, figure), "{row}: {limit} lacks {figure}");
        let code = value(&read(&format!("server/{file}")), constant);
        assert_eq!(amount(figure), code, "{row}: {file} {constant}");
        compared.insert(*row);
    }
    for cells in rows.iter().filter(|cells| !cells[0].starts_with("**")) {
        let name = &*cells[0];
        let is_known = compared.contains(name) || WITHOUT_CONSTANTS.contains(&name);
        assert!(is_known, "{name}: its figure is compared with nothing");
    }
}

/// Does a text have a figure, and not as a part of a longer one?
fn mentions(text: &str, figure: &str) -> bool {
    let is_end = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    text.match_indices(figure).any(|(at, _)| {
        is_end(text[..at].chars().next_back()) && is_end(text[at + figure.len()..].chars().next())
    })
}

/// Bytes, milliseconds, or just a number.
fn amount(figure: &str) -> u64 {
    let (number, unit) = figure.split_once(' ').unwrap_or((figure, ""));
    let number: u64 = number.replace(',', "").parse().unwrap();
    number
        * match unit {
            "" | "ms" => 1,
            "s" => 1000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            other => panic!("{other} is no unit"),
        }
}

/// The value of a constant as its source has it: a number, or a product or a
/// shift of numbers and constants; a `Duration` in milliseconds.
fn value(source: &str, constant: &str) -> u64 {
    let head = format!("const {constant}: ");
    let at = source.find(&head);
    let from = at.unwrap_or_else(|| panic!("no {constant}")) + head.len();
    let line = source[from..].split(';').next().unwrap();
    let text = line.split_once(" = ").unwrap().1.trim();
    // What the server has, not its tests.
    let text = text.split_once("else {").map_or(text, |(_, other)| other);
    let text = text.trim_end_matches('}').trim();
    for (unit, ms) in [
        ("Duration::from_secs(", 1000),
        ("Duration::from_millis(", 1),
    ] {
        if let Some(number) = text.strip_prefix(unit) {
            return ms * term(source, number.trim_end_matches(')'));
        }
    }
    match text.split_once(" << ") {
        Some((number, by)) => term(source, number) << term(source, by),
        None => text.split(" * ").map(|it| term(source, it)).product(),
    }
}

fn term(source: &str, text: &str) -> u64 {
    match text.replace('_', "").parse() {
        Ok(number) => number,
        // The one constant that comes from another file.
        Err(_) if text == "SYNC_BYTES_MAX" => value(&read("server/src/net/link.rs"), text),
        Err(_) => value(source, text),
    }
}
