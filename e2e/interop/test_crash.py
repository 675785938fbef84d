"""kill -9 at random moments under load: every acknowledged write is there, nothing else is half there.

A standalone server is killed 60 times, and members of an ensemble of three 40 times: single ones,
the leader, and all at once. Each writer owns a part of the tree and works on one request at a time:
creates, setData, deletes, and multis that must be there whole or not at all.
"""

import random
import subprocess
import threading
import time

import pytest
import tree
import txnlog
import wire
from harness import quorate_binary, wait_until

SEED = 20250
WRITERS = 3
PAIRS = 6  # znodes of a pair are changed by one multi only
BEFORE_KILL = (0.02, 0.35)  # seconds of load between a start and the next kill
AFTERMATH = 0.1  # seconds in which the leader takes what a member forwarded before it was killed
SETTINGS = {"snapCount": 40, "autopurge.snapRetainCount": 3, "preAllocSize": 16}

NO_NODE = -101


class Writer(threading.Thread):
    """Writes through any of the servers, one request at a time, and keeps what each znode may hold."""

    def __init__(self, servers, name):
        super().__init__(daemon=True)
        self.servers = servers
        self.name = name
        self.root = f"/{name}"
        self.random = random.Random(f"{SEED} {name}")
        self.holds = {}  # path -> possible data, None for absence; one possibility once it is known
        self.pairs = {}  # pair -> possible data of both of its znodes
        self.log = []  # created once, never changed
        self.acknowledged = 0
        self.unknown = 0
        self.counter = 0
        self.ended = threading.Event()
        self.failure = None

    def run(self):
        connection = None
        try:
            while not self.ended.is_set():
                if connection is None:
                    connection = self.connect()
                    continue
                try:
                    self.step(connection)
                    self.acknowledged += 1
                except (OSError, wire.Closed):
                    self.unknown += 1
                    connection.drop()
                    connection = None
                    time.sleep(AFTERMATH)
        except BaseException as error:  # shown by the test
            self.failure = error
        finally:
            if connection is not None:
                connection.drop()

    def connect(self):
        server = self.random.choice(self.servers)
        try:
            connection = wire.Connection(server.ports["client"], timeout=3.0)
            connection.connect(4000)
            if connection.session:
                return connection
            connection.drop()
        except (OSError, wire.Closed):
            pass
        time.sleep(0.02)
        return None

    def step(self, connection):
        self.counter += 1
        value = b"%d" % self.counter
        choice = self.random.randrange(4)
        if choice == 0:
            self.append(connection, value)
        elif choice == 1:
            self.change_pair(connection, value)
        else:
            self.change(connection, value)

    def append(self, connection, value):
        """A create that is acknowledged stays for ever."""
        path = f"{self.root}/log-{self.counter:06}"
        self.holds[path] = {None, value}
        connection.create(path, value)
        self.holds[path] = {value}

    def change_pair(self, connection, value):
        pair = self.random.randrange(PAIRS)
        left, right = (f"{self.root}/pair-{pair}-{side}" for side in ("l", "r"))
        before = self.pairs.get(pair, {None})
        after = None if self.random.randrange(3) == 0 else value
        self.pairs[pair] = before | {after}
        found = self.look(connection, left)
        if found == after:
            self.pairs[pair] = {found}
            return
        if found is None:
            ops = [(wire.CREATE, wire.create_body(path, after)) for path in (left, right)]
        elif after is None:
            ops = [(wire.DELETE, wire.path_version(path)) for path in (left, right)]
        else:
            ops = [(wire.SET_DATA, wire.set_body(path, after)) for path in (left, right)]
        results = connection.multi(*ops)
        assert all(err == 0 for _, err, _ in results), f"{left} was {found}: {results}"
        self.pairs[pair] = {after}

    def change(self, connection, value):
        path = f"{self.root}/znode-{self.random.randrange(8)}"
        before = self.holds.get(path, {None})
        after = None if self.random.randrange(3) == 0 else value
        self.holds[path] = before | {after}
        found = self.look(connection, path)
        assert found in before, f"{path} holds {found}, not one of {before}"
        if found is None and after is not None:
            connection.create(path, after)
        elif found is not None and after is None:
            connection.delete(path)
        elif found is not None:
            connection.set(path, after)
        self.holds[path] = {after}

    def look(self, connection, path):
        """A read behind all that this session knows of; the writes of dead sessions may still come."""
        connection.sync(path)
        try:
            return connection.get(path)[0]
        except wire.ServerError as error:
            assert error.code == NO_NODE
            return None

    def check(self, nodes):
        """Compares a tree with what may be there, when no request is under way."""
        for path, possible in self.holds.items():
            found = nodes[path].data if path in nodes else None
            assert found in possible, f"{path} holds {found}, not one of {possible}"
        for pair, possible in self.pairs.items():
            sides = [nodes.get(f"{self.root}/pair-{pair}-{side}") for side in ("l", "r")]
            found = {node.data if node else None for node in sides}
            assert len(found) == 1, f"half of a multi: pair {pair} of {self.name} holds {found}"
            assert found <= possible, f"pair {pair} of {self.name} holds {found}, not one of {possible}"
        known = self.holds.keys() | {f"{self.root}/pair-{pair}-{side}" for pair in self.pairs for side in "lr"}
        strange = [path for path in nodes if path.startswith(self.root + "/") and path not in known]
        assert not strange, f"nobody has written {strange}"


