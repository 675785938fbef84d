//! `quorate txnlog` and `quorate snapshot` on directories that Apache
//! ZooKeeper 3.9.4 wrote.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use zk_core::tree::Tree;
use zk_proto::client::OpCode;
use zk_proto::txn::{SetDataTxn, Txn, TxnHeader, encode_txn};
use zk_proto::{SessionId, Xid, Zxid};
use zk_store::{RealDisk, Store, StoreConfig};

fn captured(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("proto/testdata/store")
        .join(name)
}

fn quorate(arguments: &[&str], files: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quorate"))
        .args(arguments)
        .args(files)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn assert_ok(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(text(&output.stderr), "");
    text(&output.stdout)
}

fn assert_problem(output: &Output, what: &str) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains(what), "{output:?}");
}

#[test]
fn each_transaction_is_a_line() {
    for (directory, log) in [
        ("standalone", "log.1"),
        ("ensemble", "log.100000001"),
        ("extended", "log.1"),
    ] {
        let lines = assert_ok(&quorate(
            &["txnlog", "dump"],
            &[&captured(directory).join(log)],
        ));
        let listed = fs::read_to_string(captured(directory).join("entries.txt")).unwrap();
        let listed = listed
            .lines()
            .filter(|line| line.starts_with(&format!("{log} ")));
        let mut lines = lines.lines();
        for entry in listed {
            let line = lines.next().unwrap();
            for word in entry.split_whitespace().skip(1) {
                let is_pair = word.contains('=');
                let word = if is_pair {
                    word.into()
                } else {
                    format!("op={word}")
                };
                assert!(
                    line.split(' ').any(|have| have == word),
                    "{entry:?}: {line:?}"
                );
            }
        }
        assert_eq!(lines.next(), None);
    }
}

#[test]
fn each_znode_is_a_line() {
    for (directory, file) in [("standalone", "snapshot.0"), ("extended", "snapshot.0")] {
        let lines = assert_ok(&quorate(
            &["snapshot", "dump"],
            &[&captured(directory).join(file)],
        ));
        assert!(
            lines.contains("\nznode path=\"/zookeeper/quota\" kind=persistent data=0 "),
            "{lines}"
        );
        assert!(
            lines.contains("end digest=0 digestZxid=0x0 lastZxid=0x0"),
            "{lines}"
        );
    }
    let file = captured("standalone").join("snapshot.14");
    let lines = assert_ok(&quorate(&["snapshot", "dump"], &[&file]));
    assert!(lines.contains("\nacl ref=2 list="), "{lines}");
    assert!(lines.contains(" kind=ephemeral owner=0x"), "{lines}");
    assert!(!lines.contains("0x0 data"));
}

#[test]
fn whole_files_are_found_right() {
    let dir = captured("standalone");
    let logs = [&*dir.join("log.15"), &*dir.join("log.1")];
    let lines = assert_ok(&quorate(&["txnlog", "check"], &logs));
    assert!(
        lines.contains("log.1: ok, 20 transactions, 0x1 to 0x14\n"),
        "{lines}"
    );
    let from = dir.join("snapshot.0");
    let arguments = ["txnlog", "check", "--snapshot", from.to_str().unwrap()];
    let lines = assert_ok(&quorate(&arguments, &logs));
    assert!(lines.contains(" digests agree"), "{lines}");
    let snapshots = [&*dir.join("snapshot.0"), &*dir.join("snapshot.14")];
    let lines = assert_ok(&quorate(&["snapshot", "check"], &snapshots));
    assert!(
        lines.contains(
            "snapshot.0: ok, 478 bytes, 0 sessions, 1 ACLs, 4 znodes; without a digest\n"
        ),
        "{lines}"
    );
    assert!(lines.contains("14 znodes, digest agrees\n"), "{lines}");
    let fuzzy = captured("fuzzy").join("snapshot.37.gz");
    let lines = assert_ok(&quorate(&["snapshot", "check"], &[&fuzzy]));
    assert!(
        lines
            .contains("48 znodes; it has a part of 0x38, so its digest of 0x37 was not compared\n"),
        "{lines}"
    );
}

#[test]
fn a_digest_that_disagrees_is_told_and_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(RealDisk, StoreConfig::at(dir.path())).unwrap();
    let tree = Tree::new();
    let snapshots = store.snapshots();
    for (zxid, digest) in [(1, tree.digest()), (2, tree.digest() + 1)] {
        let written = snapshots.write(Zxid(zxid), &tree.image(), digest);
        written.unwrap();
    }
    let files = ["snapshot.1", "snapshot.2"].map(|name| dir.path().join("version-2").join(name));
    let lines = assert_ok(&quorate(&["snapshot", "check"], &[&files[0], &files[1]]));
    let (right, other) = lines.trim_end().split_once('\n').unwrap();
    assert!(right.ends_with(", digest agrees"), "{lines}");
    let have = tree.digest();
    let told = format!(
        "; its znodes have the digest {have}, but {} was written",
        have + 1
    );
    assert!(other.contains(&told), "{lines}");
}

