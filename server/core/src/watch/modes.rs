//! In which ways one connection watches one path (reference: `WatcherMode`,
//! `WatchStats`, for both of its tables at once).

use zk_proto::client::{AddWatchMode, WatcherType};

/// What a client can ask to be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchKind {
    /// Once: creation, deletion or change of data.
    Data,
    /// Once: deletion or change of the list of children.
    Children,
    /// For good: both of these.
    Persistent,
    /// For good: creation, deletion or change of data of the znode and of all
    /// below it.
    PersistentRecursive,
}

impl From<AddWatchMode> for WatchKind {
    fn from(mode: AddWatchMode) -> Self {
        match mode {
            AddWatchMode::Persistent => Self::Persistent,
            AddWatchMode::PersistentRecursive => Self::PersistentRecursive,
        }
    }
}

/// A set of the reference's modes, those of its data watches and those of its
/// child watches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Modes(pub(super) u8);

impl Modes {
    pub(super) const DATA_ONCE: Self = Self(1);
    pub(super) const DATA_PERSISTENT: Self = Self(2);
    pub(super) const DATA_RECURSIVE: Self = Self(4);
    pub(super) const CHILDREN_ONCE: Self = Self(8);
    pub(super) const CHILDREN_PERSISTENT: Self = Self(16);
    /// All that the reference keeps among its data watches.
    pub(super) const DATA: Self = Self(7);
    /// All that the reference keeps among its child watches.
    pub(super) const CHILDREN: Self = Self(24);
    /// Number of modes.
    pub(super) const BITS: u32 = 5;

    pub(super) const fn of_kind(kind: WatchKind) -> Self {
        match kind {
            WatchKind::Data => Self::DATA_ONCE,
            WatchKind::Children => Self::CHILDREN_ONCE,
            WatchKind::Persistent => Self::DATA_PERSISTENT.with(Self::CHILDREN_PERSISTENT),
            WatchKind::PersistentRecursive => Self::DATA_RECURSIVE,
        }
    }

    /// What checkWatches looks for: any of these (reference:
    /// `DataTree.containsWatcher`, which looks for persistent watches among
    /// the data watches only).
    pub(super) const fn to_check(wanted: WatcherType) -> Self {
        match wanted {
            WatcherType::Persistent => Self::DATA_PERSISTENT,
            _ => Self::to_remove(wanted),
        }
    }

    /// What removeWatches takes away (reference: `DataTree.removeWatch`).
    pub(super) const fn to_remove(wanted: WatcherType) -> Self {
        match wanted {
            WatcherType::Children => Self::CHILDREN_ONCE,
            WatcherType::Data => Self::DATA_ONCE,
            WatcherType::Any => Self::DATA.with(Self::CHILDREN),
            WatcherType::Persistent => Self::DATA_PERSISTENT.with(Self::CHILDREN_PERSISTENT),
            WatcherType::PersistentRecursive => Self::DATA_RECURSIVE,
        }
    }

    pub(super) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn has_any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// As how many watches the reference counts this: one per table.
    pub(super) const fn watches(self) -> usize {
        self.has_any(Self::DATA) as usize + self.has_any(Self::CHILDREN) as usize
    }
}
