//! From the files to the state to start with. One thread reads and checks the
//! snapshot, another builds the tree out of the pieces, which are few at any
//! time: the file is never in memory as a whole.

use std::fs;
use std::mem;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Instant;

use zk_core::tree::{Tree, TreeError, TreeLoader};
use zk_core::{LogEntry, RebuildError, Recovered, Seam, SeamCheck};
use zk_proto::{Epoch, Zxid};
use zk_store::{
    ImageSink, Loaded, RealDisk, Store, StoreConfig, StoreError, VERSION_DIR, zxid_in_name,
};

use crate::config::ServerConfig;
use crate::metrics::Metrics;

/// What starting from a disk can run into.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// Starting empty beside data would be a loss that nobody notices.
    #[error(
        "{empty} holds no data, but {found} does; set dataDir to {wanted}, or move that directory \
         away if this server is to begin with an empty tree", empty = .empty.display(),
        found = .found.display(), wanted = .wanted.display()
    )]
    Elsewhere {
        /// Where the configuration looks for data.
        empty: PathBuf,
        /// Where there is some.
        found: PathBuf,
        /// The `dataDir` that would find it.
        wanted: PathBuf,
    },
    /// Without them the start would go back to the last snapshot.
    #[error(
        "{found} holds data, but {empty}, where it is looked for, holds none; move the log.* and \
         snapshot.* files there, or away if this server is to do without them",
        found = .found.display(), empty = .empty.display()
    )]
    Above {
        /// Where data is looked for.
        empty: PathBuf,
        /// The directory above, where there is some.
        found: PathBuf,
    },
    #[error("cannot start a thread that loads the data")]
    Thread(#[source] std::io::Error),
}

/// Opens the store and loads what it holds. Blocks, for minutes if there is much.
pub(crate) fn load(
    config: &ServerConfig,
    metrics: &Metrics,
) -> Result<(Store<RealDisk>, Recovered), LoadError> {
    let start = Instant::now();
    RealDisk::keep_reserve();
    look_elsewhere(&config.data_dir, &config.data_log_dir)?;
    let mut store = Store::open(
        RealDisk,
        StoreConfig {
            pre_alloc_kib: config.log_prealloc_bytes / 1024,
            force_sync: config.force_sync,
            data_dir: config.data_dir.clone(),
            log_dir: config.data_log_dir.clone(),
            trust_empty_snapshot: config.storage.trust_empty_snapshot,
            snapshot_compression: config.storage.snapshot_compression,
            create_dirs: config.storage.create_dirs,
            create_database: config.storage.create_database,
            log_bytes_max: config.storage.log_size_limit_bytes,
        },
    )?;
    let logs = config.data_log_dir.join(VERSION_DIR);
    let had_logs = holds(&logs, is_log);
    let recovered = recover(&mut store, config.commit_log_count, metrics)?;
    metrics.load_time.record_time(start.elapsed(), 1);
    let zxid = recovered.last_zxid;
    if recovered.current_epoch > Epoch(0) && !had_logs {
        tracing::warn!(
            %zxid,
            dir = %logs.display(),
            "no transaction log, so the tree is that of the newest snapshot; expected after a copy from a \
             leader or out of a backup; otherwise set dataLogDir to where the log.* files are, and start again"
        );
    }
    tracing::info!(%zxid, elapsed_ms = start.elapsed().as_millis(), "data loaded");
    Ok((store, recovered))
}

/// Refuses to start empty where `dataDir` is one level too high or too low:
/// other distributions keep `data/version-2` in the directory that they name.
/// And where logs were moved to `dataLogDir` itself.
fn look_elsewhere(data_dir: &Path, log_dir: &Path) -> Result<(), LoadError> {
    let empty = data_dir.join(VERSION_DIR);
    if log_dir != data_dir && holds_data(log_dir) && !holds_data(&log_dir.join(VERSION_DIR)) {
        return Err(LoadError::Above {
            empty: log_dir.join(VERSION_DIR),
            found: log_dir.to_owned(),
        });
    }
    if holds_data(&empty) || holds_data(&log_dir.join(VERSION_DIR)) {
        return Ok(());
    }
    let refused = |found: PathBuf, wanted: &Path| LoadError::Elsewhere {
        empty: empty.clone(),
        found,
        wanted: wanted.to_owned(),
    };
    if let Some(above) = data_dir.parent()
        && data_dir.file_name() == Some(VERSION_DIR.as_ref())
        && holds_data(data_dir)
    {
        return Err(refused(data_dir.to_owned(), above));
    }
    // What cannot be listed is told by the store.
    for entry in fs::read_dir(data_dir).into_iter().flatten().flatten() {
        let below = entry.path();
        let found = below.join(VERSION_DIR);
        if below != log_dir && holds_data(&found) {
            return Err(refused(found, &below));
        }
    }
    Ok(())
}

