//! Servers of one ensemble in memory. Messages, disk operations and their
//! completions are separate steps, so that a test decides what happens first
//! and what a crash loses.

mod broadcasts;
mod discovery;
mod disk;
mod elections;
mod golden;
mod hostile;
mod impostors;
mod lost_disks;
mod random;
mod strangers;
mod syncs;
mod world;

use std::net::Ipv4Addr;

use zk_proto::Sid;

use crate::Origin;

pub(super) use world::{config, entry};

/// Where connections of a server come from.
pub(super) fn home(sid: Sid) -> Origin {
    Origin {
        address: Ipv4Addr::new(10, 0, 0, sid.0 as u8).into(),
        is_listed: true,
    }
}

/// An address that is none of a server's host.
pub(super) fn elsewhere(last: u8) -> Origin {
    Origin {
        address: Ipv4Addr::new(10, 9, 9, last).into(),
        is_listed: false,
    }
}
