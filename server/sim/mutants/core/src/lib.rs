//! The replica with faults that can be switched on, for the simulator only.
//! The rest is written by the build script from the sources of `zk-core`.

pub mod faults;

include!(concat!(env!("OUT_DIR"), "/lib.rs"));
