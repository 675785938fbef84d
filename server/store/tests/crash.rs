//! Power cuts and process crashes at each change of the disk: what was
//! confirmed is there afterwards, what was not may be, nothing else is.

mod random;

use std::path::Path;

use bytes::Bytes;
use random::Random;
use zk_proto::client::StatPersisted;
use zk_proto::snapshot::{NodeRecord, OPEN_ACL_REF, write_acl_table, write_end, write_sessions};
use zk_proto::{Epoch, Zxid};
use zk_store::{Disk, EpochName, Loaded, MemDisk, Store, StoreConfig, StoreError};

fn config() -> StoreConfig {
    StoreConfig {
        pre_alloc_kib: 1,
        ..StoreConfig::at(Path::new("/data"))
    }
}

fn image(mark: i64) -> Vec<u8> {
    let mut out = Vec::new();
    write_sessions(&mut out, [].into_iter());
    write_acl_table(&mut out, [].into_iter());
    let data = mark.to_string();
    NodeRecord {
        path: "".into(),
        data: Some(data.as_bytes()),
        acl_ref: OPEN_ACL_REF,
        stat: StatPersisted::default(),
    }
    .write(&mut out);
    write_end(&mut out);
    out
}

/// A transaction whose bytes tell which history it belongs to.
fn entry(zxid: i64, history: u8) -> (Zxid, Bytes) {
    let mut data = vec![history; 40 + (zxid as usize % 7) * 90];
    data[12..20].copy_from_slice(&zxid.to_be_bytes());
    (Zxid(zxid), data.into())
}

fn append(store: &mut Store<MemDisk>, entries: &[(Zxid, Bytes)]) -> Result<(), StoreError> {
    store.append(entries.iter().map(|(zxid, data)| (*zxid, &data[..])))
}

/// What a script has been promised so far, and what it may find besides.
#[derive(Clone, Debug, Default)]
struct Model {
    /// Snapshot and history, oldest alternative first. The newest is the aim
    /// of the step under way.
    histories: Vec<Vec<(Zxid, Bytes)>>,
    /// Entries of the newest history that are confirmed.
    confirmed: usize,
    epochs: Vec<Option<Epoch>>,
}

type Step = (
    &'static str,
    fn(&mut Store<MemDisk>, &mut Model) -> Result<(), StoreError>,
);

fn grow(
    store: &mut Store<MemDisk>,
    model: &mut Model,
    from: i64,
    to: i64,
    mark: u8,
) -> Result<(), StoreError> {
    let entries: Vec<_> = (from..=to).map(|zxid| entry(zxid, mark)).collect();
    let history = model.histories.last_mut().unwrap();
    history.extend(entries.iter().cloned());
    let all = history.len();
    append(store, &entries)?;
    store.sync()?;
    model.confirmed = all;
    Ok(())
}

const STEPS: &[Step] = &[
    ("first snapshot", |store, _| {
        store.save_snapshot(Zxid(0), &image(0), 0)
    }),
    ("append", |store, model| grow(store, model, 1, 3, 1)),
    ("epoch", |store, model| {
        model.epochs.push(Some(Epoch(0)));
        store.save_epoch(EpochName::Current, Epoch(0))?;
        model.epochs = vec![Some(Epoch(0))];
        Ok(())
    }),
    ("append on", |store, model| grow(store, model, 4, 9, 1)),
    ("snapshot", |store, _| {
        store.save_snapshot(Zxid(9), &image(9), 9)
    }),
    ("append behind it", |store, model| {
        grow(store, model, 10, 14, 1)
    }),
    ("roll", |store, _| store.roll()),
    ("append to a third file", |store, model| {
        grow(store, model, 15, 20, 1)
    }),
    ("truncate", |store, model| {
        let mut left = model.histories[0].clone();
        left.truncate(12);
        model.confirmed = 12;
        model.histories.push(left.clone());
        assert!(store.truncate(Zxid(12))?);
        store.recover(0)?;
        model.histories = vec![left];
        Ok(())
    }),
    ("append after the cut", |store, model| {
        let entries: Vec<_> = (13..=16).map(|zxid| entry(zxid, 2)).collect();
        model.histories[0].extend(entries.iter().cloned());
        append(store, &entries)?;
        store.sync()?;
        model.confirmed = 16;
        Ok(())
    }),
    ("truncate before the snapshot", |store, model| {
        let mut left = model.histories[0].clone();
        left.truncate(6);
        model.confirmed = 6;
        model.histories.push(left.clone());
        assert!(store.truncate(Zxid(6))?);
        store.recover(0)?;
        model.histories = vec![left];
        Ok(())
    }),
    ("epochs", |store, model| {
        store.save_epoch(EpochName::Accepted, Epoch(1))?;
        model.epochs.push(Some(Epoch(1)));
        store.save_epoch(EpochName::Current, Epoch(1))?;
        model.epochs = vec![Some(Epoch(1))];
        Ok(())
    }),
    ("install a leader's snapshot", |store, model| {
        let mut kept = model.histories[0].clone();
        kept.truncate(4);
        model.confirmed = 4;
        model.histories.push(kept);
        // Stands for all transactions up to 4 of another history.
        let installed: Vec<_> = (1..=4).map(|zxid| entry(zxid, 3)).collect();
        model.histories.push(installed.clone());
        store.install_snapshot(Zxid(4), 4, true, whole(&image(4)))?;
        model.histories = vec![installed];
        Ok(())
    }),
    ("append after it", |store, model| {
        grow(store, model, 5, 7, 4)
    }),
    ("purge", |store, _| {
        for zxid in 7..=10 {
            store.save_snapshot(Zxid(7), &image(7), zxid)?;
        }
        store.purge(3).map(drop)
    }),
];

