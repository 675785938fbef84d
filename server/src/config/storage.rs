//! How data is kept on disk, beyond where.

use zk_core::auth::IDS_WIRE_BYTES_MAX;
use zk_store::Compression;

use super::values::Values;

/// Rules for logs and snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageConfig {
    /// `snapSizeLimitInKb`: a snapshot is due after about this many bytes of
    /// log; `None` where only transactions are counted.
    pub snap_size_limit_bytes: Option<u64>,
    /// `txnLogSizeLimitInKb`: bytes after which a new log file begins, beside
    /// those that a snapshot begins.
    pub log_size_limit_bytes: Option<u64>,
    /// `fsync.warningthresholdms`: a longer sync is logged and counted.
    pub sync_warning_ms: u64,
    /// `snapshot.trust.empty`: replay logs that have no snapshot.
    pub trust_empty_snapshot: bool,
    /// `snapshot.compression.method`.
    pub snapshot_compression: Compression,
    /// `datadir.autocreate`: make missing directories.
    pub create_dirs: bool,
    /// `db.autocreate`: an empty data directory is an empty tree, even
    /// without the `initialize` marker.
    pub create_database: bool,
    /// `jute.maxbuffer` and `jute.maxbuffer.extrasize`, bytes: longest record
    /// in a file or from a peer.
    pub record_bytes_max: usize,
}

impl StorageConfig {
    pub(super) fn of(values: &Values<'_>) -> Self {
        let kib = |key| values.int_unless_off::<u64>(key).filter(|kib| *kib > 0);
        let frame_bytes_max: usize = values.int("jute.maxbuffer");
        let extra = values.int_unless_off("jute.maxbuffer.extrasize");
        let method = values.text("snapshot.compression.method").to_lowercase();
        let compression = Compression::from_method(&method);
        Self {
            snap_size_limit_bytes: kib("snapSizeLimitInKb").map(|kib| kib * 1024),
            log_size_limit_bytes: kib("txnLogSizeLimitInKb").map(|kib| kib * 1024),
            sync_warning_ms: values.int("fsync.warningthresholdms"),
            trust_empty_snapshot: values.is_on("snapshot.trust.empty"),
            snapshot_compression: compression.expect("the catalogue names them all"),
            create_dirs: values.is_on("datadir.autocreate"),
            create_database: values.is_on("db.autocreate"),
            record_bytes_max: frame_bytes_max
                + extra.unwrap_or(frame_bytes_max).max(EXTRA_BYTES_MIN),
        }
    }

    /// Longest data, and longest authinfo, of a packet of a learner, in bytes.
    /// Whatever a learner forwards for its clients stays within it: the longest
    /// frame of a client is a few bytes longer in a REQUEST packet, and what a
    /// connection has proved to be goes with each of its writes.
    pub(crate) fn request_bytes_max(&self) -> usize {
        self.record_bytes_max.max(IDS_WIRE_BYTES_MAX)
    }
}

/// `jute.maxbuffer.extrasize` is at least this, as in the reference
/// (`BinaryInputArchive.extraMaxBuffer`).
const EXTRA_BYTES_MIN: usize = 1024;
