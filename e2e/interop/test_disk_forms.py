"""Data directories with everything that the format knows, in every form of snapshot, moved there and back.

One kind of server writes all kinds of znodes, ACLs, sessions and multis; the other loads that, goes on
writing, and the first loads the result. Trees are compared as clients see them, and by digest: the
digests in logs and snapshots are recomputed by `quorate snapshot check` and `quorate txnlog check`, and
Java compares those in our log with its own tree while it replays.
"""

import subprocess
import time

import pytest
import tree
import wire
from harness import quorate_binary, wait_until
from workload import create_many, ordinary_life

CREDENTIALS = "user:secret"
CREATOR_ALL = [(31, "auth", "")]
TTL_MS = 3_600_000
WHOLE = 20  # seconds in which a snapshot under way is written
BASE = {"snapCount": 20, "maxSessionTimeout": 60_000, "extendedTypesEnabled": "true"}


def fill(server):
    """Every kind of znode, ACL and transaction, and a session that lives on with its ephemerals."""
    ordinary_life(server)
    client = server.connect()
    client.auth("digest", CREDENTIALS.encode())
    client.create("/private", b"p", acl=CREATOR_ALL)
    client.create("/private/child", None, acl=CREATOR_ALL)
    client.create("/mixed", b"", acl=[(1, "world", "anyone"), (31, "ip", "127.0.0.1"), (3, "ip", "10.0.0.0/8")])
    client.create("/opened", b"", acl=CREATOR_ALL)
    client.set_acl("/opened", [(31, "world", "anyone")])
    client.create_container("/container", b"c")
    client.create("/container/child", b"")
    client.create_ttl("/ttl", TTL_MS, b"t")
    client.multi(
        (wire.CREATE, wire.create_body("/multi", b"m", acl=[(31, "world", "anyone")])),
        (wire.SET_DATA, wire.set_body("/private", b"q")),
        (wire.DELETE, wire.path_version("/opened")),
    )
    create_many(client, "/many", 60)
    kept = server.connect(60_000)
    kept.create("/kept", b"k", wire.EPHEMERAL)
    kept.create("/private-kept", b"", wire.EPHEMERAL, acl=[(31, "ip", "127.0.0.1")])
    client.close_session()
    session, passwd = kept.session, kept.passwd
    kept.drop()
    return session, passwd


def roll(server, form):
    """Writes until the data is spread over several files, the newest snapshots in the wanted form."""
    client = server.connect()
    parent = f"/rolled-by-{server.kind}"
    client.create(parent, b"")
    for number in range(2000):
        client.create(f"{parent}/{number}", b"%d" % number)
        newest = server.snapshots()[-2:]
        if len(server.snapshots()) > 2 and all(path.name.endswith(f".{form}") == bool(form) for path in newest):
            break
        time.sleep(0.002)
    client.close_session()


def kill(server):
    """Not in the midst of a snapshot, which the reference writes under its own name."""
    wait_until(lambda: not problems(server), WHOLE, lambda: problems(server))
    server.kill()


def problems(server):
    return run_tool("snapshot", "check", *server.snapshots()).stderr


def go_on(server, before, session, passwd):
    """The same tree; the session, the ACLs and the znodes that go by themselves work on."""
    assert_same(before, server)
    again = server.connect(60_000, session=session, passwd=passwd)
    assert again.session == session
    again.create("/kept-by-the-other", b"", wire.EPHEMERAL)
    try:
        again.get("/private")
        raise AssertionError("/private can be read by anybody")
    except wire.ServerError as error:
        assert error.code == -102
    again.auth("digest", CREDENTIALS.encode())
    assert again.get("/private")[0] == b"q"
    again.create("/private/more", b"", acl=CREATOR_ALL)
    again.create_container("/container-of-the-other")
    again.create_ttl("/ttl-of-the-other", TTL_MS)
    again.set_acl("/mixed", [(31, "ip", "127.0.0.1/8")])
    again.multi(
        (wire.CREATE, wire.create_body("/multi-of-the-other", b"", acl=CREATOR_ALL)),
        (wire.DELETE, wire.path_version("/ttl")),
    )
    create_many(again, "/by-the-other", 50)
    again.drop()


def assert_same(before, server):
    found = tree.differences(before, tree.dump(server, CREDENTIALS))
    assert not found, "the tree changed with the server:\n" + "\n".join(found)


def assert_digests_agree(server, form, inherited=()):
    """Checks all files of a server that has ended; the newest snapshots must be in the wanted form."""
    snapshots, logs = server.snapshots(), server.log_files()
    assert len(snapshots) > 2 and len(logs) > 1, "the writes did not roll the log"
    assert all(path.name.endswith(f".{form}") == bool(form) for path in snapshots[-2:]), snapshots
    own = check("snapshot", "check", *(path for path in snapshots if path not in inherited)).splitlines()
    assert any("digest agrees" in line for line in own), own
    # The reference goes on applying while it writes; ours are exact.
    exact = [line for line in own if "digest agrees" in line or "without a digest" in line]
    assert server.kind != "quorate" or exact == own, own
    check("snapshot", "check", *snapshots)
    compared = check("txnlog", "check", "--snapshot", snapshots[0], *logs)
    counts = [int(line.split(" digests agree")[0].rsplit(" ", 1)[1]) for line in compared.splitlines()]
    assert sum(counts) > 50, compared


def check(*arguments):
    run = run_tool(*arguments)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def run_tool(*arguments):
    return subprocess.run([quorate_binary(), *map(str, arguments)], capture_output=True, text=True)


# (reference server, form of its snapshots, form of ours)
FORMS = [("java", "gz", "snappy"), ("java", "snappy", "gz"), ("debian", "gz", ""), ("debian", "", "gz")]


@pytest.mark.parametrize("reference, form, ours", FORMS)
@pytest.mark.parametrize("first", ["reference", "quorate"])
def test_there_and_back(standalone, peer, reference, form, ours, first):
    kinds = [(reference, form), (peer, ours)]
    (one, one_form), (other, other_form) = kinds if first == "reference" else reversed(kinds)

    def start(kind, form, home=None):
        settings = {**BASE, "snapshot.compression.method": form or None}
        return standalone(kind, home=home, settings=settings).start().wait_serving()

    writer = start(one, one_form)
    session, passwd = fill(writer)
    roll(writer, one_form)
    before = tree.dump(writer, CREDENTIALS)
    kill(writer)
    assert_digests_agree(writer, one_form)
    inherited = writer.snapshots()

    reader = start(other, other_form, writer.home)
    go_on(reader, before, session, passwd)
    roll(reader, other_form)
    before = tree.dump(reader, CREDENTIALS)
    kill(reader)
    assert_digests_agree(reader, other_form, inherited)

    back = start(one, one_form, writer.home)
    assert_same(before, back)
    mismatches = back.mntr().get("digest_mismatches_count")
    assert mismatches == "0" or (mismatches is None and one == "quorate")
    client = back.connect()
    client.create("/still-writable", b"")
    client.close_session()
