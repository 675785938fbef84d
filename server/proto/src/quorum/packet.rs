//! Packets between leader and learners: a raw jute stream without length
//! prefix (reference: `QuorumPacket`, constants of `Leader`).

use bytes::Bytes;

use crate::client::Id;
use crate::jute::{DecodeError, Put, Reader, Reason};
use crate::{Epoch, Sid, Zxid};

/// The learner protocol's version since 3.3.
pub const PROTOCOL_VERSION: i32 = 0x10000;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal),* $(,)?) => {
        /// What a packet says.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(i32)]
        pub enum PacketKind { $($(#[$doc])* $name = $code),* }

        impl PacketKind {
            /// The kind with this number, if known.
            #[must_use]
            pub const fn from_code(code: i32) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }
        }
    };
}

kinds! {
    /// A learner forwards a client's request.
    Request = 1,
    /// The leader proposes a transaction.
    Proposal = 2,
    /// A follower has a proposal on its disk, or answers NEWLEADER.
    Ack = 3,
    /// A proposal is committed.
    Commit = 4,
    /// Heartbeat.
    Ping = 5,
    /// Is this session alive?
    Revalidate = 6,
    /// Answer to a forwarded sync.
    Sync = 7,
    /// Proposal and commit in one, for observers.
    Inform = 8,
    /// Commit of a reconfig.
    CommitAndActivate = 9,
    /// End of synchronization, first half.
    NewLeader = 10,
    /// A follower introduces itself.
    FollowerInfo = 11,
    /// End of synchronization: serve.
    UpToDate = 12,
    /// Synchronization by missing transactions.
    Diff = 13,
    /// Synchronization by cutting the log.
    Trunc = 14,
    /// Synchronization by a whole tree; a raw stream follows the packet.
    Snap = 15,
    /// An observer introduces itself.
    ObserverInfo = 16,
    /// The leader's new epoch.
    LeaderInfo = 17,
    /// The learner accepts the epoch.
    AckEpoch = 18,
    /// INFORM of a reconfig.
    InformAndActivate = 19,
}

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumPacket {
    /// A number of [`PacketKind`], or an unknown one, which is to be ignored.
    pub kind: i32,
    /// Meaning depends on the kind.
    pub zxid: Zxid,
    /// Meaning depends on the kind.
    pub data: Option<Bytes>,
    /// Identities of the client, in requests only.
    pub authinfo: Option<Vec<Id>>,
}

/// What a learner says of itself in FOLLOWERINFO and OBSERVERINFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnerInfo {
    /// Its sid.
    pub sid: Sid,
    /// Its protocol version.
    pub protocol_version: i32,
    /// Version of its committed config.
    pub config_version: i64,
}

impl QuorumPacket {
    /// A packet without authinfo.
    #[must_use]
    pub const fn new(kind: PacketKind, zxid: Zxid, data: Option<Bytes>) -> Self {
        Self {
            kind: kind as i32,
            zxid,
            data,
            authinfo: None,
        }
    }

    /// The kind, if known.
    #[must_use]
    pub const fn known_kind(&self) -> Option<PacketKind> {
        PacketKind::from_code(self.kind)
    }

    /// Appends the packet.
    pub fn write(&self, out: &mut impl Put) {
        out.put_i32(self.kind);
        out.put_i64(self.zxid.0);
        out.put_opt_buffer(self.data.as_deref());
        match &self.authinfo {
            None => out.put_i32(-1),
            Some(ids) => {
                out.put_count(ids.len());
                ids.iter().for_each(|id| id.write(out));
            }
        }
    }

    /// Reads a packet from the front of `bytes`; `Ok(None)` asks for more.
    /// Returns the packet, its data sharing `bytes`' storage, and its length.
    /// `data_bytes_max` bounds the data and the authinfo; a longer one is an
    /// error as soon as its length is seen.
    pub fn decode(
        bytes: &Bytes,
        data_bytes_max: usize,
    ) -> Result<Option<(Self, usize)>, DecodeError> {
        match Self::try_decode(bytes, data_bytes_max) {
            Err(DecodeError {
                reason: Reason::Truncated,
                ..
            }) => Ok(None),
            other => other.map(Some),
        }
    }

