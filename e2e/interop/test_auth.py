"""Who a client is and what it may do: auth packets, access control lists, the super user, enforcement."""

import pytest
import wire
from harness import KINDS, free_ports
from jute import Encoder

BOB = "bob:0ezhUayTjEymfNB3K9C0+wkMLMo="
SUPER = "super:D/InIHSb7yEEbrWz8b9l71RjZJU="
READ, WRITE, CREATE, DELETE, ADMIN, ALL = 1, 2, 4, 8, 16, 31
NO_AUTH, INVALID_ACL, AUTH_FAILED, REQUIRED = -102, -114, -115, -124


@pytest.fixture(scope="module")
def start(peer, tmp_path_factory):
    """Starts standalone servers by `start(**settings)`; a second call with the same settings gives the same server."""
    made = {}

    def make(**settings):
        key = tuple(sorted(settings.items()))
        if key not in made:
            home = tmp_path_factory.mktemp("auth")
            settings = {key.replace("_", "."): value for key, value in settings.items()}
            server = KINDS[peer](home, {"client": free_ports(1)[0]}, settings=settings)
            made[key] = server.start().wait_serving()
        return made[key]

    yield make
    for server in made.values():
        server.kill()


@pytest.fixture(scope="module")
def server(start):
    return start(DigestAuthenticationProvider_superDigest=SUPER)


def refused(code, call, *args):
    with pytest.raises(wire.ServerError) as error:
        call(*args)
    assert error.value.code == code, error.value


def test_ids_come_and_stay(server):
    client = server.connect()
    assert client.who_am_i() == [("ip", "127.0.0.1")]
    client.auth("ip", b"")
    assert client.who_am_i() == [("ip", "127.0.0.1")]
    client.auth("digest", b"bob:bobpw")
    client.auth("digest", b"bob:bobpw")
    assert sorted(client.who_am_i()) == [("digest", "bob"), ("ip", "127.0.0.1")]
    client.auth("digest", b"super:test")
    assert sorted(client.who_am_i()) == [("digest", "bob"), ("digest", "super"), ("ip", "127.0.0.1"), ("super", "")]
    client.close_session()
    assert server.connect().who_am_i() == [("ip", "127.0.0.1")]


def test_the_order_of_ids_is_the_reference_servers(server):
    """It shows in whoAmI and in the list that `auth` becomes."""
    client = server.connect()
    for number in range(len(ORDER)):
        client.auth("digest", f"user-{number}:secret".encode())
    users = [user for scheme, user in client.who_am_i() if scheme == "digest"]
    assert users == ORDER
    client.create("/ordered", acl=[(ALL, "auth", "")])
    assert [ident.split(":")[0] for _, _, ident in client.get_acl("/ordered")[0]] == ORDER
    client.delete("/ordered")


ORDER = [f"user-{number}" for number in (0, 5, 6, 4, 1, 7, 2, 8, 3)]


@pytest.mark.parametrize("scheme", ["sasl", "x509", "world", "auth", "super", "nonsense", "", None])
def test_unknown_schemes_fail_and_close(server, scheme):
    client = server.connect()
    refused(AUTH_FAILED, client.auth, scheme, b"x:y")
    assert client.closed_by_server()


def test_a_digest_needs_a_payload_but_no_colon(server):
    client = server.connect()
    client.auth("digest", b"nobody")
    client.auth("digest", b"")
    assert sorted(client.who_am_i()) == [("digest", ""), ("digest", "nobody"), ("ip", "127.0.0.1")]
    refused(AUTH_FAILED, client.auth, "digest", None)
    assert client.closed_by_server()


def test_an_unreadable_auth_packet_closes(server):
    client = server.connect()
    client.send(wire.AUTH, b"\0\0", wire.AUTH_XID)
    assert client.closed_by_server()


def test_replies_to_auth_carry_no_zxid(server):
    client = server.connect()
    client.send(wire.AUTH, Encoder().int(7).string("digest").buffer(b"a:b").bytes(), 1234)
    frame = client.receive_frame()
    assert frame == Encoder().int(1234).long(0).int(0).bytes()


def test_a_sasl_token_without_sasl(server):
    client = server.connect()
    xid = client.send(wire.SASL, Encoder().buffer(b"token").bytes())
    assert client.receive_frame() == Encoder().int(xid).long(0).int(0).buffer(None).bytes()
    client.ping()
    client.send(wire.SASL, Encoder().buffer(None).bytes())
    assert client.closed_by_server()


