//! How transactions and znodes are shown.

use std::fmt::Write;

use jiff::Timestamp;
use zk_core::tree::Owner;
use zk_proto::client::{Acl, OpCode, perms};
use zk_proto::txn::{CreateTxn, SetDataTxn, Txn};

/// A wall clock in ms since 1970 as `2023-11-14T22:13:20.001Z`; the bare number beyond the year 9999.
pub(super) fn time(wall_ms: i64) -> String {
    Timestamp::from_millisecond(wall_ms)
        .map_or_else(|_| wall_ms.to_string(), |time| format!("{time:.3}"))
}

/// The operation and its arguments, without data.
pub(super) fn txn(txn: &Txn<'_>) -> String {
    let mut out = format!("op={}", op(txn.op()));
    let written = match txn {
        Txn::Create(create) | Txn::Create2(create) | Txn::CreateContainer(create) => {
            write_create(&mut out, create)
        }
        Txn::CreateTtl(create, ttl_ms) => {
            write_create(&mut out, create).and_then(|()| write!(out, " ttl={ttl_ms}"))
        }
        Txn::Delete(path) | Txn::DeleteContainer(path) => write!(out, " path={path:?}"),
        Txn::SetData(SetDataTxn {
            path,
            data,
            version,
        })
        | Txn::Reconfig(SetDataTxn {
            path,
            data,
            version,
        }) => {
            let data = length(*data);
            write!(out, " path={path:?} data={data} version={version}")
        }
        Txn::SetAcl(set) => {
            let acl = acls(&set.acl);
            write!(
                out,
                " path={:?} acl={acl} version={}",
                set.path, set.version
            )
        }
        Txn::Check(path, version) => write!(out, " path={path:?} version={version}"),
        Txn::Multi(txns) => {
            let txns: Vec<_> = txns.iter().map(self::txn).collect();
            write!(out, " txns={} [{}]", txns.len(), txns.join("; "))
        }
        Txn::CreateSession(timeout_ms) => write!(out, " timeout={timeout_ms}"),
        Txn::CloseSession(None) => Ok(()),
        Txn::CloseSession(Some(paths)) => write!(out, " deletes={paths:?}"),
        Txn::Error(code) => write!(out, " err={code}"),
    };
    written.expect("a string takes everything");
    out
}

/// A list as `scheme:id:perms`, comma separated, without password hashes.
pub(super) fn acls(list: &[Acl]) -> String {
    let entry = |acl: &Acl| {
        let (scheme, mut id) = (&acl.id.scheme, acl.id.id.as_str());
        let hidden;
        if scheme == "digest" {
            hidden = format!("{}:***", id.split(':').next().unwrap_or_default());
            id = &hidden;
        }
        format!("{scheme}:{}:{}", id.escape_debug(), letters(acl.perms))
    };
    let entries: Vec<_> = list.iter().map(entry).collect();
    match entries.is_empty() {
        true => "none".into(),
        false => entries.join(","),
    }
}

/// What a stored `ephemeralOwner` stands for.
pub(super) fn owner(stored: i64) -> String {
    match Owner::from_stored(stored) {
        Owner::Persistent => "kind=persistent".into(),
        Owner::Session(session) => format!("kind=ephemeral owner={session}"),
        Owner::Container => "kind=container".into(),
        Owner::Ttl(ms) => format!("kind=ttl ttl={ms}"),
    }
}

/// Length of data in bytes, or that there is none.
pub(super) fn length(data: Option<&[u8]>) -> String {
    data.map_or_else(|| "null".into(), |data| data.len().to_string())
}

fn write_create(out: &mut String, create: &CreateTxn<'_>) -> std::fmt::Result {
    let CreateTxn {
        path,
        data,
        acl,
        ephemeral,
        parent_cversion,
    } = create;
    let (data, acl) = (length(*data), acls(acl));
    write!(
        out,
        " path={path:?} data={data} acl={acl} ephemeral={ephemeral} parentCVersion={parent_cversion}"
    )
}

fn op(op: OpCode) -> String {
    // The variants have the reference's names (`Request.op2String`), but for the first letter.
    let name = format!("{op:?}")
        .replace("Ttl", "TTL")
        .replace("Acl", "ACL");
    let mut letters = name.chars();
    let first = letters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

fn letters(bits: i32) -> String {
    let all = [
        (perms::CREATE, 'c'),
        (perms::DELETE, 'd'),
        (perms::READ, 'r'),
        (perms::WRITE, 'w'),
        (perms::ADMIN, 'a'),
    ];
    all.into_iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, letter)| letter)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_700_000_000_001, "2023-11-14T22:13:20.001Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (i64::MAX, "9223372036854775807"),
            (i64::MIN, "-9223372036854775808"),
        ] {
            assert_eq!(time(ms), text);
        }
    }

    #[test]
    fn a_multi_is_one_line_without_data_or_hashes() {
        let mut acl = Acl::open();
        acl.id.scheme = "digest".into();
        acl.id.id = "user:hash=".into();
        let create = CreateTxn {
            path: "/a\nb".into(),
            data: Some(b"secret"),
            acl: vec![acl],
            ephemeral: false,
            parent_cversion: 3,
        };
        let multi = Txn::Multi(vec![
            Txn::CreateTtl(create, 500),
            Txn::SetAcl(zk_proto::txn::SetAclTxn {
                path: "/a".into(),
                acl: vec![Acl::open()],
                version: 1,
            }),
            Txn::Error(-101),
        ]);
        assert_eq!(
            txn(&multi),
            "op=multi txns=3 [op=createTTL path=\"/a\\nb\" data=6 acl=digest:user:***:cdrwa \
             ephemeral=false parentCVersion=3 ttl=500; op=setACL path=\"/a\" acl=world:anyone:cdrwa version=1; \
             op=error err=-101]"
        );
    }
}
