"""kazoo, and a raw client, on an ensemble of three servers of the kind under test."""

import threading
import time

import pytest
import tree
import wire
from harness import Ensemble, wait_until
from kazoo.client import KazooClient
from kazoo.exceptions import (
    BadVersionError,
    NoChildrenForEphemeralsError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    SessionExpiredError,
)
from kazoo.protocol.states import EventType, KazooState
from workload import error_of


@pytest.fixture(scope="module")
def members(peer, tmp_path_factory):
    with Ensemble(tmp_path_factory.mktemp("kazoo"), {1: peer, 2: peer, 3: peer}) as ensemble:
        ensemble.start_led_by_highest()
        yield ensemble


@pytest.fixture
def connect(members):
    """Makes started kazoo clients of these members (of all by default); ends them with the test."""
    made = []

    def make(*sids, timeout=8.0, **options):
        client = KazooClient(hosts=members.hosts(*sids), timeout=timeout, randomize_hosts=False, **options)
        made.append(client)
        client.start(timeout=15)
        return client

    yield make
    for client in made:
        client.stop()
        client.close()


def test_writes_and_reads_through_followers(members, connect):
    clients = [connect(sid) for sid in (1, 2, 3)]
    for number, client in enumerate(clients):
        path, stat = client.create(f"/rw/{number}", b"x", makepath=True, include_data=True)
        assert (path, stat.version, stat.dataLength) == (f"/rw/{number}", 0, 1)
        assert client.set(path, b"longer").version == 1
    for client in clients:
        client.sync("/rw")
        assert sorted(client.get_children("/rw")) == ["0", "1", "2"]
        data, stat = client.get("/rw/1")
        assert data == b"longer" and stat.version == 1 and stat.mzxid > stat.czxid
        children, stat = client.get_children("/rw", include_data=True)
        assert stat.numChildren == 3 and stat.cversion == 3
    clients[0].delete("/rw", recursive=True)
    clients[2].sync("/rw")
    assert clients[2].exists("/rw") is None


def test_sequence_of_a_client_is_kept(connect):
    """Many requests of one session in flight through a follower: replies, versions and data in order."""
    client = connect(1)
    client.create("/order", b"-")
    pending = [client.set_async("/order", b"%d" % number) for number in range(200)]
    reads = client.get_async("/order")
    assert [p.get(timeout=20).version for p in pending] == list(range(1, 201))
    assert reads.get(timeout=20)[0] == b"199"


def test_errors(connect):
    client = connect(2)
    client.create("/errors", b"")
    client.create("/errors/child", b"", ephemeral=True)
    with pytest.raises(NodeExistsError):
        client.create("/errors", b"")
    with pytest.raises(NoNodeError):
        client.create("/nowhere/child", b"")
    with pytest.raises(NotEmptyError):
        client.delete("/errors")
    with pytest.raises(BadVersionError):
        client.set("/errors", b"", version=4)
    with pytest.raises(BadVersionError):
        client.delete("/errors/child", version=4)
    with pytest.raises(NoChildrenForEphemeralsError):
        client.create("/errors/child/grandchild", b"")
    with pytest.raises(NoNodeError):
        client.get("/nowhere")
    with pytest.raises(NoNodeError):
        client.get_children("/nowhere")
    with pytest.raises(NoNodeError):
        client.delete("/nowhere")


def test_transaction(connect):
    client, other = connect(1), connect(3)
    good = client.transaction()
    good.create("/t", b"a")
    good.check("/t", 0)
    good.set_data("/t", b"b")
    created, checked, set_ = good.commit()
    assert created == "/t" and checked is True and set_.version == 1
    bad = client.transaction()
    bad.create("/t/child", b"")
    bad.delete("/t", version=7)
    results = bad.commit()
    assert [type(r).__name__ for r in results] == ["RolledBackError", "BadVersionError"]
    other.sync("/t")
    assert other.get("/t")[0] == b"b" and other.get_children("/t") == []


