//! Builds that are broken on purpose, to see that the checks catch them. The
//! fault is in the simulated shell, never in the code under test.

use std::str::FromStr;

/// A deliberately broken build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The disk says that entries are durable before it has synced them.
    AckBeforeSync,
    /// `currentEpoch` is written before log entries that were to be written
    /// earlier (ZOOKEEPER-4643).
    EpochBeforeLog,
    /// The leader takes a proposal for acknowledged as soon as it is sent.
    CommitWithoutQuorum,
    /// Epoch files are confirmed but not written.
    EpochNotSaved,
    /// Watch events that come without a reply are sent late, behind replies
    /// that were made after them.
    LateEvents,
}

impl Broken {
    /// All of them with their names.
    pub const ALL: [(&'static str, Self); 5] = [
        ("ack-before-sync", Self::AckBeforeSync),
        ("epoch-before-log", Self::EpochBeforeLog),
        ("commit-without-quorum", Self::CommitWithoutQuorum),
        ("epoch-not-saved", Self::EpochNotSaved),
        ("late-events", Self::LateEvents),
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, broken)| *broken == self);
        found.expect("all are listed").0
    }
}

impl FromStr for Broken {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, broken)| *broken).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|(name, _)| *name).collect();
            format!("one of {}", names.join(", "))
        })
    }
}
