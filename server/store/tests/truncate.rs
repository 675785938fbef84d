//! A truncation that a crash ends at any of its changes, in directories where
//! the log does not reach back from its end: a leader's tree was copied in
//! between.

use std::path::{Path, PathBuf};

use zk_proto::{Epoch, Zxid};
use zk_store::{Collect, Disk, EpochName, Loaded, MemDisk, Store, StoreConfig, StoreError};

const EMPTY_IMAGE: [u8; 13] = *b"\0\0\0\0\0\0\0\0\0\0\0\x01/";

fn config() -> StoreConfig {
    StoreConfig {
        pre_alloc_kib: 0,
        ..StoreConfig::at(Path::new("/data"))
    }
}

fn dir() -> PathBuf {
    Path::new("/data/version-2").to_owned()
}

const fn zxid(epoch: i64, counter: i64) -> Zxid {
    Zxid((epoch << 32) + counter)
}

fn data(zxid: Zxid) -> Vec<u8> {
    let mut data = vec![7; 50];
    data[12..20].copy_from_slice(&zxid.0.to_be_bytes());
    data
}

/// What a member has done, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    /// Transactions of an epoch, from one counter to another.
    Logged(i64, i64, i64),
    /// The next transaction goes to a new file.
    Rolled,
    /// A periodic snapshot of what there was.
    Saved,
    /// A leader's tree took the place of everything.
    Installed(Zxid),
}

use Done::{Installed, Logged, Rolled, Saved};

fn open(disk: &MemDisk) -> Store<MemDisk> {
    Store::open(disk.clone(), config()).unwrap()
}

fn written(history: &[Done]) -> (MemDisk, Store<MemDisk>) {
    let disk = MemDisk::default();
    let mut store = open(&disk);
    store.recover(0).unwrap();
    store.save_snapshot(Zxid(0), &EMPTY_IMAGE, 0).unwrap();
    for done in history {
        match *done {
            Logged(epoch, from, to) => {
                for counter in from..=to {
                    let zxid = zxid(epoch, counter);
                    store.append([(zxid, &data(zxid)[..])]).unwrap();
                }
                store.sync().unwrap();
            }
            Rolled => store.roll().unwrap(),
            Saved => store
                .snapshots()
                .write(store.last_zxid(), &EMPTY_IMAGE, 0)
                .unwrap(),
            Installed(zxid) => {
                let mut block = Some(EMPTY_IMAGE);
                let next =
                    |out: &mut Vec<u8>| block.take().map(|it| out.extend_from_slice(&it)).is_some();
                store.install_snapshot(zxid, 0, false, next).unwrap();
            }
        }
    }
    (disk, store)
}

/// Makes all logs such as the reference writes: they do not say what they
/// follow.
fn forget_what_logs_follow(disk: &MemDisk) {
    for name in disk.list(&dir()).unwrap() {
        if name.starts_with("log.") {
            let path = dir().join(name);
            let mut content = disk.read(&path).unwrap();
            content[8..16].fill(0);
            disk.plant(&path, content);
        }
    }
}

/// Does a start find the beginning of this history, up to `to` at least?
fn check(loaded: &Loaded, history: &[Done], to: Zxid, context: &str) {
    let start = loaded.snapshot.as_ref().unwrap().zxid;
    let mut expected = Vec::new();
    for done in history {
        match *done {
            Logged(epoch, from, to) => expected.extend((from..=to).map(|n| zxid(epoch, n))),
            Rolled | Saved => {}
            // From an older snapshot no log leads across it.
            Installed(zxid) if zxid > start => break,
            Installed(_) => {}
        }
    }
    expected.retain(|zxid| *zxid > start);
    let found: Vec<_> = loaded.entries.iter().map(|(zxid, _)| *zxid).collect();
    assert!(
        expected.starts_with(&found),
        "{context}: {found:?} after {start}"
    );
    let last = loaded.last_zxid();
    assert!(last >= to, "{context}: ends at {last}");
}

/// When the work comes to its end.
const WHOLE: &str = "without a crash";

/// Ends the work on a member's files after each number of changes, by a crash of
/// the process or by a power cut, and calls `then` with the disk that is left;
/// also without any of them.
fn end_at_every_step(
    history: &[Done],
    prepare: impl Fn(&MemDisk),
    work: impl Fn(&mut Store<MemDisk>) -> Result<(), StoreError>,
    then: impl Fn(&MemDisk, &str),
) {
    let (disk, mut store) = written(history);
    prepare(&disk);
    let before = disk.changes();
    work(&mut store).unwrap();
    let changes = disk.changes() - before;
    then(&disk, WHOLE);
    for (crash_at, survives) in (0..changes).flat_map(|at| [(at, 0), (at, 1), (at, 2)]) {
        let (disk, mut store) = written(history);
        prepare(&disk);
        disk.fail_after(Some(crash_at));
        work(&mut store).expect_err("the disk fails");
        disk.fail_after(None);
        if survives > 0 {
            disk.power_cut(&mut |n| (survives - 1).min(n - 1));
        }
        let context = format!("change {crash_at} of {changes}, cut {survives}");
        then(&disk, &context);
    }
}