/// Is there a log or a snapshot?
fn holds_data(dir: &Path) -> bool {
    holds(dir, |name| zxid_in_name(name).is_some())
}

/// Does the directory have a file with such a name?
fn holds(dir: &Path, is_wanted: impl Fn(&str) -> bool) -> bool {
    let names = fs::read_dir(dir).into_iter().flatten().flatten();
    names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .any(|name| is_wanted(&name))
}

fn is_log(name: &str) -> bool {
    name.starts_with("log.") && zxid_in_name(name).is_some()
}

/// Loads what the store holds.
pub(crate) fn recover(
    store: &mut Store<RealDisk>,
    tail_max: usize,
    metrics: &Metrics,
) -> Result<Recovered, LoadError> {
    let (loaded, built) = read(|pieces| store.recover_into(tail_max, pieces))?;
    let is_fresh = loaded.snapshot.is_none() && loaded.entries.is_empty();
    let recovered = replay(loaded, built, metrics)?;
    if is_fresh {
        let tree = &recovered.tree;
        store.save_snapshot(recovered.last_zxid, &tree.image(), tree.digest())?;
    }
    Ok(recovered)
}

/// Cuts the log after `last` and loads what is left. Where what is left would
/// not be the whole history up to `last`, nothing is cut and all is loaded.
pub(crate) fn truncate(
    store: &mut Store<RealDisk>,
    last: Zxid,
    tail_max: usize,
    metrics: &Metrics,
) -> Result<Recovered, LoadError> {
    let (left, built) = read(|pieces| store.load_through(last, tail_max, pieces))?;
    let Some(left) = left else {
        return recover(store, tail_max, metrics);
    };
    match replay(left, built, metrics) {
        Ok(left) if store.truncate(last)? => Ok(left),
        Ok(_) => recover(store, tail_max, metrics),
        Err(error) => {
            let error = anyhow::Error::from(error);
            tracing::warn!(%last, error = format!("{error:#}"), "the log is not cut");
            recover(store, tail_max, metrics)
        }
    }
}

/// What has become of a snapshot's image, if there was one.
type Built = Option<Result<Tree, TreeError>>;

/// Reads on this thread and builds the tree on another.
fn read<T>(
    read: impl FnOnce(&mut Pieces) -> Result<T, StoreError>,
) -> Result<(T, Built), LoadError> {
    thread::scope(|scope| {
        let (steps, taken) = sync_channel(PIECES_MAX);
        let (used, spare) = channel();
        let builder = thread::Builder::new()
            .name("load".into())
            .spawn_scoped(scope, move || build(&taken, &used))
            .map_err(LoadError::Thread)?;
        let mut pieces = Pieces { steps, spare };
        let loaded = read(&mut pieces);
        drop(pieces);
        let built = builder.join().unwrap_or_else(|panic| resume_unwind(panic));
        Ok((loaded?, built))
    })
}

/// Applies the log to the tree of the snapshot.
fn replay(loaded: Loaded<()>, built: Built, metrics: &Metrics) -> Result<Recovered, LoadError> {
    let digest = loaded.snapshot.as_ref().and_then(|it| it.digest);
    let mut tree = match (loaded.snapshot, built) {
        (Some(_), Some(tree)) => tree.map_err(RebuildError::Snapshot)?,
        _ => Tree::new(),
    };
    let entry = |(zxid, data)| LogEntry { zxid, data };
    metrics.txns_loaded.record(loaded.entries.len() as u64, 1);
    let seams = loaded.seams.iter().map(|seam| Seam {
        before: seam.before,
        after: seam.after,
        needs_proof: seam.needs_proof,
    });
    let is_exact = digest.is_some_and(|(zxid, digest)| {
        let by = digest.wrapping_sub(tree.digest());
        zxid == tree.last_zxid() && (by == 0 || tree.follow_charset(by))
    });
    let recovered = Recovered::replay(
        tree,
        SeamCheck::new(seams.collect(), is_exact),
        loaded.entries.into_iter().map(entry),
        loaded.tail.into_iter().map(entry).collect(),
        loaded.accepted_epoch,
        loaded.current_epoch,
    );
    recovered.map_err(|error| with_path(error, loaded.seams))
}

