//! Transaction logs, shown and checked.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use zk_core::request::replay;
use zk_core::tree::Tree;
use zk_proto::Zxid;
use zk_proto::txn::{TxnDigest, decode_txn};
use zk_store::{LogEnd, LogItem, LogStream, follows, load_snapshot};

use super::{Output, text, zxid_in_name};

/// One line for each transaction.
pub(super) fn dump(files: &[PathBuf], out: &mut Output) -> io::Result<()> {
    for file in files {
        let mut written = Ok(());
        let read = read(file, out, &mut |out, Entry { data, .. }| {
            written = print(data, out);
            written.is_ok()
        })?;
        written?;
        if let Some((offset, LogEnd::Torn(what))) = read {
            out.note(
                file,
                format_args!("ends in an unfinished write at byte {offset}: {what}"),
            )?;
        }
    }
    Ok(())
}

/// One line for each file; problems besides.
pub(super) fn check(
    mut files: Vec<PathBuf>,
    snapshot: Option<&Path>,
    out: &mut Output,
) -> io::Result<()> {
    files.sort_by_key(|file| zxid_in_name(file));
    let mut history = History::default();
    if let Some(path) = snapshot {
        match follow(path) {
            Ok(tree) => history.tree = Some(tree),
            Err(error) => return out.problem(path, format_args!("{error:#}")),
        }
    }
    for (n, file) in files.iter().enumerate() {
        let start = history.clone_counts();
        let before = out.problems;
        let mut first = None;
        let mut told = Ok(());
        let read = read(file, out, &mut |out, Entry { offset, zxid, data }| {
            let wrong = history.check(first.is_none(), zxid, data);
            first.get_or_insert(zxid);
            for what in wrong {
                told = out.problem(file, format_args!("at byte {offset}, {zxid}: {what}"));
            }
            told.is_ok()
        })?;
        told?;
        if let Some((first, named)) = first.map(|zxid| zxid.0).zip(zxid_in_name(file))
            && first != named
        {
            out.problem(
                file,
                format_args!("begins with 0x{first:x}, not as it is named"),
            )?;
        }
        let mut note = String::new();
        match read {
            Some((offset, LogEnd::Torn(what))) if n + 1 == files.len() => {
                note = format!(
                    "; ends in an unfinished write at byte {offset} ({what}), which a start cuts off \
                     and a running server may be about to finish"
                );
            }
            Some((offset, LogEnd::Torn(what))) => {
                out.problem(
                    file,
                    format_args!("ends in an unfinished write at byte {offset}: {what}"),
                )?;
            }
            _ => {}
        }
        if out.problems == before {
            let range = match first.zip(history.last) {
                Some((first, last)) => format!("{first} to {last}"),
                None => "empty".into(),
            };
            let (txns, digests) = history.since(start);
            let digests = match &history.tree {
                Some(_) => format!(", {digests} digests agree"),
                None => String::new(),
            };
            let gap = history.gap.take().unwrap_or_default();
            writeln!(
                out.lines,
                "{}: ok, {txns} transactions, {range}{digests}{gap}{note}",
                file.display()
            )?;
        }
    }
    Ok(())
}

/// A transaction and where it stands.
struct Entry<'a> {
    offset: u64,
    zxid: Zxid,
    data: &'a [u8],
}

