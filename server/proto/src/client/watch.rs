//! Watch events and the packet that re-registers watches.

use std::borrow::Cow;

use crate::Zxid;
use crate::jute::{DecodeError, Put, Reader, Reason};

/// What happened to a znode (reference: `Watcher.Event.EventType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
#[expect(missing_docs, reason = "the names are the reference's own")]
pub enum EventKind {
    NodeCreated = 1,
    NodeDeleted = 2,
    NodeDataChanged = 3,
    NodeChildrenChanged = 4,
}

/// Body of a notification; the keeper state is always SyncConnected (3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatcherEvent<'a> {
    /// What happened.
    pub kind: EventKind,
    /// To which path.
    pub path: &'a str,
}

/// Body of setWatches (101) and setWatches2 (105).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the reference's own")]
pub struct SetWatches<'a> {
    pub relative_zxid: Zxid,
    pub data_watches: Vec<Cow<'a, str>>,
    pub exist_watches: Vec<Cow<'a, str>>,
    pub child_watches: Vec<Cow<'a, str>>,
    /// Empty in setWatches.
    pub persistent_watches: Vec<Cow<'a, str>>,
    /// Empty in setWatches.
    pub persistent_recursive_watches: Vec<Cow<'a, str>>,
}

/// Body of addWatch (106), checkWatches (17) and removeWatches (18).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchesRequest<'a> {
    /// Path.
    pub path: Cow<'a, str>,
    /// In addWatch an [`AddWatchMode`], otherwise a [`WatcherType`].
    pub kind: i32,
}

/// What addWatch leaves behind (reference: `AddWatchMode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddWatchMode {
    /// Tells of all that happens to the znode and its list of children.
    Persistent,
    /// Tells of all that happens to the znode and everything below it.
    PersistentRecursive,
}

/// Which watches to look for (reference: `Watcher.WatcherType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the reference's own")]
pub enum WatcherType {
    Children,
    Data,
    Any,
    Persistent,
    PersistentRecursive,
}

impl<'a> WatchesRequest<'a> {
    /// Reads the body.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            path: reader.str()?,
            kind: reader.i32()?,
        })
    }
}

impl AddWatchMode {
    /// The mode with this number, if known.
    #[must_use]
    pub const fn from_code(code: i32) -> Option<Self> {
        match code {
            0 => Some(Self::Persistent),
            1 => Some(Self::PersistentRecursive),
            _ => None,
        }
    }
}

impl WatcherType {
    /// The type with this number, if known.
    #[must_use]
    pub const fn from_code(code: i32) -> Option<Self> {
        match code {
            1 => Some(Self::Children),
            2 => Some(Self::Data),
            3 => Some(Self::Any),
            4 => Some(Self::Persistent),
            5 => Some(Self::PersistentRecursive),
            _ => None,
        }
    }
}

impl WatcherEvent<'_> {
    /// Appends kind, state and path.
    pub fn write(&self, out: &mut impl Put) {
        const SYNC_CONNECTED: i32 = 3;
        out.put_i32(self.kind as i32);
        out.put_i32(SYNC_CONNECTED);
        out.put_str(self.path);
    }
}

impl<'a> SetWatches<'a> {
    /// Reads the body of setWatches.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            relative_zxid: Zxid(reader.i64()?),
            data_watches: paths(reader)?,
            exist_watches: paths(reader)?,
            child_watches: paths(reader)?,
            ..Self::default()
        })
    }

    /// Reads the body of setWatches2.
    pub fn read2(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut watches = Self::read(reader)?;
        watches.persistent_watches = paths(reader)?;
        watches.persistent_recursive_watches = paths(reader)?;
        Ok(watches)
    }
}
/// A list of paths; the reference fails upon null.
fn paths<'a>(reader: &mut Reader<'a>) -> Result<Vec<Cow<'a, str>>, DecodeError> {
    if reader.clone().i32()? == -1 {
        return Err(reader.error(Reason::Null("list of paths")));
    }
    reader.strings()
}
