//! Which answers a run has seen, and those that it has to see.

use std::collections::BTreeMap;

use crate::view;

/// Answers of the reference by operation and error code.
#[derive(Debug, Default)]
pub(crate) struct Coverage(BTreeMap<&'static str, BTreeMap<i32, usize>>);

impl Coverage {
    pub(crate) fn add(&mut self, operation: &'static str, code: i32) {
        let codes = self.0.entry(operation).or_default();
        *codes.entry(code).or_default() += 1;
    }

    pub(crate) fn total(&self) -> usize {
        self.0.values().flat_map(BTreeMap::values).sum()
    }

    /// One line for each operation.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        for (operation, codes) in &self.0 {
            let line: Vec<_> = codes
                .iter()
                .rev()
                .map(|(code, count)| format!("{} {count}", view::error(*code)))
                .collect();
            text += &format!("  {operation:21} {}\n", line.join(", "));
        }
        text
    }

    /// Operations of `expected` that never succeeded and error codes that never came.
    pub(crate) fn missing(&self, expected: &[(&str, &[i32])]) -> Vec<String> {
        let mut missing = Vec::new();
        for (operation, codes) in expected {
            let seen = self.0.get(operation);
            for code in *codes {
                if !seen.is_some_and(|seen| seen.contains_key(code)) {
                    missing.push(format!("{operation}: {}", view::error(*code)));
                }
            }
        }
        missing
    }
}

/// What a long run of all families has to reach.
pub(crate) const EXPECTED: [(&str, &[i32]); 28] = [
    ("create", &[0, -8, -101, -102, -108, -110, -114, -125]),
    ("create2", &[0, -8, -101, -102, -108, -110, -114, -125]),
    ("createContainer", &[0, -8, -101, -102, -108, -110, -114]),
    ("createTTL", &[0, -8, -101, -102, -108, -110, -114]),
    ("delete", &[0, -8, -101, -102, -103, -111]),
    ("setData", &[0, -8, -101, -102, -103, -125]),
    ("setACL", &[0, -8, -101, -102, -103, -114]),
    (
        "multi",
        &[0, -8, -101, -102, -103, -108, -110, -111, -114, -125],
    ),
    ("exists", &[0, -8, -101, -102]),
    ("getData", &[0, -101, -102]),
    ("getChildren", &[0, -101, -102]),
    ("getChildren2", &[0, -101, -102]),
    ("getACL", &[0, -101, -102]),
    ("getAllChildrenNumber", &[0, -101, -102]),
    ("getEphemerals", &[0]),
    ("whoAmI", &[0]),
    ("sync", &[0]),
    ("ping", &[0]),
    ("multiRead", &[0, -5]),
    ("addWatch", &[0, -5]),
    ("checkWatches", &[0, -5, -121]),
    ("removeWatches", &[0, -5, -121]),
    ("setWatches", &[0]),
    ("setWatches2", &[0]),
    ("auth", &[0, -115]),
    ("closeSession", &[0]),
    ("raw", &[-5, -6]),
    ("reconfig", &[-123]),
];
