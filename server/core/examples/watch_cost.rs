//! What watches cost: memory, to set them, changes of paths that nobody and
//! that somebody watches, a connection that goes with all of its watches.
//!
//! ```sh
//! cargo run --release -p zk-core --example watch_cost -- 1000000
//! ```
#![allow(clippy::print_stdout, reason = "a program for a terminal")]

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use zk_core::ConnId;
use zk_core::watch::{WatchKind, WatchTable};
use zk_proto::SessionId;
use zk_proto::client::Acl;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut args = std::env::args().skip(1);
    let count: u64 = args.next().map_or(1_000_000, |count| {
        count.parse().expect("a number of watches")
    });
    let Some(number) = args.next() else {
        // A process each, as memory is not given back at once.
        let program = std::env::current_exe().expect("it runs");
        for number in 0..6 {
            let args = [count.to_string(), number.to_string()];
            let status = Command::new(&program).args(args).status();
            assert!(status.expect("it starts").success());
        }
        return;
    };
    let flat = |path: u64| format!("/load/n{path:09}");
    let deep = |path: u64| format!("/load/n{path:09}/config");
    let uuid = |path: u64| {
        format!(
            "/load/{:032x}",
            u128::from(path) * 0x9e37_79b9_7f4a_7c15_f39c
        )
    };
    match &*number {
        "0" => shape("a path each, one connection", count, 1, 1, &flat),
        "1" => shape("a path each, 1000 connections", count, 1, 1000, &flat),
        "2" => shape("a path of 38 characters each", count, 1, 1, &uuid),
        "3" => shape("a path with its own parent each", count, 1, 1, &deep),
        "4" => shape("three watchers a path", count / 3, 3, 3000, &flat),
        _ => shape("1000 watchers a path", count / 1000, 1000, 1000, &flat),
    }
}

/// `paths` paths with `each` watchers; connections take turns.
fn shape(what: &str, paths: u64, each: u64, conns: u64, path: &dyn Fn(u64) -> String) {
    let before = resident_bytes();
    let mut table = WatchTable::new(Arc::default(), 1);
    for conn in 0..conns {
        table.register_conn(ConnId(conn), SessionId(conn as i64), Arc::default());
    }
    let start = cpu();
    for number in 0..paths {
        let path = path(number);
        for watcher in 0..each {
            let conn = ConnId((number * each + watcher) % conns);
            assert!(table.add(&path, conn, WatchKind::Data));
        }
    }
    let watches = paths * each;
    assert_eq!(table.count() as u64, watches);
    println!("{what}");
    println!(
        "  resident  {:>6} B per watch",
        (resident_bytes() - before) / watches
    );
    println!("  set       {:>6} ns each", nanos(start, watches));

    let open = [Acl::open()];
    let some = paths.min(100_000);
    let mut told = 0;
    let start = cpu();
    for number in 0..some {
        table.node_created(&path(paths + number), &open, &open, &mut |_, _, _| {
            told += 1
        });
    }
    println!("  unwatched {:>6} ns each", nanos(start, some));
    let start = cpu();
    for number in 0..some {
        table.data_changed(&path(number), &open, &mut |_, _, _| told += 1);
    }
    assert_eq!(told, some * each);
    println!("  told      {:>6} ns per watch", nanos(start, told));
    let start = cpu();
    for conn in 0..conns {
        table.remove_conn(ConnId(conn));
    }
    println!("  closed    {:>6} us", (cpu() - start).as_micros());
    assert_eq!(table.count(), 0);
}

fn nanos(start: Duration, count: u64) -> u128 {
    (cpu() - start).as_nanos() / u128::from(count)
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
