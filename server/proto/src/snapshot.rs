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
use crate::jute::{DecodeError, Put, Reader};

/// Text at the end of a SNAP stream.
pub const SNAP_SIGNATURE: &str = "BenWasHere";

/// ACL reference that stands for `world:anyone` with all permissions.
pub const OPEN_ACL_REF: i64 = -1;

/// Length of a session record.
pub const SESSION_BYTES: usize = 12;

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
    let n = reader.count(SESSION_BYTES)?;
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

/// What comes next in an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImagePart {
    /// The whole session part, as one record.
    #[default]
    Sessions,
    /// The count of the ACL table.
    AclCount,
    /// So many lists of the ACL table, at least one.
    Acls(usize),
    /// A znode, or the end mark.
    Znodes,
    /// Nothing; the end mark was there.
    Done,
}

impl ImagePart {
    /// What comes next when so many lists are left.
    #[must_use]
    pub const fn after_acls(left: usize) -> Self {
        if left == 0 {
            Self::Znodes
        } else {
            Self::Acls(left)
        }
    }
}

/// Finds the ends of records and of an image that comes piece by piece,
/// without a look at what the records hold.
#[derive(Clone, Debug, Default)]
pub struct ImageScan {
    part: ImagePart,
}

impl ImageScan {
    /// Passes over the whole records that follow `at`, up to the end mark.
    ///
    /// # Errors
    /// [`crate::jute::Reason::Truncated`] when the record at `at` goes on behind the
    /// bytes, others when it can be none. Offsets count from the first byte.
    pub fn pass(&mut self, bytes: &[u8], at: &mut usize) -> Result<(), DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.take(*at)?;
        while self.part != ImagePart::Done {
            self.part = self.skip(&mut reader)?;
            *at = reader.offset();
        }
        Ok(())
    }

    /// Has the end mark come?
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.part == ImagePart::Done
    }

    fn skip(&self, reader: &mut Reader<'_>) -> Result<ImagePart, DecodeError> {
        Ok(match self.part {
            ImagePart::Sessions => {
                let count = usize::try_from(reader.i32()?).unwrap_or(0);
                reader.take(count.saturating_mul(SESSION_BYTES))?;
                ImagePart::AclCount
            }
            ImagePart::AclCount => {
                ImagePart::after_acls(usize::try_from(reader.i32()?).unwrap_or(0))
            }
            ImagePart::Acls(left) => {
                skip_acl_record(reader)?;
                ImagePart::after_acls(left - 1)
            }
            ImagePart::Znodes if NodeRecord::skip(reader)? => ImagePart::Znodes,
            ImagePart::Znodes | ImagePart::Done => ImagePart::Done,
        })
    }
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
    use crate::jute::Reason;

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
        let bytes = stream();
        let end = bytes.len() - 4 - SNAP_SIGNATURE.len();
        for piece in [1, 7, 100, bytes.len()] {
            let (mut scan, mut at, mut have) = (ImageScan::default(), 0, 0);
            while !scan.is_complete() {
                assert!(have < end, "it passes the end mark");
                have = (have + piece).min(bytes.len());
                match scan.pass(&bytes[..have], &mut at) {
                    Ok(()) => assert!(scan.is_complete()),
                    Err(error) => assert_eq!(error.reason, Reason::Truncated),
                }
            }
            assert_eq!(at, end);
        }
    }

    #[test]
    fn a_length_that_cannot_be_is_told_with_its_place() {
        let mut bytes = stream();
        let at = bytes
            .windows(7)
            .position(|it| it == b"\0\0\0\x02/a\0")
            .unwrap();
        bytes[at] = 0x80;
        let (mut scan, mut end) = (ImageScan::default(), 0);
        let error = scan.pass(&bytes, &mut end).unwrap_err();
        assert_eq!((error.offset, end), (at, at));
        assert_ne!(error.reason, Reason::Truncated);
    }
}
