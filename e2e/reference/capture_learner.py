"""Captures of the learner port: the conversations of servers with their leader, taken by a relay."""

import time

import wire
from harness import Ensemble
from hexfile import HexFile
from relay import Packet, packets
from workload import leave_uncommitted_tail

NOTE = """
{what}
Learner port between two Apache ZooKeeper 3.9.4 servers of an ensemble of three, from the first byte.
Labels: number, direction, packet. '>' goes from the learner to the leader. Every line is one whole
QuorumPacket; SNAPSHOT is the raw stream between SNAP and the next packet, with its signature.
The numbers follow the arrival of a packet's last byte. {dropped} repeated PINGs were left out.
"""
KEPT_PINGS = 3  # of each direction


def capture(home, target):
    with Ensemble(home, {1: "java", 2: "java", 3: "java"}, record_sync=True) as ensemble:
        ensemble.start(1, 2)
        ensemble.wait_serving(1, 2)
        assert ensemble.leader().sid == 2
        broadcast(ensemble)
        save(ensemble, 2, target / "diff_empty_and_broadcast.hex", "Fresh ensemble: DIFF with nothing to send, then broadcast.", mode="DIFF")

        ensemble.start(3)
        ensemble.wait_serving(3)
        ensemble[3].stop()
        writer = ensemble[1].connect()
        for number in range(3):
            writer.create(f"/while-3-was-down-{number}", b"x")
        ensemble[3].start()
        ensemble.wait_serving(3)
        save(ensemble, 2, target / "diff.hex", "A follower that was down for three writes: DIFF with PROPOSAL and COMMIT pairs.", mode="DIFF")

        ensemble[3].stop()
        ensemble[3].wipe()
        ensemble[3].start()
        ensemble.wait_serving(3)
        save(ensemble, 2, target / "snap.hex", "A follower that lost its data: SNAP.", mode="SNAP")

        writer.drop()
        truncate(ensemble)
        save(ensemble, 3, target / "trunc.hex", "The old leader with two proposals that nobody else has: TRUNC.", mode="TRUNC")


def broadcast(ensemble):
    """Every packet of normal operation: writes of both servers, sync, revalidation, touched sessions."""
    at_follower, at_leader = ensemble[1].connect(6000), ensemble[2].connect(6000)
    at_follower.create("/from-follower", b"f")
    at_leader.create("/from-leader", b"l")
    at_follower.set("/from-leader", b"set")
    at_follower.sync("/from-leader")
    try:
        at_follower.delete("/missing")
    except wire.ServerError:
        pass
    at_follower.create("/ephemeral", b"", wire.EPHEMERAL)
    at_follower.multi((wire.CREATE, wire.create_body("/m")), (wire.CHECK, wire.path_version("/m", 0)))
    at_follower.multi((wire.CREATE, wire.create_body("/n")), (wire.CHECK, wire.path_version("/n", 9)))
    time.sleep(0.6)
    at_leader.drop()
    moved = ensemble[1].connect(6000, session=at_leader.session, passwd=at_leader.passwd)
    assert moved.session == at_leader.session
    moved.close_session()
    refused = ensemble[1].connect(6000, session=0x0900000000000001, passwd=bytes(16))
    assert refused.session == 0
    at_follower.close_session()
    ensemble.wait_quiet()


def truncate(ensemble):
    """Leaves a tail of two proposals in the log of leader 2 alone, then makes 3 the leader."""
    leave_uncommitted_tail(ensemble, 2, 2)
    ensemble.start(1, 3)
    ensemble.wait_serving(1, 3)
    assert ensemble.leader().sid == 3
    ensemble.start(2)
    ensemble.wait_serving(2)


def save(ensemble, leader, path, what, mode):
    """Writes the last conversation with that leader that used this mode and reached UPTODATE."""
    time.sleep(0.8)
    for conversation in reversed(ensemble.relays[leader].conversations):
        lines = in_order(conversation)
        names = [name for _, name, _ in lines]
        if "UPTODATE" in names and mode in names:
            break
    else:
        raise AssertionError(f"{path.name}: no whole conversation")
    pings = {">": 0, "<": 0}
    kept = []
    for direction, name, raw in lines:
        if name == "PING":
            pings[direction] += 1
            if pings[direction] > KEPT_PINGS:
                continue
        kept.append((direction, name, raw))
    file = HexFile(NOTE.format(what=what, dropped=len(lines) - len(kept)))
    for number, (direction, name, raw) in enumerate(kept):
        file.add(f"{number:03}{direction}{name}", raw)
    file.write(path)


def in_order(conversation):
    """(direction, name, bytes) of every piece, in the order in which the pieces were complete."""
    pieces = []
    for direction, stream in ((">", conversation.to_server), ("<", conversation.to_client)):
        ends = [(index, end) for index, (way, _, end) in enumerate(conversation.turns) if way == direction]
        at = 0
        for piece in packets(stream):
            raw = piece.raw if isinstance(piece, Packet) else piece
            name = piece.name if isinstance(piece, Packet) else "SNAPSHOT"
            at += len(raw)
            arrived = next(index for index, end in ends if end >= at)
            pieces.append((arrived, direction, name, raw))
    pieces.sort(key=lambda piece: piece[0])
    return [piece[1:] for piece in pieces]