def test_rights_follow_the_ids_in_order(server):
    """Pipelined: each request is judged by the ids that were proved before it."""
    client = server.connect()
    owner = [(ALL, "digest", BOB)]
    client.send(wire.CREATE, wire.create_body("/mine", b"1", acl=owner), 1)
    client.send(wire.GET_DATA, wire.path_watch("/mine"), 2)
    client.send(wire.SET_DATA, wire.set_body("/mine", b"2"), 3)
    client.reply(1)
    refused(NO_AUTH, client.reply, 2)
    refused(NO_AUTH, client.reply, 3)
    client.send(wire.AUTH, Encoder().int(0).string("digest").buffer(b"bob:bobpw").bytes(), wire.AUTH_XID)
    client.send(wire.SET_DATA, wire.set_body("/mine", b"2"), 4)
    client.send(wire.GET_DATA, wire.path_watch("/mine"), 5)
    client.reply(wire.AUTH_XID)
    assert client.reply(4).stat().version == 1
    assert client.reply(5).buffer() == b"2"
    client.delete("/mine")


def test_what_each_right_allows(server):
    root = server.connect()
    root.auth("digest", b"super:test")
    client = server.connect()

    def codes(perms):
        root.create("/p", acl=[(ALL, "world", "anyone")])
        root.create("/p/c", acl=[(ALL, "world", "anyone")])
        root.set_acl("/p", [(perms, "world", "anyone")])
        out = []
        for call, *args in (
            (client.exists, "/p"),
            (client.get, "/p"),
            (client.children, "/p"),
            (client.children2, "/p"),
            (client.all_children_number, "/p"),
            (client.get_acl, "/p"),
            (client.set, "/p", b"1"),
            (client.create, "/p/new"),
            (client.delete, "/p/c"),
            (client.set_acl, "/p", [(perms, "world", "anyone")]),
        ):
            try:
                call(*args)
                out.append(0)
            except wire.ServerError as error:
                out.append(error.code)
        for child in root.children("/p"):
            root.delete(f"/p/{child}")
        root.delete("/p")
        return [code == 0 if code in (0, NO_AUTH) else code for code in out]

    read = [True] * 5
    no = [False] * 5
    assert codes(READ) == [*read, True, False, False, False, False]
    assert codes(WRITE) == [*no, False, True, False, False, False]
    assert codes(CREATE) == [*no, False, False, True, False, False]
    assert codes(DELETE) == [*no, False, False, False, True, False]
    assert codes(ADMIN) == [*no, True, False, False, False, True]
    assert codes(0) == [*no, False, False, False, False, False]


def test_hashes_are_hidden_from_those_who_only_read(server):
    root = server.connect()
    root.auth("digest", b"super:test")
    acl = [(READ, "world", "anyone"), (ALL, "digest", BOB), (READ, "ip", "10.0.0.0/8")]
    root.create("/hidden", acl=acl)
    assert root.get_acl("/hidden")[0] == acl
    client = server.connect()
    shown = [(READ, "world", "anyone"), (ALL, "digest", "bob:x"), (READ, "ip", "10.0.0.0/8")]
    assert client.get_acl("/hidden")[0] == shown
    client.auth("digest", b"bob:bobpw")
    assert client.get_acl("/hidden")[0] == acl
    root.delete("/hidden")


def test_networks(server):
    """The client comes from 127.0.0.1."""
    client = server.connect()
    root = server.connect()
    root.auth("digest", b"super:test")
    root.create("/net", b"1")
    for network, want in (
        ("127.0.0.1", 0),
        ("127.0.0.2", NO_AUTH),
        ("127.0.0.0/8", 0),
        ("127.0.0.2/31", NO_AUTH),
        ("127.0.0.0/31", 0),
        ("0.0.0.0/0", 0),
        ("+127.00.0.1", 0),
        ("::/0", NO_AUTH),
        ("::ffff:7f00:1", NO_AUTH),
        ("1:2:3:4:5:6:7:8/64", NO_AUTH),
    ):
        root.set_acl("/net", [(READ, "ip", network)])
        try:
            client.get("/net")
            got = 0
        except wire.ServerError as error:
            got = error.code
        assert got == want, network
    root.delete("/net")


