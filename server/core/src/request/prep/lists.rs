//! What a request may do, and the lists it brings (reference:
//! `PrepRequestProcessor.fixupACL`, `ZooKeeperServer.checkACL`).

use std::collections::BTreeSet;

use zk_proto::client::{Acl, ErrorCode, Id};

use super::Run;
use crate::auth::AuthConfig;

impl Run<'_, '_> {
    /// Does the list of this znode, which is there, grant it?
    pub(super) fn permit(&mut self, path: &str, wanted: i32) -> Result<(), ErrorCode> {
        let list = self.edit.acl(path);
        let cost = AuthConfig::cost(list, self.request.ids);
        self.budget
            .look(self.request.time_ms, self.looked_at, cost)?;
        self.looked_at += cost;
        if self.auth.allows(list, self.request.ids, wanted) {
            Ok(())
        } else {
            Err(ErrorCode::NoAuth)
        }
    }

    /// The list as it is stored: without duplicates, in the same order, and
    /// with the client's own ids in the place of the scheme `auth`. Permission
    /// bits that nobody knows are kept.
    ///
    /// Ids in the place of a short entry may be long, and a batch may have many
    /// such entries. A request that grows beyond the longest transaction so is
    /// refused as soon as it does, and one that would grow while much of what
    /// others have grown by is outstanding has to come again.
    pub(super) fn fix_up(&mut self, acl: Option<Vec<Acl>>) -> Result<Vec<Acl>, ErrorCode> {
        let mut unique: Vec<Acl> = Vec::new();
        let mut seen = BTreeSet::new();
        for entry in acl.unwrap_or_default() {
            // Most lists are too short for a set to be worth it.
            let is_new = if unique.len() < FEW_ENTRIES {
                !unique.contains(&entry)
            } else {
                if seen.is_empty() {
                    seen.extend(unique.iter().cloned());
                }
                seen.insert(entry.clone())
            };
            if is_new {
                unique.push(entry);
            }
        }
        if unique.is_empty() {
            return Err(ErrorCode::InvalidAcl);
        }
        let mut fixed = Vec::with_capacity(unique.len());
        for entry in unique {
            if entry.id == Id::anyone() {
                self.take_room(&entry.id)?;
                fixed.push(entry);
            } else if entry.id.scheme == "auth" {
                let before = fixed.len();
                let ids = self.request.ids;
                for id in ids {
                    if self.auth.is_authenticated(&id.scheme) {
                        self.take_room(id)?;
                        fixed.push(Acl {
                            perms: entry.perms,
                            id: id.clone(),
                        });
                    }
                }
                if fixed.len() == before {
                    return Err(ErrorCode::InvalidAcl);
                }
            } else if self.auth.is_valid(&entry.id) {
                self.take_room(&entry.id)?;
                fixed.push(entry);
            } else {
                return Err(ErrorCode::InvalidAcl);
            }
        }
        Ok(fixed)
    }

    /// Counts an entry of the transaction.
    fn take_room(&mut self, id: &Id) -> Result<(), ErrorCode> {
        /// Permissions and the lengths of two strings.
        const ENTRY_BYTES: usize = 12;
        let bytes = ENTRY_BYTES + id.scheme.len() + id.id.len();
        let left = self.room.checked_sub(bytes);
        self.room = left.ok_or(ErrorCode::MarshallingError)?;
        let taken = self.config.txn_bytes_max - self.room;
        let grown = taken.saturating_sub(self.request.body.len());
        if self.budget.may_grow(grown) {
            Ok(())
        } else {
            Err(ErrorCode::ThrottledOp)
        }
    }
}

/// Entries that are compared one by one.
const FEW_ENTRIES: usize = 16;