/// Is `loaded` one of the histories that the model allows?
fn check(loaded: &Loaded, model: &Model, context: &str) {
    let Some(snapshot) = &loaded.snapshot else {
        assert_eq!(model.confirmed, 0, "{context}: lost everything");
        assert!(loaded.entries.is_empty(), "{context}");
        return;
    };
    assert!(
        model.epochs.contains(&loaded.current_epoch),
        "{context}: {:?}",
        loaded.current_epoch
    );
    let start = snapshot.zxid.0 as usize;
    assert_eq!(snapshot.image, image(snapshot.zxid.0), "{context}");
    let end = start + loaded.entries.len();
    assert!(
        end >= model.confirmed,
        "{context}: ends at {end}, confirmed {}",
        model.confirmed
    );
    let fits = model.histories.iter().any(|history| {
        history
            .get(start..end)
            .is_some_and(|part| part == loaded.entries)
    });
    assert!(fits, "{context}: from {start} to {end} of no history");
}

fn run(
    steps: &[Step],
    store: &mut Store<MemDisk>,
    model: &mut Model,
) -> Result<(), (usize, StoreError)> {
    for (n, (_, step)) in steps.iter().enumerate() {
        step(store, model).map_err(|error| (n, error))?;
    }
    Ok(())
}

fn start() -> (MemDisk, Store<MemDisk>, Model) {
    let disk = MemDisk::default();
    let mut store = Store::open(disk.clone(), config()).unwrap();
    store.recover(100).unwrap();
    let model = Model {
        histories: vec![Vec::new()],
        confirmed: 0,
        epochs: vec![None],
    };
    (disk, store, model)
}

#[test]
fn a_crash_at_any_change_leaves_what_was_confirmed() {
    let (disk, mut store, mut model) = start();
    let before = disk.changes();
    run(STEPS, &mut store, &mut model).unwrap();
    let changes = disk.changes() - before;
    assert!(changes > 60, "{changes} changes");
    for crash_at in 0..changes {
        for seed in 0..30 {
            let (disk, mut store, mut model) = start();
            disk.fail_after(Some(crash_at));
            let (step, _) = run(STEPS, &mut store, &mut model).unwrap_err();
            let context = format!(
                "crash at change {crash_at} in {:?}, seed {seed}",
                STEPS[step].0
            );
            append(&mut store, &[entry(99, 1)]).expect_err("a failed store stays failed");
            let mut random = Random(seed * 1000 + crash_at);
            if seed == 0 {
                // Only the process dies, the cache survives it. Whatever is
                // read then must also survive a power cut after that.
                disk.fail_after(None);
            } else {
                disk.power_cut(&mut |n| random.below(n));
            }
            let mut store = Store::open(disk.clone(), config()).unwrap();
            let loaded = store
                .recover(100)
                .unwrap_or_else(|error| panic!("{context}: {error}"));
            check(&loaded, &model, &context);
            disk.power_cut(&mut |_| 0);
            let mut store = Store::open(disk.clone(), config()).unwrap();
            let again = store.recover(100).unwrap();
            assert_eq!(again, loaded, "{context}: not durable");
        }
    }
}

#[test]
fn entries_go_on_after_every_recovery() {
    let mut random = Random(7);
    for round in 0..300 {
        let (disk, mut store, _) = start();
        store.save_snapshot(Zxid(0), &image(0), 0).unwrap();
        let mut history: Vec<(Zxid, Bytes)> = Vec::new();
        let mut confirmed = 0;
        for life in 0..6_u8 {
            for _ in 0..random.below(5) {
                let next = history.len() as i64 + 1;
                let batch: Vec<_> = (next..=next + random.below(4) as i64)
                    .map(|zxid| entry(zxid, life))
                    .collect();
                append(&mut store, &batch).unwrap();
                history.extend(batch);
                if random.below(3) > 0 {
                    store.sync().unwrap();
                    confirmed = history.len();
                }
                if random.below(4) == 0 {
                    store.roll().unwrap();
                    confirmed = history.len();
                }
            }
            disk.power_cut(&mut |n| random.below(n));
            store = Store::open(disk.clone(), config()).unwrap();
            let loaded = store.recover(3).unwrap();
            let n = loaded.entries.len();
            assert!(n >= confirmed, "round {round}: {n} of {confirmed} entries");
            history.truncate(n);
            assert_eq!(loaded.entries, history, "round {round}");
            assert_eq!(loaded.tail, history[n.saturating_sub(3)..], "round {round}");
            confirmed = n;
        }
    }
}

/// A disk writes the sectors of an append in any order. Entries behind a header
/// that is not there would look like a damaged log.
#[test]
fn no_power_cut_leaves_entries_without_the_header_of_their_log() {
    for seed in 0..200 {
        let mut random = Random(seed);
        let (disk, mut store, _) = start();
        store.save_snapshot(Zxid(0), &image(0), 0).unwrap();
        let entries: Vec<_> = (1..=9).map(|zxid| entry(zxid, 1)).collect();
        append(&mut store, &entries).unwrap();
        disk.power_cut_reordered(&mut |n| random.below(n));
        let log = disk.read(Path::new("/data/version-2/log.1"));
        let log = log.unwrap_or_default();
        assert!(log.is_empty() || log.starts_with(b"ZKLG"), "seed {seed}");
    }
}

/// The image as a single block.
fn whole(image: &[u8]) -> impl FnMut(&mut Vec<u8>) -> bool {
    let mut block = Some(image);
    move |out| {
        block
            .take()
            .map(|block| out.extend_from_slice(block))
            .is_some()
    }
}
