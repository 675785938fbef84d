//! Operations as bytes of the client protocol of Apache ZooKeeper 3.9.4 (`ZooDefs`,
//! `zookeeper.jute`).

use anyhow::{Context, Result, bail};

use crate::jute::Encoder;
use crate::step::{Create, Op, PathKind, PathVersion, PathWatch, Since};

/// What stands between an operation's text and its bytes.
pub(crate) trait Names {
    /// Puts the scenario's root in the place of `@`.
    fn path(&self, text: &str) -> String;
    fn zxid(&self, since: Since) -> i64;
}

/// A packet for this operation without its length.
///
/// # Errors
/// When the text of an ACL or of a raw body cannot be read.
pub(crate) fn packet(op: &Op, xid: i32, names: &impl Names) -> Result<Vec<u8>> {
    let mut out = Encoder::default();
    out.int(xid).int(opcode(op));
    body(&mut out, op, names)?;
    Ok(out.bytes().to_vec())
}

/// A ConnectRequest without its length; without `read_only` the byte of that name is left out.
pub(crate) fn connect(
    last_zxid: i64,
    timeout_ms: i32,
    session: i64,
    password: Option<&[u8]>,
    read_only: Option<bool>,
) -> Vec<u8> {
    let mut out = Encoder::default();
    out.int(0) // protocolVersion
        .long(last_zxid)
        .int(timeout_ms)
        .long(session)
        .buffer(password);
    if let Some(read_only) = read_only {
        out.bool(read_only);
    }
    out.bytes().to_vec()
}

/// The xid that clients give to this operation, if it is a special one.
pub(crate) fn special_xid(op: &Op) -> Option<i32> {
    match op {
        Op::Ping {} => Some(XID_PING),
        Op::Auth { .. } => Some(XID_AUTH),
        Op::SetWatches(_) | Op::SetWatches2(_) => Some(XID_SET_WATCHES),
        _ => None,
    }
}

pub(crate) fn opcode(op: &Op) -> i32 {
    match op {
        Op::Create(_) => 1,
        Op::Delete(_) => 2,
        Op::Exists(_) => 3,
        Op::GetData(_) => 4,
        Op::SetData(_) => 5,
        Op::GetAcl(_) => 6,
        Op::SetAcl(_) => 7,
        Op::GetChildren(_) => 8,
        Op::Sync(_) => 9,
        Op::Ping {} => 11,
        Op::GetChildren2(_) => 12,
        Op::Check(_) => 13,
        Op::Multi(_) => 14,
        Op::Create2(_) => 15,
        Op::Reconfig { .. } => 16,
        Op::CheckWatches(_) => 17,
        Op::RemoveWatches(_) => 18,
        Op::CreateContainer(_) => 19,
        Op::CreateTtl(_) => 21,
        Op::MultiRead(_) => 22,
        Op::Auth { .. } => 100,
        Op::SetWatches(_) => 101,
        Op::GetEphemerals(_) => 103,
        Op::GetAllChildrenNumber(_) => 104,
        Op::SetWatches2(_) => 105,
        Op::AddWatch(_) => 106,
        Op::WhoAmI {} => 107,
        Op::CloseSession {} => -11,
        Op::Raw { opcode, .. } => *opcode,
    }
}

pub(crate) fn name(op: &Op) -> &'static str {
    match op {
        Op::Create(_) => "create",
        Op::Delete(_) => "delete",
        Op::Exists(_) => "exists",
        Op::GetData(_) => "getData",
        Op::SetData(_) => "setData",
        Op::GetAcl(_) => "getACL",
        Op::SetAcl(_) => "setACL",
        Op::GetChildren(_) => "getChildren",
        Op::Sync(_) => "sync",
        Op::Ping {} => "ping",
        Op::GetChildren2(_) => "getChildren2",
        Op::Check(_) => "check",
        Op::Multi(_) => "multi",
        Op::Create2(_) => "create2",
        Op::Reconfig { .. } => "reconfig",
        Op::CheckWatches(_) => "checkWatches",
        Op::RemoveWatches(_) => "removeWatches",
        Op::CreateContainer(_) => "createContainer",
        Op::CreateTtl(_) => "createTTL",
        Op::MultiRead(_) => "multiRead",
        Op::Auth { .. } => "auth",
        Op::SetWatches(_) => "setWatches",
        Op::GetEphemerals(_) => "getEphemerals",
        Op::GetAllChildrenNumber(_) => "getAllChildrenNumber",
        Op::SetWatches2(_) => "setWatches2",
        Op::AddWatch(_) => "addWatch",
        Op::WhoAmI {} => "whoAmI",
        Op::CloseSession {} => "closeSession",
        Op::Raw { .. } => "raw",
    }
}

/// The bytes that stand for a znode's data; null when absent.
pub(crate) fn data(text: Option<&str>) -> Result<Option<Vec<u8>>> {
    let Some(text) = text else {
        return Ok(None);
    };
    Ok(Some(match text.strip_prefix('#') {
        Some(count) => vec![b'x'; count.parse().context("number of bytes after '#'")?],
        None => text.as_bytes().to_vec(),
    }))
}

