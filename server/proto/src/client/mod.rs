//! What travels on the client port.

mod acl;
mod auth;
mod connect;
mod error;
mod header;
mod multi;
mod multi_read;
mod op;
mod request;
mod stat;
mod watch;

pub use acl::{Acl, Id, perms, read_acls, write_acls};
pub use auth::{AuthPacket, write_client_infos};
pub use connect::{ConnectRequest, ConnectResponse, PASSWORD_BYTES, session_password};
pub use error::ErrorCode;
pub use header::{ReplyHeader, RequestHeader, special_xid};
pub use multi::{MultiHeader, MultiOp, MultiResult, read_multi, write_multi_results};
pub use multi_read::{ReadOp, read_multi_read};
pub use op::{CreateMode, OpCode};
pub use request::{
    CheckVersionRequest, CreateRequest, CreateTtlRequest, DeleteRequest, PathWatchRequest,
    ReconfigRequest, SetAclRequest, SetDataRequest, write_children,
};
pub use stat::{Stat, StatPersisted};
pub use watch::{AddWatchMode, EventKind, SetWatches, WatcherEvent, WatcherType, WatchesRequest};
