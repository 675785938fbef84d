//! The 32 bytes before every transaction.
//!
//! | offset | field | type |
//! |---|---|---|
//! | 0 | session | long |
//! | 8 | xid of the request | int |
//! | 12 | zxid | long |
//! | 20 | wall clock of the leader, ms | long |
//! | 28 | kind | int |

use crate::jute::{DecodeError, Put, Reader};
use crate::{SessionId, Xid, Zxid};

/// Length of a [`TxnHeader`].
pub const TXN_HEADER_BYTES: usize = 32;

/// Who asked for the transaction, when, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxnHeader {
    /// Session of the request; 0 for the server's own.
    pub session: SessionId,
    /// The request's xid.
    pub cxid: Xid,
    /// Place in the order.
    pub zxid: Zxid,
    /// Leader's wall clock in ms.
    pub time_ms: i64,
    /// An operation code.
    pub kind: i32,
}

impl TxnHeader {
    /// Reads 32 bytes.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            session: SessionId(reader.i64()?),
            cxid: Xid(reader.i32()?),
            zxid: Zxid(reader.i64()?),
            time_ms: reader.i64()?,
            kind: reader.i32()?,
        })
    }

    /// Appends 32 bytes.
    pub fn write(&self, out: &mut impl Put) {
        out.put_i64(self.session.0);
        out.put_i32(self.cxid.0);
        out.put_i64(self.zxid.0);
        out.put_i64(self.time_ms);
        out.put_i32(self.kind);
    }
}
