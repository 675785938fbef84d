use zk_proto::client::{Acl, EventKind, PathWatchRequest, Stat, StatPersisted, special_xid};
use zk_proto::jute::Put;
use zk_proto::snapshot::{NodeRecord, OPEN_ACL_REF, write_acl_table, write_end, write_sessions};

use super::*;

mod auth;
mod more_watches;
mod more_znodes;

const CONN: ConnId = ConnId(4);
const SESSION: SessionId = SessionId(0x77);
const ERROR_FRAME_BYTES: usize = 20;

/// "/", "/open" with a child and two bytes, "/null" without data, and
/// "/secret" for 10.0.0.1 alone. Znode number n was last changed at 16 * n,
/// the tree ends at 0x55.
fn view() -> SharedView {
    let secret = [Acl {
        perms: perms::READ,
        id: ip("10.0.0.1"),
    }];
    let mut image = Vec::new();
    write_sessions(&mut image, [].into_iter());
    write_acl_table(&mut image, [(7, &secret[..])].into_iter());
    let znodes = [
        ("", None),
        ("/null", None),
        ("/open", Some(&b"xy"[..])),
        ("/open/kid", None),
        ("/secret", None),
    ];
    for (number, (path, data)) in (0..).zip(znodes) {
        let zxid = Zxid(16 * number);
        let stat = StatPersisted {
            mzxid: zxid,
            pzxid: zxid,
            ..StatPersisted::default()
        };
        let acl_ref = if path == "/secret" { 7 } else { OPEN_ACL_REF };
        NodeRecord {
            path: path.into(),
            data,
            acl_ref,
            stat,
        }
        .write(&mut image);
    }
    write_end(&mut image);
    let view = SharedView::new(
        Tree::from_image(&image, Zxid(0x55)).unwrap(),
        Arc::default(),
        1,
    );
    view.watches()
        .lock()
        .register_conn(CONN, SESSION, [ip("10.0.0.2")].into());
    view
}

fn ip(id: &str) -> Id {
    Id {
        scheme: "ip".into(),
        id: id.into(),
    }
}

fn serve(view: &SharedView, op: OpCode, body: &[u8]) -> (ReadOutcome, Vec<u8>) {
    serve_as(view, &mut client(), op, body)
}

fn serve_as(
    view: &SharedView,
    client: &mut Client,
    op: OpCode,
    body: &[u8],
) -> (ReadOutcome, Vec<u8>) {
    let mut out = Vec::new();
    let outcome = view.read().serve(client, Xid(9), op.code(), body, &mut out);
    (outcome, out)
}

fn client() -> Client {
    Client::new(CONN, "10.0.0.2".parse().unwrap())
}

fn path_watch(path: &str, watch: bool) -> Vec<u8> {
    let mut body = Vec::new();
    PathWatchRequest {
        path: path.into(),
        watch,
    }
    .write(&mut body);
    body
}

/// The header's fields and the body of the only frame.
fn reply(frame: &[u8]) -> (ReplyHeader, &[u8]) {
    let mut reader = Reader::new(frame);
    let length = usize::try_from(reader.i32().unwrap()).unwrap();
    assert_eq!(length, frame.len() - 4);
    (ReplyHeader::read(&mut reader).unwrap(), &frame[20..])
}

fn ok_header() -> ReplyHeader {
    ReplyHeader {
        xid: Xid(9),
        zxid: Zxid(0x55),
        err: 0,
    }
}

