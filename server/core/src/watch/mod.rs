//! Watches by path and by connection (reference: `WatchManager`).
//!
//! What must never happen here: an event to a connection that may not read
//! the znode, two events of one connection for one change of a path, or an
//! order of events that depends on anything but the order of the changes.
//!
//! A watch takes some twenty bytes. A path is kept once: what stands before
//! its last slash as a number (`parents`), the rest in a packed record
//! together with its watchers (`index`, `record`); connections are small
//! numbers (`conns`). Paths with many watchers keep them in bit sets
//! (`crowd`). There is no list of paths by connection: the watches of a
//! closed connection are dead at once and are swept out bit by bit.

mod buckets;
mod conns;
mod crowd;
mod index;
mod modes;
mod parents;
mod record;
mod table;

pub use modes::WatchKind;
pub use table::{WATCHES_PER_CONNECTION_MAX, WatchSummary, WatchTable};
