"""Java and quorate peers in one ensemble: both kinds lead, follow, fall behind and replace each other."""

import time

import harness
import pytest
import tree
import txnlog
import wire
from kazoo.client import KazooClient
from workload import error_of, leave_uncommitted_tail, ordinary_life, set_many

# More than a leader keeps in memory for DIFF: 500 transactions, and quorate up to 32 MiB of them.
BEYOND_COMMITTED_LOG = (600, bytes(60_000))

# Java may serve an older learner from its log files, but only when the files behind the first one
# are small next to its snapshot. With at most 150 of these transactions per file they are not.
SMALL_LOGS = {"snapCount": 150}


def kinds_of(peer, java):
    """An ensemble of three whose sid `java` is Apache ZooKeeper."""
    return {sid: "java" if sid == java else peer for sid in (1, 2, 3)}


def kazoo(servers):
    client = KazooClient(hosts=",".join(f"127.0.0.1:{s.ports['client']}" for s in servers), timeout=8)
    client.start(timeout=15)
    return client


def write_through_every_member(ensemble, name):
    """One write by kazoo through each running member, seen through each other."""
    servers = ensemble.running()
    for server in servers:
        client = kazoo([server])
        path = client.create(f"/{name}-{server.sid}", b"v", makepath=True)
        client.set(path, b"w")
        client.stop()
        client.close()
        for other in servers:
            reader = other.connect()
            reader.sync(path)
            assert reader.get(path)[0] == b"w"
            reader.close_session()


def assert_digests_agree(ensemble):
    """No server that compares digests has seen a transaction with another result than its leader."""
    for server in ensemble.running():
        mismatches = server.mntr().get("digest_mismatches_count")
        assert float(mismatches or 0) == 0, f"{server.kind} {server.sid}: {mismatches} digest mismatches"
        assert mismatches is not None or server.kind != "java"
    for server in ensemble:
        if server.kind == "java":
            text = server.log_text()
            assert "Digests are not matching" not in text, f"java {server.sid} logged a digest mismatch"


def assert_members_agree(ensemble, credentials=None):
    ensemble.wait_quiet()
    nodes = tree.assert_equal_trees(ensemble.running(), credentials)
    assert_digests_agree(ensemble)
    return nodes


def test_each_kind_leads_once(ensemble, peer):
    members = ensemble(kinds_of(peer, java=2))
    leaders = [members.wait_leader()]
    assert leaders[0].sid == 3
    write_through_every_member(members, "first")
    last_of_first = members.wait_quiet()

    members[3].stop()
    leaders.append(members.wait_leader())
    assert leaders[1].sid == 2
    members.wait_serving()
    write_through_every_member(members, "second")
    members.start(3)
    members.wait_serving()
    write_through_every_member(members, "third")

    members.wait_quiet()
    members[2].stop()
    leaders.append(members.wait_leader())
    members.wait_serving()
    members.start(2)
    members.wait_serving()
    write_through_every_member(members, "fourth")

    assert [server.kind for server in leaders] == [peer, "java", peer]
    epochs = {int((server.version2() / "currentEpoch").read_text()) for server in members}
    assert epochs == {3}
    assert_members_agree(members)
    led_by_peer = [e for e in txnlog.read_all(members[2].log_files()) if e.zxid <= last_of_first and e.name == "create"]
    assert led_by_peer, "the Java member logged nothing in the first epoch"
    assert all(entry.data[-12:-8] == b"\0\0\0\2" for entry in led_by_peer), "proposals of the leader lack the digest"


@pytest.mark.parametrize("java", [1, 3, 2], ids=["java-follows", "java-leads", "java-is-the-other"])
def test_follower_behind(ensemble, peer, java):
    """Sid 3 leads. 1 falls behind: DIFF, SNAP. Then 3 has an uncommitted tail and 2 leads: TRUNC."""
    members = ensemble(kinds_of(peer, java), record_sync=True, settings=SMALL_LOGS)
    assert members.wait_leader().sid == 3
    ordinary_life(members[1])

    members[1].stop()
    writer = members[2].connect()
    for number in range(5):
        writer.create(f"/while-1-was-down-{number}", b"x")
    behind = members[3].zxid()
    members[1].start().wait_serving()
    assert members.syncs(3)[-1] == (1, "DIFF", behind)
    assert_members_agree(members)

    members[1].kill()
    set_many(writer, "/many", *BEYOND_COMMITTED_LOG)
    members[1].start().wait_serving()
    sid, mode, zxid = members.syncs(3)[-1]
    assert (sid, mode) == (1, "SNAP") and zxid > behind
    assert_members_agree(members)

    members[1].kill()
    members[1].wipe()
    members[1].start().wait_serving()
    assert members.syncs(3)[-1][:2] == (1, "SNAP")
    writer.close_session()
    assert_members_agree(members)

    leave_uncommitted_tail(members, leader=3, count=3)
    tail = txnlog.read_all(members[3].log_files())[-3:]
    members.start(1, 2)
    members.wait_serving(1, 2)
    assert members.leader().sid == 2
    members[3].start().wait_serving()
    assert members.syncs(2)[-1] == (3, "TRUNC", tail[0].zxid - 1)
    nodes = assert_members_agree(members)
    assert "/uncommitted-0" not in nodes and nodes["/many"].stat.version == BEYOND_COMMITTED_LOG[0]
    kept = {entry.zxid for entry in txnlog.read_all(members[3].log_files())}
    assert not kept & {entry.zxid for entry in tail}, "the truncated proposals are still in the log"
    write_through_every_member(members, "after")
    assert_members_agree(members)


