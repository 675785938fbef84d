//! Watch events and the packet that re-registers watches.

use std::borrow::Cow;

use crate::Zxid;
use crate::jute::{DecodeError, Put, Reader};

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
            data_watches: reader.strings()?,
            exist_watches: reader.strings()?,
            child_watches: reader.strings()?,
            ..Self::default()
        })
    }

    /// Reads the body of setWatches2.
    pub fn read2(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut watches = Self::read(reader)?;
        watches.persistent_watches = reader.strings()?;
        watches.persistent_recursive_watches = reader.strings()?;
        Ok(watches)
    }
}