#[test]
fn what_each_read_answers() {
    let view = view();
    let (_, out) = serve(&view, OpCode::GetData, &path_watch("/open", false));
    let (header, body) = reply(&out);
    let mut reader = Reader::new(body);
    assert_eq!(
        (header, reader.opt_buffer().unwrap()),
        (ok_header(), Some(&b"xy"[..]))
    );
    let stat = Stat {
        mzxid: Zxid(0x20),
        pzxid: Zxid(0x20),
        cversion: -1,
        data_length: 2,
        num_children: 1,
        ..Stat::default()
    };
    assert_eq!(Stat::read(&mut reader).unwrap(), stat);

    let (_, out) = serve(&view, OpCode::GetData, &path_watch("/null", false));
    assert_eq!(reply(&out).1[..4], (-1_i32).to_be_bytes());

    let (_, out) = serve(&view, OpCode::Exists, &path_watch("/open", false));
    assert_eq!(
        (
            reply(&out).0,
            Stat::read(&mut Reader::new(reply(&out).1)).unwrap()
        ),
        (ok_header(), stat)
    );

    let (_, out) = serve(&view, OpCode::GetChildren, &path_watch("/open", false));
    assert_eq!(Reader::new(reply(&out).1).strings().unwrap(), ["kid"]);
    assert_eq!(reply(&out).1.len(), 4 + 4 + 3);

    let (_, out) = serve(&view, OpCode::GetChildren2, &path_watch("/", false));
    let mut reader = Reader::new(reply(&out).1);
    assert_eq!(reader.strings().unwrap(), ["null", "open", "secret"]);
    assert_eq!(Stat::read(&mut reader).unwrap().num_children, 3);

    let (outcome, out) = serve(&view, OpCode::Ping, &[]);
    assert_eq!(outcome, ReadOutcome::Answered);
    assert_eq!(
        reply(&out),
        (
            ReplyHeader {
                xid: Xid(-2),
                ..ok_header()
            },
            &[][..]
        )
    );
}

#[test]
fn refusals_and_the_watches_they_leave() {
    use OpCode::{Exists, GetChildren, GetChildren2, GetData};
    for (ops, path, err, watches) in [
        (
            &[GetData, GetChildren, GetChildren2][..],
            "/none",
            ErrorCode::NoNode,
            0,
        ),
        (&[Exists], "/none", ErrorCode::NoNode, 1),
        (
            &[GetData, GetChildren, GetChildren2, Exists],
            "/secret",
            ErrorCode::NoAuth,
            0,
        ),
        (&[Exists], "/a\0", ErrorCode::BadArguments, 0),
        (&[GetData], "//", ErrorCode::NoNode, 0),
        (
            &[GetData, GetChildren, GetChildren2, Exists],
            "/open",
            ErrorCode::Ok,
            1,
        ),
    ] {
        for op in ops {
            let view = view();
            let (outcome, out) = serve(&view, *op, &path_watch(path, true));
            assert_eq!(outcome, ReadOutcome::Answered);
            assert_eq!(
                reply(&out).0,
                ReplyHeader {
                    err: err.code(),
                    ..ok_header()
                },
                "{op:?} {path}"
            );
            assert_eq!(out.len() == ERROR_FRAME_BYTES, err != ErrorCode::Ok);
            assert_eq!(view.watch_count(), watches, "{op:?} {path}");
        }
    }
}

#[test]
fn each_read_watches_its_own_side() {
    for (op, on_data) in [
        (OpCode::GetData, true),
        (OpCode::Exists, true),
        (OpCode::GetChildren, false),
        (OpCode::GetChildren2, false),
    ] {
        let view = view();
        serve(&view, op, &path_watch("/open", true));
        let mut told = false;
        view.watches()
            .lock()
            .data_changed("/open", &[], &mut |_, _, _| told = true);
        assert_eq!(told, on_data, "{op:?}");
    }
}

#[test]
fn bodies_that_do_not_decode() {
    let view = view();
    for op in [
        OpCode::GetData,
        OpCode::Exists,
        OpCode::GetChildren,
        OpCode::GetChildren2,
        OpCode::GetAcl,
        OpCode::GetAllChildrenNumber,
        OpCode::GetEphemerals,
        OpCode::MultiRead,
        OpCode::SetWatches,
        OpCode::SetWatches2,
        OpCode::AddWatch,
        OpCode::CheckWatches,
        OpCode::RemoveWatches,
    ] {
        // The one that takes a null.
        let takes_null = op == OpCode::GetEphemerals;
        for body in [
            &[][..],
            &[0, 0, 0, 9, b'/'],
            &[0xff; 4][..if takes_null { 3 } else { 4 }],
            &[0x7f, 0xff, 0xff, 0xff, 1],
        ] {
            let (outcome, out) = serve(&view, op, body);
            let err = ErrorCode::MarshallingError.code();
            assert_eq!(
                (outcome, reply(&out)),
                (
                    ReadOutcome::Answered,
                    (ReplyHeader { err, ..ok_header() }, &[][..])
                )
            );
        }
    }
    assert_eq!(view.watch_count(), 0);
}

