//! What a request may do, and the lists it brings (reference:
//! `PrepRequestProcessor.fixupACL`, `ZooKeeperServer.checkACL`).

use zk_proto::client::{Acl, ErrorCode, Id};

use super::Run;

impl Run<'_, '_> {
    /// Does the list of this znode, which is there, grant it?
    pub(super) fn permit(&self, path: &str, wanted: i32) -> Result<(), ErrorCode> {
        let list = self.edit.acl(path);
        if self.auth.allows(list, self.request.ids, wanted) {
            Ok(())
        } else {
            Err(ErrorCode::NoAuth)
        }
    }

    /// The list as it is stored: without duplicates, in the same order, and
    /// with the client's own ids in the place of the scheme `auth`. Permission
    /// bits that nobody knows are kept.
    pub(super) fn fix_up(&self, acl: Option<Vec<Acl>>) -> Result<Vec<Acl>, ErrorCode> {
        let mut unique: Vec<Acl> = Vec::new();
        for entry in acl.unwrap_or_default() {
            if !unique.contains(&entry) {
                unique.push(entry);
            }
        }
        if unique.is_empty() {
            return Err(ErrorCode::InvalidAcl);
        }
        let mut fixed = Vec::with_capacity(unique.len());
        for entry in unique {
            if entry.id == Id::anyone() {
                fixed.push(entry);
            } else if entry.id.scheme == "auth" {
                let before = fixed.len();
                let proven = self.request.ids.iter();
                fixed.extend(
                    proven
                        .filter(|id| self.auth.is_authenticated(&id.scheme))
                        .map(|id| Acl {
                            perms: entry.perms,
                            id: id.clone(),
                        }),
                );
                if fixed.len() == before {
                    return Err(ErrorCode::InvalidAcl);
                }
            } else if self.auth.is_valid(&entry.id) {
                fixed.push(entry);
            } else {
                return Err(ErrorCode::InvalidAcl);
            }
        }
        Ok(fixed)
    }
}
