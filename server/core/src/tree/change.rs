//! How committed transactions change the tree (reference: `DataTree`
//! createNode, deleteNode, setData, setACL, setCversionPzxid). All rules are
//! those of replay over a fuzzy snapshot; over an exact tree they amount to
//! the plain ones.

use std::sync::Arc;

use zk_proto::client::{Acl, ErrorCode, Stat, StatPersisted};
use zk_proto::{SessionId, Zxid};

use super::acl_table::AclSlot;
use super::chunk::SlotId;
use super::data_tree::{CONFIG_PATH, Tree, config_znode, node_bytes};
use super::owner::Owner;
use super::path;
use super::slab::Content;
use super::znode::{digest_of, stat};

/// What a create transaction says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewZnode<'a> {
    /// Final path.
    pub(crate) path: &'a str,
    pub(crate) data: Option<&'a [u8]>,
    pub(crate) acl: &'a [Acl],
    pub(crate) owner: Owner,
    /// The parent's stored cversion afterwards; -1 means "one more".
    pub(crate) parent_cversion: i32,
    pub(crate) zxid: Zxid,
    pub(crate) time_ms: i64,
}

impl Tree {
    /// Adds a znode and returns its stat.
    ///
    /// # Errors
    /// NoNode without a parent; NodeExists, but then the znode has the new ACL.
    pub(crate) fn create(&mut self, new: &NewZnode<'_>) -> Result<Stat, ErrorCode> {
        let NewZnode {
            path,
            data,
            acl,
            owner,
            parent_cversion,
            zxid,
            time_ms,
        } = *new;
        if path.is_empty() || path == "/" {
            return Err(ErrorCode::NodeExists);
        }
        if !path.contains('/') || path.ends_with('/') {
            return Err(ErrorCode::NoNode);
        }
        let above = path::parent(path);
        let parent = self.nodes.find(above).ok_or(ErrorCode::NoNode)?;
        let slot = self.acls.add(acl);
        if let Some(existing) = self.nodes.find(path) {
            let before = self.swap_acl(existing, slot);
            self.acls.remove(before);
            return Err(ErrorCode::NodeExists);
        }
        self.raise(parent, above, parent_cversion, zxid);
        let content = Content {
            data,
            acl: slot,
            stat: StatPersisted {
                czxid: zxid,
                mzxid: zxid,
                pzxid: zxid,
                ctime: time_ms,
                mtime: time_ms,
                ephemeral_owner: owner.stored(),
                ..StatPersisted::default()
            },
        };
        self.attach_below(parent, path, &content);
        self.count_created(path, data.map_or(0, <[u8]>::len));
        Ok(stat(&content, 0))
    }

    /// Sets cversion and pzxid of the parent of `path`, if that raises the
    /// cversion.
    ///
    /// # Errors
    /// NoNode without a parent.
    pub(crate) fn raise_parent(
        &mut self,
        path: &str,
        cversion: i32,
        zxid: Zxid,
    ) -> Result<(), ErrorCode> {
        let above = path::parent(path);
        let parent = self.nodes.find(above).ok_or(ErrorCode::NoNode)?;
        self.raise(parent, above, cversion, zxid);
        Ok(())
    }

    fn raise(&mut self, parent: SlotId, path: &str, cversion: i32, zxid: Zxid) {
        self.change(parent, path, None, |parent| {
            let cversion = if cversion == -1 {
                parent.cversion.wrapping_add(1)
            } else {
                cversion
            };
            if cversion > parent.cversion {
                parent.cversion = cversion;
                parent.pzxid = zxid;
            }
        });
    }

    /// Removes a znode and returns the ACL it had. The parent's pzxid moves
    /// even if the znode was gone already.
    ///
    /// # Errors
    /// NoNode without the znode or its parent.
    pub(crate) fn delete(&mut self, path: &str, zxid: Zxid) -> Result<Arc<[Acl]>, ErrorCode> {
        if path.is_empty() || path == "/" || !path.contains('/') {
            return Err(ErrorCode::NoNode);
        }
        let above = path::parent(path);
        let parent = self.nodes.find(above).ok_or(ErrorCode::NoNode)?;
        self.change(parent, above, None, |parent| {
            parent.pzxid = parent.pzxid.max(zxid);
        });
        let id = self.nodes.find(path).ok_or(ErrorCode::NoNode)?;
        let (_, content) = self.nodes.slots().znode(id);
        let acl = self.acls.get(content.acl).clone();
        let bytes = content.data.map_or(0, <[u8]>::len);
        self.detach_all(id, path);
        self.count_deleted(path, bytes);
        Ok(acl)
    }

    /// A leader deletes no znode with children. Those here come from a
    /// fuzzy snapshot, out of the future of this transaction, and will be
    /// created again. The reference lets them float without a parent.
    fn detach_all(&mut self, top: SlotId, path: &str) {
        let mut id = top;
        loop {
            let first = self.nodes.slots().family(id).first;
            let parent = self.nodes.slots().slot(id).parent;
            if first != SlotId::NONE {
                id = first;
            } else if id == top {
                return self.detach(id, path);
            } else {
                let mut path = String::new();
                self.nodes.slots().write_path(id, &mut path);
                self.detach(id, &path);
                id = parent;
            }
        }
    }

