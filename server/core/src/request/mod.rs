//! From request to reply: checks and numbering on the leader, application
//! everywhere, local reads, and the order of replies.

mod apply;
mod cause;
mod client;
mod order;
mod pending;
mod prep;
mod read;
mod reply;
mod well_formed;

use zk_proto::client::OpCode;

pub(crate) use apply::replay_compared;
pub use apply::{Applied, apply, replay};
pub use cause::{Cause, ForwardNumbers};
pub use client::{Client, ReadOutcome, write_not_admitted};
pub use order::{Due, Order, Owed};
pub use prep::{Prep, Refused, WriteRequest};
pub use read::{ReadGuard, SharedView};
pub use reply::{Reply, write_event, write_reply};
pub(crate) use well_formed::is_well_formed;

/// Does a request with this code take its turn among the writes? All others
/// are answered by [`ReadGuard::serve`].
#[must_use]
pub const fn is_write(op: i32) -> bool {
    matches!(
        OpCode::from_code(op),
        Some(
            OpCode::Create
                | OpCode::Create2
                | OpCode::CreateContainer
                | OpCode::CreateTtl
                | OpCode::Delete
                | OpCode::DeleteContainer
                | OpCode::SetData
                | OpCode::SetAcl
                | OpCode::Reconfig
                | OpCode::Multi
                | OpCode::Sync
                | OpCode::CloseSession
        )
    )
}
