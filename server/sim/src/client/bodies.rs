//! What clients send, encoded.

use zk_proto::client::{
    Acl, CheckVersionRequest, CreateRequest, CreateTtlRequest, DeleteRequest, MultiHeader, OpCode,
    PathWatchRequest, SetAclRequest, SetDataRequest,
};
use zk_proto::jute::Put;

pub(super) fn create(path: &str, flags: i32) -> Vec<u8> {
    let mut out = Vec::new();
    create_request(path, flags).write(&mut out);
    out
}

pub(super) fn create_ttl(path: &str, ttl: i64) -> Vec<u8> {
    let mut out = Vec::new();
    let create = create_request(path, TTL_FLAG);
    CreateTtlRequest { create, ttl }.write(&mut out);
    out
}

pub(super) fn delete(path: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let path = path.into();
    DeleteRequest { path, version: -1 }.write(&mut out);
    out
}

pub(super) fn set(path: &str, data: &str, version: i32) -> Vec<u8> {
    let mut out = Vec::new();
    set_request(path, data, version).write(&mut out);
    out
}

/// The list stays what it is, its version goes up.
pub(super) fn set_acl(path: &str) -> Vec<u8> {
    let mut out = Vec::new();
    SetAclRequest {
        path: path.into(),
        acl: Some(vec![Acl::open()]),
        version: -1,
    }
    .write(&mut out);
    out
}

pub(super) fn path(path: &str) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_str(path);
    out
}

pub(super) fn path_and_watch(path: &str, watch: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let path = path.into();
    PathWatchRequest { path, watch }.write(&mut out);
    out
}

/// Body of addWatch, checkWatches and removeWatches.
pub(super) fn path_and_code(path: &str, code: i32) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_str(path);
    out.put_i32(code);
    out
}

/// Creates of all paths behind a setData of `shared`; a check that must fail
/// ends it if it `fails`.
pub(super) fn multi(paths: &[String], shared: &str, fails: bool) -> Vec<u8> {
    let mut out = Vec::new();
    multi_header(&mut out, OpCode::SetData);
    set_request(shared, &paths[0], -1).write(&mut out);
    for path in paths {
        multi_header(&mut out, OpCode::Create2);
        create_request(path, 0).write(&mut out);
    }
    multi_header(&mut out, OpCode::Check);
    CheckVersionRequest {
        path: shared.into(),
        version: if fails { i32::MAX } else { -1 },
    }
    .write(&mut out);
    multi_end(&mut out);
    out
}

pub(super) fn multi_read(paths: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for path in paths {
        multi_header(&mut out, OpCode::GetData);
        out.extend(path_and_watch(path, false));
        multi_header(&mut out, OpCode::GetChildren);
        out.extend(path_and_watch(path, false));
    }
    multi_end(&mut out);
    out
}

fn create_request(path: &str, flags: i32) -> CreateRequest<'_> {
    CreateRequest {
        path: path.into(),
        data: Some(path.as_bytes()),
        acl: Some(vec![Acl::open()]),
        flags,
    }
}

fn set_request<'a>(path: &'a str, data: &'a str, version: i32) -> SetDataRequest<'a> {
    SetDataRequest {
        path: path.into(),
        data: Some(data.as_bytes()),
        version,
    }
}

fn multi_header(out: &mut Vec<u8>, op: OpCode) {
    MultiHeader {
        op: op.code(),
        done: false,
        err: -1,
    }
    .write(out);
}

fn multi_end(out: &mut Vec<u8>) {
    MultiHeader {
        op: -1,
        done: true,
        err: -1,
    }
    .write(out);
}

/// PERSISTENT_WITH_TTL.
const TTL_FLAG: i32 = 5;
