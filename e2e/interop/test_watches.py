"""Watches: set, checked, removed by every route; what is told, in which order, with which zxid."""

import itertools

import pytest
import wire
from wire import (
    ANY_TYPE,
    CHILDREN_TYPE,
    DATA_TYPE,
    PERSISTENT_TYPE,
    PERSISTENT_WATCH,
    RECURSIVE_TYPE,
    RECURSIVE_WATCH,
    error_code,
)

CREATED, DELETED, CHANGED, CHILDREN = 1, 2, 3, 4
MARSHALLING, NO_NODE, NO_WATCHER = -5, -101, -121


@pytest.fixture
def two(server):
    """A client that watches and one that changes."""
    watcher, changer = server.connect(), server.connect()
    yield watcher, changer
    for client in (watcher, changer):
        client.drop()


def life_of(client, path):
    """Everything that can happen to a znode."""
    client.create(path)
    client.set(path, b"1")
    client.set(path, b"2")
    client.create(f"{path}/kid")
    client.set(f"{path}/kid", b"1")
    client.set_acl(path, wire.OPEN_ACL)
    client.delete(f"{path}/kid")
    client.delete(path)


def test_one_shot_watches_tell_once(two):
    watcher, changer = two
    assert error_code(watcher.exists, "/o", True) == NO_NODE
    assert error_code(watcher.get, "/o", True) == NO_NODE
    assert error_code(watcher.children, "/o", True) == NO_NODE
    life_of(changer, "/o")
    assert watcher.take_events() == [(CREATED, "/o")], "only exists watches what is not there"
    changer.create("/o")
    watcher.get("/o", True)
    watcher.children("/o", True)
    watcher.children("/", True)
    changer.set("/o", b"1")
    changer.set("/o", b"2")
    changer.create("/o/kid")
    changer.delete("/o/kid")
    changer.delete("/o")
    assert watcher.take_events() == [(CHANGED, "/o"), (CHILDREN, "/o"), (CHILDREN, "/")]


def test_a_deletion_is_told_once(two):
    watcher, changer = two
    changer.create("/d")
    watcher.get("/d", True)
    watcher.children("/d", True)
    watcher.children2("/", True)
    changer.delete("/d")
    assert watcher.take_events() == [(DELETED, "/d"), (CHILDREN, "/")]


def test_persistent_watches_tell_all(two):
    watcher, changer = two
    assert watcher.add_watch("/p", PERSISTENT_WATCH) == bytes(4)
    for _ in range(2):
        life_of(changer, "/p")
        one_life = [(CREATED, "/p"), (CHANGED, "/p"), (CHANGED, "/p"), (CHILDREN, "/p"), (CHILDREN, "/p")]
        assert watcher.take_events() == [*one_life, (DELETED, "/p")]


def test_recursive_watches_tell_all_below(two):
    watcher, changer = two
    assert watcher.add_watch("/r", RECURSIVE_WATCH) == bytes(4)
    for _ in range(2):
        life_of(changer, "/r")
        assert watcher.take_events() == [
            (CREATED, "/r"), (CHANGED, "/r"), (CHANGED, "/r"), (CREATED, "/r/kid"),
            (CHANGED, "/r/kid"), (DELETED, "/r/kid"), (DELETED, "/r"),
        ]  # fmt: skip
    life_of(changer, "/rr")
    assert watcher.take_events() == []


def test_a_watch_of_everything(two):
    watcher, changer = two
    watcher.add_watch("/", RECURSIVE_WATCH)
    watcher.add_watch("/x/y", RECURSIVE_WATCH)
    watcher.add_watch("/x/y", PERSISTENT_WATCH)
    changer.create("/x")
    watcher.exists("/x", True)
    watcher.children("/x", True)
    changer.create("/x/y")
    changer.set("/x/y", b"1")
    changer.delete("/x/y")
    changer.delete("/x")
    assert watcher.take_events() == [
        (CREATED, "/x"), (CREATED, "/x/y"), (CHILDREN, "/x"), (CHANGED, "/x/y"), (DELETED, "/x/y"), (DELETED, "/x"),
    ]  # fmt: skip


@pytest.mark.parametrize("mode", [-1, 2, 3])
def test_modes_that_are_none(two, mode):
    watcher, _ = two
    assert error_code(watcher.add_watch, "/", mode) == MARSHALLING
    assert error_code(watcher.check_watches, "/", ANY_TYPE) == NO_WATCHER


