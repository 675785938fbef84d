//! Snapshots, shown and checked.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use zk_core::tree::Owner;
use zk_proto::snapshot::{NodeRecord, OPEN_ACL_REF};
use zk_proto::txn::{PathCharset, node_digest};
use zk_proto::{SessionId, Zxid};
use zk_store::{SnapshotEnd, SnapshotRecord, read_snapshot};

use super::{Output, compression, text, zxid_in_name};

/// One line for each record, and one for what follows them.
pub(super) fn dump(files: &[PathBuf], out: &mut Output) -> io::Result<()> {
    for file in files {
        let mut written = Ok(());
        let end = read(file, out, &mut |out, record| {
            if written.is_ok() {
                written = print(&record, out);
            }
        })?;
        written?;
        if let Some(SnapshotEnd {
            digest, last_zxid, ..
        }) = end
        {
            let digest = digest.map_or_else(
                || "none".into(),
                |(zxid, digest)| format!("{digest} digestZxid={zxid}"),
            );
            let last = last_zxid.map_or_else(|| "none".into(), |zxid| zxid.to_string());
            writeln!(out.lines, "end digest={digest} lastZxid={last}")?;
        }
    }
    Ok(())
}

/// One line for each file that is right; problems for others.
pub(super) fn check(files: &[PathBuf], out: &mut Output) -> io::Result<()> {
    for file in files {
        let mut count = Count::default();
        let end = read(file, out, &mut |_, record| count.add(&record))?;
        let Some(end) = end else { continue };
        let named = zxid_in_name(file);
        let mut notes = String::new();
        match end.digest {
            // The reference writes zeros where it has not followed one yet.
            None | Some((Zxid::ZERO, 0)) => notes.push_str("; without a digest"),
            Some((zxid, _)) if named.is_some_and(|named| named != zxid) => {
                notes.push_str(&format!("; its digest is of {zxid} and was not compared"));
            }
            // The reference goes on applying while it writes.
            Some((zxid, _)) if count.newest > zxid => {
                let newest = count.newest;
                notes.push_str(&format!(
                    "; it has a part of {newest}, so its digest of {zxid} was not compared"
                ));
            }
            // A deletion under way leaves no zxid behind. The checksum was right, so the bytes are.
            Some((zxid, digest)) if digest != count.digest => {
                notes.push_str(&match count.charset_of(digest) {
                    Some(charset) => format!(
                        ", digest agrees with paths in {}: Java did not run with UTF-8",
                        charset.name()
                    ),
                    None => format!(
                        "; its znodes have the digest {}, but {digest} was written for {zxid}: a \
                         write was under way, as the reference allows, or a server went wrong; \
                         txnlog check --snapshot tells",
                        count.digest
                    ),
                });
            }
            Some(_) => notes.push_str(", digest agrees"),
        }
        if count.unknown_acls > 0 {
            let n = count.unknown_acls;
            notes.push_str(&format!(
                "; {n} znodes name an ACL that is not in the table"
            ));
        }
        if count.orphans > 0 {
            let n = count.orphans;
            notes.push_str(&format!("; {n} ephemeral znodes of unknown sessions"));
        }
        writeln!(
            out.lines,
            "{}: ok, {} bytes{}, {} sessions, {} ACLs, {} znodes{notes}",
            file.display(),
            end.bytes,
            if compression(file).method().is_empty() {
                ""
            } else {
                " uncompressed"
            },
            count.sessions.len(),
            count.acls.len(),
            count.znodes,
        )?;
    }
    Ok(())
}

fn read(
    file: &Path,
    out: &mut Output,
    visit: &mut dyn FnMut(&mut Output, SnapshotRecord<'_>),
) -> io::Result<Option<SnapshotEnd>> {
    let open = match File::open(file) {
        Ok(open) => open,
        Err(error) => {
            out.problem(file, error)?;
            return Ok(None);
        }
    };
    match read_snapshot(compression(file), open, &mut |record| visit(out, record)) {
        Ok(end) => Ok(Some(end)),
        Err(error) => {
            out.problem(file, format_args!("{:#}", anyhow::Error::from(error)))?;
            Ok(None)
        }
    }
}

fn print(record: &SnapshotRecord<'_>, out: &mut Output) -> io::Result<()> {
    match record {
        SnapshotRecord::Session((id, timeout_ms)) => {
            writeln!(out.lines, "session id={id} timeout={timeout_ms}")
        }
        SnapshotRecord::Acl((number, list)) => {
            writeln!(out.lines, "acl ref={number} list={}", text::acls(list))
        }
        SnapshotRecord::Znode(NodeRecord {
            path,
            data,
            acl_ref,
            stat,
        }) => {
            let path = if path.is_empty() { "/" } else { path };
            writeln!(
                out.lines,
                "znode path={path:?} {} data={} acl={acl_ref} version={} cversion={} aversion={} \
                 czxid={} mzxid={} pzxid={} ctime={} mtime={}",
                text::owner(stat.ephemeral_owner),
                text::length(*data),
                stat.version,
                stat.cversion,
                stat.aversion,
                stat.czxid,
                stat.mzxid,
                stat.pzxid,
                text::time(stat.ctime),
                text::time(stat.mtime),
            )
        }
    }
}

/// What is known of the records so far.
#[derive(Default)]
struct Count {
    sessions: BTreeSet<SessionId>,
    acls: BTreeSet<i64>,
    znodes: u64,
    digest: u64,
    /// The same in each charset.
    digests_in: [u64; 2],
    newest: Zxid,
    unknown_acls: u64,
    orphans: u64,
}

impl Count {
    /// The charset in which the znodes have this digest, if not in UTF-8.
    fn charset_of(&self, digest: u64) -> Option<PathCharset> {
        let mut all = PathCharset::ALL.into_iter().zip(self.digests_in);
        let (charset, _) = all.find(|(_, it)| *it == digest)?;
        Some(charset)
    }

    fn add(&mut self, record: &SnapshotRecord<'_>) {
        match record {
            SnapshotRecord::Session((id, _)) => {
                self.sessions.insert(*id);
            }
            SnapshotRecord::Acl((number, _)) => {
                self.acls.insert(*number);
            }
            SnapshotRecord::Znode(znode) => {
                self.znodes += 1;
                let path = if znode.path.is_empty() {
                    "/"
                } else {
                    &*znode.path
                };
                let digest = node_digest(path, znode.data, &znode.stat);
                self.digest = self.digest.wrapping_add(digest);
                for (sum, charset) in self.digests_in.iter_mut().zip(PathCharset::ALL) {
                    let digest = charset.node_digest(path, znode.data, &znode.stat);
                    *sum = sum.wrapping_add(digest);
                }
                let stat = &znode.stat;
                self.newest = self.newest.max(stat.czxid).max(stat.mzxid).max(stat.pzxid);
                if znode.acl_ref != OPEN_ACL_REF && !self.acls.contains(&znode.acl_ref) {
                    self.unknown_acls += 1;
                }
                if let Owner::Session(session) = Owner::from_stored(znode.stat.ephemeral_owner)
                    && !self.sessions.contains(&session)
                {
                    self.orphans += 1;
                }
            }
        }
    }
}