@pytest.mark.parametrize("java", [1, 3], ids=["java-follows", "java-leads"])
def test_clients_on_different_kinds_see_each_other(ensemble, peer, java):
    """Watches, ephemerals, sequences, multi and errors between a client of 1 and a client of 3."""
    members = ensemble(kinds_of(peer, java))
    assert members.wait_leader().sid == 3
    one, three = members[1].connect(), members[3].connect()

    assert error_of(one.exists, "/w", watch=True) == -101
    three.create("/w", b"1")
    assert one.wait_event()[:3] == (1, 3, "/w")
    one.sync("/w")
    one.get("/w", watch=True)
    one.children("/w", watch=True)
    three.multi((wire.SET_DATA, wire.set_body("/w", b"2")), (wire.CREATE, wire.create_body("/w/c")))
    assert [one.wait_event()[:3], one.wait_event()[:3]] == [(3, 3, "/w"), (4, 3, "/w")]

    three.create("/q", b"")
    names = [client.create("/q/n-", b"", wire.EPHEMERAL_SEQUENTIAL) for client in (one, three, one, three)]
    assert names == [f"/q/n-{number:010}" for number in range(4)]
    three.sync("/q")
    owners = [three.exists(name).ephemeral_owner for name in names]
    assert owners == [one.session, three.session, one.session, three.session]
    three.children("/q", watch=True)
    one.close_session()
    assert three.wait_event()[:3] == (4, 3, "/q")
    assert sorted(three.children("/q")) == ["n-0000000001", "n-0000000003"]

    one = members[1].connect()
    failed = one.multi(
        (wire.CREATE, wire.create_body("/never")),
        (wire.CHECK, wire.path_version("/w", 40)),
        (wire.DELETE, wire.path_version("/w/c")),
    )
    assert failed == [(-1, 0, None), (-1, -103, None), (-1, -2, None)]
    for client in (one, three):
        client.sync("/")
        assert error_of(client.exists, "/never") == -101
        assert error_of(client.create, "/w", b"") == -110
        assert error_of(client.delete, "/w") == -111
        assert error_of(client.set, "/w", b"", 0) == -103
        assert error_of(client.create, f"{names[1]}/child", b"") == -108
        assert error_of(client.create, "/no/parent", b"") == -101
    nodes = assert_members_agree(members)
    assert nodes[names[1]].stat.ephemeral_owner == three.session


@pytest.mark.parametrize("java", [1, 3], ids=["java-follows", "java-leads"])
def test_session_moves_between_kinds(ensemble, peer, java):
    """A session of 1 goes on at 3, returns to 1, and loses its ephemeral when it expires."""
    members = ensemble(kinds_of(peer, java))
    assert members.wait_leader().sid == 3
    at = members[1].connect(4000)
    session, passwd = at.session, at.passwd
    at.create("/mine", b"", wire.EPHEMERAL)
    for number, sid in enumerate([3, 1, 2, 3, 1]):
        seen = at.last_zxid
        at.drop()
        at = members[sid].come_back(4000, seen, session=session, passwd=passwd)
        assert at.session == session and at.passwd == passwd and at.timeout_ms == 4000
        assert at.exists("/mine").ephemeral_owner == session
        at.set("/mine", b"%d" % number)
    refused = wire.Connection(members[3].ports["client"])
    refused.connect(4000, session=session, passwd=bytes(16))
    assert refused.session == 0 and refused.closed_by_server()

    at = members[1].connect(4000, session=session, passwd=passwd)
    at.drop()
    watcher = members[2].connect(10_000)
    assert watcher.exists("/mine", watch=True).ephemeral_owner == session
    watcher.socket.settimeout(12)
    assert watcher.wait_event()[:3] == (2, 3, "/mine")
    late = members[3].connect(4000, session=session, passwd=passwd)
    assert late.session == 0 and late.closed_by_server()
    assert_members_agree(members)


