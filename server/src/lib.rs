//! The shell: sockets, threads, clocks and files around the pure replica.
//!
//! What must never happen here: a decision about the protocol, a wait in the
//! driver for disk or network, a read that passes through the driver, or an
//! allocation sized by a length that was not compared with its limit.
//!
//! [`run`] is a whole server, [`block_on`] where it runs best; [`Server`] is the same in pieces, for tests.
//! [`config::ServerConfig`] is what it is told, [`Failure`] why it ends.

mod admin;
mod between_tasks;
mod clock;
mod command;
pub mod config;
mod crowd;
mod dir_lock;
mod disk_thread;
#[cfg(test)]
mod documents;
mod driver;
mod failure;
mod http;
mod inbox;
mod load;
mod log_limit;
mod metrics;
mod net;
mod probe;
mod server;
mod start_log;
mod writers;

pub use between_tasks::{BetweenTasks, block_on};
pub use failure::{Failure, Port};
pub use log_limit::LimitedLines;
pub use server::{Server, run};

/// The version whose behaviour this server has, then its own.
pub const VERSION: &str = command::VERSION;
