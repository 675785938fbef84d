use zk_proto::client::MultiHeader;

use super::*;

/// "/" is open to all; "/a" can be read by all and administered by 10.0.0.1;
/// "/b" can be administered only, by 10.0.0.2; "/a/e" is an ephemeral.
fn view_with_acls() -> SharedView {
    let entry = |perms, scheme: &str, id: &str| Acl {
        perms,
        id: Id {
            scheme: scheme.into(),
            id: id.into(),
        },
    };
    let lists = [
        vec![
            entry(perms::READ, "world", "anyone"),
            entry(perms::ADMIN, "ip", "10.0.0.1"),
            entry(perms::ALL, "digest", "bob:hash"),
        ],
        vec![
            entry(perms::ADMIN, "ip", "10.0.0.2"),
            entry(perms::READ, "digest", "bob:hash"),
        ],
    ];
    let mut image = Vec::new();
    write_sessions(&mut image, [(SESSION, 30_000)].into_iter());
    write_acl_table(
        &mut image,
        [(1, &lists[0][..]), (2, &lists[1][..])].into_iter(),
    );
    for (path, acl_ref, ephemeral_owner) in [
        ("", OPEN_ACL_REF, 0),
        ("/a", 1, 0),
        ("/a/b", OPEN_ACL_REF, 0),
        ("/a/b/c", OPEN_ACL_REF, 0),
        ("/a/e", OPEN_ACL_REF, SESSION.0),
        ("/ab", OPEN_ACL_REF, SESSION.0),
        ("/b", 2, 0),
    ] {
        let stat = StatPersisted {
            ephemeral_owner,
            ..StatPersisted::default()
        };
        NodeRecord {
            path: path.into(),
            data: Some(b"d"),
            acl_ref,
            stat,
        }
        .write(&mut image);
    }
    write_end(&mut image);
    let tree = Tree::from_image(&image, Zxid(0x55)).unwrap();
    let view = SharedView::new(tree, Arc::default(), 1);
    let mut watches = view.watches().lock();
    watches.register_conn(CONN, SESSION, Arc::default());
    drop(watches);
    view
}

fn path(path: &str) -> Vec<u8> {
    let mut body = Vec::new();
    body.put_str(path);
    body
}

#[test]
fn a_list_hides_hashes_from_those_who_only_read() {
    let view = view_with_acls();
    let ids = |address: &str, of: &str| {
        let mut client = Client::new(CONN, address.parse().unwrap());
        let (_, out) = serve_as(&view, &mut client, OpCode::GetAcl, &path(of));
        let (header, body) = reply(&out);
        if header.err != 0 {
            return vec![header.err.to_string()];
        }
        let mut reader = Reader::new(body);
        let list = zk_proto::client::read_acls(&mut reader).unwrap().unwrap();
        assert_eq!(Stat::read(&mut reader).unwrap().data_length, 1);
        list.into_iter().map(|entry| entry.id.id).collect()
    };
    assert_eq!(ids("10.0.0.1", "/a"), ["anyone", "10.0.0.1", "bob:hash"]);
    assert_eq!(ids("10.0.0.2", "/a"), ["anyone", "10.0.0.1", "bob:x"]);
    assert_eq!(ids("10.0.0.2", "/b"), ["10.0.0.2", "bob:hash"]);
    assert_eq!(ids("10.0.0.1", "/b"), ["-102"]);
    assert_eq!(ids("10.0.0.1", "/c"), ["-101"]);
}

#[test]
fn all_below_a_path_are_counted() {
    let view = view_with_acls();
    for (of, want) in [("/", 6), ("", 7), ("/a", 3), ("/a/b", 1), ("/a/b/c", 0)] {
        let (_, out) = serve(&view, OpCode::GetAllChildrenNumber, &path(of));
        assert_eq!(
            reply(&out),
            (ok_header(), &i32::to_be_bytes(want)[..]),
            "{of}"
        );
    }
    for (of, err) in [("/none", -101), ("/b", -102), ("/a/", -101)] {
        let (_, out) = serve(&view, OpCode::GetAllChildrenNumber, &path(of));
        assert_eq!(reply(&out).0, ReplyHeader { err, ..ok_header() }, "{of}");
    }
}