def test_members_replaced_in_place(ensemble, peer):
    """Every member of a Java ensemble is replaced on its own data directory, and one goes back."""
    members = ensemble({1: "java", 2: "java", 3: "java"})
    ordinary_life(members[1])
    before = tree.dump(members[1])
    for sid in (1, 2, 3):
        members.wait_quiet()
        members.replace(sid, peer)
        members.wait_serving()
        write_through_every_member(members, f"replaced-{sid}")
    members.wait_quiet()
    members.replace(3, "java")
    members.wait_serving()
    write_through_every_member(members, "back")
    after = assert_members_agree(members)
    before.pop("/")
    assert all(after[path] == node for path, node in before.items())


def test_undecodable_write_through_a_java_follower(ensemble, peer):
    """The client gets MarshallingError, no zxid is used twice, and the ensemble goes on."""
    if peer == "java":
        pytest.skip("an undecodable write through a follower makes the reference's leader use a zxid twice")
    members = ensemble(kinds_of(peer, java=1))
    client = members[1].connect()
    for body in (b"\x00\x00\x00\x7f/short", b""):
        assert error_of(client.request, wire.CREATE, body) == -5
    client.create("/alive", b"")
    client.close_session()
    assert_members_agree(members)
    for server in members:
        zxids = [entry.zxid for entry in txnlog.read_all(server.log_files())]
        assert zxids == sorted(set(zxids)), f"{server.kind} {server.sid} logged a zxid twice or out of order"


def test_a_java_leader_that_is_wrong_about_its_digest_keeps_its_followers(ensemble, peer):
    """Its own digest is wrong for a container that `create` makes, and for changes of the root in a pipeline."""
    members = ensemble(kinds_of(peer, java=3))
    client = members[1].connect()
    for number in range(3):
        client.create(f"/container-{number}", flags=wire.CONTAINER)
        client.create(f"/after-{number}")
    for number in range(40):
        sent = [
            client.send(wire.CREATE, wire.create_body(f"/root-{number}")),
            client.send(wire.SET_DATA, wire.set_body("/", b"")),
        ]
        for xid in sent:
            client.reply(xid)
    members.wait_quiet()
    assert float(members[1].mntr()["digest_mismatches_count"]) > 0, "the leader was right"
    assert [server.mode() for server in members] == ["follower", "follower", "leader"]
    tree.assert_equal_trees(members.running())
    client.close_session()


def test_java_members_that_have_versioned_the_config_are_led(ensemble, peer):
    """With reconfigEnabled Java gives the config a version when it first leads, and has it from then
    on. A server that keeps no config leads such members, and is led by them."""
    members = ensemble(kinds_of("java", java=0), settings={"reconfigEnabled": "true", "standaloneEnabled": "false"})
    writer = members[2].connect()
    writer.create("/by-java", b"x")
    members.replace(3, peer)
    members.wait_serving()
    write_through_every_member(members, "led-by-java")

    members.wait_quiet()
    members[2].kill()
    assert members.wait_leader().sid == 3
    members.wait_serving()
    members.start(2)
    members.wait_serving()
    write_through_every_member(members, "led-by-peer")
    assert_members_agree(members)


@pytest.mark.parametrize("charset", ["US-ASCII", "ISO-8859-1"])
def test_a_java_leader_without_utf_8_keeps_its_followers(ensemble, peer, charset, monkeypatch):
    """It hashes paths in the default charset of its virtual machine, so its digests are others."""
    monkeypatch.setattr(harness, "JAVA_FLAGS", [*harness.JAVA_FLAGS, f"-Dfile.encoding={charset}"])
    members = ensemble(kinds_of(peer, java=3))
    client = members[1].connect()
    paths = ["/plain", "/z\u00fcrich", "/z\u00fcrich/\u20ac", "/\u65e5\u672c"]
    for path in paths:
        client.create(path)
    # Then nothing changes the difference for longer than one may last.
    for number in range(80):
        client.set(paths[number % 4 if number < 12 else 0], str(number).encode())
        client.create(f"/more-{number}")
        time.sleep(0.1)
    members.wait_quiet()
    assert [server.mode() for server in members] == ["follower", "follower", "leader"]
    for server in members:
        if server.kind == "quorate":
            assert f'charset="{charset}"' in server.log_text(), "the cause is not told"
            assert float(server.mntr()["digest_mismatches_count"]) < 5
    tree.assert_equal_trees(members.running())
    client.close_session()
    # What it has written is taken over.
    members.replace(3, peer)
    members.wait_serving(1, 2, 3)
    members.wait_quiet()
    tree.assert_equal_trees(members.running())
