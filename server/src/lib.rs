//! The shell around the replica.
pub mod config;