#[test]
fn own_ephemerals_by_a_prefix_of_their_text() {
    let view = view_with_acls();
    for (prefix, want) in [
        ("/", &["/a/e", "/ab"][..]),
        ("", &["/a/e", "/ab"]),
        (" \t", &["/a/e", "/ab"]),
        ("/a", &["/a/e", "/ab"]),
        ("/a/", &["/a/e"]),
        (" /a", &[]),
        ("/b", &[]),
    ] {
        let (_, out) = serve(&view, OpCode::GetEphemerals, &path(prefix));
        assert_eq!(
            Reader::new(reply(&out).1).strings().unwrap(),
            want,
            "{prefix:?}"
        );
    }
    let (_, out) = serve(&view, OpCode::GetEphemerals, &[0xff; 4]);
    assert_eq!(Reader::new(reply(&out).1).strings().unwrap().len(), 2);
    // Nobody else's.
    let mut stranger = Client::new(ConnId(5), "10.0.0.2".parse().unwrap());
    view.watches()
        .lock()
        .register_conn(ConnId(5), SessionId(0x78), Arc::default());
    let (_, out) = serve_as(&view, &mut stranger, OpCode::GetEphemerals, &path("/"));
    assert_eq!(reply(&out), (ok_header(), &[0; 4][..]));
}

