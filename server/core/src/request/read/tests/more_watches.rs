use super::*;

fn on_path(path: &str, kind: i32) -> Vec<u8> {
    let mut body = Vec::new();
    body.put_str(path);
    body.put_i32(kind);
    body
}

const NO_WATCHER: i32 = -121;

fn err(view: &SharedView, op: OpCode, path: &str, kind: i32) -> i32 {
    let (outcome, out) = serve(view, op, &on_path(path, kind));
    assert_eq!(outcome, ReadOutcome::Answered);
    let (header, body) = reply(&out);
    let want: &[u8] = match op {
        OpCode::AddWatch if header.err == 0 => &[0; 4],
        _ => &[],
    };
    assert_eq!(body, want);
    header.err
}

#[test]
fn persistent_watches_need_no_znode_and_no_right() {
    for path in ["/open", "/none", "/secret", "no/path/"] {
        let view = view();
        assert_eq!(err(&view, OpCode::AddWatch, path, 0), 0);
        assert_eq!(view.watch_count(), 2, "on data and on children");
        assert_eq!(err(&view, OpCode::AddWatch, path, 1), 0);
        assert_eq!(view.watch_count(), 2);
        for mode in [-1, 2] {
            assert_eq!(err(&view, OpCode::AddWatch, path, mode), -5);
        }
    }
}

#[test]
fn what_each_type_finds_and_removes() {
    // What is there, the type, found, removed, watches left.
    let once = |op, path: &str| (op, path_watch(path, true));
    let lasting = |mode| (OpCode::AddWatch, on_path("/open", mode));
    let data = once(OpCode::GetData, "/open");
    let children = once(OpCode::GetChildren, "/open");
    for (there, wanted, found, left) in [
        (vec![&data, &children], 1, true, 1),
        (vec![&data, &children], 2, true, 1),
        (vec![&data, &children], 3, true, 0),
        (vec![&data, &children], 4, false, 2),
        (vec![&data, &children], 5, false, 2),
        (vec![&lasting(0)], 1, false, 2),
        (vec![&lasting(0)], 2, false, 2),
        (vec![&lasting(0)], 3, true, 0),
        (vec![&lasting(0)], 4, true, 0),
        (vec![&lasting(0)], 5, false, 2),
        (vec![&lasting(1)], 3, true, 0),
        (vec![&lasting(1)], 4, false, 1),
        (vec![&lasting(1)], 5, true, 0),
        (vec![&lasting(0), &lasting(1), &data], 2, true, 2),
        (vec![&lasting(0), &lasting(1), &data], 5, true, 2),
        (vec![&lasting(0), &lasting(1), &data], 4, true, 1),
    ] {
        let view = view();
        for (op, body) in &there {
            serve(&view, *op, body);
        }
        let want = if found { 0 } else { NO_WATCHER };
        assert_eq!(
            err(&view, OpCode::CheckWatches, "/open", wanted),
            want,
            "{wanted}"
        );
        assert_eq!(err(&view, OpCode::CheckWatches, "/", wanted), NO_WATCHER);
        assert_eq!(
            err(&view, OpCode::RemoveWatches, "/open", wanted),
            want,
            "{wanted}"
        );
        assert_eq!(view.watch_count(), left, "{wanted}");
        assert_eq!(
            err(&view, OpCode::RemoveWatches, "/open", wanted),
            NO_WATCHER
        );
    }
    let view = view();
    for wanted in [0, 6, -1] {
        assert_eq!(err(&view, OpCode::CheckWatches, "/", wanted), -5);
        assert_eq!(err(&view, OpCode::RemoveWatches, "/", wanted), -5);
    }
}

#[test]
fn a_removed_watch_tells_nothing() {
    let view = view();
    serve(&view, OpCode::GetData, &path_watch("/open", true));
    serve(&view, OpCode::AddWatch, &on_path("/", 1));
    assert_eq!(err(&view, OpCode::RemoveWatches, "/open", 2), 0);
    assert_eq!(err(&view, OpCode::RemoveWatches, "/", 5), 0);
    let mut told = 0;
    view.watches()
        .lock()
        .data_changed("/open", &[], &mut |_, _, _| told += 1);
    assert_eq!(told, 0);
}

#[test]
fn persistent_watches_come_back_without_events() {
    let view = view();
    let mut body = Vec::new();
    body.put_i64(0);
    for paths in [
        &["/open"][..],
        &[],
        &[],
        &["/open", "/none"],
        &["/", "/none"],
    ] {
        body.put_strings(paths);
    }
    let (_, out) = serve(&view, OpCode::SetWatches2, &body);
    let mut reader = Reader::new(&out);
    let mut event = Reader::new(reader.buffer().unwrap());
    ReplyHeader::read(&mut event).unwrap();
    assert_eq!(event.i32().unwrap(), EventKind::NodeDataChanged as i32);
    assert_eq!(reply(reader.rest()), (ok_header(), &[][..]));
    // Two persistent ones on either side, "/" more on data.
    assert_eq!(view.watch_count(), 5);
    // The shorter packet has no such lists.
    let (_, out) = serve(&view, OpCode::SetWatches2, &body[..8 + 4 + 9 + 4 + 4]);
    assert_eq!(reply(&out).0.err, -5);
}