/// Whatever ends the truncation, a start finds a beginning of the history.
fn crash_at_every_step(history: &[Done], to: Zxid, prepare: impl Fn(&MemDisk)) {
    let truncate = |store: &mut Store<MemDisk>| {
        let is_cut = store.truncate(to)?;
        assert!(is_cut, "{history:?} to {to}");
        Ok(())
    };
    end_at_every_step(history, prepare, truncate, |disk, when| {
        let context = format!("{history:?} to {to}, {when}");
        let loaded = open(disk)
            .recover(100)
            .unwrap_or_else(|error| panic!("{context}: {error}"));
        check(&loaded, history, to, &context);
        // What it was to do can be done now.
        let mut store = open(disk);
        store.recover(0).unwrap();
        assert!(store.truncate(to).unwrap(), "{context}");
        assert_eq!(store.recover(0).unwrap().last_zxid(), to, "{context}");
    });
}

/// Trees were copied from leaders three times, and periodic snapshots lie
/// between.
const COPIED: [Done; 14] = [
    Logged(1, 1, 3),
    Saved,
    Rolled,
    Logged(1, 4, 6),
    Installed(zxid(1, 600)),
    Logged(2, 1, 3),
    Saved,
    Logged(2, 4, 5),
    Installed(zxid(3, 0)),
    Logged(3, 1, 2),
    Rolled,
    Logged(3, 3, 4),
    Installed(zxid(3, 9)),
    Logged(4, 1, 2),
];

#[test]
fn a_crash_during_a_truncation_leaves_a_beginning_of_the_history() {
    for to in [
        zxid(1, 2),
        zxid(1, 3),
        zxid(1, 5),
        zxid(1, 600),
        zxid(2, 1),
        zxid(2, 3),
        zxid(2, 5),
        zxid(3, 0),
        zxid(3, 3),
        zxid(3, 9),
        zxid(4, 1),
    ] {
        crash_at_every_step(&COPIED, to, |_| {});
    }
}

#[test]
fn the_same_in_logs_of_the_reference() {
    // Without digests nothing else tells what is missing.
    for to in [zxid(1, 2), zxid(1, 5), zxid(1, 600), zxid(2, 4), zxid(3, 2)] {
        crash_at_every_step(&COPIED, to, forget_what_logs_follow);
    }
}

/// The reference may have stopped in the middle of a snapshot: the log makes up
/// for it, until it is cut.
#[test]
fn an_unfinished_snapshot_stops_no_start_after_a_crash() {
    let history = [
        Logged(1, 1, 3),
        Rolled,
        Logged(1, 4, 6),
        Rolled,
        Logged(1, 7, 9),
    ];
    let plant = |disk: &MemDisk| {
        disk.plant(&dir().join("snapshot.100000005"), Vec::new());
        disk.plant(&dir().join("snapshot.100000008"), Vec::new());
    };
    for to in 1..=8 {
        crash_at_every_step(&history, zxid(1, to), plant);
    }
}

/// A snapshot of the reference that was written while transactions up to `end`
/// were applied.
fn plant_fuzzy(disk: &MemDisk, name: Zxid, end: Zxid) {
    let (aside, mut store) = written(&[]);
    store.recover(0).unwrap();
    store.snapshots().write(end, &EMPTY_IMAGE, 0).unwrap();
    let content = aside.read(&dir().join(format!("snapshot.{:x}", end.0)));
    let path = dir().join(format!("snapshot.{:x}", name.0));
    disk.plant(&path, content.unwrap());
}

#[test]
fn a_fuzzy_snapshot_is_never_loaded_without_the_log_that_it_needs() {
    let history = [Logged(1, 1, 5), Rolled, Logged(1, 6, 9)];
    let (name, end) = (zxid(1, 4), zxid(1, 7));
    for to in [zxid(1, 2), zxid(1, 5), zxid(1, 6)] {
        let plant = |disk: &MemDisk| plant_fuzzy(disk, name, end);
        let truncate = |store: &mut Store<MemDisk>| store.truncate(to).map(|it| assert!(it));
        end_at_every_step(&history, plant, truncate, |disk, context| {
            let loaded = open(disk).recover(0).unwrap();
            let start = loaded.snapshot.as_ref().unwrap().zxid;
            let last = loaded.last_zxid();
            assert!(
                start < name || last >= end,
                "to {to}, {context}: {start} with the log up to {last}"
            );
        });
    }
}

