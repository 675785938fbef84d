//! Servers of one ensemble in memory. Messages, disk operations and their
//! completions are separate steps, so that a test decides what happens first
//! and what a crash loses.

mod broadcasts;
mod discovery;
mod disk;
mod elections;
mod golden;
mod hostile;
mod lost_disks;
mod random;
mod strangers;
mod syncs;
mod world;

pub(super) use world::{config, entry};
