//! Which fault is switched on.

#[path = "table.rs"]
mod table;

use std::cell::Cell;

pub use table::{Edit, FAULTS, Fault};

thread_local! {
    static ON: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Switches one fault on, by its place in [`FAULTS`], for the replicas that
/// this thread runs; `None` makes them sound.
pub fn switch(fault: Option<usize>) {
    ON.set(fault.unwrap_or(usize::MAX));
}

/// Is this fault switched on?
#[must_use]
pub fn on(fault: usize) -> bool {
    ON.get() == fault
}
