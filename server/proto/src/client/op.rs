//! Operation codes and create modes (reference: `ZooDefs.OpCode`, `CreateMode`).

macro_rules! ops {
    ($($(#[$doc:meta])* $name:ident = $code:literal),* $(,)?) => {
        /// Operations that this implementation gives a meaning to.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(i32)]
        pub enum OpCode { $($(#[$doc])* $name = $code),* }

        impl OpCode {
            /// The operation with this code, if known.
            #[must_use]
            pub const fn from_code(code: i32) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }

            /// The number on the wire.
            #[must_use]
            pub const fn code(self) -> i32 { self as i32 }
        }
    };
}

ops! {
    /// Create; the reply is the path.
    Create = 1,
    /// Delete.
    Delete = 2,
    /// Exists.
    Exists = 3,
    /// Data and stat.
    GetData = 4,
    /// Set data.
    SetData = 5,
    /// ACL and stat.
    GetAcl = 6,
    /// Set ACL.
    SetAcl = 7,
    /// Names of children.
    GetChildren = 8,
    /// Fence.
    Sync = 9,
    /// Ping.
    Ping = 11,
    /// Names of children and stat.
    GetChildren2 = 12,
    /// Version check; only inside a multi.
    Check = 13,
    /// Atomic batch of writes.
    Multi = 14,
    /// Create; the reply is path and stat.
    Create2 = 15,
    /// Change of membership.
    Reconfig = 16,
    /// Is a watch registered?
    CheckWatches = 17,
    /// Remove watches.
    RemoveWatches = 18,
    /// Create a container.
    CreateContainer = 19,
    /// Remove an empty container (server internal).
    DeleteContainer = 20,
    /// Create with a time to live.
    CreateTtl = 21,
    /// Batch of reads.
    MultiRead = 22,
    /// Authentication.
    Auth = 100,
    /// Re-register one-shot watches.
    SetWatches = 101,
    /// SASL exchange.
    Sasl = 102,
    /// Ephemerals of this session.
    GetEphemerals = 103,
    /// Number of descendants.
    GetAllChildrenNumber = 104,
    /// Re-register watches of all modes.
    SetWatches2 = 105,
    /// Persistent watches.
    AddWatch = 106,
    /// Identities of this connection.
    WhoAmI = 107,
    /// Open a session (server internal).
    CreateSession = -10,
    /// Close a session.
    CloseSession = -11,
    /// Failed transaction (transaction type only).
    Error = -1,
}

/// Flags of a create request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateMode {
    /// Flag 0.
    Persistent,
    /// Flag 1.
    Ephemeral,
    /// Flag 2.
    PersistentSequential,
    /// Flag 3.
    EphemeralSequential,
    /// Flag 4.
    Container,
    /// Flag 5.
    PersistentWithTtl,
    /// Flag 6.
    PersistentSequentialWithTtl,
}

impl CreateMode {
    /// The mode with this flag value, if known.
    #[must_use]
    pub const fn from_flags(flags: i32) -> Option<Self> {
        Some(match flags {
            0 => Self::Persistent,
            1 => Self::Ephemeral,
            2 => Self::PersistentSequential,
            3 => Self::EphemeralSequential,
            4 => Self::Container,
            5 => Self::PersistentWithTtl,
            6 => Self::PersistentSequentialWithTtl,
            _ => return None,
        })
    }

    /// Does the znode go away with its session?
    #[must_use]
    pub const fn is_ephemeral(self) -> bool {
        matches!(self, Self::Ephemeral | Self::EphemeralSequential)
    }

    /// Does the znode go away some time after its last change?
    #[must_use]
    pub const fn is_ttl(self) -> bool {
        matches!(
            self,
            Self::PersistentWithTtl | Self::PersistentSequentialWithTtl
        )
    }

    /// Does the name get a counter?
    #[must_use]
    pub const fn is_sequential(self) -> bool {
        matches!(
            self,
            Self::PersistentSequential
                | Self::EphemeralSequential
                | Self::PersistentSequentialWithTtl
        )
    }
}
