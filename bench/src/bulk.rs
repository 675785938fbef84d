//! Many znodes, watches or sessions on one server, made over blocking connections.

use std::io::Read;
use std::ops::Range;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::json;

use crate::args::BulkArgs;
use crate::codec;
use crate::load::znode_data;
use crate::report::{print, rounded};
use crate::session::Session;

/// Creates `count` znodes of 100 bytes, [`CHILDREN`] in each parent.
pub(crate) fn fill(args: &BulkArgs) -> Result<()> {
    let begin = Instant::now();
    let mut session = Session::open(args.server)?;
    session.create(PARENT, b"")?;
    let parents = args.count.div_ceil(CHILDREN) as usize;
    in_batches(&mut session, 0..parents, |xid, number| {
        codec::create(xid, &parent_path(number as u32), b"")
    })?;
    session.close()?;
    on_threads(args, |session, share| {
        in_batches(session, share, |xid, number| {
            let number = number as u32;
            codec::create(xid, &path(number), &znode_data(number, DATA_BYTES))
        })
    })?;
    print(&json!({
        "znodes": args.count,
        "seconds": rounded(begin.elapsed().as_secs_f64(), 3),
    }))
}

/// One data watch on each of the first `count` znodes.
pub(crate) fn watch(args: &BulkArgs) -> Result<()> {
    let sessions = on_threads(args, |session, share| {
        in_batches(session, share, |xid, number| {
            codec::get_data_and_watch(xid, &path(number as u32))
        })
    })?;
    print(&json!({ "watches": args.count }))?;
    wait_for_end()?;
    drop(sessions);
    Ok(())
}

/// Keeps `count` sessions open.
pub(crate) fn hold(args: &BulkArgs) -> Result<()> {
    let begin = Instant::now();
    let opened = thread::scope(|scope| {
        let threads: Vec<_> = shares(args)
            .map(|share| {
                scope.spawn(|| {
                    share
                        .map(|_| Session::open(args.server))
                        .collect::<Result<Vec<_>>>()
                })
            })
            .collect();
        let results = threads.into_iter().map(|thread| thread.join());
        results
            .map(|result| result.map_err(|_| anyhow!("a thread panicked"))?)
            .collect::<Result<Vec<_>>>()
    })?;
    print(&json!({
        "sessions": args.count,
        "seconds": rounded(begin.elapsed().as_secs_f64(), 3),
    }))?;
    wait_for_end()?;
    drop(opened);
    Ok(())
}

/// A znode of `count` bytes, written and read back.
pub(crate) fn large(args: &BulkArgs) -> Result<()> {
    let data: Vec<u8> = (0..args.count).map(|at| at.to_le_bytes()[0]).collect();
    let mut session = Session::open(args.server)?;
    session.create(LARGE, b"")?;
    session.batch(
        1,
        |xid, _| codec::set_data(xid, LARGE, &data),
        |_, _| Ok(()),
    )?;
    session.batch(
        1,
        |xid, _| codec::get_data(xid, LARGE),
        |_, body| {
            ensure!(codec::data_of_get(body)? == data, "other bytes came back");
            Ok(())
        },
    )?;
    session.close()?;
    print(&json!({ "bytes": args.count }))
}

/// Runs `work` on a session of its own for each share of the numbers below `count`.
fn on_threads(
    args: &BulkArgs,
    work: impl Fn(&mut Session, Range<usize>) -> Result<()> + Sync,
) -> Result<Vec<Session>> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = shares(args)
            .map(|share| {
                scope.spawn(move || {
                    let mut session = Session::open(args.server)?;
                    work(&mut session, share).map(|()| session)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
            .collect()
    })
}

fn shares(args: &BulkArgs) -> impl Iterator<Item = Range<usize>> + use<> {
    let (count, threads) = (args.count as usize, args.threads as usize);
    (0..threads).map(move |index| count * index / threads..count * (index + 1) / threads)
}

fn in_batches(
    session: &mut Session,
    numbers: Range<usize>,
    encode: impl Fn(i32, usize) -> Vec<u8>,
) -> Result<()> {
    for first in numbers.clone().step_by(BATCH) {
        let count = BATCH.min(numbers.end - first);
        session
            .batch(
                count,
                |xid, index| encode(xid, first + index),
                |_, _| Ok(()),
            )
            .with_context(|| format!("numbers {first} to {}", first + count))?;
    }
    Ok(())
}

fn parent_path(number: u32) -> String {
    format!("{PARENT}/{number:04}")
}

fn path(number: u32) -> String {
    format!("{}/{number:07}", parent_path(number / CHILDREN))
}

fn wait_for_end() -> Result<()> {
    std::io::stdin().lock().read_to_end(&mut Vec::new())?;
    Ok(())
}

const PARENT: &str = "/fill";
const LARGE: &str = "/large";
const DATA_BYTES: usize = 100;
/// Znodes in one parent.
const CHILDREN: u32 = 1000;
/// Requests on the way on one connection.
const BATCH: usize = 500;
