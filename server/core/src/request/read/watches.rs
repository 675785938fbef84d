//! What clients ask of their watches (reference: `DataTree`).

use std::borrow::Cow;

use zk_proto::Zxid;
use zk_proto::client::{
    AddWatchMode, ErrorCode, EventKind, SetWatches, WatcherEvent, WatcherType, WatchesRequest,
};
use zk_proto::jute::{Put, Reader};

use super::{Read, Refusal, Served};
use crate::request::reply::write_event;
use crate::watch::{WatchKind, WatchTable};

impl Read<'_> {
    /// What has happened since the client's last zxid is told at once, with
    /// the zxid -1 and without a look at ACLs; what has not is watched again
    /// (reference: `DataTree.setWatches`).
    pub(super) fn set_watches(
        &self,
        body: &mut Reader<'_>,
        all_modes: bool,
        out: &mut Vec<u8>,
    ) -> Served {
        let SetWatches {
            relative_zxid,
            data_watches,
            exist_watches,
            child_watches,
            persistent_watches,
            persistent_recursive_watches,
        } = if all_modes {
            SetWatches::read2(body)?
        } else {
            SetWatches::read(body)?
        };
        let mut missed = |path: &str, kind| write_event(out, Zxid(-1), WatcherEvent { kind, path });
        let mut watches = self.watches.lock();
        for path in &data_watches {
            match self.tree.znode(path) {
                None => missed(path, EventKind::NodeDeleted),
                Some(node) if node.stat_persisted().mzxid > relative_zxid => {
                    missed(path, EventKind::NodeDataChanged);
                }
                Some(_) => self.add(&mut watches, path, WatchKind::Data)?,
            }
        }
        for path in &exist_watches {
            match self.tree.znode(path) {
                None => self.add(&mut watches, path, WatchKind::Data)?,
                Some(_) => missed(path, EventKind::NodeCreated),
            }
        }
        for path in &child_watches {
            match self.tree.znode(path) {
                None => missed(path, EventKind::NodeDeleted),
                Some(node) if node.stat_persisted().pzxid > relative_zxid => {
                    missed(path, EventKind::NodeChildrenChanged);
                }
                Some(_) => self.add(&mut watches, path, WatchKind::Children)?,
            }
        }
        for path in &persistent_watches {
            self.add(&mut watches, path, WatchKind::Persistent)?;
        }
        for path in &persistent_recursive_watches {
            self.add(&mut watches, path, WatchKind::PersistentRecursive)?;
        }
        drop(watches);
        self.reply(out, |_| {});
        Ok(())
    }

    /// Neither the path nor the client's rights are looked at.
    pub(super) fn add_watch(&self, body: &mut Reader<'_>, out: &mut Vec<u8>) -> Served {
        let WatchesRequest { path, kind } = WatchesRequest::read(body)?;
        let mode = AddWatchMode::from_code(kind).ok_or(ErrorCode::MarshallingError)?;
        self.watch(&path, mode.into())?;
        // The reference's reply has a body of its own: an error code that is none.
        self.reply(out, |out| out.put_i32(ErrorCode::Ok.code()));
        Ok(())
    }

    pub(super) fn check_watches(&self, body: &mut Reader<'_>, out: &mut Vec<u8>) -> Served {
        let (path, wanted) = path_and_type(body)?;
        let found = self.watches.lock().contains(&path, self.conn, wanted);
        self.found(found, out)
    }

    pub(super) fn remove_watches(&self, body: &mut Reader<'_>, out: &mut Vec<u8>) -> Served {
        let (path, wanted) = path_and_type(body)?;
        let found = self.watches.lock().remove(&path, self.conn, wanted);
        self.found(found, out)
    }

    fn found(&self, found: bool, out: &mut Vec<u8>) -> Served {
        if !found {
            return Err(ErrorCode::NoWatcher.into());
        }
        self.reply(out, |_| {});
        Ok(())
    }

    fn add(&self, watches: &mut WatchTable, path: &str, kind: WatchKind) -> Served {
        if watches.add(path, self.conn, kind) {
            Ok(())
        } else {
            Err(Refusal::TooManyWatches)
        }
    }
}

fn path_and_type<'b>(body: &mut Reader<'b>) -> Result<(Cow<'b, str>, WatcherType), Refusal> {
    let WatchesRequest { path, kind } = WatchesRequest::read(body)?;
    let wanted = WatcherType::from_code(kind).ok_or(ErrorCode::MarshallingError)?;
    Ok((path, wanted))
}
