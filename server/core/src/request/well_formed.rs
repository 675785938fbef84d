//! Can the reference read this request at all? (3.9.4: the records that
//! `PrepRequestProcessor.pRequestHelper` and `FinalRequestProcessor` read.)
//!
//! What cannot be read is answered with MarshallingError by the server that got
//! it and becomes no transaction. A leader of the reference would give it the
//! zxid of the transaction before, upon which its ensemble hangs.

use zk_proto::DecodeError;
use zk_proto::client::{MultiOp, OpCode, ReconfigRequest, read_acls, read_multi};
use zk_proto::jute::{Reader, Reason};

/// Null strings and bytes behind the record are fine. A multi that cannot be
/// read takes a zxid in the reference, so it may pass. One with a create whose
/// list of ACLs is null may not: the reference's leader throws an exception
/// of another kind before it takes a zxid, and its ensemble hangs.
pub(crate) fn is_well_formed(op: i32, body: &[u8]) -> bool {
    let mut reader = Reader::new(body);
    match OpCode::from_code(op) {
        Some(op) => read(op, &mut reader).is_ok(),
        None => true,
    }
}

fn read(op: OpCode, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    match op {
        OpCode::Create | OpCode::Create2 | OpCode::CreateContainer => create(reader),
        OpCode::CreateTtl => {
            create(reader)?;
            reader.i64().map(drop)
        }
        OpCode::Delete => {
            reader.opt_buffer()?;
            reader.i32().map(drop)
        }
        // Its own way to read does not know null.
        OpCode::DeleteContainer => reader.str().map(drop),
        OpCode::SetData => {
            reader.opt_buffer()?;
            reader.opt_buffer()?;
            reader.i32().map(drop)
        }
        OpCode::SetAcl => {
            reader.opt_buffer()?;
            read_acls(reader)?;
            reader.i32().map(drop)
        }
        OpCode::Multi => multi(reader),
        OpCode::Reconfig => ReconfigRequest::read(reader).map(drop),
        OpCode::Sync => reader.opt_buffer().map(drop),
        _ => Ok(()),
    }
}

fn multi(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    let Ok(ops) = read_multi(&mut reader.clone()) else {
        return Ok(());
    };
    let lacks_acl = ops.iter().any(|op| match op {
        MultiOp::Create(_, create) => create.acl.is_none(),
        MultiOp::CreateTtl(request) => request.create.acl.is_none(),
        MultiOp::Delete(_) | MultiOp::SetData(_) | MultiOp::Check(_) => false,
    });
    if lacks_acl {
        return Err(reader.error(Reason::Value {
            what: "length of the ACL list of a create in a multi",
            value: -1,
        }));
    }
    Ok(())
}

fn create(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    reader.opt_buffer()?;
    reader.opt_buffer()?;
    read_acls(reader)?;
    reader.i32().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use zk_proto::client::{Acl, CreateRequest, CreateTtlRequest, MultiHeader, SetAclRequest};
    use zk_proto::jute::Put;

    #[test]
    fn every_beginning_of_a_request_is_refused() {
        let create = CreateRequest {
            path: "/a".into(),
            data: None,
            acl: Some(vec![Acl::open()]),
            flags: 0,
        };
        let (mut plain, mut ttl, mut list) = (Vec::new(), Vec::new(), Vec::new());
        create.write(&mut plain);
        CreateTtlRequest { create, ttl: 5 }.write(&mut ttl);
        SetAclRequest {
            path: "/a".into(),
            acl: None,
            version: 0,
        }
        .write(&mut list);
        let mut path_data_version = Vec::new();
        path_data_version.put_str("/a");
        let path = path_data_version.clone();
        path_data_version.put_opt_buffer(Some(b"data"));
        path_data_version.put_i32(0);
        let mut path_version = path.clone();
        path_version.put_i32(0);
        for (op, body) in [
            (OpCode::Create, &plain),
            (OpCode::Create2, &plain),
            (OpCode::CreateContainer, &plain),
            (OpCode::CreateTtl, &ttl),
            (OpCode::Delete, &path_version),
            (OpCode::DeleteContainer, &path),
            (OpCode::SetData, &path_data_version),
            (OpCode::SetAcl, &list),
            (OpCode::Reconfig, &vec![0xff; 20]),
            (OpCode::Sync, &path),
        ] {
            let code = op.code();
            assert!(is_well_formed(code, body), "{op:?}");
            assert!(
                is_well_formed(code, &[body, &b"more"[..]].concat()),
                "{op:?}"
            );
            for end in 0..body.len() {
                assert!(!is_well_formed(code, &body[..end]), "{op:?} of {end} bytes");
            }
        }
    }

    #[test]
    fn a_multi_whose_create_has_no_acl_list_is_refused() {
        let multi = |acl: Option<Vec<Acl>>, op: OpCode, flags| {
            let mut body = Vec::new();
            let mut put = |op: OpCode, flags, acl| {
                let header = MultiHeader {
                    op: op.code(),
                    done: false,
                    err: -1,
                };
                header.write(&mut body);
                let create = CreateRequest {
                    path: "/a".into(),
                    data: None,
                    acl,
                    flags,
                };
                if op == OpCode::CreateTtl {
                    CreateTtlRequest { create, ttl: 5 }.write(&mut body);
                } else {
                    create.write(&mut body);
                }
            };
            put(OpCode::Create, 0, Some(vec![Acl::open()]));
            put(op, flags, acl);
            MultiHeader::END.write(&mut body);
            body
        };
        let code = OpCode::Multi.code();
        for (op, flags) in [
            (OpCode::Create, 0),
            (OpCode::Create2, 1),
            (OpCode::CreateContainer, 4),
            (OpCode::CreateTtl, 5),
        ] {
            assert!(!is_well_formed(code, &multi(None, op, flags)), "{op:?}");
            let some = Some(vec![Acl::open()]);
            assert!(is_well_formed(code, &multi(some, op, flags)), "{op:?}");
            assert!(is_well_formed(code, &multi(Some(vec![]), op, flags)));
        }
    }

    #[test]
    fn null_is_well_formed_where_java_reads_it() {
        let null_path_version = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        assert!(is_well_formed(OpCode::Delete.code(), &null_path_version));
        let sync = OpCode::Sync.code();
        assert!(is_well_formed(sync, &null_path_version[..4]));
        let container = OpCode::DeleteContainer.code();
        assert!(!is_well_formed(container, &null_path_version));
        for op in [OpCode::Multi, OpCode::CloseSession] {
            assert!(is_well_formed(op.code(), b""));
        }
    }
}