fn body(out: &mut Encoder, op: &Op, names: &impl Names) -> Result<()> {
    match op {
        Op::Create(create) | Op::Create2(create) | Op::CreateContainer(create) => {
            put_create(out, create, names)?;
        }
        Op::CreateTtl(create) => {
            put_create(out, create, names)?;
            out.long(create.ttl);
        }
        Op::Delete(PathVersion { path, version }) | Op::Check(PathVersion { path, version }) => {
            out.string(&names.path(path)).int(*version);
        }
        Op::SetData(set) => {
            out.string(&names.path(&set.path));
            out.buffer(data(set.data.as_deref())?.as_deref());
            out.int(set.version);
        }
        Op::SetAcl(set) => {
            out.string(&names.path(&set.path));
            put_acl(out, set.acl.as_deref())?;
            out.int(set.version);
        }
        Op::Exists(PathWatch { path, watch })
        | Op::GetData(PathWatch { path, watch })
        | Op::GetChildren(PathWatch { path, watch })
        | Op::GetChildren2(PathWatch { path, watch }) => {
            out.string(&names.path(path)).bool(*watch);
        }
        Op::GetAcl(at) | Op::GetEphemerals(at) | Op::GetAllChildrenNumber(at) | Op::Sync(at) => {
            out.string(&names.path(&at.path));
        }
        Op::WhoAmI {} | Op::Ping {} | Op::CloseSession {} => {}
        Op::Multi(ops) | Op::MultiRead(ops) => {
            for op in ops {
                out.int(opcode(op)).bool(false).int(-1);
                body(out, op, names)?;
            }
            out.int(-1).bool(true).int(-1);
        }
        Op::AddWatch(PathKind { path, kind })
        | Op::CheckWatches(PathKind { path, kind })
        | Op::RemoveWatches(PathKind { path, kind }) => {
            out.string(&names.path(path)).int(*kind);
        }
        Op::SetWatches(set) => {
            out.long(names.zxid(set.since));
            for paths in [&set.data, &set.exist, &set.child] {
                put_paths(out, paths, names);
            }
        }
        Op::SetWatches2(set) => {
            out.long(names.zxid(set.since));
            let lists = [&set.data, &set.exist, &set.child];
            for paths in lists.into_iter().chain([&set.persistent, &set.recursive]) {
                put_paths(out, paths, names);
            }
        }
        Op::Auth { scheme, id } => {
            out.int(0).string(scheme);
            out.buffer(id.as_ref().map(String::as_bytes));
        }
        Op::Reconfig { joining } => {
            out.string(joining).buffer(None).buffer(None).long(-1);
        }
        Op::Raw { body, .. } => {
            out.raw(&from_hex(body)?);
        }
    }
    Ok(())
}

fn put_create(out: &mut Encoder, create: &Create, names: &impl Names) -> Result<()> {
    out.string(&names.path(&create.path));
    // Text such as that of a quota is data, paths in it are not meant.
    out.buffer(data(create.data.as_deref())?.as_deref());
    put_acl(out, create.acl.as_deref())?;
    out.int(create.flags);
    Ok(())
}

fn put_acl(out: &mut Encoder, acl: Option<&[String]>) -> Result<()> {
    let open = [OPEN_ACL.to_owned()];
    let acl = acl.unwrap_or(&open);
    out.count(acl.len());
    for entry in acl {
        let mut parts = entry.splitn(3, ' ');
        let (Some(perms), Some(scheme), Some(id)) = (parts.next(), parts.next(), parts.next())
        else {
            bail!("ACL entry '{entry}' is not \"permissions scheme id\"");
        };
        out.int(perms.parse().context("permissions of an ACL entry")?);
        out.string(scheme).string(id);
    }
    Ok(())
}

fn put_paths(out: &mut Encoder, paths: &[String], names: &impl Names) {
    out.count(paths.len());
    for path in paths {
        out.string(&names.path(path));
    }
}

fn from_hex(digits: &str) -> Result<Vec<u8>> {
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair)?;
            Ok(u8::from_str_radix(pair, 16)?)
        })
        .collect::<Result<_>>()
        .with_context(|| format!("hexadecimal digits '{digits}'"))
}

pub(crate) const XID_NOTIFICATION: i32 = -1;
pub(crate) const XID_PING: i32 = -2;
pub(crate) const XID_AUTH: i32 = -4;
pub(crate) const XID_SET_WATCHES: i32 = -8;

const OPEN_ACL: &str = "31 world anyone";

#[cfg(test)]
mod tests {
    use super::*;

    struct Plain;

    impl Names for Plain {
        fn path(&self, text: &str) -> String {
            text.replace('@', "/r")
        }

        fn zxid(&self, _: Since) -> i64 {
            7
        }
    }

    fn hex(text: &str) -> String {
        let op = serde_json::from_str(text).unwrap();
        let bytes = packet(&op, 1, &Plain).unwrap();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn requests_have_the_documented_bytes() {
        assert_eq!(
            hex(r#"{"get_data":{"path":"/a","watch":true}}"#),
            "0000000100000004000000022f6101"
        );
        assert_eq!(
            hex(r#"{"create":{"path":"@","data":"","flags":1}}"#),
            "0000000100000001000000022f7200000000000000010000001f\
             00000005776f726c6400000006616e796f6e6500000001"
        );
        assert_eq!(
            hex(r#"{"multi":[{"check":{"path":"/a","version":2}}]}"#),
            "000000010000000e0000000d00ffffffff000000022f6100000002ffffffff01ffffffff"
        );
        assert_eq!(
            hex(r#"{"set_watches":{"since":{"ago":0},"data":["@"]}}"#),
            "00000001000000650000000000000007\
             00000001000000022f720000000000000000"
        );
    }
}
