//! The handshake that opens or re-attaches a session
//! (reference: `ProtocolManager`, `ZooKeeperServer.processConnectRequest`).

use crate::jute::{DecodeError, Put, Reader};
use crate::{SessionId, Zxid};

/// Length of a session password.
pub const PASSWORD_BYTES: usize = 16;

/// First frame of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectRequest {
    /// Clients send 0; not checked.
    pub protocol_version: i32,
    /// Highest zxid the client has seen.
    pub last_zxid_seen: Zxid,
    /// Wanted session timeout in ms.
    pub timeout_ms: i32,
    /// 0 for a new session.
    pub session_id: SessionId,
    /// Password of the session; empty when null.
    pub password: Vec<u8>,
    /// `None` when the trailing byte is absent (clients before 3.4).
    pub read_only: Option<bool>,
}

/// Answer to a [`ConnectRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectResponse {
    /// Negotiated timeout in ms; 0 refuses the session.
    pub timeout_ms: i32,
    /// 0 refuses the session.
    pub session_id: SessionId,
    /// Zeros refuse the session.
    pub password: [u8; PASSWORD_BYTES],
    /// Written only when the request carried the byte.
    pub read_only: Option<bool>,
}

impl ConnectRequest {
    /// Reads a frame's payload.
    pub fn read(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        Ok(Self {
            protocol_version: reader.i32()?,
            last_zxid_seen: Zxid(reader.i64()?),
            timeout_ms: reader.i32()?,
            session_id: SessionId(reader.i64()?),
            password: reader.buffer()?.to_vec(),
            read_only: reader.bool().ok(),
        })
    }

    /// Appends the payload, as a client would.
    pub fn write(&self, out: &mut impl Put) {
        out.put_i32(self.protocol_version);
        out.put_i64(self.last_zxid_seen.0);
        out.put_i32(self.timeout_ms);
        out.put_i64(self.session_id.0);
        out.put_buffer(&self.password);
        if let Some(read_only) = self.read_only {
            out.put_bool(read_only);
        }
    }
}

impl ConnectResponse {
    /// The answer that tells a client that its session is gone.
    #[must_use]
    pub const fn refused(read_only: Option<bool>) -> Self {
        Self {
            timeout_ms: 0,
            session_id: SessionId(0),
            password: [0; PASSWORD_BYTES],
            read_only,
        }
    }

    /// Appends the payload.
    pub fn write(&self, out: &mut impl Put) {
        out.put_i32(0);
        out.put_i32(self.timeout_ms);
        out.put_i64(self.session_id.0);
        out.put_buffer(&self.password);
        if let Some(read_only) = self.read_only {
            out.put_bool(read_only);
        }
    }
}

/// The password that belongs to a session id: sixteen bytes of
/// `java.util.Random` seeded with the id and a constant, so that a session can
/// move between servers of either kind (reference: `ZooKeeperServer.generatePasswd`).
#[must_use]
pub fn session_password(id: SessionId) -> [u8; PASSWORD_BYTES] {
    const SECRET: i64 = 0xB341_5C00;
    const MULTIPLIER: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;
    let mut state = ((id.0 ^ SECRET) as u64 ^ MULTIPLIER) & MASK;
    let mut password = [0; PASSWORD_BYTES];
    for four in password.chunks_exact_mut(4) {
        state = state.wrapping_mul(MULTIPLIER).wrapping_add(0xB) & MASK;
        four.copy_from_slice(&((state >> 16) as u32).to_le_bytes());
    }
    password
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_those_of_a_jvm() {
        for (id, want) in [
            (0x1, 0x054c_c74a_3732_7db2_15e7_02e2_0c73_f005_u128),
            (
                0x0100_0000_0000_0000,
                0xf22a_cd4a_97e6_9d6d_20a4_9bb6_38ea_db38,
            ),
            (
                0x0100_0abc_d123_0000,
                0xbfe6_dcad_e00a_07a5_35ad_4586_29a6_c6fd,
            ),
        ] {
            assert_eq!(
                session_password(SessionId(id)),
                want.to_be_bytes(),
                "{id:x}"
            );
        }
    }

    #[test]
    fn the_read_only_byte_is_optional() {
        let mut request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid(0),
            timeout_ms: 30_000,
            session_id: SessionId(0),
            password: vec![0; 16],
            read_only: Some(false),
        };
        for (read_only, bytes) in [(Some(false), 45), (None, 44)] {
            request.read_only = read_only;
            let mut out = Vec::new();
            request.write(&mut out);
            assert_eq!(out.len(), bytes);
            assert_eq!(ConnectRequest::read(&out).unwrap(), request);
            let mut response = Vec::new();
            ConnectResponse::refused(read_only).write(&mut response);
            assert_eq!(response.len(), bytes - 8);
        }
    }
}
