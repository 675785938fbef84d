"""Reads that go beyond data and children: lists, numbers, batches; which error comes first."""

import pytest
import wire
from jute import Encoder
from wire import error_code

MARSHALLING, BAD_ARGUMENTS, NO_NODE = -5, -8, -101


def test_paths_are_not_checked_but_looked_up(server):
    client = server.connect()
    client.create("/znode")
    for path in ("", "znode", "/znode/", "//znode", "/./znode", "/\x01", "/\ud7ff", "/zn\0de"):
        exists = BAD_ARGUMENTS if "\0" in path else NO_NODE
        other = NO_NODE
        if path == "":
            exists = other = 0  # another name of the root
        assert error_code(client.exists, path) == exists, repr(path)
        for call in (client.get, client.children, client.children2, client.get_acl, client.all_children_number):
            assert error_code(call, path) == other, repr(path)
    client.delete("/znode")


@pytest.mark.parametrize("op", [3, 4, 6, 8, 12, 17, 18, 22, 101, 103, 104, 105, 106])
@pytest.mark.parametrize("body", [b"", b"\0\0\0\x09/", b"\x7f\xff\xff\xff/"])
def test_bodies_that_do_not_decode(server, op, body):
    client = server.connect()
    xid = client.send(op, body)
    header = client.receive_frame()
    zxid = header[4:12]
    assert header == Encoder().int(xid).raw(zxid).int(MARSHALLING).bytes()
    assert int.from_bytes(zxid, "big") > 0
    client.ping()


@pytest.mark.parametrize("op", [3, 4, 6, 8, 12, 104])
def test_a_path_may_not_be_null(server, op):
    client = server.connect()
    assert error_code(client.request, op, Encoder().int(-1).bool(False).bytes()) == MARSHALLING


@pytest.mark.parametrize("op", [0, 10, 13, 23, 99, 108, 1000, -1, -2])
def test_unknown_operations_close(server, op):
    client = server.connect()
    xid = client.send(op, b"")
    assert client.receive_frame() == Encoder().int(xid).long(-1).int(-6).bytes()
    assert client.closed_by_server()


def test_the_number_of_all_below(server):
    client = server.connect()
    before = client.all_children_number("/")
    assert client.all_children_number("") == before + 1
    for path in ("/n", "/n/a", "/n/a/b", "/n/a/b/c", "/n/aa", "/nn"):
        client.create(path)
    numbers = {path: client.all_children_number(path) for path in ("/", "/n", "/n/a", "/n/a/b/c", "/nn", "/zookeeper")}
    assert numbers == {"/": before + 6, "/n": 4, "/n/a": 2, "/n/a/b/c": 0, "/nn": 0, "/zookeeper": 2}
    for path in ("/nn", "/n/aa", "/n/a/b/c", "/n/a/b", "/n/a", "/n"):
        client.delete(path)


def test_own_ephemerals_by_prefix(server):
    client, other = server.connect(), server.connect()
    client.create("/e")
    for path in ("/e/a", "/e/ab", "/eb"):
        client.create(path, flags=wire.EPHEMERAL)
    client.create("/e/kept")
    other.create("/e/other", flags=wire.EPHEMERAL)
    everything = ["/e/a", "/e/ab", "/eb"]
    for prefix, want in {
        "/": everything,
        "": everything,
        None: everything,
        " \t\n": everything,
        " / ": everything,
        "/e": everything,
        "/e/": ["/e/a", "/e/ab"],
        "/e/ab": ["/e/ab"],
        " /e": [],
        "/f": [],
    }.items():
        assert sorted(client.ephemerals(prefix)) == want, repr(prefix)
    assert other.ephemerals() == ["/e/other"]
    client.close_session()
    assert other.ephemerals() == ["/e/other"]


def test_a_batch_of_reads(server):
    client = server.connect()
    client.create("/m", b"data")
    client.create("/m/c", None)
    results = client.multi_read((8, "/m"), (4, "/none"), (4, "/m"), (4, "/m/c"), (8, "//"))
    _, stat = client.get("/m")
    assert results[:3] == [(8, 0, ["c"]), (-1, NO_NODE, None), (4, 0, (b"data", stat))]
    assert results[3][2][0] is None
    assert results[4] == (-1, NO_NODE, None)
    assert client.multi_read() == []
    client.set("/m", b"more")
    client.delete("/m/c")
    assert client.take_events() == [], "a batch leaves no watch"
    client.delete("/m")


@pytest.mark.parametrize("op, body", [
    (1, wire.create_body("/x")),
    (2, wire.path_version("/x")),
    (5, wire.set_body("/x", b"")),
    (13, wire.path_version("/x")),
    (3, wire.path_watch("/x")),
    (12, wire.path_watch("/x")),
    (-1, b""),
])  # fmt: skip
def test_a_batch_of_reads_holds_nothing_else(server, op, body):
    client = server.connect()
    for ops in (((op, body),), ((4, wire.path_watch("/")), (op, body)), ((op, body), (4, wire.path_watch("/")))):
        assert error_code(client.request, wire.MULTI_READ, wire.multi_body(*ops)) == MARSHALLING
    assert "x" not in client.children("/")


def test_a_list_comes_with_its_stat(server):
    client = server.connect()
    client.create("/acl")
    stat = client.set_acl("/acl", [(1, "world", "anyone"), (31, "ip", "127.0.0.1")])
    assert (stat.aversion, stat.version) == (1, 0)
    assert client.get_acl("/acl") == ([(1, "world", "anyone"), (31, "ip", "127.0.0.1")], stat)
    assert client.get_acl("/")[0] == wire.OPEN_ACL
    assert client.get_acl("/zookeeper/config")[0] == [(1, "world", "anyone")]


def test_pings_carry_their_own_number(server):
    client = server.connect()
    zxid = client.exists("/") and client.last_zxid
    client.send(wire.PING, b"", 77)
    assert client.receive_frame() == Encoder().int(-2).long(zxid).int(0).bytes()
