//! One-shot watches by path and by connection (reference: `WatchManager`).
//!
//! What must never happen here: an event to a connection that may not read
//! the znode, two events for one registration, or an order of events that
//! depends on anything but the order of the changes.

mod table;

pub use table::{WATCHES_PER_CONNECTION_MAX, WatchSummary, WatchTable};
