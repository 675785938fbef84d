//! Bodies of transactions. All choices are made already: paths carry their
//! suffix, versions are results, so that applying is deterministic.

use std::borrow::Cow;

use super::digest::TxnDigest;
use super::header::TxnHeader;
use crate::client::{Acl, OpCode, read_acls, write_acls};
use crate::jute::{DecodeError, Put, Reader, Reason};

/// A transaction, borrowed from the bytes it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Txn<'a> {
    /// create (1).
    Create(CreateTxn<'a>),
    /// create2 (15): differs from create in the reply only.
    Create2(CreateTxn<'a>),
    /// createContainer (19); `ephemeral` is false.
    CreateContainer(CreateTxn<'a>),
    /// createTTL (21) with the time to live in ms; `ephemeral` is false.
    CreateTtl(CreateTxn<'a>, i64),
    /// delete (2).
    Delete(Cow<'a, str>),
    /// deleteContainer (20).
    DeleteContainer(Cow<'a, str>),
    /// setData (5).
    SetData(SetDataTxn<'a>),
    /// reconfig (16): the config text for `/zookeeper/config`.
    Reconfig(SetDataTxn<'a>),
    /// setACL (7).
    SetAcl(SetAclTxn<'a>),
    /// check (13): legal only inside a multi; the version is not used.
    Check(Cow<'a, str>, i32),
    /// multi (14).
    Multi(Vec<Self>),
    /// createSession (-10) with the timeout in ms.
    CreateSession(i32),
    /// closeSession (-11) with the ephemerals to delete, `None` in the form
    /// before 3.6.
    CloseSession(Option<Vec<Cow<'a, str>>>),
    /// A request that failed (-1) with this code.
    Error(i32),
}

/// What the create transactions share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTxn<'a> {
    /// Final path.
    pub path: Cow<'a, str>,
    /// Data.
    pub data: Option<&'a [u8]>,
    /// Final list.
    pub acl: Vec<Acl>,
    /// Owned by the header's session?
    pub ephemeral: bool,
    /// The parent's stored cversion afterwards; -1 means "one more".
    pub parent_cversion: i32,
}

/// setData and reconfig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetDataTxn<'a> {
    /// Path.
    pub path: Cow<'a, str>,
    /// New data.
    pub data: Option<&'a [u8]>,
    /// New version.
    pub version: i32,
}

/// setACL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAclTxn<'a> {
    /// Path.
    pub path: Cow<'a, str>,
    /// New list.
    pub acl: Vec<Acl>,
    /// New aversion.
    pub version: i32,
}

impl Txn<'_> {
    /// The operation code that stands in the header.
    #[must_use]
    pub const fn op(&self) -> OpCode {
        match self {
            Self::Create(_) => OpCode::Create,
            Self::Create2(_) => OpCode::Create2,
            Self::CreateContainer(_) => OpCode::CreateContainer,
            Self::CreateTtl(..) => OpCode::CreateTtl,
            Self::Delete(_) => OpCode::Delete,
            Self::DeleteContainer(_) => OpCode::DeleteContainer,
            Self::SetData(_) => OpCode::SetData,
            Self::Reconfig(_) => OpCode::Reconfig,
            Self::SetAcl(_) => OpCode::SetAcl,
            Self::Check(..) => OpCode::Check,
            Self::Multi(_) => OpCode::Multi,
            Self::CreateSession(_) => OpCode::CreateSession,
            Self::CloseSession(_) => OpCode::CloseSession,
            Self::Error(_) => OpCode::Error,
        }
    }

    /// Appends the body without header and digest.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Create(create) | Self::Create2(create) => {
                create.write_start(out);
                out.put_bool(create.ephemeral);
                out.put_i32(create.parent_cversion);
            }
            Self::CreateContainer(create) => {
                create.write_start(out);
                out.put_i32(create.parent_cversion);
            }
            Self::CreateTtl(create, ttl) => {
                create.write_start(out);
                out.put_i32(create.parent_cversion);
                out.put_i64(*ttl);
            }
            Self::Delete(path) | Self::DeleteContainer(path) => out.put_str(path),
            Self::SetData(set) | Self::Reconfig(set) => {
                out.put_str(&set.path);
                out.put_opt_buffer(set.data);
                out.put_i32(set.version);
            }
            Self::SetAcl(set) => {
                out.put_str(&set.path);
                write_acls(out, &set.acl);
                out.put_i32(set.version);
            }
            Self::Check(path, version) => {
                out.put_str(path);
                out.put_i32(*version);
            }
            Self::Multi(txns) => {
                out.put_count(txns.len());
                let mut body = Vec::new();
                for txn in txns {
                    body.clear();
                    txn.write(&mut body);
                    out.put_i32(txn.op().code());
                    out.put_buffer(&body);
                }
            }
            Self::CreateSession(timeout_ms) => out.put_i32(*timeout_ms),
            Self::CloseSession(None) => {}
            Self::CloseSession(Some(paths)) => out.put_strings(paths),
            Self::Error(err) => out.put_i32(*err),
        }
    }
}

impl<'a> Txn<'a> {
    /// Reads the body of a transaction of this kind.
    fn read(kind: i32, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let Some(op) = OpCode::from_code(kind) else {
            return Err(reader.error(Reason::Value {
                what: "transaction kind",
                value: kind.into(),
            }));
        };
        Ok(match op {
            OpCode::Create => Self::Create(CreateTxn::read(reader)?),
            OpCode::Create2 => Self::Create2(CreateTxn::read(reader)?),
            OpCode::CreateContainer => {
                let mut create = CreateTxn::read_start(reader)?;
                create.parent_cversion = reader.i32()?;
                Self::CreateContainer(create)
            }
            OpCode::CreateTtl => {
                let mut create = CreateTxn::read_start(reader)?;
                create.parent_cversion = reader.i32()?;
                Self::CreateTtl(create, reader.i64()?)
            }
            OpCode::Delete => Self::Delete(reader.str()?),
            OpCode::DeleteContainer => Self::DeleteContainer(reader.str()?),
            OpCode::SetData => Self::SetData(SetDataTxn::read(reader)?),
            OpCode::Reconfig => Self::Reconfig(SetDataTxn::read(reader)?),
            OpCode::SetAcl => Self::SetAcl(SetAclTxn {
                path: reader.str()?,
                acl: read_acls(reader)?.unwrap_or_default(),
                version: reader.i32()?,
            }),
            OpCode::Check => Self::Check(reader.str()?, reader.i32()?),
            OpCode::Multi => {
                let n = reader.count(8)?;
                let mut txns = Vec::with_capacity(n);
                for _ in 0..n {
                    let kind = reader.i32()?;
                    let start = reader.offset() + 4;
                    let mut body = Reader::new(reader.buffer()?);
                    if kind == OpCode::Multi.code() {
                        return Err(reader.error(Reason::Value {
                            what: "kind within a multi",
                            value: kind.into(),
                        }));
                    }
                    let txn = Self::read(kind, &mut body);
                    txns.push(txn.map_err(|error| DecodeError {
                        offset: start + error.offset,
                        ..error
                    })?);
                }
                Self::Multi(txns)
            }
            OpCode::CreateSession => Self::CreateSession(reader.i32()?),
            OpCode::CloseSession => Self::CloseSession(read_close_session(reader)?),
            OpCode::Error => Self::Error(reader.i32()?),
            _ => {
                return Err(reader.error(Reason::Value {
                    what: "transaction kind",
                    value: kind.into(),
                }));
            }
        })
    }
}

impl<'a> CreateTxn<'a> {
    fn read_start(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            path: reader.str()?,
            data: reader.opt_buffer()?,
            acl: read_acls(reader)?.unwrap_or_default(),
            ephemeral: false,
            parent_cversion: -1,
        })
    }

    /// Tolerates the oldest form, which ends before the parent's cversion.
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut create = Self::read_start(reader)?;
        create.ephemeral = reader.bool()?;
        if !reader.rest().is_empty() {
            create.parent_cversion = reader.i32()?;
        }
        Ok(create)
    }

    fn write_start(&self, out: &mut Vec<u8>) {
        out.put_str(&self.path);
        out.put_opt_buffer(self.data);
        write_acls(out, &self.acl);
    }
}