/// To cut such a log would drop more than is to be dropped.
#[test]
fn where_the_log_does_not_lead_nothing_is_destroyed() {
    let names = |disk: &MemDisk| {
        let mut names = disk.list(&dir()).unwrap();
        names.sort_unstable();
        names
    };
    for (history, to) in [
        (&COPIED[..], zxid(1, 7)),
        (&COPIED, zxid(1, 599)),
        (&COPIED, zxid(2, 0)),
        (&COPIED, zxid(3, 5)),
        (&COPIED, zxid(4, 9)),
    ] {
        let (disk, mut store) = written(history);
        let before = (names(&disk), store.recover(100).unwrap());
        assert!(!store.truncate(to).unwrap(), "to {to}");
        let after = (names(&disk), store.recover(100).unwrap());
        assert_eq!(after, before, "to {to}");
    }
    // Nor where the files are damaged that would be left.
    type Spoil = fn(&MemDisk, &Path);
    let files: [(&str, Spoil); 3] = [
        ("log.100000001", |disk, path| disk.remove(path).unwrap()),
        ("log.100000004", |disk, path| {
            let mut content = disk.read(path).unwrap();
            content[20] ^= 1;
            disk.plant(path, content);
        }),
        ("snapshot.0", |disk, path| disk.remove(path).unwrap()),
    ];
    for (name, damage) in files {
        let (disk, mut store) = written(&COPIED);
        damage(&disk, &dir().join(name));
        disk.remove(&dir().join("snapshot.100000003")).unwrap();
        let before = (names(&disk), store.recover(100).unwrap());
        assert!(!store.truncate(zxid(1, 5)).unwrap(), "{name}");
        let after = (names(&disk), store.recover(100).unwrap());
        assert_eq!(after, before, "{name}");
        store.append([(zxid(4, 3), &data(zxid(4, 3))[..])]).unwrap();
    }
}

/// A crash during the installation of a leader's tree leaves that tree or a
/// beginning of the old history, and never a mixture.
#[test]
fn a_crash_during_an_installation_leaves_one_history() {
    const DIGEST: u64 = 77;
    let to = [zxid(1, 2), zxid(1, 601), zxid(2, 2), zxid(3, 3), zxid(5, 0)];
    for (to, keeps_old) in to.into_iter().flat_map(|to| [(to, false), (to, true)]) {
        let install = |store: &mut Store<MemDisk>| {
            let mut block = Some(EMPTY_IMAGE);
            let next =
                |out: &mut Vec<u8>| block.take().map(|it| out.extend_from_slice(&it)).is_some();
            store
                .install_snapshot(to, DIGEST, keeps_old, next)
                .map(drop)
        };
        end_at_every_step(
            &COPIED,
            |_| {},
            install,
            |disk, when| {
                let context = format!("{to} {keeps_old}, {when}");
                let loaded = open(disk)
                    .recover(100)
                    .unwrap_or_else(|error| panic!("{context}: {error}"));
                let digest = loaded.snapshot.as_ref().and_then(|it| it.digest);
                if digest == Some((to, DIGEST)) {
                    assert!(loaded.entries.is_empty(), "{context}: a mixture");
                } else {
                    assert_ne!(when, WHOLE, "the tree of the leader");
                    check(&loaded, &COPIED, Zxid(0), &context);
                }
            },
        );
    }
}

/// A server may stop between the log and the epoch file. What a truncation
/// leaves is of the epoch of its data then, as at a start.
#[test]
fn what_is_left_has_the_epoch_that_a_start_finds() {
    let (disk, mut store) = written(&[Logged(1, 1, 3), Logged(2, 1, 4)]);
    store.save_epoch(EpochName::Accepted, Epoch(2)).unwrap();
    store.save_epoch(EpochName::Current, Epoch(1)).unwrap();
    drop(store);
    let mut store = open(&disk);
    assert_eq!(store.recover(0).unwrap().current_epoch, Some(Epoch(2)));
    let left = store
        .load_through(zxid(2, 2), 0, &mut Collect::default())
        .unwrap()
        .unwrap();
    assert_eq!(left.last_zxid(), zxid(2, 2));
    assert_eq!(left.accepted_epoch, Some(Epoch(2)));
    assert_eq!(left.current_epoch, Some(Epoch(2)));
}
