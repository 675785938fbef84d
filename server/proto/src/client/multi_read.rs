//! Batches of reads (reference: `MultiOperationRecord`, `Op`).

use std::borrow::Cow;

use super::multi::MultiHeader;
use super::op::OpCode;
use super::request::PathWatchRequest;
use crate::jute::{DecodeError, Reader, Reason};

/// One operation of a read batch. It leaves no watch, whatever it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadOp<'a> {
    /// getChildren of this path.
    GetChildren(Cow<'a, str>),
    /// getData of this path.
    GetData(Cow<'a, str>),
}

/// Reads the body of a multiRead. Kinds that do not belong into a read batch
/// are an error, as the whole request then fails with MarshallingError.
pub fn read_multi_read<'a>(reader: &mut Reader<'a>) -> Result<Vec<ReadOp<'a>>, DecodeError> {
    let mut ops = Vec::new();
    loop {
        let header = MultiHeader::read(reader)?;
        if header.done {
            return Ok(ops);
        }
        ops.push(match OpCode::from_code(header.op) {
            Some(OpCode::GetChildren) => ReadOp::GetChildren(PathWatchRequest::read(reader)?.path),
            Some(OpCode::GetData) => ReadOp::GetData(PathWatchRequest::read(reader)?.path),
            _ => {
                let reason = Reason::Value {
                    what: "operation of a multiRead",
                    value: header.op.into(),
                };
                return Err(reader.error(reason));
            }
        });
    }
}
