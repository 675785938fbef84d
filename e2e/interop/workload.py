"""Writes that the tests share."""

import txnlog
import wire
from harness import wait_until

BATCH = 100  # requests in flight of one connection


def ordinary_life(server):
    """Every transaction of ordinary life by one session, which it closes."""
    client = server.connect()
    client.create("/a", b"data")
    client.create("/empty", b"")
    client.create("/null", None)
    client.create2("/a/two", b"create2")
    for _ in range(3):
        client.create("/a/s-", b"", wire.SEQUENTIAL)
    client.create("/readable", b"", acl=[(1, "world", "anyone")])
    client.create("/\u017elu\u0165", "\u6c34".encode())
    client.set("/a", b"changed")
    client.delete("/a/s-0000000002")
    client.create("/gone-with-session", b"", wire.EPHEMERAL)
    client.create("/gone-too-", b"", wire.EPHEMERAL_SEQUENTIAL)
    assert error_of(client.delete, "/a") == -111
    client.multi(
        (wire.CREATE, wire.create_body("/m", b"m")),
        (wire.SET_DATA, wire.set_body("/m", b"n", 0)),
        (wire.CHECK, wire.path_version("/m", 1)),
        (wire.CREATE, wire.create_body("/m/temporary")),
        (wire.DELETE, wire.path_version("/m/temporary")),
    )
    client.multi((wire.CREATE, wire.create_body("/never")), (wire.CHECK, wire.path_version("/m", 9)))
    client.close_session()


def create_many(connection, prefix, count):
    """Creates `count` znodes below `prefix`, many in flight."""
    connection.create(prefix, b"")
    for start in range(0, count, BATCH):
        numbers = range(start, min(start + BATCH, count))
        xids = [connection.send(wire.CREATE, wire.create_body(f"{prefix}/{n:05}", b"%d" % n)) for n in numbers]
        for xid in xids:
            connection.reply(xid)


def set_many(connection, path, count, data):
    """Creates a znode and sets its data `count` times, many in flight."""
    connection.create(path, b"")
    for start in range(0, count, BATCH):
        body = wire.set_body(path, data)
        xids = [connection.send(wire.SET_DATA, body) for _ in range(start, min(start + BATCH, count))]
        for xid in xids:
            connection.reply(xid)


def error_of(call, *args, **kwargs):
    """The error code with which a request fails, 0 when it succeeds."""
    try:
        call(*args, **kwargs)
        return 0
    except wire.ServerError as error:
        return error.code


def leave_uncommitted_tail(ensemble, leader, count):
    """Ends every member so that only `leader` has `count` more proposals in its log.

    The followers are stopped (SIGSTOP) before the writes and killed without running again, so the
    proposals are on one disk and acknowledged by nobody else.
    """
    ensemble.wait_quiet()
    client = ensemble[leader].connect()
    ensemble.wait_quiet()
    others = [server for server in ensemble.running() if server.sid != leader]
    for server in others:
        server.freeze()
    before = len(txnlog.read_all(ensemble[leader].log_files()))
    for number in range(count):
        client.send(wire.CREATE, wire.create_body(f"/uncommitted-{number}"))

    def logged():
        return len(txnlog.read_all(ensemble[leader].log_files())) >= before + count

    wait_until(logged, 5, lambda: "the leader does not log its proposals\n" + ensemble.tails())
    for server in [ensemble[leader], *others]:
        server.kill()
    client.drop()
