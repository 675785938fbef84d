//! Who a client is: the packets auth (100) and sasl (102) and the reply to
//! whoAmI (107).

use std::borrow::Cow;

use crate::jute::{DecodeError, Put, Reader};

/// Body of auth. Its type is not used by anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthPacket<'a> {
    /// `digest`, `ip`, ...
    pub scheme: Option<Cow<'a, str>>,
    /// What the scheme asks for, e.g. `user:password`.
    pub auth: Option<&'a [u8]>,
}

impl<'a> AuthPacket<'a> {
    /// Reads the body.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.i32()?;
        Ok(Self {
            scheme: reader.opt_str()?,
            auth: reader.opt_buffer()?,
        })
    }
}

/// Appends the body of a reply to whoAmI: scheme and user of each identity.
pub fn write_client_infos<'i>(
    out: &mut impl Put,
    infos: impl ExactSizeIterator<Item = (&'i str, &'i str)>,
) {
    out.put_count(infos.len());
    for (scheme, user) in infos {
        out.put_str(scheme);
        out.put_str(user);
    }
}