    fn try_decode(bytes: &Bytes, data_bytes_max: usize) -> Result<(Self, usize), DecodeError> {
        const HEAD_BYTES: usize = 12;
        let mut reader = Reader::new(bytes);
        let kind = reader.i32()?;
        let zxid = Zxid(reader.i64()?);
        let length = reader.clone().i32()?;
        if usize::try_from(length).is_ok_and(|n| n > data_bytes_max) {
            return Err(reader.error(Reason::Length(length)));
        }
        let data = reader
            .opt_buffer()?
            .map(|data| bytes.slice(HEAD_BYTES + 4..HEAD_BYTES + 4 + data.len()));
        let ids_at = reader.offset();
        let count = reader.i32()?;
        let authinfo = match usize::try_from(count) {
            Err(_) => None,
            Ok(n) => {
                let ids = (0..n).map(|_| {
                    if reader.offset() - ids_at > data_bytes_max {
                        return Err(reader.error(Reason::Length(count)));
                    }
                    Ok(Id {
                        scheme: text(&mut reader, data_bytes_max)?,
                        id: text(&mut reader, data_bytes_max)?,
                    })
                });
                Some(ids.collect::<Result<_, _>>()?)
            }
        };
        Ok((
            Self {
                kind,
                zxid,
                data,
                authinfo,
            },
            reader.offset(),
        ))
    }
}

impl LearnerInfo {
    /// Reads the data of FOLLOWERINFO or OBSERVERINFO: 8, 12 or 20 bytes.
    pub fn read(data: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(data);
        Ok(Self {
            sid: Sid(reader.i64()?),
            protocol_version: if reader.rest().is_empty() {
                0
            } else {
                reader.i32()?
            },
            config_version: if reader.rest().is_empty() {
                0
            } else {
                reader.i64()?
            },
        })
    }

    /// The twenty bytes.
    #[must_use]
    pub fn encode(self) -> Bytes {
        let mut out = Vec::with_capacity(20);
        out.put_i64(self.sid.0);
        out.put_i32(self.protocol_version);
        out.put_i64(self.config_version);
        out.into()
    }
}

impl QuorumPacket {
    /// The zxid by which packets of the discovery phase carry an epoch.
    #[must_use]
    pub const fn epoch_zxid(epoch: Epoch) -> Zxid {
        Zxid::new(epoch, 0)
    }
}

/// A text of an identity. One beyond the limit is refused at once instead of
/// asking for its bytes.
fn text(reader: &mut Reader<'_>, bytes_max: usize) -> Result<String, DecodeError> {
    let length = reader.clone().i32()?;
    if usize::try_from(length).is_ok_and(|n| n > bytes_max) {
        return Err(reader.error(Reason::Length(length)));
    }
    Ok(reader.opt_str()?.unwrap_or_default().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_followerinfo_reads_and_writes() {
        let info = LearnerInfo {
            sid: Sid(2),
            protocol_version: PROTOCOL_VERSION,
            config_version: 0,
        };
        let packet = QuorumPacket::new(PacketKind::FollowerInfo, Zxid(0), Some(info.encode()));
        let mut out = Vec::new();
        packet.write(&mut out);
        let want = b"\0\0\0\x0b\0\0\0\0\0\0\0\0\0\0\0\x14\0\0\0\0\0\0\0\x02\0\x01\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff";
        assert_eq!(out, want);
        let bytes = Bytes::from(out);
        assert_eq!(
            QuorumPacket::decode(&bytes, 100).unwrap(),
            Some((packet, 40))
        );
        for cut in 0..40 {
            assert_eq!(
                QuorumPacket::decode(&bytes.slice(..cut), 100).unwrap(),
                None
            );
        }
        QuorumPacket::decode(&bytes, 19).expect_err("data beyond the limit");
        assert_eq!(LearnerInfo::read(&info.encode()).unwrap(), info);
    }

    #[test]
    fn authinfo_is_read_and_bounded() {
        let mut packet = QuorumPacket::new(
            PacketKind::Request,
            Zxid(-1),
            Some(Bytes::from_static(b"xy")),
        );
        packet.authinfo = Some(vec![Id {
            scheme: "ip".into(),
            id: "127.0.0.1".into(),
        }]);
        let mut out = Vec::new();
        packet.write(&mut out);
        let bytes = Bytes::from(out.clone());
        assert_eq!(
            QuorumPacket::decode(&bytes, 100).unwrap(),
            Some((packet, out.len()))
        );
        let scheme_at = out.len() - (4 + 2 + 4 + 9);
        out[scheme_at..scheme_at + 4].copy_from_slice(&i32::MAX.to_be_bytes());
        QuorumPacket::decode(&out.into(), 100).expect_err("a text beyond the limit");
    }
}