    /// Takes a znode without children out of everything.
    fn detach(&mut self, id: SlotId, path: &str) {
        let slots = self.nodes.slots();
        let (_, content) = slots.znode(id);
        let digest = slots.slot(id).digest;
        self.digest = self.digest.wrapping_sub(digest.into());
        if let Some(charset) = &mut self.charset {
            charset.remove(charset.part(path, content.data, &content.stat, digest));
        }
        self.data_bytes -= node_bytes(path, content.data);
        let (acl, owner) = (content.acl, content.stat.ephemeral_owner);
        self.acls.remove(acl);
        match Owner::from_stored(owner) {
            Owner::Persistent => {}
            Owner::Session(session) => {
                if let Some(paths) = self.ephemerals.get_mut(&session) {
                    paths.remove(path);
                    if paths.is_empty() {
                        self.ephemerals.remove(&session);
                    }
                }
            }
            Owner::Container | Owner::Ttl(_) => self.expendable.remove(path),
        }
        self.nodes.remove(id);
    }

    /// Replaces data and version.
    ///
    /// # Errors
    /// NoNode.
    pub(crate) fn set_data(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        version: i32,
        zxid: Zxid,
        time_ms: i64,
    ) -> Result<Stat, ErrorCode> {
        let id = self.nodes.find(path).ok_or(ErrorCode::NoNode)?;
        let bytes = |data: Option<&[u8]>| data.map_or(0, <[u8]>::len);
        let before = bytes(self.nodes.slots().znode(id).1.data);
        self.change(id, path, Some(data), |stat| {
            stat.version = version;
            stat.mzxid = zxid;
            stat.mtime = time_ms;
        });
        let stat = self.stat(id);
        self.count_changed(path, before, bytes(data));
        Ok(stat)
    }

    /// Replaces data and nothing else, as the servers do among themselves.
    pub(super) fn rewrite(&mut self, path: &str, data: &[u8]) {
        if let Some(id) = self.nodes.find(path) {
            self.change(id, path, Some(Some(data)), |_| {});
        }
    }

    /// Replaces ACL and aversion.
    ///
    /// # Errors
    /// NoNode.
    pub(crate) fn set_acl(
        &mut self,
        path: &str,
        acl: &[Acl],
        version: i32,
    ) -> Result<Stat, ErrorCode> {
        let id = self.nodes.find(path).ok_or(ErrorCode::NoNode)?;
        let slot = self.acls.add(acl);
        let before = self.swap_acl(id, slot);
        self.acls.remove(before);
        self.change(id, path, None, |stat| stat.aversion = version);
        Ok(self.stat(id))
    }

    /// Shows the members at [`CONFIG_PATH`], as every server does by itself
    /// before it serves (reference: `ZKDatabase.initConfigInZKDatabase`). `version`
    /// is the config's, `time_ms` this server's wall clock.
    pub fn set_config(&mut self, text: &str, version: Zxid, time_ms: i64) {
        if self.nodes.find(CONFIG_PATH).is_none() {
            let content = config_znode(&mut self.acls);
            if self.attach(CONFIG_PATH, &content).is_none() {
                self.acls.remove(content.acl);
                return;
            }
        }
        self.set_data(CONFIG_PATH, Some(text.as_bytes()), -1, version, time_ms)
            .expect("it is there now");
    }

    /// Remembers a session.
    pub(crate) fn open_session(&mut self, session: SessionId, timeout_ms: i32) {
        self.sessions.insert(session, timeout_ms);
    }

    /// Forgets a session. Its ephemerals stay for the caller to delete.
    pub(crate) fn close_session(&mut self, session: SessionId) {
        self.sessions.remove(&session);
    }

    /// A transaction's digest was not this tree's.
    pub(crate) const fn count_digest_mismatch(&mut self) {
        self.digest_mismatches += 1;
    }

    /// Changes a znode's numbers, and its data unless that is `None`; keeps
    /// digest and size right.
    fn change(
        &mut self,
        id: SlotId,
        path: &str,
        data: Option<Option<&[u8]>>,
        change: impl FnOnce(&mut StatPersisted),
    ) {
        let slots = self.nodes.slots();
        let (_, mut content) = slots.znode(id);
        let all = data.unwrap_or(content.data);
        let before = slots.slot(id).digest;
        if let Some(charset) = &mut self.charset {
            charset.remove(charset.part(path, content.data, &content.stat, before));
        }
        change(&mut content.stat);
        let digest = digest_of(path, all, &content.stat);
        if let Some(charset) = &mut self.charset {
            charset.add(charset.part(path, all, &content.stat, digest));
        }
        self.digest = self
            .digest
            .wrapping_sub(before.into())
            .wrapping_add(digest.into());
        self.data_bytes -= node_bytes(path, content.data);
        self.data_bytes += node_bytes(path, all);
        let (acl, stat) = (content.acl, content.stat);
        self.nodes.rewrite(id, data, acl, &stat, digest);
    }

    /// Gives a znode another list and returns the one it had.
    fn swap_acl(&mut self, id: SlotId, acl: AclSlot) -> AclSlot {
        let slots = self.nodes.slots();
        let (_, content) = slots.znode(id);
        let (before, stat, digest) = (content.acl, content.stat, slots.slot(id).digest);
        self.nodes.rewrite(id, None, acl, &stat, digest);
        before
    }

    fn stat(&self, id: SlotId) -> Stat {
        let slots = self.nodes.slots();
        stat(&slots.znode(id).1, slots.family(id).count)
    }
}
