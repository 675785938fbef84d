//! The record stream of a tree image, shared by snapshot files and by the
//! SNAP synchronization (reference: `SerializeUtils`, `DataTree.serialize`).
//!
//! | part | layout |
//! |---|---|
//! | sessions | int count, then (long id, int timeout ms) each |
//! | ACL table | int count, then (long ref, vector of ACL) each |
//! | znodes | (path, data, long ACL ref, 60 bytes of stat) each, parents first, root as "" |
//! | end | path "/" |
//!
//! A SNAP stream ends with the text "BenWasHere" after that.

use std::borrow::Cow;

use crate::SessionId;
use crate::client::{Acl, StatPersisted, read_acls, write_acls};
use crate::jute::{DecodeError, Put, Reader, Reason};

/// Text at the end of a SNAP stream.
pub const SNAP_SIGNATURE: &str = "BenWasHere";

/// ACL reference that stands for `world:anyone` with all permissions.
pub const OPEN_ACL_REF: i64 = -1;

/// A session and its timeout in ms.
pub type SessionRecord = (SessionId, i32);

/// A list of the ACL table and the number by which znodes name it.
pub type AclRecord = (i64, Vec<Acl>);

/// A znode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord<'a> {
    /// Full path; "" for the root.
    pub path: Cow<'a, str>,
    /// Data.
    pub data: Option<&'a [u8]>,
    /// Number in the ACL table, or [`OPEN_ACL_REF`].
    pub acl_ref: i64,
    /// Numbers.
    pub stat: StatPersisted,
}

/// Appends the session part.
pub fn write_sessions(out: &mut impl Put, sessions: impl ExactSizeIterator<Item = SessionRecord>) {
    out.put_count(sessions.len());
    for (id, timeout_ms) in sessions {
        out.put_i64(id.0);
        out.put_i32(timeout_ms);
    }
}

/// Appends the ACL table.
pub fn write_acl_table<'a>(
    out: &mut impl Put,
    acls: impl ExactSizeIterator<Item = (i64, &'a [Acl])>,
) {
    out.put_count(acls.len());
    for (number, list) in acls {
        out.put_i64(number);
        write_acls(out, list);
    }
}

/// Appends the end mark of the znodes.
pub fn write_end(out: &mut impl Put) {
    out.put_str("/");
}

/// Reads the session part.
pub fn read_sessions(reader: &mut Reader<'_>) -> Result<Vec<SessionRecord>, DecodeError> {
    let n = reader.count(12)?;
    (0..n).map(|_| read_session(reader)).collect()
}

/// Reads one record of the session part.
pub fn read_session(reader: &mut Reader<'_>) -> Result<SessionRecord, DecodeError> {
    Ok((SessionId(reader.i64()?), reader.i32()?))
}

/// Reads one record of the ACL table.
pub fn read_acl_record(reader: &mut Reader<'_>) -> Result<AclRecord, DecodeError> {
    Ok((reader.i64()?, read_acls(reader)?.unwrap_or_default()))
}

impl<'a> NodeRecord<'a> {
    /// Appends the record.
    pub fn write(&self, out: &mut impl Put) {
        out.put_str(&self.path);
        out.put_opt_buffer(self.data);
        out.put_i64(self.acl_ref);
        self.stat.write(out);
    }

    /// Passes over the next record without a look at its text; false at the
    /// end mark.
    fn skip(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
        const NUMBERS_BYTES: usize = 8 + 60;
        if reader.buffer()? == b"/" {
            return Ok(false);
        }
        reader.opt_buffer()?;
        reader.take(NUMBERS_BYTES)?;
        Ok(true)
    }

    /// Reads the next record; `None` at the end mark.
    pub fn read(reader: &mut Reader<'a>) -> Result<Option<Self>, DecodeError> {
        let path = reader.str()?;
        if path == "/" {
            return Ok(None);
        }
        Ok(Some(Self {
            path,
            data: reader.opt_buffer()?,
            acl_ref: reader.i64()?,
            stat: StatPersisted::read(reader)?,
        }))
    }
}

/// Length of the image at the front of `bytes`, up to and including its end
/// mark.
pub fn image_length(bytes: &[u8]) -> Result<usize, DecodeError> {
    let mut reader = Reader::new(bytes);
    let sessions = usize::try_from(reader.i32()?).unwrap_or(0);
    let session_bytes = sessions
        .checked_mul(12)
        .ok_or_else(|| reader.error(Reason::Truncated))?;
    reader.take(session_bytes)?;
    for _ in 0..usize::try_from(reader.i32()?).unwrap_or(0) {
        skip_acl_record(&mut reader)?;
    }
    while NodeRecord::skip(&mut reader)? {}
    Ok(reader.offset())
}

/// Passes over an entry of the ACL table, to see that it is whole.
pub fn skip_acl_record(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    reader.i64()?;
    for _ in 0..usize::try_from(reader.i32()?).unwrap_or(0) {
        reader.i32()?;
        reader.opt_buffer()?;
        reader.opt_buffer()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Vec<u8> {
        let mut out = Vec::new();
        write_sessions(&mut out, [(SessionId(7), 4000)].into_iter());
        write_acl_table(&mut out, [(1, &[Acl::open()][..])].into_iter());
        for path in ["", "/a", "/a/b"] {
            let data = (path == "/a").then_some(&b"xyz"[..]);
            NodeRecord {
                path: path.into(),
                data,
                acl_ref: OPEN_ACL_REF,
                stat: StatPersisted::default(),
            }
            .write(&mut out);
        }
        write_end(&mut out);
        out.put_str(SNAP_SIGNATURE);
        out
    }

    #[test]
    fn an_image_ends_at_its_end_mark() {
        let mut bytes = stream();
        let end = bytes.len() - 4 - SNAP_SIGNATURE.len();
        assert_eq!(image_length(&bytes).unwrap(), end);
        bytes.truncate(end - 1);
        image_length(&bytes).unwrap_err();
    }
}
