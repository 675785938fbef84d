//! Sockets: clients, votes, and the links between leader and learners.

mod backlog;
mod client;
mod connection;
mod dial;
mod election;
mod endings;
mod frames;
mod http_port;
mod link;
mod listed;
mod listen;
mod mailbox;
mod newcomers;
mod quorum;
mod registry;
mod request_throttle;
mod resolver;
mod seldom;
mod spare;
mod taking;
mod throttle;
mod walks;
mod work;

pub(crate) use backlog::Backlog;
pub(crate) use client::{ClientPort, Clients};
pub(crate) use election::Mesh;
pub(crate) use http_port::HttpPort;
pub(crate) use link::LinkOutbox;
pub(crate) use listed::Listed;
pub(crate) use listen::{BACKLOG, BindError, Bound, bind_any, bind_first, bind_host};
pub(crate) use mailbox::Farewell;
pub(crate) use quorum::QuorumPort;
pub(crate) use registry::{ConnStats, Registry, ShownConn};
pub(crate) use request_throttle::RequestThrottle;
pub(crate) use resolver::Resolver;
pub(crate) use walks::Walks;