fn batch(ops: &[(i32, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (op, path) in ops {
        body.put_i32(*op);
        body.put_bool(false);
        body.put_i32(-1);
        body.put_str(path);
        body.put_bool(true);
    }
    MultiHeader::END.write(&mut body);
    body
}

#[test]
fn a_batch_of_reads_fails_one_by_one_and_leaves_no_watch() {
    let view = view_with_acls();
    let ops = [(8, "/a"), (4, "/none"), (4, "/a/e"), (8, "/b")];
    let (outcome, out) = serve(&view, OpCode::MultiRead, &batch(&ops));
    let (header, body) = reply(&out);
    assert_eq!((outcome, header), (ReadOutcome::Answered, ok_header()));
    let mut reader = Reader::new(body);
    let result = |reader: &mut Reader<'_>| {
        let header = MultiHeader::read(reader).unwrap();
        (header.op, header.done, header.err)
    };
    assert_eq!(result(&mut reader), (8, false, 0));
    assert_eq!(reader.strings().unwrap(), ["b", "e"]);
    assert_eq!(result(&mut reader), (-1, false, -101));
    assert_eq!(reader.i32().unwrap(), -101);
    assert_eq!(result(&mut reader), (4, false, 0));
    assert_eq!(reader.opt_buffer().unwrap(), Some(&b"d"[..]));
    assert_eq!(Stat::read(&mut reader).unwrap().ephemeral_owner, SESSION);
    assert_eq!(result(&mut reader), (-1, false, -102));
    assert_eq!(reader.i32().unwrap(), -102);
    assert_eq!(result(&mut reader), (-1, true, -1));
    assert_eq!(view.watch_count(), 0);

    let (_, out) = serve(&view, OpCode::MultiRead, &batch(&[]));
    assert_eq!(
        reply(&out).1,
        [0xff, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff]
    );
    for write in [1, 3, 5, 12, 13, -1] {
        let (_, out) = serve(
            &view,
            OpCode::MultiRead,
            &batch(&[(4, "/a"), (write, "/a")]),
        );
        assert_eq!(
            reply(&out),
            (
                ReplyHeader {
                    err: -5,
                    ..ok_header()
                },
                &[][..]
            ),
            "{write}"
        );
    }
}

#[test]
fn the_entries_and_ephemerals_that_a_read_looks_at_are_counted() {
    let view = view_with_acls();
    let mut client = client();
    let mut looked_at = |op, body: &[u8]| {
        serve_as(&view, &mut client, op, body);
        client.looked_at()
    };
    assert_eq!(looked_at(OpCode::GetData, &path_watch("/a", false)), 3);
    assert_eq!(looked_at(OpCode::WhoAmI, b""), 0);
    let two = batch(&[
        (OpCode::GetData.code(), "/a"),
        (OpCode::GetChildren.code(), "/b"),
    ]);
    assert_eq!(looked_at(OpCode::MultiRead, &two), 5);
}

/// One request must not look at long lists for seconds.
#[test]
fn a_multi_read_looks_at_a_bounded_number_of_entries() {
    let mut image = Vec::new();
    write_sessions(&mut image, [].into_iter());
    let entry = |n: i32| Acl {
        perms: n << 5 | perms::READ,
        id: Id {
            scheme: "ip".into(),
            id: "10.0.0.0/8".into(),
        },
    };
    let list: Vec<Acl> = (0..50_000).map(entry).collect();
    write_acl_table(&mut image, [(1, &list[..])].into_iter());
    for (path, acl_ref) in [("", OPEN_ACL_REF), ("/long", 1), ("/short", OPEN_ACL_REF)] {
        NodeRecord {
            path: path.into(),
            data: Some(b""),
            acl_ref,
            stat: StatPersisted::default(),
        }
        .write(&mut image);
    }
    write_end(&mut image);
    let tree = Tree::from_image(&image, Zxid(0x55)).unwrap();
    let view = SharedView::new(tree, Arc::default(), 1);
    let get = OpCode::GetData.code();
    let mut client = client();
    let ops = [vec![(get, "/long"); 6], vec![(get, "/short")]].concat();
    let (outcome, out) = serve_as(&view, &mut client, OpCode::MultiRead, &batch(&ops));
    assert_eq!(outcome, ReadOutcome::Answered);
    assert_eq!(client.looked_at(), 200_000);
    let (_, body) = reply(&out);
    let mut reader = Reader::new(body);
    let mut errors = Vec::new();
    for _ in 0..7 {
        let MultiHeader { op, err, .. } = MultiHeader::read(&mut reader).unwrap();
        if op == get {
            reader.opt_buffer().unwrap();
            Stat::read(&mut reader).unwrap();
        } else {
            reader.i32().unwrap();
        }
        errors.push(err);
    }
    let refused = ErrorCode::MarshallingError.code();
    assert_eq!(errors, [0, 0, 0, 0, refused, refused, refused]);
    serve_as(&view, &mut client, OpCode::Sasl, b"");
    assert_eq!(client.looked_at(), 0);
}

/// A list that does not fit has to be measured all the same.
#[test]
fn what_multi_read_measures_is_bounded() {
    let mut image = Vec::new();
    write_sessions(&mut image, [].into_iter());
    write_acl_table(&mut image, [].into_iter());
    let mut put = |path: &str| {
        let node = NodeRecord {
            path: path.into(),
            data: None,
            acl_ref: OPEN_ACL_REF,
            stat: StatPersisted::default(),
        };
        node.write(&mut image);
    };
    for path in ["", "/many", "/few", "/few/one"] {
        put(path);
    }
    let long = "x".repeat(100_000);
    for n in 100..200 {
        put(&format!("/many/{n}{long}"));
    }
    write_end(&mut image);
    let tree = Tree::from_image(&image, Zxid(0x55)).unwrap();
    let view = SharedView::new(tree, Arc::default(), 1);
    let list = OpCode::GetChildren.code();
    // Ten megabytes are sent, ten more do not fit, and then it is enough.
    let ops = [
        (list, "/many"),
        (list, "/few"),
        (list, "/many"),
        (list, "/few"),
    ];
    let (outcome, out) = serve(&view, OpCode::MultiRead, &batch(&ops));
    assert_eq!(outcome, ReadOutcome::Answered);
    let (header, body) = reply(&out);
    assert_eq!(header, ok_header());
    let mut reader = Reader::new(body);
    let mut counts = Vec::new();
    loop {
        let MultiHeader { op, done, err } = MultiHeader::read(&mut reader).unwrap();
        if done {
            break;
        }
        if op == list {
            let count = reader.i32().unwrap();
            for _ in 0..count {
                reader.str().unwrap();
            }
            counts.push(count);
        } else {
            assert_eq!(err, ErrorCode::MarshallingError.code());
            assert_eq!(reader.i32().unwrap(), err);
            counts.push(-1);
        }
    }
    assert_eq!(counts, [100, 1, -1, -1]);
}

#[test]
fn a_reply_to_multi_read_is_bounded_before_it_is_built() {
    const BIG: usize = 1 << 20;
    let mut image = Vec::new();
    write_sessions(&mut image, [].into_iter());
    write_acl_table(&mut image, [].into_iter());
    for (path, data) in [("", &b""[..]), ("/big", &vec![7; BIG]), ("/small", b"s")] {
        NodeRecord {
            path: path.into(),
            data: Some(data),
            acl_ref: OPEN_ACL_REF,
            stat: StatPersisted::default(),
        }
        .write(&mut image);
    }
    write_end(&mut image);
    let tree = Tree::from_image(&image, Zxid(0x55)).unwrap();
    let view = SharedView::new(tree, Arc::default(), 1);
    let get = OpCode::GetData.code();
    let mut ops = vec![(get, "/big"); 40];
    ops.push((get, "/small"));
    let (outcome, out) = serve(&view, OpCode::MultiRead, &batch(&ops));
    assert_eq!(outcome, ReadOutcome::Answered);
    assert!(out.len() < 17 * BIG, "{}", out.len());
    let (header, body) = reply(&out);
    assert_eq!(header, ok_header());
    let mut reader = Reader::new(body);
    let mut results = Vec::new();
    loop {
        let MultiHeader { op, done, err } = MultiHeader::read(&mut reader).unwrap();
        if done {
            break;
        }
        if op == get {
            let data = reader.opt_buffer().unwrap().unwrap();
            Stat::read(&mut reader).unwrap();
            results.push(data.len());
        } else {
            assert_eq!(err, ErrorCode::MarshallingError.code());
            assert_eq!(reader.i32().unwrap(), err);
            results.push(0);
        }
    }
    let mut want = vec![BIG; 15];
    want.resize(40, 0);
    want.push(1);
    assert_eq!(results, want);
}
