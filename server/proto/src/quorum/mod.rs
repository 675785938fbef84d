//! What travels between servers: the election port and the learner port.

mod hello;
mod notification;
mod packet;
mod scan;

pub use hello::{Hello, HelloError};
pub use notification::{Notification, ServerState};
pub use packet::{LearnerInfo, PROTOCOL_VERSION, PacketKind, QuorumPacket};
pub use scan::PacketScan;
