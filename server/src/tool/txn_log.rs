//! Transaction logs, shown and checked.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use zk_core::request::replay;
use zk_core::tree::Tree;
use zk_proto::Zxid;
use zk_proto::txn::{TxnDigest, decode_txn};
use zk_store::{LogEnd, LogItem, LogStream, Proof, Step, is_error, is_nothing, load_snapshot};

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

/// One line for each file; problems besides. What a start takes is no problem,
/// what it refuses is one: both go by the same reader and the same rules.
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
    let mut torn = None;
    for (n, file) in files.iter().enumerate() {
        let is_last = n + 1 == files.len();
        check_file(file, is_last, &mut history, &mut torn, out)?;
    }
    Ok(())
}

/// The unfinished end of a log.
struct Torn {
    file: PathBuf,
    offset: u64,
    what: &'static str,
}

fn check_file(
    file: &Path,
    is_last: bool,
    history: &mut History,
    torn: &mut Option<Torn>,
    out: &mut Output,
) -> io::Result<()> {
    let start = history.clone_counts();
    let before = out.problems;
    let mut first = None;
    let mut told = Ok(());
    let read = read(file, out, &mut |out, entry| {
        let Entry { offset, zxid, .. } = entry;
        let step = history.step(&entry);
        // As the reference leaves it: the rest is the next log's matter.
        if let Some(Torn { file, offset, what }) = torn.take()
            && step == Some(Step::Gap)
        {
            told = out.problem(
                &file,
                format_args!("ends in an unfinished write at byte {offset}: {what}"),
            );
        }
        for what in history.check(step, first.is_none(), &entry) {
            told = out.problem(file, format_args!("at byte {offset}, {zxid}: {what}"));
        }
        first.get_or_insert(zxid);
        told.is_ok()
    })?;
    told?;
    let mut notes: String = history.notes.drain(..).collect();
    if let Some((offset, LogEnd::Torn(what))) = read {
        let file = file.to_owned();
        *torn = Some(Torn { file, offset, what });
        let why = match is_last {
            true => "which a start cuts off and a running server may be about to finish",
            false => "which is right if the next log goes on from there",
        };
        notes.push_str(&format!(
            "; ends in an unfinished write at byte {offset} ({what}), {why}"
        ));
    }
    if let Some((first, named)) = first.zip(zxid_in_name(file))
        && first != named
    {
        notes.push_str(&format!("; begins with {first}, not as it is named"));
    }
    if out.problems > before {
        return Ok(());
    }
    let range = match first.zip(history.last) {
        Some((first, last)) => format!("{first} to {last}"),
        None => "empty".into(),
    };
    let (txns, digests) = history.since(start);
    let digests = match &history.tree {
        Some(followed) => {
            let charset = followed
                .tree
                .leader_charset()
                .map(|it| format!(" with paths in {}", it.name()));
            format!(", {digests} digests agree{}", charset.unwrap_or_default())
        }
        None => String::new(),
    };
    let path = file.display();
    writeln!(
        out.lines,
        "{path}: ok, {txns} transactions, {range}{digests}{notes}"
    )
}

/// A transaction and where it stands.
struct Entry<'a> {
    offset: u64,
    zxid: Zxid,
    /// What it came right after, if the file proves it.
    predecessor: Option<Zxid>,
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
            out.problem(file, not_opened(file, &error))?;
            return Ok(None);
        }
    };
    loop {
        match stream.read() {
            Ok(LogItem::Entry {
                offset,
                zxid,
                predecessor,
                data,
            }) => {
                if let Err(error) = decode_txn(data) {
                    out.problem(
                        file,
                        format_args!("damaged at byte {offset}: the entry of {zxid} is no transaction: {error}"),
                    )?;
                    continue;
                }
                let entry = Entry {
                    offset,
                    zxid,
                    predecessor,
                    data,
                };
                if !visit(out, entry) {
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

/// A shell leaves a pattern that fits no file as it is.
fn not_opened(file: &Path, error: &io::Error) -> String {
    let is_pattern = file.to_string_lossy().contains('*');
    if is_pattern && error.kind() == io::ErrorKind::NotFound {
        return "no such log. A server makes the first one with its first write, so right after a \
                first start there is none yet"
            .into();
    }
    error.to_string()
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
    /// What to say of the file that is being read.
    notes: Vec<String>,
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
    /// How the next transaction stands to the last one; `None` for the first.
    fn step(&self, entry: &Entry<'_>) -> Option<Step> {
        let last = self.last?;
        Some(Step::between(last, entry.zxid, entry.predecessor))
    }

    /// Takes the next transaction; returns what is wrong with it.
    fn check(&mut self, step: Option<Step>, begins_file: bool, entry: &Entry<'_>) -> Vec<String> {
        let Entry {
            zxid,
            predecessor,
            data,
            ..
        } = *entry;
        let mut wrong = Vec::new();
        self.txns += 1;
        if is_nothing(zxid, data) {
            return wrong;
        }
        let last = self.last.unwrap_or_default();
        match step {
            None | Some(Step::Next | Step::NewEpoch(Proof::Given | Proof::None)) => {}
            // The reference repeats a zxid for a request that it cannot decode.
            Some(Step::Repeat) if is_error(data) => {
                self.notes.push(format!(
                    "; {zxid} stands there twice, the second is an error"
                ));
                return wrong;
            }
            Some(Step::Repeat) => wrong.push(format!("zxids go back, {last} was before")),
            // A snapshot of the leader may stand for what is missing. The
            // reference goes on behind one in the same file.
            Some(Step::Gap | Step::NewEpoch(Proof::Needed))
                if begins_file || predecessor.is_none() =>
            {
                let after = predecessor.map(|it| format!(" at or after {it}"));
                let after = after.unwrap_or_default();
                self.notes.push(format!(
                    "; right only if there is a snapshot{after} between {last}, the end of what was before, and {zxid}"
                ));
            }
            Some(Step::Gap | Step::NewEpoch(Proof::Needed)) => {
                wrong.push(format!("transactions are missing, {last} was before"));
            }
        }
        self.last = Some(zxid);
        if let Some(tree) = &mut self.tree {
            wrong.extend(tree.go_on(zxid, predecessor, data));
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
    fn go_on(&mut self, zxid: Zxid, predecessor: Option<Zxid>, data: &[u8]) -> Option<String> {
        let at = self.tree.last_zxid();
        let step = Step::between(at, zxid, predecessor);
        if step == Step::Repeat {
            return None;
        }
        if step == Step::Gap {
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
        let (want, have) = (digest.tree_digest, self.tree.leader_digest());
        let by = want.wrapping_sub(have);
        if by == 0 {
            return None;
        }
        if self.tree.follow_charset(by) {
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
