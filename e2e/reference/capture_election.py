"""Captures of the election port: a scripted peer with sid 3 among two servers."""

import socket
import struct
import time

import wire
from harness import Ensemble, wait_until
from hexfile import HexFile

LOOKING = 0
NOTE = """
Election port of Apache ZooKeeper 3.9.4: sids 1 and 2 run, sid 3 is a scripted peer.
initial_*: the whole first message of a connection, no length before it.
notification_*: one frame without its 4-byte length, as sent by that sid.
scripted_*: what the scripted peer sent to get the answers.
  looking       alone, at the start: its own vote, round 1
  following, leading    answers to a LOOKING notification when 1 and 2 serve, leader 2
"""


def capture(home, target):
    file = HexFile(NOTE)
    with Ensemble(home, {1: "java", 2: "java", 3: "java"}) as ensemble:
        mine = ensemble[3].ports["election"]
        with socket.create_server(("127.0.0.1", mine)) as listener:
            listener.settimeout(10)
            ensemble.start(1)
            dialled, _ = listener.accept()
            dialled.settimeout(5)
            file.add("initial_sid_1", read_to_end(dialled))
        peer = ScriptedPeer(ensemble[1].ports["election"], mine)
        file.add("initial_scripted_sid_3", peer.initial)
        file.add("notification_looking_sid_1", peer.receive())
        peer.close()

        ensemble.start(2)
        wait_until(lambda: ensemble[2].mode() == "leader" and ensemble[1].mode() == "follower", 30, ensemble.tails)
        looking = notification(LOOKING, leader=3, zxid=0, round_=1, epoch=0)
        file.add("scripted_looking_sid_3", looking)
        for sid, state in [(1, "following"), (2, "leading")]:
            peer = ScriptedPeer(ensemble[sid].ports["election"], mine)
            answer = peer.ask(looking, state)
            file.add(f"notification_{state}_sid_{sid}", answer)
            peer.close()

        client = ensemble[1].connect()
        client.create("/written", b"", wire.PERSISTENT)
        client.close_session()
        ensemble.wait_quiet()
        ensemble[1].stop()
        ensemble[1].start()
        peer = ScriptedPeer(ensemble[2].ports["election"], mine)
        ensemble[1].wait_serving()
        file.add("notification_leading_after_writes_sid_2", peer.ask(looking, "leading"))
        peer.close()
        ensemble[2].kill()
        peer = wait_until(lambda: looking_peer(ensemble[1], mine), 20, ensemble.tails)
        file.add("notification_looking_after_writes_sid_1", peer.vote)
        peer.close()
    file.write(target / "election.hex")


def looking_peer(server, mine):
    """A connection whose first notification says LOOKING, or None."""
    peer = ScriptedPeer(server.ports["election"], mine)
    try:
        peer.vote = peer.ask(notification(LOOKING, leader=1, zxid=0, round_=0, epoch=0), "looking")
        return peer
    except (AssertionError, OSError):
        peer.close()
        time.sleep(0.2)
        return None


class ScriptedPeer:
    """Sid 3 on a connection it opened itself: the larger sid, so the connection stays."""

    def __init__(self, port, own_port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=3)
        address = f"127.0.0.1:{own_port}".encode()
        self.initial = struct.pack(">qqi", -65536, 3, len(address)) + address
        self.socket.sendall(self.initial)

    def receive(self):
        length = struct.unpack(">i", self._read(4))[0]
        return self._read(length)

    def send(self, payload):
        self.socket.sendall(struct.pack(">i", len(payload)) + payload)

    def ask(self, payload, state):
        """Sends a notification and returns the first answer whose sender is in that state."""
        number = ("looking", "following", "leading").index(state)
        self.send(payload)
        for _ in range(5):
            answer = self.receive()
            if struct.unpack_from(">i", answer)[0] == number:
                return answer
        raise AssertionError(f"no answer in state {state}")

    def close(self):
        self.socket.close()

    def _read(self, count):
        out = b""
        while len(out) < count:
            piece = self.socket.recv(count - len(out))
            assert piece, "closed by the server"
            out += piece
        return out


def notification(state, leader, zxid, round_, epoch, config=b""):
    return struct.pack(">iqqqqii", state, leader, zxid, round_, epoch, 2, len(config)) + config


def read_to_end(stream):
    out = b""
    try:
        while piece := stream.recv(4096):
            out += piece
    except ConnectionResetError:
        pass
    return out
