"""Sessions of living clients while servers stand still, and requests that an older connection has left behind."""

import threading
import time

import harness
import pytest
import wire

TICK = {"tickTime": "1000", "syncLimit": "10", "minSessionTimeout": "2000"}
TIMEOUT_MS = 3000
FROZEN_SECONDS = 6.0  # longer than the session's timeout with its tick, shorter than syncLimit


class Pinging:
    """A client that pings all the time and never waits for an answer."""

    def __init__(self, server, path):
        self.connection = server.connect(TIMEOUT_MS)
        self.connection.create(path, b"", wire.EPHEMERAL)
        self.session = self.connection.session
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.ended.wait(0.3):
            self.connection.send_frame(wire.header(wire.PING_XID, wire.PING))

    def end(self):
        self.ended.set()
        self.thread.join()


@pytest.mark.parametrize("frozen", ["leader", "follower"])
def test_a_server_that_stood_still_costs_no_living_client_its_session(ensemble, frozen):
    with ensemble({1: "quorate", 2: "quorate", 3: "quorate"}, settings=TICK) as three:
        server = three[3] if frozen == "leader" else three[1]
        assert (server.mode() == "leader") == (frozen == "leader")
        client = Pinging(server, "/living")
        dead = server.connect(TIMEOUT_MS)
        dead.create("/dead", b"", wire.EPHEMERAL)
        server.freeze()
        time.sleep(FROZEN_SECONDS)
        server.thaw()
        looking = three[2].connect(20_000)
        time.sleep(2.0)
        looking.sync()
        assert looking.exists("/living") is not None
        # Whoever says nothing still goes.
        harness.wait_until(
            lambda: wire.error_code(looking.exists, "/dead") == -101, 25, lambda: "the dead client's znode stays"
        )
        assert looking.exists("/living") is not None
        client.end()
        dead.drop()


@pytest.mark.parametrize("leader, at", [("quorate", 5), ("quorate", 1), ("java", 1)])
def test_a_late_transaction_answers_no_newer_connection(ensemble, leader, at):
    kinds = {1: "quorate", 2: leader, 3: leader, 4: leader, 5: leader}
    with ensemble(kinds, settings={"tickTime": "1000", "syncLimit": "20"}) as five:
        server = five[at]
        setup = server.connect()
        setup.create("/x", b"old")
        setup.close_session()
        older = server.connect()
        frozen = [five[2], five[3], five[4]]
        for one in frozen:  # nothing is committed any more
            one.freeze()
        older.send(wire.CREATE, wire.create_body("/a"), xid=1)
        time.sleep(0.3)
        session, passwd = older.session, older.passwd
        older.drop()
        newer = wire.Connection(server.ports["client"], timeout=30.0)
        newer.connect(10_000, session=session, passwd=passwd)
        assert newer.session == session
        late = newer.send(wire.SET_DATA, wire.set_body("/x", b"new", 99), xid=1)
        time.sleep(0.3)
        for one in frozen:
            one.thaw()
        assert wire.error_code(newer.reply, late) == -103
        newer.xid = 1
        assert newer.get("/x")[0] == b"old"
        newer.sync()
        assert newer.exists("/a") is not None
        newer.drop()


def test_a_connection_that_its_session_has_left_is_closed_when_it_is_silent(ensemble):
    settings = {**TICK, "nio.sessionlessCnxnTimeout": "1000"}
    with ensemble({1: "quorate", 2: "java", 3: "quorate"}, settings=settings) as three:
        moves = {(here, there): three[here].connect(2000) for here, there in [(1, 2), (1, 3), (2, 1)]}
        newer = {}
        for (here, there), older in moves.items():
            newer[here, there] = wire.Connection(three[there].ports["client"])
            newer[here, there].connect(2000, session=older.session, passwd=older.passwd)
        open_since = time.monotonic()
        left = dict(moves)
        while left:
            waited = time.monotonic() - open_since
            assert waited < 20, f"still open: {sorted(left)}"
            for move, connection in newer.items():
                connection.ping()
                if move in left and left[move].closed_by_server(0.01):
                    del left[move]
                    assert waited > 1.5, f"{move} is closed too early"
            time.sleep(0.2)
        for connection in newer.values():
            connection.sync()
            connection.close_session()
