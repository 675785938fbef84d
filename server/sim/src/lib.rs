//! Deterministic simulation of an ensemble: the same core and store as the
//! server, on a simulated clock, network and disk.
//!
//! A seed decides everything: delays, faults, what a power cut leaves of the
//! disk, what clients ask for. After each step the properties of `Zab.tla`
//! are checked, then the faults stop, and the ensemble must heal and hold
//! every acknowledged write. What must never happen here: anything that
//! depends on more than the seed, or a branch in the code under test that is
//! for tests only; broken builds are made by the shell around it ([`Broken`]).
//!
//! ```
//! use zk_sim::{SimConfig, World};
//! let report = World::new(SimConfig::seed(1)).run().expect("a sound build");
//! assert!(report.acked > 0);
//! ```
#![warn(missing_docs)]

mod brief;
mod broken;
mod client;
mod disk;
mod disk_thread;
mod faults;
mod invariants;
mod kinds;
mod lost_disks;
mod network;
mod oracle;
mod rare;
mod rng;
mod scenario;
mod server;
mod session;
mod show;
mod strangers;
mod trace;
mod wiretap;
mod world;

pub use broken::Broken;
pub use invariants::Violation;
pub use kinds::FaultKind;
pub use scenario::SimConfig;
pub use world::{Report, World};