#[test]
fn damage_is_named_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let copy = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(captured("standalone").join(name)).unwrap();
        change(&mut bytes);
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let log = copy("log.1", &|bytes| bytes[100] ^= 1);
    let output = quorate(&["txnlog", "check"], &[&log]);
    assert_problem(&output, "damaged at byte 7");
    assert_problem(&quorate(&["txnlog", "dump"], &[&log]), "damaged at byte");
    // The last of the given ones may be under way.
    let log = copy("log.1", &|bytes| bytes.truncate(bytes.len() - 3));
    let lines = assert_ok(&quorate(&["txnlog", "check"], &[&log]));
    assert!(lines.contains("unfinished write"), "{lines}");
    let next = copy("log.15", &|_| {});
    assert_problem(&quorate(&["txnlog", "check"], &[&log, &next]), "unfinished");

    let snapshot = copy("snapshot.14", &|bytes| bytes[300] ^= 1);
    assert_problem(
        &quorate(&["snapshot", "check"], &[&snapshot]),
        "damaged at byte",
    );
    let snapshot = copy("snapshot.14", &|bytes| bytes.truncate(50));
    assert_problem(
        &quorate(&["snapshot", "dump"], &[&snapshot]),
        "damaged at byte",
    );
    let nothing = dir.path().join("none");
    assert_problem(
        &quorate(&["snapshot", "check"], &[&nothing]),
        "No such file",
    );
}

#[test]
fn a_tree_that_goes_another_way_is_found() {
    let dir = captured("standalone");
    let other = captured("extended").join("snapshot.0");
    let arguments = ["txnlog", "check", "--snapshot", other.to_str().unwrap()];
    assert_ok(&quorate(&arguments, &[&dir.join("log.1")]));
    let later = dir.join("snapshot.14");
    let arguments = ["txnlog", "check", "--snapshot", later.to_str().unwrap()];
    let log = captured("ensemble").join("log.100000001");
    assert_problem(&quorate(&arguments, &[&log]), "digest");
}

/// An error in the form that logs have.
fn error_entry(zxid: i64) -> Vec<u8> {
    entry(zxid, OpCode::Error, &Txn::Error(-5))
}

fn entry(zxid: i64, op: OpCode, txn: &Txn<'_>) -> Vec<u8> {
    let header = TxnHeader {
        session: SessionId(1),
        cxid: Xid(1),
        zxid: Zxid(zxid),
        time_ms: 1,
        kind: op.code(),
    };
    let mut entry = Vec::new();
    encode_txn(&mut entry, &header, txn, None);
    entry
}

/// The Adler-32 of the bytes so far.
struct Adler {
    a: u64,
    b: u64,
}

impl Default for Adler {
    fn default() -> Self {
        Self { a: 1, b: 0 }
    }
}

impl Adler {
    const MODULUS: u64 = 65_521;

    fn add(&mut self, byte: u8) {
        self.a = (self.a + u64::from(byte)) % Self::MODULUS;
        self.b = (self.b + self.a) % Self::MODULUS;
    }

    fn add_zeros(&mut self, count: usize) {
        self.b = (self.b + count as u64 * self.a) % Self::MODULUS;
    }

    fn value(&self) -> i64 {
        (self.b << 16 | self.a) as i64
    }
}

/// What the reference's logs begin with.
const LOG_HEADER: [u8; 16] = *b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0";

/// A log as the reference writes it.
fn log_of_reference(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut out = LOG_HEADER.to_vec();
    for entry in entries {
        let mut sum = Adler::default();
        entry.iter().for_each(|byte| sum.add(*byte));
        out.extend(sum.value().to_be_bytes());
        out.extend((entry.len() as i32).to_be_bytes());
        out.extend_from_slice(entry);
        out.push(b'B');
    }
    out
}

