"""A TCP relay in front of a port that keeps what passes, and reads the learner protocol out of it."""

import socket
import threading
import time

from jute import Decoder, ShortRecord

PACKET_NAMES = {
    1: "REQUEST", 2: "PROPOSAL", 3: "ACK", 4: "COMMIT", 5: "PING", 6: "REVALIDATE", 7: "SYNC",
    8: "INFORM", 9: "COMMITANDACTIVATE", 10: "NEWLEADER", 11: "FOLLOWERINFO", 12: "UPTODATE",
    13: "DIFF", 14: "TRUNC", 15: "SNAP", 16: "OBSERVERINFO", 17: "LEADERINFO", 18: "ACKEPOCH",
    19: "INFORMANDACTIVATE",
}  # fmt: skip

CONNECT_PATIENCE = 3.0  # seconds to wait for the port behind the relay to listen
KEEP_BYTES = 1 << 20  # of each direction of each connection


class Conversation:
    """One relayed connection: the bytes of both directions, in order of arrival."""

    def __init__(self):
        self.to_server = bytearray()
        self.to_client = bytearray()
        self.turns = []  # (">" or "<", start, end) into the two buffers

    def keep(self, direction, piece):
        kept = self.to_server if direction == ">" else self.to_client
        if len(kept) + len(piece) <= KEEP_BYTES:
            self.turns.append((direction, len(kept), len(kept) + len(piece)))
            kept += piece


class Relay:
    """Listens on `port` of loopback and passes every connection on to `target`."""

    def __init__(self, port, target):
        self.port = port
        self.target = target
        self.conversations = []
        self.listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self.closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.closed = True
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        server = self._connect()
        if server is None:
            client.close()
            return
        conversation = Conversation()
        self.conversations.append(conversation)
        for stream in (client, server):
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(
            target=self._pump, args=(server, client, conversation, "<"), daemon=True
        )
        back.start()
        self._pump(client, server, conversation, ">")
        back.join()
        client.close()
        server.close()

    def _connect(self):
        """A learner may dial before its leader listens; refused attempts are repeated here, not there."""
        end = time.monotonic() + CONNECT_PATIENCE
        while not self.closed and time.monotonic() < end:
            try:
                return socket.create_connection(("127.0.0.1", self.target), timeout=1.0)
            except OSError:
                time.sleep(0.05)
        return None

    @staticmethod
    def _pump(source, sink, conversation, direction):
        source.settimeout(None)
        try:
            while piece := source.recv(65536):
                conversation.keep(direction, piece)
                sink.sendall(piece)
        except OSError:
            pass
        for stream in (source, sink):
            try:
                stream.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Packet:
    """One QuorumPacket, with the bytes it was read from."""

    def __init__(self, fields):
        start = fields.at
        self.type = fields.int()
        self.zxid = fields.long()
        self.data = fields.buffer()
        self.authinfo = [(fields.string(), fields.string()) for _ in range(max(fields.int(), 0))]
        self.raw = bytes(fields.data[start : fields.at])

    @property
    def name(self):
        return PACKET_NAMES.get(self.type, str(self.type))


def packets(stream):
    """The QuorumPackets of one direction. A snapshot in it comes as the bytes object that follows SNAP."""
    fields = Decoder(bytes(stream))
    found = []
    while fields.at < len(fields.data):
        start = fields.at
        try:
            packet = Packet(fields)
            found.append(packet)
            if packet.name == "SNAP":
                end = fields.data.index(SNAPSHOT_SIGNATURE, fields.at) + len(SNAPSHOT_SIGNATURE)
                found.append(fields.take(end - fields.at))
        except (ShortRecord, ValueError):
            fields.at = start
            break
    return found


SNAPSHOT_SIGNATURE = b"\x00\x00\x00\x0aBenWasHere"


def sync_modes(conversation):
    """(sid of the learner, "DIFF" | "TRUNC" | "SNAP", zxid of that packet), or None before the leader chose."""
    sent = packets(conversation.to_server)
    answered = [p for p in packets(conversation.to_client) if isinstance(p, Packet)]
    if not sent or sent[0].name != "FOLLOWERINFO":
        return None
    learner = Decoder(sent[0].data).long()
    for packet in answered:
        if packet.name in ("DIFF", "TRUNC", "SNAP"):
            return learner, packet.name, packet.zxid
    return None