impl<'a> SetDataTxn<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            path: reader.str()?,
            data: reader.opt_buffer()?,
            version: reader.i32()?,
        })
    }
}

/// A leader with closeSession bodies switched off lets the digest follow the
/// header directly; no vector takes those twelve bytes.
fn read_close_session<'a>(
    reader: &mut Reader<'a>,
) -> Result<Option<Vec<Cow<'a, str>>>, DecodeError> {
    const DIGEST_BYTES: usize = 12;
    let rest = reader.rest();
    let is_digest = rest.len() == DIGEST_BYTES && reader.clone().i32()? == TxnDigest::VERSION;
    if rest.is_empty() || is_digest {
        return Ok(None);
    }
    reader.strings().map(Some)
}

/// Reads one entry. A missing digest and trailing bytes are tolerated.
pub fn decode_txn(entry: &[u8]) -> Result<(TxnHeader, Txn<'_>, Option<TxnDigest>), DecodeError> {
    let mut reader = Reader::new(entry);
    let header = TxnHeader::read(&mut reader)?;
    let txn = Txn::read(header.kind, &mut reader)?;
    let digest = TxnDigest::read(&mut reader).ok();
    Ok((header, txn, digest))
}

/// Appends one entry.
///
/// # Panics
/// If the header's kind is not that of the body.
pub fn encode_txn(
    out: &mut Vec<u8>,
    header: &TxnHeader,
    txn: &Txn<'_>,
    digest: Option<&TxnDigest>,
) {
    assert_eq!(
        header.kind,
        txn.op().code(),
        "kind of the header and of the body"
    );
    header.write(out);
    txn.write(out);
    if let Some(digest) = digest {
        digest.write(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SessionId, Xid, Zxid};

    #[test]
    fn the_documented_entries_read_and_write() {
        let mut header = TxnHeader {
            session: SessionId(0x0100_0000_0000_0001),
            cxid: Xid(0),
            zxid: Zxid(0x1_0000_0001),
            time_ms: 1_700_000_000_000,
            kind: -10,
        };
        let digest = TxnDigest {
            version: 2,
            tree_digest: 1_371_985_504,
        };
        let mut out = Vec::new();
        encode_txn(
            &mut out,
            &header,
            &Txn::CreateSession(30_000),
            Some(&digest),
        );
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "01000000000000010000000000000001000000010000018bcfe56800fffffff6000075300000000200000000\
             51c6d660"
        );
        assert_eq!(
            decode_txn(&out).unwrap(),
            (header, Txn::CreateSession(30_000), Some(digest))
        );
        header.kind = -1;
        out.clear();
        encode_txn(&mut out, &header, &Txn::Error(-101), None);
        assert_eq!(out.len(), 36);
        assert_eq!(decode_txn(&out).unwrap(), (header, Txn::Error(-101), None));
    }

    #[test]
    fn a_digest_is_not_taken_for_closed_paths() {
        let header = TxnHeader {
            session: SessionId(1),
            cxid: Xid(0),
            zxid: Zxid(1),
            time_ms: 0,
            kind: OpCode::CloseSession.code(),
        };
        let digest = TxnDigest {
            version: 2,
            tree_digest: 7,
        };
        for paths in [None, Some(vec!["/a".into()]), Some(Vec::new())] {
            let mut out = Vec::new();
            encode_txn(
                &mut out,
                &header,
                &Txn::CloseSession(paths.clone()),
                Some(&digest),
            );
            assert_eq!(
                decode_txn(&out).unwrap(),
                (header, Txn::CloseSession(paths), Some(digest))
            );
        }
    }
}