/// The check of all logs of a directory, and the last zxid of a start from it.
fn check_and_start(dir: &Path) -> (Output, Result<Zxid, String>) {
    let logs: Vec<_> = fs::read_dir(dir.join("version-2"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains("/log."))
        .collect();
    let logs: Vec<_> = logs.iter().map(PathBuf::as_path).collect();
    let output = quorate(&["txnlog", "check"], &logs);
    let start = Store::open(RealDisk, StoreConfig::at(dir))
        .and_then(|mut store| store.recover(10))
        .map(|loaded| loaded.last_zxid())
        .map_err(|error| error.to_string());
    (output, start)
}

/// What a directory of the reference may hold: each log's name and entries.
fn of_reference(logs: &[(&str, &[Vec<u8>])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let version = dir.path().join("version-2");
    fs::create_dir(&version).unwrap();
    fs::copy(
        captured("standalone").join("snapshot.0"),
        version.join("snapshot.0"),
    )
    .unwrap();
    for (name, entries) in logs {
        fs::write(version.join(name), log_of_reference(entries)).unwrap();
    }
    dir
}

#[test]
fn an_error_that_repeats_a_zxid_is_loaded_and_no_damage() {
    let opened = entry(2, OpCode::CreateSession, &Txn::CreateSession(4000));
    let entries = [
        error_entry(1),
        opened.clone(),
        error_entry(2),
        error_entry(3),
    ];
    let dir = of_reference(&[("log.1", &entries)]);
    let (checked, started) = check_and_start(dir.path());
    assert_eq!(started, Ok(Zxid(3)));
    assert!(assert_ok(&checked).contains("0x2 stands there twice"));
    // Anything else that repeats one is damage.
    let dir = of_reference(&[("log.1", &[error_entry(1), error_entry(2), opened])]);
    let (checked, started) = check_and_start(dir.path());
    assert!(started.unwrap_err().contains("zxids go back"));
    assert_problem(&checked, "zxids go back");
    // The first request of a server, and of an epoch.
    let epoch = 1 << 32;
    let first = [0, 1].map(error_entry);
    let second = [epoch, epoch + 1].map(error_entry);
    let dir = of_reference(&[("log.0", &first), ("log.100000000", &second)]);
    let (checked, started) = check_and_start(dir.path());
    assert_eq!(started, Ok(Zxid(epoch + 1)));
    assert_ok(&checked);
}

#[test]
fn the_check_and_a_start_agree_on_names_and_ends() {
    let all = [1, 2, 3, 4].map(error_entry);
    for names in [
        ["log.1", "log.3"],
        ["log.0001", "log.03"],
        ["log.1.bak", "log.3.old"],
    ] {
        let dir = of_reference(&[(names[0], &all[..2]), (names[1], &all[2..])]);
        let (checked, started) = check_and_start(dir.path());
        assert_eq!(started, Ok(Zxid(4)), "{names:?}");
        assert_ok(&checked);
    }
    let dir = of_reference(&[("log.A", &[10, 11].map(error_entry))]);
    let (checked, started) = check_and_start(dir.path());
    assert!(started.is_err(), "1 to 9 are missing");
    assert_ok(&checked);
    // A torn end that the next log goes on from is what a crash leaves.
    for (next, goes_on) in [(3, true), (5, false)] {
        let dir = of_reference(&[("log.1", &all[..3]), ("log.3", &[error_entry(next)])]);
        let path = dir.path().join("version-2/log.1");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        let (checked, started) = check_and_start(dir.path());
        assert_eq!(started.is_ok(), goes_on, "{started:?}");
        assert_eq!(checked.status.success(), goes_on, "{checked:?}");
    }
    let dir = of_reference(&[("log.1", &[1, 2, 4].map(error_entry))]);
    assert!(check_and_start(dir.path()).1.is_err());
}

/// A log of the reference with one transaction, whose `bytes` of data are all
/// zero: they take no space on the disk.
fn plant_long_log(path: &Path, zxid: i64, bytes: usize) {
    let set_data = Txn::SetData(SetDataTxn {
        path: "/".into(),
        data: Some(&[]),
        version: 1,
    });
    let mut entry = entry(zxid, OpCode::SetData, &set_data);
    // The length of the data stands before the version.
    let (at, length) = (entry.len() - 4, bytes as i32);
    entry[at - 4..at].copy_from_slice(&length.to_be_bytes());
    let (before, after) = entry.split_at(at);
    let mut sum = Adler::default();
    before.iter().for_each(|byte| sum.add(*byte));
    sum.add_zeros(bytes);
    after.iter().for_each(|byte| sum.add(*byte));
    let mut head = LOG_HEADER.to_vec();
    head.extend(sum.value().to_be_bytes());
    head.extend(((entry.len() + bytes) as i32).to_be_bytes());
    head.extend_from_slice(before);
    let file = fs::File::create(path).unwrap();
    file.write_all_at(&head, 0).unwrap();
    let end = [after, b"B"].concat();
    file.write_all_at(&end, (head.len() + bytes) as u64)
        .unwrap();
}

#[test]
fn the_check_and_a_start_agree_on_a_record_of_any_length() {
    let dir = of_reference(&[]);
    let path = dir.path().join("version-2/log.1");
    plant_long_log(&path, 1, 257 << 20);
    let (checked, started) = check_and_start(dir.path());
    assert_eq!(started, Ok(Zxid(1)));
    assert_ok(&checked);
}

#[test]
fn before_the_first_write_there_is_no_log() {
    let dir = tempfile::tempdir().unwrap();
    let pattern = dir.path().join("log.*");
    let output = quorate(&["txnlog", "check"], &[&pattern]);
    assert_problem(&output, "right after a first start there is none yet");
}

#[test]
fn wrong_usage_ends_with_two() {
    for arguments in [
        &["txnlog"][..],
        &["txnlog", "dump"],
        &["snapshot", "repair"],
        &["snapshot", "check", "--snapshot", "x", "y"],
    ] {
        let output = quorate(arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}
