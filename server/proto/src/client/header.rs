//! Headers of requests and replies.

use crate::jute::{DecodeError, Put, Reader};
use crate::{Xid, Zxid};

/// Request numbers with a meaning of their own (reference: `ClientCnxn`).
pub mod special_xid {
    use crate::Xid;
    /// Watch event.
    pub const NOTIFICATION: Xid = Xid(-1);
    /// Ping; the reply always carries it.
    pub const PING: Xid = Xid(-2);
    /// Auth packet.
    pub const AUTH: Xid = Xid(-4);
    /// setWatches and setWatches2.
    pub const SET_WATCHES: Xid = Xid(-8);
}

/// Start of every request after the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// The client's number of the request.
    pub xid: Xid,
    /// Operation code, unchecked.
    pub op: i32,
}

/// Start of every reply after the handshake; 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyHeader {
    /// Number of the request, or one of [`special_xid`].
    pub xid: Xid,
    /// Last zxid that this server had applied.
    pub zxid: Zxid,
    /// 0 or the code of an error.
    pub err: i32,
}

impl RequestHeader {
    /// Reads the eight bytes.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            xid: Xid(reader.i32()?),
            op: reader.i32()?,
        })
    }

    /// Appends the eight bytes.
    pub fn write(self, out: &mut impl Put) {
        out.put_i32(self.xid.0);
        out.put_i32(self.op);
    }
}

impl ReplyHeader {
    /// Reads the sixteen bytes.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            xid: Xid(reader.i32()?),
            zxid: Zxid(reader.i64()?),
            err: reader.i32()?,
        })
    }

    /// Appends the sixteen bytes.
    pub fn write(self, out: &mut impl Put) {
        out.put_i32(self.xid.0);
        out.put_i64(self.zxid.0);
        out.put_i32(self.err);
    }
}
