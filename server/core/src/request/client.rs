//! A client as the requests of its connection see it, and the packets by
//! which it says who it is (reference: `ZooKeeperServer.processPacket`).

use std::net::IpAddr;
use std::sync::Arc;

use zk_proto::client::{AuthPacket, ErrorCode, Id, ReplyHeader};
use zk_proto::jute::{Put, Reader};
use zk_proto::{Xid, Zxid};

use super::reply::frame;
use crate::ConnId;
use crate::auth::{AuthConfig, add_id};

/// What to do with the connection after a request that was answered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// Go on.
    Answered,
    /// Go on; the client's writes have the ids that it has now.
    Authenticated,
    /// Send what was appended, then close.
    Close,
}

/// One connection.
#[derive(Clone, Debug)]
pub struct Client {
    conn: ConnId,
    remote: IpAddr,
    ids: Arc<[Id]>,
    looked_at: u32,
}

impl Client {
    /// A connection from this address, which is all that is known of it.
    #[must_use]
    pub fn new(conn: ConnId, remote: IpAddr) -> Self {
        Self::with_ids(conn, remote, Self::ids_at(remote))
    }

    /// Like [`Self::new`], with what [`Self::ids_at`] gives for the address:
    /// connections of one address can share it.
    #[must_use]
    pub const fn with_ids(conn: ConnId, remote: IpAddr, ids: Arc<[Id]>) -> Self {
        Self {
            conn,
            remote,
            ids,
            looked_at: 0,
        }
    }

    /// What a connection from this address is by itself.
    #[must_use]
    pub fn ids_at(remote: IpAddr) -> Arc<[Id]> {
        Arc::new([AuthConfig::ip_id(remote)])
    }

    /// Its number.
    #[must_use]
    pub const fn conn(&self) -> ConnId {
        self.conn
    }

    /// Entries of access lists, and ephemerals, that its last read has looked
    /// at.
    #[must_use]
    pub const fn looked_at(&self) -> usize {
        self.looked_at as usize
    }

    pub(super) fn has_looked_at(&mut self, entries: usize) {
        self.looked_at = u32::try_from(entries).unwrap_or(u32::MAX);
    }

    /// What it has proved to be.
    #[must_use]
    pub const fn ids(&self) -> &Arc<[Id]> {
        &self.ids
    }

    /// Takes an auth packet and appends the reply. Ids come and never go.
    pub(super) fn authenticate(
        &mut self,
        auth: &AuthConfig,
        xid: Xid,
        body: &mut Reader<'_>,
        out: &mut Vec<u8>,
    ) -> ReadOutcome {
        // The reference drops a connection whose packet it cannot read.
        let Ok(packet) = AuthPacket::read(body) else {
            return ReadOutcome::Close;
        };
        let scheme = packet.scheme.unwrap_or_default();
        let added = match auth.authenticate(&scheme, packet.auth, self.remote) {
            Ok(new) => {
                let mut ids = self.ids.to_vec();
                let fit = new.into_iter().all(|id| add_id(&mut ids, id));
                self.ids = ids.into();
                fit
            }
            Err(_) => false,
        };
        let (err, outcome) = if added {
            (ErrorCode::Ok, ReadOutcome::Authenticated)
        } else {
            // A stranger's word: neither long nor with line breaks.
            let scheme: String = scheme.chars().take(SCHEME_CHARS_LOGGED).collect();
            tracing::info!(conn = self.conn.0, remote = %self.remote, ?scheme, "authentication failed");
            (ErrorCode::AuthFailed, ReadOutcome::Close)
        };
        frame(out, at_no_zxid(xid, err), |_| {});
        outcome
    }
}

/// How much of the name of an authentication scheme that is not known the log shows.
const SCHEME_CHARS_LOGGED: usize = 64;

/// Appends the refusal of a request of a connection that lacks what every
/// connection has to prove; it is to be closed then (reference:
/// `AuthenticationHelper.enforceAuthentication`).
pub fn write_not_admitted(out: &mut Vec<u8>, xid: Xid) {
    let err = ErrorCode::SessionClosedRequireSaslAuth;
    frame(out, at_no_zxid(xid, err), |_| {});
}

/// Without SASL the reference answers a token with none.
pub(super) fn sasl(xid: Xid, body: &mut Reader<'_>, out: &mut Vec<u8>) -> ReadOutcome {
    // A null token, or none at all, ends the connection there.
    if !matches!(body.opt_buffer(), Ok(Some(_))) {
        return ReadOutcome::Close;
    }
    frame(out, at_no_zxid(xid, ErrorCode::Ok), |out| {
        out.put_opt_buffer(None)
    });
    ReadOutcome::Answered
}

const fn at_no_zxid(xid: Xid, err: ErrorCode) -> ReplyHeader {
    ReplyHeader {
        xid,
        zxid: Zxid::ZERO,
        err: err.code(),
    }
}
