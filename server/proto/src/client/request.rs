//! Bodies of the single operations. Borrowed from the frame they came in.

use std::borrow::Cow;

use super::acl::{Acl, read_acls, write_acls};
use crate::jute::{DecodeError, Put, Reader};

/// Body of create, create2 and createContainer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateRequest<'a> {
    /// Wanted path, before a sequence suffix.
    pub path: Cow<'a, str>,
    /// Data; null is kept apart from empty.
    pub data: Option<&'a [u8]>,
    /// `None` when null.
    pub acl: Option<Vec<Acl>>,
    /// See [`super::CreateMode::from_flags`].
    pub flags: i32,
}

/// Body of createTTL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTtlRequest<'a> {
    /// The fields shared with the other creates.
    pub create: CreateRequest<'a>,
    /// Time to live in ms.
    pub ttl: i64,
}

/// Body of delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteRequest<'a> {
    /// Path.
    pub path: Cow<'a, str>,
    /// Expected version; -1 for any.
    pub version: i32,
}

/// Body of check: the same fields as a delete.
pub type CheckVersionRequest<'a> = DeleteRequest<'a>;

/// Body of setData.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetDataRequest<'a> {
    /// Path.
    pub path: Cow<'a, str>,
    /// New data.
    pub data: Option<&'a [u8]>,
    /// Expected version; -1 for any.
    pub version: i32,
}

/// Body of setACL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAclRequest<'a> {
    /// Path.
    pub path: Cow<'a, str>,
    /// New list; `None` when null.
    pub acl: Option<Vec<Acl>>,
    /// Expected aversion; -1 for any.
    pub version: i32,
}

/// Body of reconfig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconfigRequest<'a> {
    /// `server.N=...` entries with commas between them.
    pub joining_servers: Option<Cow<'a, str>>,
    /// Server ids with commas between them.
    pub leaving_servers: Option<Cow<'a, str>>,
    /// All members, instead of the two above.
    pub new_members: Option<Cow<'a, str>>,
    /// Version of the config to be replaced; -1 for any.
    pub config_version: i64,
}

/// Body of exists, getData, getChildren and getChildren2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathWatchRequest<'a> {
    /// Path.
    pub path: Cow<'a, str>,
    /// Leave a one-shot watch?
    pub watch: bool,
}

impl<'a> CreateRequest<'a> {
    /// Reads the body.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            path: reader.str()?,
            data: reader.opt_buffer()?,
            acl: read_acls(reader)?,
            flags: reader.i32()?,
        })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut impl Put) {
        out.put_str(&self.path);
        out.put_opt_buffer(self.data);
        match &self.acl {
            Some(acl) => write_acls(out, acl),
            None => out.put_i32(-1),
        }
        out.put_i32(self.flags);
    }
}

impl<'a> CreateTtlRequest<'a> {
    /// Reads the body.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            create: CreateRequest::read(reader)?,
            ttl: reader.i64()?,
        })
    }
}

impl CreateTtlRequest<'_> {
    /// Appends the body.
    pub fn write(&self, out: &mut impl Put) {
        self.create.write(out);
        out.put_i64(self.ttl);
    }
}

impl<'a> ReconfigRequest<'a> {
    /// Reads the body.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            joining_servers: reader.opt_str()?,
            leaving_servers: reader.opt_str()?,
            new_members: reader.opt_str()?,
            config_version: reader.i64()?,
        })
    }
}

impl<'a> DeleteRequest<'a> {
    /// Reads the body.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            path: reader.str()?,
            version: reader.i32()?,
        })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut impl Put) {
        out.put_str(&self.path);
        out.put_i32(self.version);
    }
}

impl<'a> SetDataRequest<'a> {
    /// Reads the body. A null path becomes the empty one, which is as bad.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            path: reader.opt_str()?.unwrap_or_default(),
            data: reader.opt_buffer()?,
            version: reader.i32()?,
        })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut impl Put) {
        out.put_str(&self.path);
        out.put_opt_buffer(self.data);
        out.put_i32(self.version);
    }
}

impl<'a> SetAclRequest<'a> {
    /// Reads the body. A null path becomes the empty one, which is as bad.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            path: reader.opt_str()?.unwrap_or_default(),
            acl: read_acls(reader)?,
            version: reader.i32()?,
        })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut impl Put) {
        out.put_str(&self.path);
        match &self.acl {
            Some(acl) => write_acls(out, acl),
            None => out.put_i32(-1),
        }
        out.put_i32(self.version);
    }
}

impl<'a> PathWatchRequest<'a> {
    /// Reads the body.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            path: reader.str()?,
            watch: reader.bool()?,
        })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut impl Put) {
        out.put_str(&self.path);
        out.put_bool(self.watch);
    }
}

/// Appends a list of child names, the body of a getChildren reply. `count`
/// must be the length of `names`.
pub fn write_children<'n>(out: &mut impl Put, count: usize, names: impl Iterator<Item = &'n str>) {
    out.put_count(count);
    for name in names {
        out.put_str(name);
    }
}
