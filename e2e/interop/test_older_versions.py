"""Data directories of Apache ZooKeeper 3.5, 3.6, 3.7 and 3.9: this server makes of them what 3.9.4 does.

What versions leave in their logs differs: digests since 3.6, the list of a closed session's ephemerals
since 3.6, and 3.9 repeats a zxid for the error of a request that it cannot decode.
"""

import re
import shutil

import pytest
import tree
import txnlog
import wire
from harness import OLDER_VERSIONS
from test_disk_forms import BASE, CREDENTIALS, assert_same, check, fill, go_on, kill, roll

NOT_DECODED = [wire.CREATE, wire.DELETE, wire.SET_DATA, wire.SET_ACL, wire.MULTI, wire.CREATE2, wire.CREATE_TTL]
WRITTEN = {
    "create", "create2", "createContainer", "createTTL", "delete", "setData", "setACL", "multi", "error",
    "createSession", "closeSession",
}  # fmt: skip


def send_what_does_not_decode(server):
    client = server.connect()
    for op in NOT_DECODED:
        assert wire.error_code(client.request, op, b"\0") == -5
    client.close_session()


def set_quota(server):
    client = server.connect()
    for path in ("/zookeeper/quota/many", "/zookeeper/quota/many/zookeeper_limits"):
        client.create(path, b"count=1000,bytes=-1")
    client.create("/zookeeper/quota/many/zookeeper_stats", b"count=61,bytes=110")
    client.create("/many/counted", b"12345")
    client.close_session()


def copy_of(server, home):
    shutil.copytree(server.version2(), home / "data" / "version-2")
    return home


@pytest.mark.timeout(600)  # the first run on a machine resolves the version
@pytest.mark.parametrize("version", [*OLDER_VERSIONS, "java"])
def test_a_directory_moves_there_and_back(standalone, peer, version, tmp_path):
    writer = standalone(version, settings=BASE).start().wait_serving()
    session, passwd = fill(writer)
    set_quota(writer)
    send_what_does_not_decode(writer)
    roll(writer, "")
    send_what_does_not_decode(writer)
    before = tree.dump(writer, CREDENTIALS)
    kill(writer)
    entries = txnlog.read_all(writer.log_files())
    assert {entry.name for entry in entries} == WRITTEN
    repeats = any(one.zxid == next_one.zxid for one, next_one in zip(entries, entries[1:]))
    assert repeats == (version == "java")
    compared = check("txnlog", "check", "--snapshot", writer.snapshots()[0], *writer.log_files())
    digests = sum(map(int, re.findall(r"(\d+) digests agree", compared)))
    assert (digests > 50) == (version != "3.5.10"), compared

    reference = standalone("java", copy_of(writer, tmp_path / "reference"), settings=BASE).start().wait_serving()
    assert_same(before, reference)
    reference.kill()

    ours = standalone(peer, copy_of(writer, tmp_path / "ours"), settings=BASE).start().wait_serving()
    go_on(ours, before, session, passwd)
    roll(ours, "")
    before = tree.dump(ours, CREDENTIALS)
    kill(ours)

    back = standalone(version, ours.home, settings=BASE).start().wait_serving()
    assert_same(before, back)
    client = back.connect()
    client.create("/still-writable", b"")
    client.close_session()