def test_watches_that_are_set_need_no_znode(two):
    watcher, _ = two
    for path in ("/none", "none", "", "/none/"):
        assert watcher.add_watch(path, PERSISTENT_WATCH) == bytes(4)
        assert watcher.check_watches(path, PERSISTENT_TYPE) == b""


WAYS = {
    "data": lambda client: client.get("/w", True),
    "children": lambda client: client.children("/w", True),
    "persistent": lambda client: client.add_watch("/w", PERSISTENT_WATCH),
    "recursive": lambda client: client.add_watch("/w", RECURSIVE_WATCH),
}
FOUND_BY = {
    CHILDREN_TYPE: {"children"},
    DATA_TYPE: {"data"},
    ANY_TYPE: set(WAYS),
    PERSISTENT_TYPE: {"persistent"},
    RECURSIVE_TYPE: {"recursive"},
}


@pytest.mark.parametrize("kind", FOUND_BY)
def test_what_each_type_finds_and_removes(server, kind):
    changer = server.connect()
    changer.create("/w")
    for count in range(len(WAYS) + 1):
        for ways in itertools.combinations(WAYS, count):
            watcher = server.connect()
            for way in ways:
                WAYS[way](watcher)
            want = 0 if FOUND_BY[kind] & set(ways) else NO_WATCHER
            assert error_code(watcher.check_watches, "/w", kind) == want, ways
            assert error_code(watcher.check_watches, "/", kind) == NO_WATCHER
            assert error_code(watcher.remove_watches, "/w", kind) == want, ways
            assert error_code(watcher.remove_watches, "/w", kind) == NO_WATCHER
            left = set(ways) - FOUND_BY[kind]
            for other, found in FOUND_BY.items():
                assert error_code(watcher.check_watches, "/w", other) == (0 if found & left else NO_WATCHER), (ways, other)
            changer.set("/w", b"")
            changer.create("/w/kid")
            changer.delete("/w/kid")
            events = []
            if left & {"data", "persistent", "recursive"}:
                events.append((CHANGED, "/w"))
            if "recursive" in left:
                events.append((CREATED, "/w/kid"))
            if left & {"children", "persistent"}:
                events.append((CHILDREN, "/w"))
            if "recursive" in left:
                events.append((DELETED, "/w/kid"))
            if "persistent" in left:
                events.append((CHILDREN, "/w"))
            assert watcher.take_events() == events, ways
            watcher.drop()
    changer.delete("/w")
    changer.drop()


@pytest.mark.parametrize("kind", [0, 6, -1])
def test_types_that_are_none(two, kind):
    watcher, _ = two
    watcher.exists("/", True)
    assert error_code(watcher.check_watches, "/", kind) == MARSHALLING
    assert error_code(watcher.remove_watches, "/", kind) == MARSHALLING
    assert error_code(watcher.check_watches, "/", DATA_TYPE) == 0


def test_events_carry_the_zxid_of_their_cause(two):
    watcher, changer = two
    watcher.add_watch("/z", PERSISTENT_WATCH)
    _, stat = changer.create2("/z")
    assert watcher.wait_event() == (CREATED, 3, "/z", stat.czxid)
    stat = changer.set("/z", b"1")
    assert watcher.wait_event() == (CHANGED, 3, "/z", stat.mzxid)
    changer.delete("/z")
    assert watcher.wait_event() == (DELETED, 3, "/z", changer.last_zxid)


def test_an_event_comes_before_the_reply_that_shows_it(server):
    client = server.connect()
    client.add_watch("/b", RECURSIVE_WATCH)
    for xid in range(1, 200, 2):
        client.send(wire.CREATE, wire.create_body("/b"), xid)
        client.send(wire.DELETE, wire.path_version("/b"), xid + 1)
    for xid in range(1, 200, 2):
        client.reply(xid)
        assert (client.events[-1][0], len(client.events)) == (CREATED, xid)
        client.reply(xid + 1)
        assert (client.events[-1][0], len(client.events)) == (DELETED, xid + 1)