def test_watches(connect):
    watcher, writer = connect(1), connect(3)
    seen = []
    assert watcher.exists("/watch", watch=seen.append) is None
    writer.create("/watch", b"")
    wait_until(lambda: len(seen) == 1, 5, lambda: seen)
    watcher.get("/watch", watch=seen.append)
    writer.set("/watch", b"2")
    wait_until(lambda: len(seen) == 2, 5, lambda: seen)
    watcher.get_children("/watch", watch=seen.append)
    writer.create("/watch/child", b"")
    wait_until(lambda: len(seen) == 3, 5, lambda: seen)
    writer.set("/watch", b"3")
    watcher.get("/watch/child", watch=seen.append)
    writer.delete("/watch/child")
    wait_until(lambda: len(seen) == 4, 5, lambda: seen)
    assert [(e.type, e.path) for e in seen] == [
        (EventType.CREATED, "/watch"),
        (EventType.CHANGED, "/watch"),
        (EventType.CHILD, "/watch"),
        (EventType.DELETED, "/watch/child"),
    ]


def test_lock_excludes(connect):
    """Three clients on three members add to one counter under a lock; nothing is lost."""
    clients = [connect(sid) for sid in (1, 2, 3)]
    clients[0].create("/counter", b"0")
    failures = []

    def add(client):
        try:
            for _ in range(5):
                with client.Lock("/lock"):
                    client.sync("/counter")
                    value = int(client.get("/counter")[0])
                    client.set("/counter", b"%d" % (value + 1))
        except Exception as error:  # a thread must not lose it
            failures.append(error)

    threads = [threading.Thread(target=add, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert not failures
    clients[1].sync("/counter")
    assert clients[1].get("/counter")[0] == b"15"


def test_election_passes_on(connect):
    first, second = connect(1), connect(2)
    order = []
    leave = threading.Event()

    def lead(name, wait):
        order.append(name)
        wait.wait(20)

    one = threading.Thread(target=first.Election("/election", "one").run, args=(lead, "one", leave))
    one.start()
    wait_until(lambda: order == ["one"], 10, lambda: order)
    done = threading.Event()
    done.set()
    two = threading.Thread(target=second.Election("/election", "two").run, args=(lead, "two", done))
    two.start()
    contenders = second.Election("/election").contenders
    wait_until(lambda: contenders() == ["one", "two"], 10, contenders)
    assert order == ["one"]
    leave.set()
    one.join(15)
    two.join(15)
    assert order == ["one", "two"]


def test_session_expires(members):
    """The ephemeral of a client that vanished goes after its timeout, not before, and its session is refused."""
    lost = members[1].connect(2000)
    assert lost.timeout_ms == 2000
    lost.create("/lost", b"", wire.EPHEMERAL)
    watcher = members[2].connect(10_000)
    watcher.sync("/")
    assert watcher.exists("/lost", watch=True).ephemeral_owner == lost.session
    gone = time.monotonic()
    lost.drop()
    watcher.socket.settimeout(8)
    assert watcher.wait_event()[:3] == (2, 3, "/lost")
    assert 1.2 < time.monotonic() - gone < 6
    late = members[3].connect(2000, session=lost.session, passwd=lost.passwd)
    assert (late.session, late.timeout_ms) == (0, 0) and late.closed_by_server()
    watcher.close_session()


def test_pings_keep_a_session(members):
    client = members[1].connect(1500)
    client.create("/pinged", b"", wire.EPHEMERAL)
    for _ in range(8):
        time.sleep(0.5)
        client.ping()
    assert client.exists("/pinged").ephemeral_owner == client.session
    client.close_session()


def test_session_survives_the_death_of_its_server(peer, tmp_path):
    """kazoo re-attaches to another member after kill -9; its ephemeral stays and its lock is kept."""
    with Ensemble(tmp_path, {1: peer, 2: peer, 3: peer}) as members:
        members.start_led_by_highest()
        client = KazooClient(hosts=members.hosts(1, 2, 3), timeout=8, randomize_hosts=False)
        states = []
        client.add_listener(states.append)
        client.start(timeout=15)
        session = client.client_id[0]
        client.create("/mine", b"", ephemeral=True)
        members[1].kill()
        wait_until(lambda: KazooState.SUSPENDED in states and client.connected, 15, lambda: states)
        client.retry(client.set, "/mine", b"still")
        assert client.client_id[0] == session and KazooState.LOST not in states
        assert client.exists("/mine").ephemeralOwner == session

        members[3].kill()
        members.start(1)
        members.wait_leader()
        client.retry(client.set, "/mine", b"and after the leader")
        assert client.client_id[0] == session and KazooState.LOST not in states
        members.start(3)
        members.wait_serving()
        client.stop()
        client.close()
        members.wait_quiet()
        assert "/mine" not in tree.assert_equal_trees(members)


def test_connect_to_the_future_is_refused(members):
    """A client that has seen a later zxid than this server is closed without an answer."""
    connection = wire.Connection(members[1].ports["client"])
    with pytest.raises(wire.Closed):
        connection.connect(last_zxid=0x7FFF_0000_0000)


def test_connect_without_the_read_only_byte(members):
    connection = wire.Connection(members[1].ports["client"])
    assert len(connection.connect(read_only=None)) == 36
    assert connection.create("/old-client", b"") == "/old-client"
    connection.close_session()
    connection = wire.Connection(members[1].ports["client"])
    assert len(connection.connect(read_only=False)) == 37
    connection.close_session()


@pytest.mark.parametrize("opcode", [999, 0, wire.CHECK])
def test_unimplemented_opcode(members, opcode):
    connection = members[1].connect()
    connection.send_frame(wire.header(7, opcode) + wire.path_version("/"))
    assert connection.receive_frame() == bytes.fromhex("00000007 ffffffffffffffff fffffffa")
    assert connection.closed_by_server()


def test_acl(members):
    """World ACLs are enforced; unknown schemes and empty lists are InvalidACL."""
    client = members[1].connect()
    client.create("/acl", b"", acl=[(1, "world", "anyone")])
    assert error_of(client.set, "/acl", b"") == -102
    assert error_of(client.create, "/acl/child", b"") == -102
    assert client.get("/acl")[0] == b""
    client.create("/acl-none", b"", acl=[(30, "world", "anyone")])
    assert error_of(client.get, "/acl-none") == -102
    for acl in ([], [(31, "nonsense", "x")], [(31, "world", "someone")], [(31, "auth", "")]):
        assert error_of(client.create, "/acl-bad", b"", acl=acl) == -114, acl
    client.close_session()


def test_set_watches_after_reconnect(members):
    first = members[1].connect()
    for path in ("/sw-changed", "/sw-gone", "/sw-same"):
        first.create(path, b"")
    seen = first.last_zxid
    other = members[3].connect()
    other.set("/sw-changed", b"x")
    other.delete("/sw-gone")
    other.sync("/")
    first.drop()
    again = members[2].come_back(10_000, seen, session=first.session, passwd=first.passwd)
    again.sync("/")
    again.set_watches(seen, data=["/sw-changed", "/sw-gone", "/sw-same"], exist=["/sw-later"])
    assert again.events == [(3, 3, "/sw-changed", -1), (2, 3, "/sw-gone", -1)]
    again.events.clear()
    zxid = other.set("/sw-same", b"x").mzxid
    assert again.wait_event() == (3, 3, "/sw-same", zxid)
    other.create("/sw-later", b"")
    assert again.wait_event()[:3] == (1, 3, "/sw-later")


def test_expired_session_of_kazoo(members, connect):
    """A session that was closed elsewhere is over for kazoo, which then starts a new one."""
    client = connect(1)
    old = client.client_id
    states = []
    client.add_listener(states.append)
    thief = members[2].connect(session=old[0], passwd=old[1])
    assert thief.session == old[0]
    thief.close_session()
    wait_until(lambda: KazooState.LOST in states, 15, lambda: states)
    wait_until(lambda: client.connected and client.client_id[0] != old[0], 15, lambda: states)
    try:
        client.create("/after-expiry", b"")
    except SessionExpiredError:
        client.create("/after-expiry", b"")
