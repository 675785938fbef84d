"""Each kind of server starts on a data directory that the other kind wrote, logs and snapshots."""

import shutil

import pytest
import tree
import wire
from workload import create_many, ordinary_life

# Small enough that the data is spread over several snapshots and log files.
SETTINGS = {"snapCount": 20, "maxSessionTimeout": 60_000}


def fill(server):
    """Ordinary life, enough writes for snapshots under way, and a session that lives on with its ephemerals."""
    ordinary_life(server)
    writer = server.connect()
    create_many(writer, "/many", 120)
    writer.create("/many/deleted-later", b"")
    for number in range(0, 120, 7):
        writer.delete(f"/many/{number:05}")
    for number in range(1, 120, 7):
        writer.set(f"/many/{number:05}", b"set")
    kept = server.connect(60_000)
    kept.create("/kept", b"k", wire.EPHEMERAL)
    kept.multi((wire.CREATE, wire.create_body("/kept-", b"", wire.EPHEMERAL_SEQUENTIAL)))
    writer.delete("/many/deleted-later")
    writer.close_session()
    session, passwd = kept.session, kept.passwd
    kept.drop()
    return session, passwd


def assert_goes_on(server, before, session, passwd):
    """The same tree, the session still alive, and the directory takes more writes."""
    found = tree.differences(before, tree.dump(server))
    assert not found, "the tree changed with the server:\n" + "\n".join(found)
    again = server.connect(60_000, session=session, passwd=passwd)
    assert again.session == session
    assert again.create2("/kept-by-the-other", b"", wire.EPHEMERAL)[1].ephemeral_owner == session
    again.set("/a", b"from the next server")
    again.drop()


@pytest.mark.parametrize("first", ["java", "quorate"])
def test_standalone_directory_moves_there_and_back(standalone, peer, first):
    one, other = ("java", peer) if first == "java" else (peer, "java")
    writer = standalone(one, settings=SETTINGS).start().wait_serving()
    session, passwd = fill(writer)
    assert len(writer.snapshots()) > 1 and len(writer.log_files()) > 1, "the writes did not roll the log"
    before = tree.dump(writer)
    writer.kill()

    reader = standalone(other, home=writer.home, settings=SETTINGS).start().wait_serving()
    assert_goes_on(reader, before, session, passwd)
    create_many(reader.connect(), "/by-the-other", 60)
    before = tree.dump(reader)
    reader.kill()

    back = standalone(one, home=writer.home, settings=SETTINGS).start().wait_serving()
    assert_goes_on_again(back, before)


def assert_goes_on_again(server, before):
    found = tree.differences(before, tree.dump(server))
    assert not found, "the tree changed on the way back:\n" + "\n".join(found)
    client = server.connect()
    client.create("/still-writable", b"")
    client.close_session()


@pytest.mark.parametrize("first", ["java", "quorate"])
@pytest.mark.parametrize("sid", [1, 3], ids=["follower", "leader"])
def test_directory_of_a_member(ensemble, standalone, peer, first, sid, tmp_path):
    """A standalone server of the other kind starts on a copy of a member's directory."""
    one, other = ("java", peer) if first == "java" else (peer, "java")
    members = ensemble({1: one, 2: one, 3: one}, settings=SETTINGS)
    session, passwd = fill(members[1])
    members.wait_quiet()
    before = tree.dump(members[sid])
    for server in members:
        server.kill()
    copy = tmp_path / "copy"
    shutil.copytree(members[sid].version2(), copy / "data" / "version-2")
    reader = standalone(other, home=copy, settings=SETTINGS).start().wait_serving()
    assert_goes_on(reader, before, session, passwd)


@pytest.mark.parametrize("kind", ["java", "quorate"])
def test_torn_tail_is_cut(standalone, peer, kind):
    """A log that ends in half an entry is served up to the entry before, by both kinds."""
    kind = peer if kind == "quorate" else kind
    server = standalone("java").start().wait_serving()
    client = server.connect()
    client.create("/whole", b"")
    client.create("/torn", b"")
    client.drop()
    server.kill()
    log = server.log_files()[-1]
    data = log.read_bytes().rstrip(b"\0")
    log.write_bytes(data[:-10])
    reader = standalone(kind, home=server.home).start().wait_serving()
    nodes = tree.dump(reader)
    assert "/whole" in nodes and "/torn" not in nodes
    client = reader.connect()
    client.create("/after", b"")
    client.close_session()
    reader.kill()
    assert "/after" in tree.dump(reader.start().wait_serving()), "writes after the cut are lost"