#[test]
fn operations_without_a_meaning_end_the_connection() {
    let view = view();
    let unimplemented = ReplyHeader {
        xid: Xid(9),
        zxid: Zxid(-1),
        err: -6,
    };
    for op in [0, 10, 13, 23, 99, 108, 999, -1] {
        let mut out = Vec::new();
        let outcome = view.read().serve(&mut client(), Xid(9), op, &[], &mut out);
        assert_eq!(
            (outcome, reply(&out).0),
            (ReadOutcome::Close, unimplemented),
            "{op}"
        );
    }
    assert_eq!(
        serve(&view, OpCode::CreateSession, &[0, 0, 0x75, 0x30]),
        (ReadOutcome::Close, vec![])
    );
}

#[test]
fn set_watches_tells_what_was_missed_and_watches_the_rest() {
    let paths = ["/open", "/null", "/none"];
    // All three lists hold all three paths. /open changed at 0x20, /null at 0x10.
    for (relative_zxid, want, watches) in [
        (
            0x1f,
            vec![
                (3, "/open"),
                (2, "/none"),
                (1, "/open"),
                (1, "/null"),
                (4, "/open"),
                (2, "/none"),
            ],
            3,
        ),
        (
            0x20,
            vec![(2, "/none"), (1, "/open"), (1, "/null"), (2, "/none")],
            5,
        ),
        (
            0,
            vec![
                (3, "/open"),
                (3, "/null"),
                (2, "/none"),
                (1, "/open"),
                (1, "/null"),
                (4, "/open"),
                (4, "/null"),
                (2, "/none"),
            ],
            1,
        ),
    ] {
        let view = view();
        let mut body = Vec::new();
        body.put_i64(relative_zxid);
        for _ in 0..3 {
            body.put_strings(&paths);
        }
        let (outcome, out) = serve(&view, OpCode::SetWatches, &body);
        assert_eq!(
            (outcome, view.watch_count()),
            (ReadOutcome::Answered, watches)
        );
        let mut reader = Reader::new(&out);
        for (kind, path) in want {
            let mut event = Reader::new(reader.buffer().unwrap());
            let header = ReplyHeader::read(&mut event).unwrap();
            assert_eq!(
                header,
                ReplyHeader {
                    xid: Xid(-1),
                    zxid: Zxid(-1),
                    err: 0
                }
            );
            assert_eq!(
                (
                    event.i32().unwrap(),
                    event.i32().unwrap(),
                    &*event.str().unwrap()
                ),
                (kind, 3, path)
            );
        }
        assert_eq!(reply(reader.rest()), (ok_header(), &[][..]));
    }
}

#[test]
fn set_watches_answers_as_captured() {
    let text = include_str!("../../../../proto/testdata/client/set_watches.hex");
    let captured = |label: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(label)?.strip_prefix(' '))
            .unwrap();
        let bytes = (0..line.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap());
        bytes.collect::<Vec<_>>()
    };
    let mut image = Vec::new();
    write_sessions(&mut image, [].into_iter());
    write_acl_table(&mut image, [].into_iter());
    // As the capture's note says; its client had seen 0x50.
    for (path, mzxid, pzxid) in [
        ("", 1, 1),
        ("/changed", 0x51, 1),
        ("/new", 0x53, 0x53),
        ("/parent", 1, 0x54),
        ("/same", 1, 1),
    ] {
        let stat = StatPersisted {
            mzxid: Zxid(mzxid),
            pzxid: Zxid(pzxid),
            ..StatPersisted::default()
        };
        NodeRecord {
            path: path.into(),
            data: None,
            acl_ref: OPEN_ACL_REF,
            stat,
        }
        .write(&mut image);
    }
    write_end(&mut image);
    let view = SharedView::new(
        Tree::from_image(&image, Zxid(0x55)).unwrap(),
        Arc::default(),
        1,
    );
    view.watches()
        .lock()
        .register_conn(CONN, SESSION, Arc::default());
    let request = captured("set_watches.request");
    let mut out = Vec::new();
    let op = OpCode::SetWatches.code();
    view.read().serve(
        &mut client(),
        special_xid::SET_WATCHES,
        op,
        &request[8..],
        &mut out,
    );
    let mut want = Vec::new();
    for label in ["event", "event2", "event3", "event4", "event5", "reply"] {
        want.put_buffer(&captured(&format!("set_watches.{label}")));
    }
    assert_eq!(out, want);
    // /same twice, /absent once; a data and a child watch on /same.
    assert_eq!(view.watch_count(), 3);
}
