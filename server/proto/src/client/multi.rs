//! Atomic batches (reference: `MultiOperationRecord`, `MultiResponse`).

use super::ErrorCode;
use super::op::{CreateMode, OpCode};
use super::request::{
    CheckVersionRequest, CreateRequest, CreateTtlRequest, DeleteRequest, SetDataRequest,
};
use super::stat::Stat;
use crate::jute::{DecodeError, Put, Reader, Reason};

/// Stands before each operation and at the end of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultiHeader {
    /// Operation code, or -1.
    pub op: i32,
    /// Last header of the list?
    pub done: bool,
    /// Error code in results, -1 in requests.
    pub err: i32,
}

/// One operation of a write batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultiOp<'a> {
    /// create, create2 or createContainer: what the flags and the code of the
    /// header make of it.
    Create(OpCode, CreateRequest<'a>),
    /// createTTL with the flags of a znode that has a time to live.
    CreateTtl(CreateTtlRequest<'a>),
    /// delete.
    Delete(DeleteRequest<'a>),
    /// setData.
    SetData(SetDataRequest<'a>),
    /// check.
    Check(CheckVersionRequest<'a>),
}

/// One result of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultiResult {
    /// create: the path.
    Create(String),
    /// create2, createContainer, createTTL: path and stat.
    Create2(String, Stat),
    /// delete.
    Delete,
    /// setData.
    SetData(Stat),
    /// check.
    Check,
    /// The code of a failed batch for this operation.
    Error(i32),
}

impl MultiHeader {
    /// Stands at the end of a list.
    pub const END: Self = Self {
        op: -1,
        done: true,
        err: -1,
    };

    /// Reads nine bytes.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            op: reader.i32()?,
            done: reader.bool()?,
            err: reader.i32()?,
        })
    }

    /// Appends nine bytes.
    pub fn write(self, out: &mut impl Put) {
        out.put_i32(self.op);
        out.put_bool(self.done);
        out.put_i32(self.err);
    }
}

/// Reads the body of a multi. Kinds that do not belong into a write batch are
/// an error, as the whole request then fails with MarshallingError.
pub fn read_multi<'a>(reader: &mut Reader<'a>) -> Result<Vec<MultiOp<'a>>, DecodeError> {
    let mut ops = Vec::new();
    loop {
        let header = MultiHeader::read(reader)?;
        if header.done {
            return Ok(ops);
        }
        // Each kind starts with its path; null fails the whole batch.
        reader.clone().str()?;
        ops.push(match OpCode::from_code(header.op) {
            Some(op @ (OpCode::Create | OpCode::Create2 | OpCode::CreateContainer)) => {
                read_create(op, reader)?
            }
            Some(OpCode::CreateTtl) => read_create_ttl(reader)?,
            Some(OpCode::Delete) => MultiOp::Delete(DeleteRequest::read(reader)?),
            Some(OpCode::SetData) => MultiOp::SetData(SetDataRequest::read(reader)?),
            Some(OpCode::Check) => MultiOp::Check(CheckVersionRequest::read(reader)?),
            _ => {
                let reason = Reason::Value {
                    what: "operation of a multi",
                    value: header.op.into(),
                };
                return Err(reader.error(reason));
            }
        });
    }
}

/// Within a multi the flags decide: a container is made by any of these codes,
/// and a time to live by none of them.
fn read_create<'a>(op: OpCode, reader: &mut Reader<'a>) -> Result<MultiOp<'a>, DecodeError> {
    let create = CreateRequest::read(reader)?;
    match CreateMode::from_flags(create.flags) {
        Some(CreateMode::Container) => Ok(MultiOp::Create(OpCode::CreateContainer, create)),
        Some(mode) if !mode.is_ttl() => Ok(MultiOp::Create(op, create)),
        _ => Err(reader.error(Reason::Value {
            what: "flags of a create in a multi",
            value: create.flags.into(),
        })),
    }
}

/// With the flags of another kind the time to live counts for nothing, and
/// what is left is a create.
fn read_create_ttl<'a>(reader: &mut Reader<'a>) -> Result<MultiOp<'a>, DecodeError> {
    let request = CreateTtlRequest::read(reader)?;
    Ok(match CreateMode::from_flags(request.create.flags) {
        Some(mode) if mode.is_ttl() => MultiOp::CreateTtl(request),
        Some(CreateMode::Container) => MultiOp::Create(OpCode::CreateContainer, request.create),
        _ => MultiOp::Create(OpCode::Create, request.create),
    })
}

/// Appends the body of a multi's reply.
pub fn write_multi_results(out: &mut impl Put, results: &[MultiResult]) {
    let header = |op: OpCode| MultiHeader {
        op: op.code(),
        done: false,
        err: ErrorCode::Ok.code(),
    };
    for result in results {
        match result {
            MultiResult::Create(path) => {
                header(OpCode::Create).write(out);
                out.put_str(path);
            }
            MultiResult::Create2(path, stat) => {
                header(OpCode::Create2).write(out);
                out.put_str(path);
                stat.write(out);
            }
            MultiResult::Delete => header(OpCode::Delete).write(out),
            MultiResult::SetData(stat) => {
                header(OpCode::SetData).write(out);
                stat.write(out);
            }
            MultiResult::Check => header(OpCode::Check).write(out),
            MultiResult::Error(err) => {
                MultiHeader {
                    op: OpCode::Error.code(),
                    done: false,
                    err: *err,
                }
                .write(out);
                out.put_i32(*err);
            }
        }
    }
    MultiHeader::END.write(out);
}
