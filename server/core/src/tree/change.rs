//! How committed transactions change the tree (reference: `DataTree`
//! createNode, deleteNode, setData, setACL, setCversionPzxid). All rules are
//! those of replay over a fuzzy snapshot; over an exact tree they amount to
//! the plain ones.

use std::sync::Arc;

use zk_proto::client::{Acl, ErrorCode, Stat, StatPersisted};
use zk_proto::{SessionId, Zxid};

use super::data_tree::{CONFIG_PATH, Tree, config_znode, node_bytes};
use super::owner::Owner;
use super::path;
use super::znode::Znode;

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
        if !path.contains('/') || self.nodes.get(path::parent(path)).is_none() {
            return Err(ErrorCode::NoNode);
        }
        let slot = self.acls.add(acl);
        if let Some(existing) = self.nodes.get_mut(path) {
            let before = std::mem::replace(&mut existing.acl, slot);
            self.acls.remove(before);
            return Err(ErrorCode::NodeExists);
        }
        self.raise_parent(path, parent_cversion, zxid)?;
        let stat = StatPersisted {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: time_ms,
            mtime: time_ms,
            ephemeral_owner: owner.stored(),
            ..StatPersisted::default()
        };
        let node = Znode::new(path, data, slot, stat);
        let stat = node.stat();
        assert!(self.attach(node), "the parent was there just now");
        Ok(stat)
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
        self.change(path::parent(path), |parent| {
            let cversion = if cversion == -1 {
                parent.stat.cversion.wrapping_add(1)
            } else {
                cversion
            };
            if cversion > parent.stat.cversion {
                parent.stat.cversion = cversion;
                parent.stat.pzxid = zxid;
            }
        })
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
        self.change(path::parent(path), |parent| {
            parent.children.remove(path::name(path));
            parent.stat.pzxid = parent.stat.pzxid.max(zxid);
        })?;
        let node = self.detach(path).ok_or(ErrorCode::NoNode)?;
        let acl = self.acls.get(node.acl).clone();
        self.acls.remove(node.acl);
        // A leader deletes no znode with children. Those here come from a
        // fuzzy snapshot, out of the future of this transaction, and will be
        // created again. The reference lets them float without a parent.
        let mut below = child_paths(&node);
        while let Some(path) = below.pop() {
            let node = self.detach(&path).expect("a child is in the map");
            self.acls.remove(node.acl);
            below.extend(child_paths(&node));
        }
        Ok(acl)
    }

    /// Takes a znode out of everything but its parent's children and the
    /// counts of ACLs.
    fn detach(&mut self, path: &str) -> Option<Box<Znode>> {
        let node = self.nodes.remove(path)?;
        self.digest = self.digest.wrapping_sub(node.digest.into());
        self.data_bytes -= node_bytes(&node);
        if let Owner::Session(session) = Owner::from_stored(node.stat.ephemeral_owner)
            && let Some(paths) = self.ephemerals.get_mut(&session)
        {
            paths.remove(path);
            if paths.is_empty() {
                self.ephemerals.remove(&session);
            }
        }
        Some(node)
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
        self.change(path, |node| {
            node.data = data.map(Into::into);
            node.stat.version = version;
            node.stat.mzxid = zxid;
            node.stat.mtime = time_ms;
            node.stat()
        })
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
        let slot = self.acls.add(acl);
        let changed = self.change(path, |node| {
            node.stat.aversion = version;
            (std::mem::replace(&mut node.acl, slot), node.stat())
        });
        match changed {
            Ok((before, stat)) => {
                self.acls.remove(before);
                Ok(stat)
            }
            Err(error) => {
                self.acls.remove(slot);
                Err(error)
            }
        }
    }

    /// Shows the members at [`CONFIG_PATH`], as every server does by itself
    /// before it serves (reference: `ZKDatabase.initConfigInZKDatabase`). `version`
    /// is the config's, `time_ms` this server's wall clock.
    pub fn set_config(&mut self, text: &str, version: Zxid, time_ms: i64) {
        if self.nodes.get(CONFIG_PATH).is_none() {
            let node = config_znode(&mut self.acls);
            let acl = node.acl;
            if !self.attach(node) {
                self.acls.remove(acl);
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

    /// Changes a znode and keeps digest and size right.
    fn change<T>(
        &mut self,
        path: &str,
        change: impl FnOnce(&mut Znode) -> T,
    ) -> Result<T, ErrorCode> {
        let node = self.nodes.get_mut(path).ok_or(ErrorCode::NoNode)?;
        self.digest = self.digest.wrapping_sub(node.digest.into());
        self.data_bytes -= node_bytes(node);
        let result = change(node);
        node.refresh_digest();
        self.digest = self.digest.wrapping_add(node.digest.into());
        self.data_bytes += node_bytes(node);
        Ok(result)
    }
}

fn child_paths(node: &Znode) -> Vec<String> {
    node.children
        .iter()
        .map(|name| format!("{}/{name}", node.path))
        .collect()
}
