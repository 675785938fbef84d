"""A mixed ensemble under load while its members are killed, frozen and brought back."""

import random
import threading
import time

import pytest
import tree
import txnlog
import wire
from harness import wait_until

WRITERS = 3
STEP_SECONDS = 1.0  # of load before and after every fault
FROZEN_SECONDS = 7.0  # longer than syncLimit, so the others go on without the frozen leader


class Writer(threading.Thread):
    """Creates znodes one after the other through any member and remembers which were acknowledged."""

    def __init__(self, ensemble, name):
        super().__init__(daemon=True)
        self.ensemble = ensemble
        self.prefix = f"/load/{name}"
        self.random = random.Random(name)
        self.acknowledged = []
        self.unknown = 0
        self.ended = threading.Event()

    def run(self):
        number = 0
        connection = None
        while not self.ended.is_set():
            path = f"{self.prefix}-{number:06}"
            number += 1
            try:
                if connection is None:
                    connection = self.connect()
                connection.create(path, path.encode())
                self.acknowledged.append(path)
            except (OSError, wire.Closed, wire.ServerError):
                self.unknown += 1
                if connection is not None:
                    connection.drop()
                connection = None
                time.sleep(0.05)
        if connection is not None:
            connection.drop()

    def connect(self):
        server = self.random.choice(list(self.ensemble))
        connection = wire.Connection(server.ports["client"], timeout=2.0)
        connection.connect(4000)
        if connection.session == 0:
            raise wire.Closed("session refused")
        return connection


def watch_leaders(ensemble, seen, ended):
    """Collects (epoch, sid) of every server that says it leads."""
    while not ended.is_set():
        for server in ensemble:
            lines = server.srvr() if server.running() else {}
            if lines.get("Mode") == "leader":
                seen.add((int(lines["Zxid"], 16) >> 32, server.sid))
        time.sleep(0.1)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("java", [1, 3])
def test_no_acknowledged_write_is_lost(ensemble, peer, java):
    members = ensemble({sid: "java" if sid == java else peer for sid in (1, 2, 3)}, settings={"snapCount": 500})
    client = members[1].connect()
    client.create("/load", b"")
    client.close_session()
    writers = [Writer(members, f"w{number}") for number in range(WRITERS)]
    leaders, ended = set(), threading.Event()
    watcher = threading.Thread(target=watch_leaders, args=(members, leaders, ended), daemon=True)
    for thread in (*writers, watcher):
        thread.start()

    def progress():
        before = sum(len(writer.acknowledged) for writer in writers)
        wait_until(lambda: sum(len(w.acknowledged) for w in writers) > before + 50, 20, members.tails)

    def back(*sids):
        members.start(*sids)
        members.wait_serving()
        time.sleep(STEP_SECONDS)
        progress()

    progress()
    leader = members.wait_leader().sid
    members[leader].kill()
    time.sleep(STEP_SECONDS)
    progress()
    back(leader)

    follower = next(server.sid for server in members if server.mode() == "follower")
    members[follower].kill()
    progress()
    back(follower)

    everyone = [server.sid for server in members]
    for sid in everyone:
        members[sid].kill()
    back(*everyone)

    frozen = members.wait_leader()
    frozen.freeze()
    time.sleep(FROZEN_SECONDS)
    progress()
    frozen.thaw()
    members.wait_serving()
    progress()

    for writer in writers:
        writer.ended.set()
    for writer in writers:
        writer.join(10)
    ended.set()
    watcher.join(10)
    members.wait_serving()
    members.wait_quiet()
    nodes = tree.assert_equal_trees(members)
    acknowledged = [path for writer in writers for path in writer.acknowledged]
    lost = [path for path in acknowledged if path not in nodes or nodes[path].data != path.encode()]
    unknown = sum(writer.unknown for writer in writers)
    print(f"{len(acknowledged)} writes acknowledged, {unknown} of unknown outcome, leaders {sorted(leaders)}")
    assert not lost, f"{len(lost)} acknowledged writes are gone, the first is {lost[0]}"
    epochs = [epoch for epoch, _ in leaders]
    assert len(epochs) == len(set(epochs)), f"two leaders in one epoch: {sorted(leaders)}"
    assert len(epochs) >= 3, "the faults did not change the leader"
    for server in members:
        assert "panicked" not in server.log_text()
        if server.kind == "java":
            assert server.mntr()["digest_mismatches_count"] == "0"
        zxids = [entry.zxid for entry in txnlog.read_all(server.log_files())]
        assert zxids == sorted(set(zxids)), f"{server.kind} {server.sid} logged a zxid twice or out of order"
