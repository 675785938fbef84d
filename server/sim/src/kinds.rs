//! Kinds of faults that a run can leave out.

use std::str::FromStr;

/// A kind of fault, beside crashes, cuts and slow disks, which always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Half of the clients begin again at xid 1 on each connection.
    XidsBeginAgain,
    /// A power cut leaves any of the sectors that were written since the last
    /// sync, in whatever order they were written.
    ReorderedWrites,
    /// A copy of a disk has a flipped bit or a zeroed sector: what is loaded
    /// from it is what was written, or nothing.
    DamagedSector,
    /// A server starts with an empty disk. Only while the others follow one of
    /// them and have everything, and they stay up until it serves: a wiped
    /// voter that votes earlier may lose what was acknowledged.
    WipedDisk,
    /// Two of three servers lose their disks, form an ensemble again and
    /// acknowledge writes; then the third one comes back with its old data.
    LostDisks,
    /// A disk fails, and the process goes on without it for a while.
    LingeringDiskError,
    /// Wall clocks differ by up to an hour, and jump.
    WallClocks,
    /// A process does not run at all for seconds.
    StoppedProcess,
    /// Not a fault but what is asked of a leader that stood still: sessions get
    /// back the time in which it did not run.
    TimeGivenBack,
    /// A process is asked to stop.
    Shutdown,
    /// Many sessions are made, fall silent, and end together; sometimes more
    /// than a leader may close at once.
    Crowd,
    /// Requests that end too early, operations that do not exist, packets of
    /// strangers that mean nothing, and introductions and votes of strangers
    /// that might be those of a voter.
    Malformed,
    /// In every eighth run something translates the servers' addresses, so that
    /// they do not connect from their hosts. A voter that has accepted a newer
    /// epoch is then out until the next election.
    TranslatedAddresses,
    /// Snapshots and logs that no restart needs go, at a start and from time
    /// to time.
    Purge,
}

impl FaultKind {
    /// All of them with their names.
    pub const ALL: [(&'static str, Self); 14] = [
        ("xids-begin-again", Self::XidsBeginAgain),
        ("reordered-writes", Self::ReorderedWrites),
        ("damaged-sector", Self::DamagedSector),
        ("wiped-disk", Self::WipedDisk),
        ("lost-disks", Self::LostDisks),
        ("lingering-disk-error", Self::LingeringDiskError),
        ("wall-clocks", Self::WallClocks),
        ("stopped-process", Self::StoppedProcess),
        ("time-given-back", Self::TimeGivenBack),
        ("shutdown", Self::Shutdown),
        ("crowd", Self::Crowd),
        ("malformed", Self::Malformed),
        ("translated-addresses", Self::TranslatedAddresses),
        ("purge", Self::Purge),
    ];

    /// Those that a run has only when they are asked for: a voter that does not
    /// connect from its host may stay out for longer than a run waits.
    pub const OFF: [Self; 1] = [Self::TranslatedAddresses];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, kind)| *kind == self);
        found.expect("all are listed").0
    }
}

impl FromStr for FaultKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, kind)| *kind).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|(name, _)| *name).collect();
            format!("one of {}", names.join(", "))
        })
    }
}