def test_entries_that_are_refused(server):
    client = server.connect()
    good = (
        [(0, "world", "anyone")],
        [(ALL, "digest", "a:b")],
        [(ALL, "digest", "a:b:")],
        [(ALL, "digest", ":b")],
        [(ALL, "ip", "1.2.3.4/32")],
        [(ALL, "ip", "::")],
        [(ALL, "ip", "1:2:3:4:5:6:7::")],
        [(ALL, "ip", "::-1")],
    )
    for number, acl in enumerate(good):
        client.create(f"/good-{number}", acl=acl)
        assert client.exists("/").num_children
    bad = (
        [],
        [(ALL, "world", "me")],
        [(ALL, "auth", "")],
        [(ALL, "super", "")],
        [(ALL, "sasl", "me")],
        [(ALL, "x509", "CN=me")],
        [(ALL, "nonsense", "me")],
        [(ALL, "digest", "a")],
        [(ALL, "digest", "a:")],
        [(ALL, "digest", "a:b:c")],
        [(ALL, "ip", "host")],
        [(ALL, "ip", "1.2.3.4/33")],
        [(ALL, "ip", "1.2.3.4/")],
        [(ALL, "ip", "1.2.3")],
        [(ALL, "ip", "1.2.3.256")],
        [(ALL, "ip", "1::2::3")],
        [(ALL, "ip", "::12345")],
        [(ALL, "ip", ":::1")],
        [(ALL, "ip", "1:2:3:4:5:6:7::8")],
        [(ALL, "world", "anyone"), (ALL, "digest", "a")],
    )
    for acl in bad:
        refused(INVALID_ACL, client.create, "/bad", b"", 0, acl)


def test_the_scheme_auth_stands_for_the_clients_digests(server):
    client = server.connect()
    client.auth("digest", b"super:test")
    client.auth("digest", b"bob:bobpw")
    client.create("/auth", acl=[(READ, "auth", "whatever"), (ADMIN, "world", "anyone"), (READ, "auth", "whatever")])
    acl, _ = client.get_acl("/auth")
    assert sorted(acl) == sorted([(READ, "digest", SUPER), (READ, "digest", BOB), (ADMIN, "world", "anyone")])
    client.delete("/auth")


def test_events_only_for_those_who_may_read(server):
    root = server.connect()
    root.auth("digest", b"super:test")
    client = server.connect()
    client.add_watch("/", wire.RECURSIVE_WATCH)
    bob = server.connect()
    bob.add_watch("/", wire.RECURSIVE_WATCH)
    bob.auth("digest", b"bob:bobpw")
    root.create("/quiet", acl=[(READ, "digest", BOB)])
    root.create("/quiet/loud")
    root.delete("/quiet/loud")
    root.delete("/quiet")
    assert client.take_events() == [(1, "/quiet/loud"), (2, "/quiet/loud")]
    assert bob.take_events() == [(1, "/quiet"), (1, "/quiet/loud"), (2, "/quiet/loud"), (2, "/quiet")]


def test_without_access_control(start):
    server = start(skipACL="yes")
    client = server.connect()
    client.create("/free", b"1", acl=[(0, "digest", BOB)])
    assert client.get("/free")[0] == b"1"
    client.set("/free", b"2")
    assert client.get_acl("/free")[0] == [(0, "digest", BOB)]
    client.delete("/free")


def test_an_enforced_scheme(start):
    server = start(enforce_auth_enabled="true", enforce_auth_schemes="digest")
    for op, body in ((wire.PING, b""), (wire.GET_DATA, wire.path_watch("/")), (wire.CREATE, wire.create_body("/a"))):
        client = server.connect()
        xid = client.send(op, body)
        assert client.receive_frame() == Encoder().int(xid).long(0).int(REQUIRED).bytes()
        assert client.closed_by_server()
    client = server.connect()
    client.auth("ip", b"")
    client.auth("digest", b"bob:bobpw")
    client.create("/a")
    client.ping()
    client.close_session()


def test_an_unknown_scheme_cannot_write_into_the_log(standalone):
    """What a stranger calls its scheme is shown in one line, in its first 64 characters, escaped."""
    server = standalone("quorate").start().wait_serving()
    client = server.connect()
    refused(AUTH_FAILED, client.auth, "x\n2030-01-01 ERROR forged\x1b[31m" + "y" * 100_000, b"anybody")
    server.stop()
    told = [line for line in server.log_text().splitlines() if "authentication failed" in line]
    assert len(told) == 1
    assert 'scheme="x\\n2030-01-01 ERROR forged\\u{1b}[31m' in told[0]
    assert told[0].count("y") == told[0].partition("31m")[0].count("y") + 64 - len("x\n2030-01-01 ERROR forged\x1b[31m")
    assert not any(line.startswith("2030-01-01") for line in server.log_text().splitlines())