/// Reads a file's entries as long as `visit` wants more. Says what is wrong
/// with it; `None` then, and where there is no end.
fn read(
    file: &Path,
    out: &mut Output,
    visit: &mut dyn FnMut(&mut Output, Entry<'_>) -> bool,
) -> io::Result<Option<(u64, LogEnd)>> {
    let mut stream = match File::open(file) {
        Ok(open) => LogStream::new(open),
        Err(error) => {
            out.problem(file, error)?;
            return Ok(None);
        }
    };
    loop {
        match stream.read() {
            Ok(LogItem::Entry { offset, zxid, data }) => {
                if let Err(error) = decode_txn(data) {
                    out.problem(
                        file,
                        format_args!("damaged at byte {offset}: the entry of {zxid} is no transaction: {error}"),
                    )?;
                } else if !visit(out, Entry { offset, zxid, data }) {
                    return Ok(None);
                }
            }
            Ok(LogItem::End { offset, end }) => {
                if let LogEnd::Damaged(what) = end {
                    out.problem(file, format_args!("damaged at byte {offset}: {what}"))?;
                    return Ok(None);
                }
                return Ok(Some((offset, end)));
            }
            Err(error) => {
                out.problem(file, error)?;
                return Ok(None);
            }
        }
    }
}

fn print(data: &[u8], out: &mut Output) -> io::Result<()> {
    let Ok((header, txn, digest)) = decode_txn(data) else {
        return Ok(());
    };
    let digest = digest.map_or_else(|| "none".into(), |digest| digest.tree_digest.to_string());
    writeln!(
        out.lines,
        "zxid={} time={} session={} cxid={} {} digest={digest}",
        header.zxid,
        text::time(header.time_ms),
        header.session,
        header.cxid.0,
        text::txn(&txn)
    )
}

/// The transactions of all files so far.
#[derive(Default)]
struct History {
    last: Option<Zxid>,
    txns: u64,
    tree: Option<Followed>,
    /// What to say of a jump from the file before.
    gap: Option<String>,
}

/// A tree that goes along with the log.
struct Followed {
    tree: Tree,
    /// From here on the tree is exactly that of its zxid.
    exact_from: Zxid,
    digests: u64,
    has_differed: bool,
}

impl History {
    /// Takes the next transaction; returns what is wrong with it.
    fn check(&mut self, begins_file: bool, zxid: Zxid, data: &[u8]) -> Vec<String> {
        let mut wrong = Vec::new();
        self.txns += 1;
        match self.last {
            Some(last) if zxid <= last => wrong.push(format!("zxids go back, {last} was before")),
            // A snapshot of the leader may stand for what is missing.
            Some(last) if !follows(last, zxid) && begins_file => {
                self.gap = Some(format!(
                    "; right only if there is a snapshot between {last}, the end of the file before, and this one"
                ));
            }
            Some(last) if !follows(last, zxid) => {
                wrong.push(format!("transactions are missing, {last} was before"));
            }
            _ => {}
        }
        self.last = Some(zxid);
        if let Some(tree) = &mut self.tree {
            wrong.extend(tree.go_on(zxid, data));
        }
        wrong
    }

    fn clone_counts(&self) -> (u64, u64) {
        (self.txns, self.tree.as_ref().map_or(0, |tree| tree.digests))
    }

    fn since(&self, (txns, digests): (u64, u64)) -> (u64, u64) {
        let now = self.clone_counts();
        (now.0 - txns, now.1 - digests)
    }
}

impl Followed {
    fn go_on(&mut self, zxid: Zxid, data: &[u8]) -> Option<String> {
        let at = self.tree.last_zxid();
        if zxid <= at {
            return None;
        }
        if !follows(at, zxid) {
            let what = format!("the tree is at {at}, so transactions are missing");
            return (!std::mem::replace(&mut self.has_differed, true)).then_some(what);
        }
        if let Err(error) = replay(&mut self.tree, data) {
            return Some(error.to_string());
        }
        let (_, _, digest) = decode_txn(data).ok()?;
        let digest = digest.filter(|digest| digest.version == TxnDigest::VERSION)?;
        if zxid < self.exact_from || self.has_differed {
            return None;
        }
        self.digests += 1;
        let (want, have) = (digest.tree_digest, self.tree.digest());
        if want == have {
            return None;
        }
        self.has_differed = true;
        Some(format!(
            "the tree has the digest {have} after it, the log says {want}; later ones are not compared"
        ))
    }
}

fn follow(path: &Path) -> anyhow::Result<Followed> {
    let snapshot = load_snapshot(path)?;
    let tree = Tree::from_image(&snapshot.image, snapshot.zxid)?;
    let exact_from = snapshot.digest.map_or(snapshot.zxid, |(zxid, _)| zxid);
    Ok(Followed {
        tree,
        exact_from,
        digests: 0,
        has_differed: false,
    })
}