def start_load(servers, count=WRITERS):
    client = servers[0].connect()
    writers = [Writer(servers, f"w{number}") for number in range(count)]
    for writer in writers:
        client.create(writer.root, b"")
    client.close_session()
    for writer in writers:
        writer.start()
    return writers


def end_load(writers):
    for writer in writers:
        writer.ended.set()
    for writer in writers:
        writer.join(15)
        assert not writer.is_alive(), f"{writer.name} hangs"
        if writer.failure:
            raise writer.failure


def assert_alive(writers):
    for writer in writers:
        if writer.failure:
            raise writer.failure


def assert_clean(servers):
    for server in servers:
        assert server.mntr().get("digest_mismatches_count", "0") == "0", f"server {server.sid}"
        assert "panicked" not in server.log_text()
        zxids = [entry.zxid for entry in txnlog.read_all(server.log_files())]
        assert zxids == sorted(set(zxids)), f"server {server.sid} logged a zxid twice or out of order"


def assert_files_right(server):
    """All checksums, and the digest of the tree after each transaction since the newest snapshot."""
    server.kill()
    snapshots, logs = server.snapshots(), server.log_files()
    check("snapshot", "check", *snapshots)
    check("txnlog", "check", "--snapshot", snapshots[-1], *logs)


def check(*arguments):
    run = subprocess.run([quorate_binary(), *map(str, arguments)], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def report(writers, kills):
    acknowledged = sum(writer.acknowledged for writer in writers)
    unknown = sum(writer.unknown for writer in writers)
    print(f"{kills} kills, {acknowledged} writes acknowledged, {unknown} of unknown outcome")
    assert acknowledged > 5 * kills and unknown >= kills // 4, "the kills did not meet any load"


@pytest.mark.timeout(150)
def test_standalone_server(standalone, peer):
    """Sixty kills; most fall into the load, some into the recovery."""
    kills = 60
    moments = random.Random(SEED)
    server = standalone(peer, settings=SETTINGS).start().wait_serving()
    writers = start_load([server])
    for kill in range(kills):
        if kill % 6 == 5:
            time.sleep(moments.uniform(0, 0.08))  # while it starts, or not even that
        else:
            server.wait_serving()
            time.sleep(moments.uniform(*BEFORE_KILL))
        server.kill()
        assert_alive(writers)
        server.start()
        if kill % 10 == 9:
            server.wait_serving()
            assert_clean([server])
    server.wait_serving()
    end_load(writers)
    for _ in range(2):  # and the last restart changes nothing
        nodes = tree.dump(server)
        for writer in writers:
            writer.check(nodes)
        server.kill()
        server.start().wait_serving()
    assert_clean([server])
    assert_files_right(server)
    report(writers, kills)


@pytest.mark.timeout(300)
def test_ensemble(ensemble, peer):
    """Forty kills: one follower, the leader, two of three, all of them."""
    kills = 40
    moments = random.Random(SEED + 1)
    members = ensemble({1: peer, 2: peer, 3: peer}, settings=SETTINGS)
    servers = list(members)
    writers = start_load(servers)
    done = 0
    while done < kills:
        time.sleep(moments.uniform(*BEFORE_KILL))
        leader = members.leader()
        by_leader = sorted(servers, key=lambda server: server is not leader)
        chosen = {
            0: [moments.choice(servers)],
            1: by_leader[:1],
            2: moments.sample(servers, 2),
            3: moments.sample(servers, 3),
        }[moments.randrange(4)]
        for server in chosen:
            server.kill()
        done += len(chosen)
        assert_alive(writers)
        time.sleep(moments.uniform(0, 0.2))
        for server in chosen:
            server.start()
        goes_on(members, writers)
    members.wait_serving()
    end_load(writers)
    members.wait_quiet()
    nodes = tree.assert_equal_trees(members)
    for writer in writers:
        writer.check(nodes)
    assert_clean(servers)
    for server in servers:
        assert_files_right(server)
    report(writers, done)


def goes_on(members, writers):
    """Waits until each writer has had a write acknowledged again."""
    before = [writer.acknowledged for writer in writers]

    def progress():
        assert_alive(writers)
        return all(writer.acknowledged > count for writer, count in zip(writers, before))

    wait_until(progress, 30, members.tails)