/// Names the log in which transactions are missing.
fn with_path(error: RebuildError, seams: Vec<zk_store::Seam>) -> LoadError {
    if let RebuildError::Gap { after, .. } = error
        && let Some(seam) = seams.into_iter().find(|seam| seam.after == after)
    {
        return seam.gap().into();
    }
    error.into()
}

enum Step {
    Begin(Zxid),
    Piece(Vec<u8>),
}

/// The reading thread's end.
struct Pieces {
    steps: SyncSender<Step>,
    /// Buffers that were used.
    spare: Receiver<Vec<u8>>,
}

impl Pieces {
    fn send(&self, step: Step) {
        // A thread that is gone has panicked, which shows when it is joined.
        let _ = self.steps.send(step);
    }
}

impl ImageSink for Pieces {
    type Image = ();

    fn begin(&mut self, zxid: Zxid, _bytes: u64) {
        self.send(Step::Begin(zxid));
    }

    fn take(&mut self, piece: &mut Vec<u8>) {
        let next = self.spare.try_recv().unwrap_or_default();
        self.send(Step::Piece(mem::replace(piece, next)));
    }

    /// The tree is there once all is read; logs are read meanwhile.
    fn end(&mut self) {}
}

/// The tree of the last image that has begun.
fn build(steps: &Receiver<Step>, used: &Sender<Vec<u8>>) -> Option<Result<Tree, TreeError>> {
    let mut loader = None;
    for step in steps {
        match step {
            Step::Begin(zxid) => loader = Some(Ok(TreeLoader::new(zxid))),
            Step::Piece(piece) => {
                if let Some(Ok(building)) = &mut loader
                    && let Err(error) = building.load_whole(&piece)
                {
                    loader = Some(Err(error));
                }
                // Nobody needs it once all is read.
                let _ = used.send(piece);
            }
        }
    }
    Some(loader?.and_then(TreeLoader::finish))
}

