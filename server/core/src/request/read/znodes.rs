//! What clients ask of znodes, and of themselves.

use std::borrow::Cow;

use zk_proto::client::{
    Acl, ErrorCode, MultiHeader, OpCode, PathWatchRequest, ReadOp, perms, read_multi,
    read_multi_read, write_acls, write_children, write_client_infos,
};
use zk_proto::jute::{Put, Reader};

use super::super::reply::frame;
use super::{Read, Refusal, Served};
use crate::auth;
use crate::tree::ZnodeRef;
use crate::watch::WatchKind;

impl Read<'_> {
    pub(super) fn get_data(&self, body: &mut Reader<'_>, out: &mut Vec<u8>) -> Served {
        let PathWatchRequest { path, watch } = PathWatchRequest::read(body)?;
        let node = self.readable(&path)?;
        if watch {
            self.watch(&path, WatchKind::Data)?;
        }
        self.reply(out, |out| write_data(out, &node));
        Ok(())
    }

    /// The watch stays even when there is no znode.
    pub(super) fn exists(&self, body: &mut Reader<'_>, out: &mut Vec<u8>) -> Served {
        let PathWatchRequest { path, watch } = PathWatchRequest::read(body)?;
        if path.contains('\0') {
            return Err(ErrorCode::BadArguments.into());
        }
        let node = self.tree.znode(&path);
        if let Some(node) = &node {
            self.permit(node, perms::READ)?;
        }
        if watch {
            self.watch(&path, WatchKind::Data)?;
        }
        let stat = node.ok_or(ErrorCode::NoNode)?.stat();
        self.reply(out, |out| stat.write(out));
        Ok(())
    }

    pub(super) fn get_children(
        &self,
        body: &mut Reader<'_>,
        with_stat: bool,
        out: &mut Vec<u8>,
    ) -> Served {
        let PathWatchRequest { path, watch } = PathWatchRequest::read(body)?;
        let node = self.readable(&path)?;
        if watch {
            self.watch(&path, WatchKind::Children)?;
        }
        self.reply(out, |out| {
            write_children(out, node.child_count(), node.children());
            if with_stat {
                node.stat().write(out);
            }
        });
        Ok(())
    }

    /// Who may read the znode, but not administer it, sees users without the
    /// hashes of their passwords.
    pub(super) fn get_acl(&self, body: &mut Reader<'_>, out: &mut Vec<u8>) -> Served {
        let path = body.str()?;
        let node = self.tree.znode(&path).ok_or(ErrorCode::NoNode)?;
        self.permit(&node, perms::READ | perms::ADMIN)?;
        let list = if self.permit(&node, perms::ADMIN).is_ok() {
            Cow::Borrowed(node.acl())
        } else {
            let redacted = node.acl().iter().map(|entry| Acl {
                perms: entry.perms,
                id: auth::redacted(&entry.id).into_owned(),
            });
            Cow::Owned(redacted.collect())
        };
        self.reply(out, |out| {
            write_acls(out, &list);
            node.stat().write(out);
        });
        Ok(())
    }

    /// The znodes below a path.
    pub(super) fn get_all_children_number(
        &self,
        body: &mut Reader<'_>,
        out: &mut Vec<u8>,
    ) -> Served {
        let path = body.str()?;
        let node = self.readable(&path)?;
        let number = match &*path {
            "/" => self.tree.znode_count() - 1,
            // The reference knows the root by two names, and one is below the other.
            "" => self.tree.znode_count(),
            _ => node.descendant_count(),
        };
        self.reply(out, |out| {
            out.put_i32(i32::try_from(number).unwrap_or(i32::MAX))
        });
        Ok(())
    }

    /// The ephemerals of the asking session whose paths begin with a text.
    pub(super) fn get_ephemerals(&self, body: &mut Reader<'_>, out: &mut Vec<u8>) -> Served {
        let prefix = body.opt_str()?.unwrap_or_default();
        // Java's trim: what is not above the blank.
        let trimmed = prefix.trim_matches(|char| char <= ' ');
        let prefix = match trimmed {
            "" | "/" => "",
            _ => &*prefix,
        };
        let session = self.watches.lock().session(self.conn).unwrap_or_default();
        let ephemerals = self.tree.ephemerals(session);
        let mut seen = 0;
        let ephemerals = ephemerals.inspect(|_| seen += 1);
        let paths: Vec<_> = ephemerals.filter(|path| path.starts_with(prefix)).collect();
        self.looked_at.update(|entries| entries + seen);
        self.reply(out, |out| {
            write_children(out, paths.len(), paths.into_iter());
        });
        Ok(())
    }

    /// Each operation succeeds or fails by itself. One whose result would make
    /// the reply longer than [`MULTI_READ_BYTES_MAX`] fails with
    /// MarshallingError, so that a client can ask for it again on its own; the
    /// reference builds replies of any length. How long a list of children is
    /// shows only when all of them are looked at, so lists are measured up to
    /// the same number of bytes, and the lists after them fail, too. So does
    /// everything once [`MULTI_READ_ENTRIES_MAX`] entries of access lists were
    /// looked at.
    pub(super) fn multi_read(&self, body: &mut Reader<'_>, out: &mut Vec<u8>) -> Served {
        let mut again = body.clone();
        let ops = match read_multi_read(body) {
            Ok(ops) => ops,
            // The reference refuses a batch of writes only when it has begun to answer it.
            Err(_) if read_multi(&mut again).is_ok() => {
                let header = self.header(ErrorCode::MarshallingError);
                frame(out, header, |out| MultiHeader::END.write(out));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        self.reply(out, |out| {
            let start = out.len();
            let mut measured = 0;
            for op in ops {
                let left = (start + MULTI_READ_BYTES_MAX).saturating_sub(out.len());
                let is_first = out.len() == start;
                let room = if is_first { usize::MAX } else { left };
                self.one_of_multi(&op, room, &mut measured, out);
            }
            MultiHeader::END.write(out);
        });
        Ok(())
    }

    /// Scheme and user of each id.
    pub(super) fn who_am_i(&self, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let infos = self.ids.iter();
        let infos = infos.map(|id| (&*id.scheme, self.auth.user_name(id)));
        self.reply(out, |out| write_client_infos(out, infos));
        Ok(())
    }

    /// Appends the result of one operation, of at most `room` bytes unless it
    /// is an error. `measured` is what the lists of children took so far,
    /// whether they were sent or not.
    fn one_of_multi(&self, op: &ReadOp<'_>, room: usize, measured: &mut usize, out: &mut Vec<u8>) {
        let (code, path) = match op {
            ReadOp::GetData(path) => (OpCode::GetData, path),
            ReadOp::GetChildren(path) => (OpCode::GetChildren, path),
        };
        let may_look = self.looked_at.get() < MULTI_READ_ENTRIES_MAX;
        let node = may_look.then(|| self.readable(path));
        let node = node.unwrap_or(Err(ErrorCode::MarshallingError));
        let node = node.and_then(|node| {
            let bytes = match op {
                ReadOp::GetData(_) => node.data().map_or(0, <[u8]>::len),
                ReadOp::GetChildren(_) if *measured > MULTI_READ_BYTES_MAX => usize::MAX,
                ReadOp::GetChildren(_) => {
                    let bytes = children_bytes(&node);
                    *measured += bytes;
                    bytes
                }
            };
            if bytes > room {
                return Err(ErrorCode::MarshallingError);
            }
            Ok(node)
        });
        let err = node.as_ref().err().map_or(ErrorCode::Ok, |error| *error);
        let header = MultiHeader {
            op: node.as_ref().map_or(OpCode::Error, |_| code).code(),
            done: false,
            err: err.code(),
        };
        header.write(out);
        match (node, op) {
            (Ok(node), ReadOp::GetData(_)) => write_data(out, &node),
            (Ok(node), ReadOp::GetChildren(_)) => {
                write_children(out, node.child_count(), node.children());
            }
            (Err(error), _) => out.put_i32(error.code()),
        }
    }
}

fn write_data(out: &mut Vec<u8>, node: &ZnodeRef<'_>) {
    out.put_opt_buffer(node.data());
    node.stat().write(out);
}

/// What the list of a znode's children takes in a reply.
fn children_bytes(node: &ZnodeRef<'_>) -> usize {
    let names: usize = node.children().map(str::len).sum();
    names + LENGTH_BYTES * (1 + node.child_count())
}

/// Length prefix of a list, a string, or data.
const LENGTH_BYTES: usize = 4;
/// A reply to multiRead is not longer than this, its first result and errors
/// aside.
pub(super) const MULTI_READ_BYTES_MAX: usize = 16 << 20;
/// Entries of access lists that one multiRead looks at, those of the znode
/// with which it comes there included.
const MULTI_READ_ENTRIES_MAX: usize = 200_000;
