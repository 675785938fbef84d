"""Ways in which a stranger, or a client, makes much work or memory of a little input, all of them at once.

Bounded in time and number; only loopback is talked to.
"""

import contextlib
import random
import socket
import struct
import threading
import time

import wire

MEGABYTE = 1_000_000
WATCHERS = 40
# Connections that one pretended peer holds at a time.
PEER_CONNECTIONS = 400
FOLLOWER_INFO = 11
ELECTION_PROTOCOL = -65536


def attack(one, end):
    """Runs until `end`. Whoever is closed comes again."""

    def again(name, act, count=1):
        def run():
            while time.monotonic() < end:
                with contextlib.suppress(OSError, wire.Closed, AssertionError):
                    act(one, end)
                time.sleep(0.05)

        return [threading.Thread(target=run, name=name, daemon=True) for _ in range(count)]

    threads = [
        *again("counts", counts, 4),
        *again("long replies", long_replies, 3),
        *again("deaf watchers", deaf_watcher, WATCHERS),
        *again("long paths", writes_long_paths),
        *again("long watches", watches_long_paths, 2),
        *again("idle HTTP", idle_http),
        *again("refused", garbage, 2),
    ]
    if "quorum" in one.ports:
        threads += again("peers", poses_as_peer, 3)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def counts(one, end):
    """Pipelines what makes the server look at every znode."""
    connection = one.connect()
    body = wire.header(7, wire.GET_ALL_CHILDREN_NUMBER) + wire.Encoder().string("/many").bytes()
    frame = len(body).to_bytes(4, "big") + body
    connection.socket.sendall(frame * 3000)
    connection.socket.settimeout(1)
    while time.monotonic() < end and connection.socket.recv(1 << 16):
        pass


def long_replies(one, end):
    """Asks for 800 MB with one small request, and takes it slowly."""
    connection = one.connect()
    op = (wire.GET_DATA, wire.Encoder().string("/big").bool(False).bytes())
    connection.send(wire.MULTI_READ, wire.multi_body(*[op] * 800))
    while time.monotonic() < end:
        connection.socket.recv(1 << 16)
        time.sleep(0.05)


def deaf_watcher(one, end):
    """Watches everything and reads nothing."""
    connection = one.connect()
    connection.add_watch("/", wire.RECURSIVE_WATCH)
    while time.monotonic() < end:
        connection.send(wire.PING, b"", wire.PING_XID)
        time.sleep(1)


def writes_long_paths(one, end):
    """Makes events that are long."""
    connection = one.connect()
    path = "/" + "l" * 50_000
    with contextlib.suppress(wire.ServerError):
        connection.create(path)
    while time.monotonic() < end:
        connection.set(path, b"")


def watches_long_paths(one, end):
    connection = one.connect()
    for n in range(300):
        if time.monotonic() < end:
            connection.add_watch(f"/{n}" + "w" * (MEGABYTE - 100), wire.PERSISTENT_WATCH)


def idle_http(one, end):
    idle = []
    for _ in range(200):
        for port in (one.ports["admin"], one.ports["metrics"]):
            idle.append(socket.create_connection(("127.0.0.1", port), timeout=5))
    time.sleep(min(1, max(0, end - time.monotonic())))
    for connection in idle:
        connection.close()


def garbage(one, end):
    for _ in range(200):
        with socket.create_connection(("127.0.0.1", one.ports["client"]), timeout=5) as connection:
            connection.sendall(b"\x7f\xff\xff\xff")
            connection.recv(1)


def poses_as_peer(one, end):
    """Introduces itself as a learner, votes in the name of others, begins and does not go on, on both ports."""
    held = []
    try:
        while time.monotonic() < end:
            way = random.choice([follower_info, noise, votes, half_a_header])
            port, said = way(one)
            connection = socket.create_connection(("127.0.0.1", port), timeout=2)
            held.append(connection)
            connection.sendall(said)
            if len(held) == PEER_CONNECTIONS:
                close_all(held[: PEER_CONNECTIONS // 2])
                del held[: PEER_CONNECTIONS // 2]
    finally:
        close_all(held)


def close_all(connections):
    for connection in connections:
        connection.close()


def follower_info(one):
    sid = random.choice([1, 2, 3, 4, 99, -1, 2**40])
    zxid = random.choice([0, 1 << 32, 5 << 32, -1])
    info = struct.pack(">qiq", sid, 0x10000, 0)
    return one.ports["quorum"], struct.pack(">iqi", FOLLOWER_INFO, zxid, len(info)) + info + struct.pack(">i", -1)


def noise(one):
    return one.ports["quorum"], random.randbytes(4096)


def votes(one):
    """An introduction, then fifty votes for somebody with numbers that no server has."""
    address = b"127.0.0.1:1"
    said = struct.pack(">qqi", ELECTION_PROTOCOL, random.choice([2, 3, 7, 50]), len(address)) + address
    for _ in range(50):
        state, leader = random.choice([0, 1, 2]), random.choice([1, 2, 3])
        numbers = random.getrandbits(62), random.getrandbits(40), random.getrandbits(30)
        vote = struct.pack(">iqqqqiq", state, leader, *numbers, 2, 0)
        said += struct.pack(">i", len(vote)) + vote
    return one.ports["election"], said


def half_a_header(one):
    return one.ports[random.choice(["quorum", "election"])], b"\x00\x00"