/// Pieces on their way. Enough that a short wait of one thread is none of the other.
const PIECES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use zk_core::request::replay;
    use zk_proto::client::Acl;
    use zk_proto::txn::{CreateTxn, Txn, TxnDigest, TxnHeader, encode_txn};
    use zk_proto::{SessionId, Xid};

    /// Some pieces long.
    const ZNODES: i64 = 12_000;

    fn create(zxid: i64, path: &str) -> Vec<u8> {
        create_with(zxid, path, None)
    }

    fn create_with(zxid: i64, path: &str, digest: Option<u64>) -> Vec<u8> {
        let txn = Txn::Create(CreateTxn {
            path: path.into(),
            data: Some(&[7; 100]),
            acl: vec![Acl::open()],
            ephemeral: false,
            parent_cversion: -1,
        });
        let header = TxnHeader {
            session: SessionId(1),
            cxid: Xid(1),
            zxid: Zxid(zxid),
            time_ms: 1_790_000_000_000,
            kind: txn.op().code(),
        };
        let mut entry = Vec::new();
        let digest = digest.map(|tree_digest| TxnDigest {
            version: TxnDigest::VERSION,
            tree_digest,
        });
        encode_txn(&mut entry, &header, &txn, digest.as_ref());
        entry
    }

    fn grown(count: i64) -> Tree {
        let mut tree = Tree::new();
        for zxid in 1..=count {
            replay(&mut tree, &create(zxid, &format!("/n{zxid}"))).unwrap();
        }
        tree
    }

    fn store(dir: &Path) -> Store<RealDisk> {
        Store::open(RealDisk, StoreConfig::at(dir)).unwrap()
    }

    fn start(dir: &Path) -> Result<Recovered, LoadError> {
        recover(&mut store(dir), 500, &Metrics::default())
    }

    #[test]
    fn the_tree_of_the_newest_whole_snapshot_is_built_whatever_came_before() {
        let dir = tempfile::tempdir().unwrap();
        let fresh = start(dir.path()).unwrap();
        assert_eq!(fresh.tree.digest(), Tree::new().digest());
        let (small, large) = (grown(3), grown(ZNODES));
        let mut store = store(dir.path());
        store.recover(0).unwrap();
        for tree in [&small, &large] {
            let snapshots = store.snapshots();
            let written = snapshots.write(tree.last_zxid(), &tree.image(), tree.digest());
            written.unwrap();
        }
        let entries: Vec<_> = (1..=ZNODES + 1)
            .map(|zxid| (Zxid(zxid), create(zxid, &format!("/n{zxid}"))))
            .collect();
        let entries = entries.iter().map(|(zxid, entry)| (*zxid, &entry[..]));
        store.append(entries).unwrap();
        store.sync().unwrap();
        drop(store);
        let want = grown(ZNODES + 1).digest();
        let load = || {
            let recovered = start(dir.path()).unwrap();
            assert_eq!(recovered.last_zxid, Zxid(ZNODES + 1));
            assert_eq!(recovered.tail.len(), 500);
            assert_eq!(recovered.tree.digest(), want);
        };
        load();
        // In the middle; the pieces before are sound and were built.
        let path = dir.path().join(format!("version-2/snapshot.{ZNODES:x}"));
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        bytes[whole.len() / 2] ^= 1;
        fs::write(&path, bytes).unwrap();
        load();
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        load();
    }

    #[test]
    fn data_one_level_down_or_up_is_found_and_not_passed_over() {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        start(&data).unwrap();
        let look = |dir: &Path| look_elsewhere(dir, dir).map_err(|error| error.to_string());
        assert_eq!(look(&data), Ok(()));
        assert_eq!(look(&root.path().join("other")), Ok(()));
        let said = look(root.path()).unwrap_err();
        let wanted = format!("set dataDir to {},", data.display());
        assert!(said.contains(&wanted), "{said}");
        let said = look(&data.join("version-2")).unwrap_err();
        assert!(said.contains(&wanted), "{said}");
        // A log directory below the data directory is as configured.
        fs::create_dir(root.path().join("version-2")).unwrap();
        assert!(look_elsewhere(root.path(), &data).is_ok());
        fs::write(root.path().join("version-2/snapshot.0"), b"").unwrap();
        assert_eq!(look(root.path()), Ok(()));
    }

    #[test]
    fn logs_in_the_log_directory_itself_are_not_passed_over() {
        let root = tempfile::tempdir().unwrap();
        let (data, logs) = (root.path().join("data"), root.path().join("logs"));
        start(&data).unwrap();
        fs::create_dir(&logs).unwrap();
        assert!(look_elsewhere(&data, &logs).is_ok());
        fs::write(logs.join("log.1"), b"").unwrap();
        let said = look_elsewhere(&data, &logs).unwrap_err().to_string();
        let there = logs.join("version-2");
        assert!(
            said.contains(&format!("but {},", there.display())),
            "{said}"
        );
        fs::create_dir(&there).unwrap();
        fs::rename(logs.join("log.1"), there.join("log.1")).unwrap();
        assert!(look_elsewhere(&data, &logs).is_ok());
    }

    #[test]
    fn a_sound_file_that_holds_no_tree_stops_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let tree = grown(ZNODES);
        let mut image = tree.image();
        let at = image.windows(5).position(|it| it == b"/n100").unwrap();
        image[at + 2] = b'/';
        let mut store = store(dir.path());
        store.recover(0).unwrap();
        store
            .snapshots()
            .write(tree.last_zxid(), &image, tree.digest())
            .unwrap();
        drop(store);
        let error = start(dir.path()).map(|it| it.last_zxid).unwrap_err();
        let said = error.to_string();
        assert!(matches!(error, LoadError::Rebuild(_)), "{said}");
        assert!(said.contains("has no parent"), "{said}");
    }

    const EPOCH: i64 = 1 << 32;

    /// Epoch 1 with three transactions and epoch 2 with two, in logs that do
    /// not say what they follow, as those of the reference. `holds` tells which
    /// transactions are in the logs, `digest` which digest they carry.
    fn of_reference(holds: fn(i64) -> bool, digest: fn(&Tree) -> Option<u64>) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        start(dir.path()).unwrap();
        let mut store = store(dir.path());
        store.recover(0).unwrap();
        let mut tree = Tree::new();
        for (n, zxid) in [1, 2, 3, EPOCH + 1, EPOCH + 2].into_iter().enumerate() {
            let path = format!("/{}{n}", if n < 3 { "n" } else { "ü" });
            let zxid = EPOCH + zxid;
            replay(&mut tree, &create(zxid, &path)).unwrap();
            let data = create_with(zxid, &path, digest(&tree));
            if zxid & (EPOCH - 1) == 1 {
                store.roll().unwrap();
            }
            if holds(zxid) {
                store.append([(Zxid(zxid), &data[..])]).unwrap();
            }
        }
        store.sync().unwrap();
        drop(store);
        for file in fs::read_dir(dir.path().join("version-2")).unwrap() {
            let path = file.unwrap().path();
            if path
                .file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("log.")
            {
                let mut content = fs::read(&path).unwrap();
                content[8..16].fill(0);
                content.truncate(4096);
                fs::write(&path, content).unwrap();
            }
        }
        dir
    }

    fn is_gap(outcome: Result<Recovered, LoadError>) -> bool {
        match outcome {
            Err(LoadError::Store(error @ StoreError::Gap { .. })) => {
                assert!(error.to_string().contains("version-2/log."), "{error}");
                true
            }
            Err(error) => panic!("{error}"),
            Ok(_) => false,
        }
    }

    #[test]
    fn digests_tell_whether_something_is_missing_before_a_new_epoch() {
        let whole = of_reference(|_| true, EXACT);
        let recovered = start(whole.path()).unwrap();
        assert_eq!(recovered.last_zxid, Zxid(2 * EPOCH + 2));
        assert_eq!(recovered.tail.len(), 5);
        assert!(is_gap(start(
            of_reference(|zxid| zxid != EPOCH + 3, EXACT).path()
        )));
        assert!(is_gap(start(
            of_reference(|zxid| zxid > 2 * EPOCH, EXACT).path()
        )));
        // Nothing tells, so that others are not told either.
        let mute = of_reference(|zxid| zxid != EPOCH + 3, |_| None);
        let recovered = start(mute.path()).unwrap();
        assert_eq!(recovered.last_zxid, Zxid(2 * EPOCH + 2));
        let tail: Vec<_> = recovered.tail.iter().map(|entry| entry.zxid.0).collect();
        assert_eq!(tail, [2 * EPOCH + 1, 2 * EPOCH + 2]);
    }

    #[test]
    fn where_a_snapshot_at_the_start_of_an_epoch_cannot_be_read_a_digest_has_to_agree() {
        let started = |digest| {
            let dir = of_reference(|_| true, digest);
            fs::write(dir.path().join("version-2/snapshot.200000000"), b"").unwrap();
            start(dir.path())
        };
        assert!(!is_gap(started(EXACT)));
        assert!(!is_gap(started(LATIN_1)));
        assert!(is_gap(started(|_| None)));
    }

    /// The first path beyond ASCII comes with a new epoch: the digest differs
    /// from there on although nothing is missing.
    #[test]
    fn paths_in_the_charset_of_a_java_machine_are_no_gap() {
        let recovered = start(of_reference(|_| true, LATIN_1).path()).unwrap();
        assert_eq!(recovered.last_zxid, Zxid(2 * EPOCH + 2));
        assert_eq!(recovered.tree.leader_digest(), recovered.tree.digest());
        let lacks = of_reference(|zxid| zxid != EPOCH + 3, LATIN_1);
        assert!(is_gap(start(lacks.path())));
    }

    const EXACT: fn(&Tree) -> Option<u64> = |tree| Some(tree.digest());
    const LATIN_1: fn(&Tree) -> Option<u64> = |tree| {
        let [_, above] = tree.beyond_ascii().unwrap_or_default().differences;
        Some(tree.digest().wrapping_add(above))
    };
}
