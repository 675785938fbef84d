//! Access control entries (reference: `org.apache.zookeeper.data.{Id,ACL}`).

use crate::jute::{DecodeError, Put, Reader};

/// Permission bits of an [`Acl`] (reference: `ZooDefs.Perms`).
pub mod perms {
    /// Read data and list children.
    pub const READ: i32 = 1;
    /// Set data.
    pub const WRITE: i32 = 2;
    /// Create children.
    pub const CREATE: i32 = 4;
    /// Delete children.
    pub const DELETE: i32 = 8;
    /// Set the ACL.
    pub const ADMIN: i32 = 16;
    /// All of them.
    pub const ALL: i32 = 31;
}

/// An identity within an authentication scheme.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// `world`, `ip`, `digest`, ...
    pub scheme: String,
    /// The scheme's own text.
    pub id: String,
}

/// One entry of an access control list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Acl {
    /// Bits of [`perms`]; other bits are kept as they came.
    pub perms: i32,
    /// To whom they are granted.
    pub id: Id,
}

impl Id {
    /// Everybody.
    #[must_use]
    pub fn anyone() -> Self {
        Self {
            scheme: "world".into(),
            id: "anyone".into(),
        }
    }

    /// Reads scheme and id; null strings become empty ones.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            scheme: reader.opt_str()?.unwrap_or_default().into_owned(),
            id: reader.opt_str()?.unwrap_or_default().into_owned(),
        })
    }

    /// Appends scheme and id.
    pub fn write(&self, out: &mut impl Put) {
        out.put_str(&self.scheme);
        out.put_str(&self.id);
    }
}

impl Acl {
    /// `world:anyone` with all permissions, the reference's `OPEN_ACL_UNSAFE`.
    #[must_use]
    pub fn open() -> Self {
        Self {
            perms: perms::ALL,
            id: Id::anyone(),
        }
    }

    /// Is this the entry of [`Acl::open`]?
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.perms == perms::ALL && self.id.scheme == "world" && self.id.id == "anyone"
    }
}

/// Reads a vector of entries; `None` for a null vector.
pub fn read_acls(reader: &mut Reader<'_>) -> Result<Option<Vec<Acl>>, DecodeError> {
    let is_null = reader.clone().i32()? == -1;
    let n = reader.count(12)?;
    let acls = (0..n)
        .map(|_| {
            Ok(Acl {
                perms: reader.i32()?,
                id: Id::read(reader)?,
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok((!is_null).then_some(acls))
}

/// Appends a vector of entries.
pub fn write_acls(out: &mut impl Put, acls: &[Acl]) {
    out.put_count(acls.len());
    for Acl { perms, id } in acls {
        out.put_i32(*perms);
        id.write(out);
    }
}