def test_a_multi_tells_in_order(two):
    watcher, changer = two
    watcher.add_watch("/", RECURSIVE_WATCH)
    changer.multi(
        (wire.CREATE, wire.create_body("/m")),
        (wire.CREATE, wire.create_body("/m/a")),
        (wire.SET_DATA, wire.set_body("/m", b"1")),
        (wire.DELETE, wire.path_version("/m/a")),
        (wire.DELETE, wire.path_version("/m")),
    )
    assert watcher.take_events() == [
        (CREATED, "/m"), (CREATED, "/m/a"), (CHANGED, "/m"), (DELETED, "/m/a"), (DELETED, "/m"),
    ]  # fmt: skip
    changer.multi((wire.CREATE, wire.create_body("/m")), (wire.DELETE, wire.path_version("/none")))
    assert watcher.take_events() == [], "nothing has happened"


def test_the_end_of_a_session_is_told(two):
    watcher, changer = two
    watcher.add_watch("/", RECURSIVE_WATCH)
    watcher.children("/", True)
    changer.create("/eph", flags=wire.EPHEMERAL)
    changer.close_session()
    assert watcher.take_events() == [(CREATED, "/eph"), (CHILDREN, "/"), (DELETED, "/eph")]


def test_set_again_after_a_reconnect(two):
    """Against the zxid of the client; what was missed is told with the zxid -1 before the reply."""
    watcher, changer = two
    for path in ("/s", "/s/old", "/s/gone", "/s/changed", "/s/parent"):
        changer.create(path)
    seen = changer.last_zxid
    changer.set("/s/changed", b"1")
    changer.create("/s/parent/kid")
    changer.delete("/s/gone")
    changer.create("/s/new")
    watcher.set_watches2(
        seen,
        data=["/s/old", "/s/gone", "/s/changed"],
        exist=["/s/new", "/s/none"],
        child=["/s/old", "/s/gone", "/s/parent"],
        persistent=["/s/changed", "/s/never"],
        recursive=["/s/gone"],
    )
    missed = [
        (DELETED, 3, "/s/gone", -1), (CHANGED, 3, "/s/changed", -1), (CREATED, 3, "/s/new", -1),
        (DELETED, 3, "/s/gone", -1), (CHILDREN, 3, "/s/parent", -1),
    ]  # fmt: skip
    assert watcher.events == missed
    watcher.events.clear()
    found = {
        path: [kind for kind in FOUND_BY if kind != ANY_TYPE and error_code(watcher.check_watches, path, kind) == 0]
        for path in ("/s/old", "/s/gone", "/s/changed", "/s/new", "/s/none", "/s/parent", "/s/never")
    }
    assert found == {
        "/s/old": [CHILDREN_TYPE, DATA_TYPE],
        "/s/gone": [RECURSIVE_TYPE],
        "/s/changed": [PERSISTENT_TYPE],
        "/s/new": [],
        "/s/none": [DATA_TYPE],
        "/s/parent": [],
        "/s/never": [PERSISTENT_TYPE],
    }
    watcher.set_watches(0)
    watcher.set_watches2(0)
    assert watcher.take_events() == []


def test_watches_go_with_their_connection(server):
    client = server.connect()
    client.create("/gone", b"")
    client.get("/gone", True)
    client.add_watch("/gone", RECURSIVE_WATCH)
    client.drop()
    again = server.connect(session=client.session, passwd=client.passwd)
    assert again.session == client.session
    assert error_code(again.check_watches, "/gone", ANY_TYPE) == NO_WATCHER
    again.delete("/gone")
    assert again.take_events() == []


def test_through_a_follower(ensemble, peer):
    """Watches are set where the client is; the changes come from elsewhere."""
    members = ensemble({1: peer, 2: "java", 3: peer})
    watcher, changer = members[1].connect(), members[2].connect()
    watcher.add_watch("/f", RECURSIVE_WATCH)
    watcher.add_watch("/f", PERSISTENT_WATCH)
    life_of(changer, "/f")
    watcher.sync()
    assert watcher.take_events() == [
        (CREATED, "/f"), (CHANGED, "/f"), (CHANGED, "/f"), (CREATED, "/f/kid"), (CHILDREN, "/f"),
        (CHANGED, "/f/kid"), (DELETED, "/f/kid"), (CHILDREN, "/f"), (DELETED, "/f"),
    ]  # fmt: skip
    watcher.auth("digest", b"bob:bobpw")
    watcher.create("/f", b"1", acl=[(31, "auth", "")])
    assert error_code(changer.get, "/f") == -102, "the leader knows the ids of a follower's client"
    watcher.delete("/f")
