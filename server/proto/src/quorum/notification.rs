//! Votes on the election port (reference: `FastLeaderElection.buildMsg` and
//! `WorkerReceiver.run`). Framed by an int length outside of this module.
//!
//! | offset | field | type |
//! |---|---|---|
//! | 0 | state of the sender | int |
//! | 4 | proposed leader | long |
//! | 12 | its zxid | long |
//! | 20 | election round | long |
//! | 28 | epoch of the proposed leader | long |
//! | 36 | version, 2 | int |
//! | 40 | length n of the config text | int |
//! | 44 | config text | n bytes |

use crate::jute::{DecodeError, Put, Reader, Reason};
use crate::{Epoch, Round, Sid, Zxid};

/// What a server is doing, as peers tell each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum ServerState {
    /// In an election.
    Looking = 0,
    /// Follows a leader.
    Following = 1,
    /// Leads.
    Leading = 2,
    /// Follows without a vote.
    Observing = 3,
}

/// One vote. The sender's sid is that of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// State of the sender.
    pub state: ServerState,
    /// Proposed leader.
    pub leader: Sid,
    /// Last zxid of the proposed leader.
    pub zxid: Zxid,
    /// Round of the sender.
    pub round: Round,
    /// Current epoch of the proposed leader.
    pub peer_epoch: Epoch,
    /// 2 since 3.5; 0 for the older sizes.
    pub version: i32,
    /// The sender's committed config; empty if it sent none.
    pub config: String,
}

impl Notification {
    /// Longest frame on an election connection.
    pub const FRAME_BYTES_MAX: usize = 524_288;
    /// The version that this implementation sends.
    pub const VERSION: i32 = 2;

    /// Appends the payload in the current version.
    pub fn write(&self, out: &mut impl Put) {
        out.put_i32(self.state as i32);
        out.put_i64(self.leader.0);
        out.put_i64(self.zxid.0);
        out.put_i64(self.round.0);
        out.put_i64(self.peer_epoch.0);
        out.put_i32(Self::VERSION);
        out.put_str(&self.config);
    }

    /// Reads a frame's payload of any generation since 3.3.
    pub fn read(payload: &[u8]) -> Result<Self, DecodeError> {
        const BEFORE_PEER_EPOCH: usize = 28;
        const BEFORE_CONFIG: usize = 40;
        let mut reader = Reader::new(payload);
        let state = match reader.i32()? {
            0 => ServerState::Looking,
            1 => ServerState::Following,
            2 => ServerState::Leading,
            3 => ServerState::Observing,
            value => {
                return Err(reader.error(Reason::Value {
                    what: "server state",
                    value: value.into(),
                }));
            }
        };
        let leader = Sid(reader.i64()?);
        let zxid = Zxid(reader.i64()?);
        let round = Round(reader.i64()?);
        let mut notification = Self {
            state,
            leader,
            zxid,
            round,
            peer_epoch: zxid.epoch(),
            version: 0,
            config: String::new(),
        };
        if payload.len() == BEFORE_PEER_EPOCH {
            return Ok(notification);
        }
        notification.peer_epoch = Epoch(reader.i64()?);
        if payload.len() == BEFORE_CONFIG {
            return Ok(notification);
        }
        notification.version = reader.i32()?;
        if notification.version >= Self::VERSION {
            notification.config = reader.str()?.into_owned();
        }
        Ok(notification)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_generation_is_read() {
        let notification = Notification {
            state: ServerState::Leading,
            leader: Sid(3),
            zxid: Zxid(0x2_0000_0005),
            round: Round(4),
            peer_epoch: Epoch(3),
            version: 2,
            config: "server.1=a:1:2:participant\nversion=0".into(),
        };
        let mut bytes = Vec::new();
        notification.write(&mut bytes);
        assert_eq!(bytes.len(), 44 + notification.config.len());
        assert_eq!(Notification::read(&bytes).unwrap(), notification);
        let old = Notification::read(&bytes[..40]).unwrap();
        assert_eq!((old.version, old.peer_epoch), (0, Epoch(3)));
        assert_eq!(
            Notification::read(&bytes[..28]).unwrap().peer_epoch,
            Epoch(2)
        );
        for cut in (0..28).chain(29..40).chain(41..bytes.len()) {
            Notification::read(&bytes[..cut]).expect_err("cut off");
        }
    }
}
