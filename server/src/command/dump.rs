//! Sessions, ephemerals and connections, as `dump` shows them
//! (`DumpCommand`, `ExpiryQueue`, `LearnerSessionTracker` of 3.9.4).

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use zk_core::Millis;

use super::{connections, date};
use crate::clock::wall_ms;
use crate::net::ShownConn;
use crate::probe::{Facts, Probe};

pub(super) async fn text(probe: &Probe, facts: &Facts) -> String {
    let mut text = "SessionTracker dump:\n".to_owned();
    match probe.sessions_by_expiry().await {
        Some(sessions) => {
            let sessions = sessions.into_iter();
            let sets = group(sessions.map(|(at, id)| (at, format!("0x{:x}", id.0))));
            write_sets(&mut text, "Session", &sets, probe.clock().mono());
        }
        // A follower knows all sessions, but not when they expire.
        None => write_global_sessions(&mut text, probe),
    }
    text += "ephemeral nodes dump:\n";
    let ephemerals = probe.ephemerals();
    text += &format!("Sessions with Ephemerals ({}):\n", ephemerals.len());
    for (session, paths) in ephemerals {
        text += &format!("0x{:x}:\n", session.0);
        for path in paths {
            text += &format!("\t{path}\n");
        }
    }
    text += "Connections dump:\n";
    let connections = probe.registry().list();
    let now = probe.clock().mono();
    let age = |shown: &ShownConn| u64::try_from(wall_ms() - shown.established_ms).unwrap_or(0);
    let sets = group(connections.iter().map(|shown| {
        let since = match shown.last_response_ms {
            0 => now.0.saturating_sub(age(shown)),
            at => at,
        };
        let remote = connections::address(shown.remote);
        let line = format!("ip: /{remote} sessionId: 0x{:x}", shown.session.0);
        (connection_expiry(since, shown.timeout_ms), line)
    }));
    write_sets(&mut text, "Connections", &sets, now);
    debug_assert!(facts.is_serving(), "asked only then");
    text
}

fn write_global_sessions(text: &mut String, probe: &Probe) {
    let sessions = probe.sessions();
    *text += &format!("Global Sessions({}):\n", sessions.len());
    for (session, timeout_ms) in sessions {
        *text += &format!("0x{:x}\t{timeout_ms}ms\n", session.0);
    }
}

/// When a connection that stays silent is closed, in steps of
/// [`CONNECTION_STEP_MS`] as with the reference.
const fn connection_expiry(since_ms: u64, timeout_ms: i32) -> Millis {
    let timeout_ms = if timeout_ms == 0 {
        CONNECTION_STEP_MS
    } else {
        timeout_ms.unsigned_abs() as u64
    };
    Millis(((since_ms + timeout_ms) / CONNECTION_STEP_MS + 1) * CONNECTION_STEP_MS)
}

fn group<T>(lines: impl Iterator<Item = (Millis, T)>) -> BTreeMap<Millis, Vec<T>> {
    let mut sets: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (at, line) in lines {
        sets.entry(at).or_default().push(line);
    }
    sets
}

fn write_sets<T: Display>(
    text: &mut String,
    what: &str,
    sets: &BTreeMap<Millis, Vec<T>>,
    now: Millis,
) {
    let total: usize = sets.values().map(Vec::len).sum();
    *text += &format!("{what} Sets ({})/({total}):\n", sets.len());
    let wall_ms = wall_ms();
    for (at, lines) in sets {
        let wall_ms = wall_ms + at.0.cast_signed() - now.0.cast_signed();
        *text += &format!("{} expire at {}:\n", lines.len(), date::text(wall_ms));
        for line in lines {
            writeln!(text, "\t{line}").expect("a string takes all text");
        }
    }
}

/// Step of the expiry of connections, and the patience with those that have no
/// session yet (`zookeeper.nio.sessionlessCnxnTimeout`).
const CONNECTION_STEP_MS: u64 = 10_000;
