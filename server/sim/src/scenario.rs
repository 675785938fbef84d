//! What a run is made of.

use crate::{Broken, FaultKind};

/// What a run is made of. Everything else follows from the seed.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// Decides everything.
    pub seed: u64,
    /// Voters.
    pub servers: usize,
    /// Clients.
    pub clients: usize,
    /// How long faults are injected, in simulated ms.
    pub fault_ms: u64,
    /// Gives up after this many events.
    pub events_max: u64,
    /// Faults that this run leaves out.
    pub without: Vec<FaultKind>,
    /// A deliberately broken build.
    pub broken: Option<Broken>,
    /// Ends here, in simulated ms, without a look at the end.
    pub until_ms: Option<u64>,
    /// Keep the trace.
    pub trace: bool,
}

impl SimConfig {
    /// Three servers, or five with every tenth seed, and four clients, sound,
    /// with every kind of fault but those of [`FaultKind::OFF`].
    #[must_use]
    pub fn seed(seed: u64) -> Self {
        Self {
            seed,
            servers: if seed % 10 == 5 { 5 } else { 3 },
            clients: 4,
            fault_ms: 8_000,
            events_max: 400_000,
            without: FaultKind::OFF.to_vec(),
            broken: None,
            until_ms: None,
            trace: false,
        }
    }
}

/// `tickTime` of the servers.
pub(crate) const TICK_MS: u64 = 100;
/// `initLimit`.
pub(crate) const INIT_LIMIT: u32 = 10;
/// `syncLimit`.
pub(crate) const SYNC_LIMIT: u32 = 5;
/// `znode.container.checkIntervalMs` of the servers.
pub(crate) const CONTAINER_CHECK_INTERVAL_MS: u64 = 300;
/// Bounds of session timeouts.
pub(crate) const SESSION_TIMEOUT_MS: (i32, i32) = (400, 2_000);
/// This long after the last fault each client must have written something.
pub(crate) const HEAL_MS: u64 = 5_000;
/// All servers must show the same tree this long after the last request, when
/// all sessions have ended.
pub(crate) const SETTLE_MS: u64 = 5_000;
/// Wall clock at the start.
pub(crate) const WALL_START_MS: i64 = 1_700_000_000_000;
/// Longest transaction that servers propose and read.
pub(crate) const TXN_BYTES_MAX: usize = 400;
/// Sessions that a leader closes at once at most because they have expired.
pub(crate) const CLOSINGS_MAX: usize = 100;
