//! Sessions as the leader sees them: who is alive, until when, and through
//! which server (reference: `SessionTrackerImpl`, `LeaderSessionTracker`).

mod running;
mod tracker;

pub use running::Running;
pub use tracker::{Owner, SessionTracker};
