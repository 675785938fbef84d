use super::*;

fn packet(scheme: &str, auth: &[u8]) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.put_str(scheme);
    body.put_buffer(auth);
    body
}

const fn at_zero(err: i32) -> ReplyHeader {
    ReplyHeader {
        xid: Xid(9),
        zxid: Zxid(0),
        err,
    }
}

#[test]
fn a_client_says_who_it_is() {
    let view = view();
    let mut client = client();
    for (scheme, err, outcome) in [
        ("ip", 0, ReadOutcome::Authenticated),
        ("digest", 0, ReadOutcome::Authenticated),
        ("world", -115, ReadOutcome::Close),
        ("sasl", -115, ReadOutcome::Close),
        ("", -115, ReadOutcome::Close),
    ] {
        let body = packet(scheme, b"bob:bobpw");
        let (got, out) = serve_as(&view, &mut client, OpCode::Auth, &body);
        assert_eq!(
            (got, reply(&out)),
            (outcome, (at_zero(err), &[][..])),
            "{scheme}"
        );
    }
    assert_eq!(client.ids().len(), 2);
    let unreadable = serve_as(&view, &mut client, OpCode::Auth, &[0]);
    assert_eq!(unreadable, (ReadOutcome::Close, vec![]));
    // Scheme and payload may be null, but that proves nothing.
    let nulls = [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    let (got, out) = serve_as(&view, &mut client, OpCode::Auth, &nulls);
    assert_eq!((got, reply(&out).0), (ReadOutcome::Close, at_zero(-115)));

    let (_, out) = serve_as(&view, &mut client, OpCode::WhoAmI, &[]);
    let mut infos = Reader::new(reply(&out).1);
    assert_eq!(infos.i32().unwrap(), 2);
    let mut texts: Vec<_> = (0..4).map(|_| infos.str().unwrap().into_owned()).collect();
    texts.sort();
    assert_eq!(texts, ["10.0.0.2", "bob", "digest", "ip"]);
}

#[test]
fn events_are_filtered_by_the_ids_of_the_moment() {
    let view = view();
    let mut client = client();
    let acl = [Acl {
        perms: perms::READ,
        id: Id {
            scheme: "digest".into(),
            id: "bob:0ezhUayTjEymfNB3K9C0+wkMLMo=".into(),
        },
    }];
    let told = |client: &mut Client| {
        serve_as(&view, client, OpCode::Exists, &path_watch("/none", true));
        let mut told = 0;
        let mut watches = view.watches().lock();
        watches.node_created("/none", &acl, &[], &mut |_, _, _| told += 1);
        told
    };
    assert_eq!(told(&mut client), 0);
    serve_as(
        &view,
        &mut client,
        OpCode::Auth,
        &packet("digest", b"bob:bobpw"),
    );
    assert_eq!(told(&mut client), 1);
}

#[test]
fn a_token_is_answered_with_none() {
    let view = view();
    let (outcome, out) = serve(&view, OpCode::Sasl, &[0, 0, 0, 1, 7]);
    assert_eq!(outcome, ReadOutcome::Answered);
    assert_eq!(reply(&out), (at_zero(0), &[0xff; 4][..]));
    for body in [&[0xff; 4][..], &[]] {
        assert_eq!(
            serve(&view, OpCode::Sasl, body),
            (ReadOutcome::Close, vec![])
        );
    }
}

#[test]
fn who_has_to_say_more_is_told_so() {
    let mut out = Vec::new();
    crate::request::write_not_admitted(&mut out, Xid(9));
    assert_eq!(reply(&out), (at_zero(-124), &[][..]));
}
