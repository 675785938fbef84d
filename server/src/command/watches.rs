//! Watches as `wchs`, `wchc` and `wchp` show them: those on data, as with the
//! reference (`DataTree.dumpWatches` of 3.9.4).

use std::collections::BTreeMap;

use zk_core::watch::WatchSummary;

use crate::probe::Probe;

/// `wchs`.
pub(super) fn summary(probe: &Probe) -> String {
    let WatchSummary {
        connections,
        paths,
        watches,
    } = probe.watch_summary();
    format!("{connections} connections watching {paths} paths\nTotal watches:{watches}\n")
}

/// `wchc`.
pub(super) fn by_connection(probe: &Probe) -> String {
    let mut text = String::new();
    for (session, paths) in probe.watches() {
        text += &format!("0x{:x}\n", session.0);
        for path in paths {
            text += &format!("\t{path}\n");
        }
    }
    text + "\n"
}

/// `wchp`.
pub(super) fn by_path(probe: &Probe) -> String {
    let mut text = String::new();
    for (path, sessions) in sessions_by_path(probe) {
        text += &format!("{path}\n");
        for session in sessions {
            text += &format!("\t0x{session:x}\n");
        }
    }
    text + "\n"
}

/// Who watches a path.
pub(super) fn sessions_by_path(probe: &Probe) -> BTreeMap<String, Vec<i64>> {
    let mut by_path: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (session, paths) in probe.watches() {
        for path in paths {
            by_path.entry(path).or_default().push(session.0);
        }
    }
    by_path
}
