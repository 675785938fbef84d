//! What a tree of many znodes costs: memory, lookups, changes, a cut, load.
//!
//! ```sh
//! cargo run --release -p zk-core --example tree_cost -- 1000000
//! ```
#![allow(clippy::print_stdout, reason = "a program for a terminal")]
#![allow(clippy::unwrap_used, reason = "a program for a terminal")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zk_core::request::replay;
use zk_core::tree::Tree;
use zk_proto::client::Acl;
use zk_proto::txn::{CreateTxn, SetDataTxn, Txn, TxnHeader, encode_txn};
use zk_proto::{SessionId, Xid, Zxid};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DATA: [u8; 100] = [b'x'; 100];

fn main() {
    let count: u64 = std::env::args().nth(1).map_or(1_000_000, |count| {
        count.parse().expect("a number of znodes")
    });
    let start_bytes = resident_bytes();
    let mut tree = Tree::new();
    let mut zxid = Zxid::new(zk_proto::Epoch(1), 0);
    let mut entry = Vec::new();
    change(&mut tree, &mut zxid, &mut entry, &create("/load"));
    let mut tail = Tail::default();
    let start = cpu();
    for number in 0..count {
        let at = Instant::now();
        change(&mut tree, &mut zxid, &mut entry, &create(&path(number)));
        tail.add(at.elapsed());
    }
    each("create", start, count);
    tail.print("create");
    println!(
        "resident                {:>8} B per znode",
        resident_bytes().saturating_sub(start_bytes) / count
    );

    let paths: Vec<String> = (0..1 << 16).map(|at| path(mixed(at) % count)).collect();
    let start = cpu();
    for _ in 0..10 {
        for path in &paths {
            let znode = tree.znode(path).unwrap();
            black_box((znode.stat(), znode.data(), znode.acl()));
        }
    }
    each("get", start, 10 * paths.len() as u64);
    let start = cpu();
    let names = tree
        .znode("/load")
        .unwrap()
        .children()
        .map(|name| black_box(name).len())
        .sum::<usize>();
    each("child name", start, count);
    black_box(names);

    snapshot(&mut tree, &mut zxid, &mut entry, &paths);

    let image = tree.image();
    println!(
        "image                   {:>8} B per znode",
        image.len() as u64 / count
    );
    let before = resident_bytes();
    let start = cpu();
    let loaded = Tree::from_image(&image, tree.last_zxid()).unwrap();
    println!(
        "load                    {:>8} ms",
        (cpu() - start).as_millis()
    );
    assert_eq!(loaded.digest(), tree.digest());
    println!(
        "resident, loaded        {:>8} B per znode",
        resident_bytes().saturating_sub(before) / count
    );
    let start = cpu();
    drop(loaded);
    println!(
        "drop                    {:>8} ms",
        (cpu() - start).as_millis()
    );
}

/// Changes while a snapshot is under way.
fn snapshot(tree: &mut Tree, zxid: &mut Zxid, entry: &mut Vec<u8>, paths: &[String]) {
    let start = cpu();
    let cut = Arc::new(tree.cut());
    println!(
        "cut                     {:>8} us",
        (cpu() - start).as_micros()
    );
    let encoder = std::thread::spawn(move || {
        let (start, mut bytes, mut block) = (cpu(), 0, Vec::new());
        let mut blocks = cut.blocks();
        while blocks.append_next(&mut block) {
            bytes += block.len();
            block.clear();
        }
        (bytes, cpu() - start)
    });
    let before = resident_bytes();
    let start = cpu();
    let mut tail = Tail::default();
    for path in paths {
        let at = Instant::now();
        let set = Txn::SetData(SetDataTxn {
            path: path.into(),
            data: Some(&DATA),
            version: 1,
        });
        change(tree, zxid, entry, &set);
        tail.add(at.elapsed());
    }
    each("set, during a snapshot", start, paths.len() as u64);
    tail.print("set");
    let more = resident_bytes().saturating_sub(before) / 1_000_000;
    println!("copied meanwhile        {more:>8} MB");
    let (bytes, elapsed) = encoder.join().unwrap();
    println!(
        "image                   {:>8} MB, {} ms to encode",
        bytes / 1_000_000,
        elapsed.as_millis()
    );
    let start = cpu();
    for path in paths {
        let set = Txn::SetData(SetDataTxn {
            path: path.into(),
            data: Some(&DATA),
            version: 2,
        });
        change(tree, zxid, entry, &set);
    }
    each("set", start, paths.len() as u64);
}

fn create(path: &str) -> Txn<'_> {
    Txn::Create(CreateTxn {
        path: path.into(),
        data: Some(&DATA),
        acl: vec![Acl::open()],
        ephemeral: false,
        parent_cversion: -1,
    })
}

fn change(tree: &mut Tree, zxid: &mut Zxid, entry: &mut Vec<u8>, txn: &Txn<'_>) {
    *zxid = zxid.next();
    let header = TxnHeader {
        session: SessionId(1),
        cxid: Xid(1),
        zxid: *zxid,
        time_ms: 1_790_000_000_000 + zxid.0 % 1_000_000,
        kind: txn.op().code(),
    };
    entry.clear();
    encode_txn(entry, &header, txn, None);
    replay(tree, entry).unwrap();
}

fn path(number: u64) -> String {
    format!("/load/n{number:09}")
}

fn mixed(at: u64) -> u64 {
    (at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
}

fn each(what: &str, start: Duration, count: u64) {
    let nanos = (cpu() - start).as_nanos() / u128::from(count);
    println!("{what:<24}{nanos:>8} ns each");
}

/// By the wall clock, so on an idle machine only.
#[derive(Default)]
struct Tail {
    slow: u32,
    longest: Duration,
}

impl Tail {
    const SLOW: Duration = Duration::from_micros(200);

    fn add(&mut self, time: Duration) {
        self.slow += u32::from(time > Self::SLOW);
        self.longest = self.longest.max(time);
    }

    fn print(&self, what: &str) {
        let longest = self.longest.as_micros();
        println!(
            "longest {what:<16}{longest:>8} us, {} took more than 200 us",
            self.slow
        );
    }
}

/// Time this thread has run, whatever else the machine does.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanos = stat.split(' ').next().expect("a first number");
    Duration::from_nanos(nanos.parse().expect("a number"))
}

fn resident_bytes() -> u64 {
    const PAGE_BYTES: u64 = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm.split(' ').nth(1).expect("a second number");
    pages.parse::<u64>().expect("a number") * PAGE_BYTES
}
