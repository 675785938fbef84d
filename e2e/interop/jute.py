"""Jute records: the big-endian encoding of Apache ZooKeeper, both ways."""

import struct


class Encoder:
    """Appends fields to a byte buffer; every method returns the encoder, so records read as one chain."""

    def __init__(self):
        self.out = bytearray()

    def bool(self, value):
        self.out += b"\x01" if value else b"\x00"
        return self

    def int(self, value):
        self.out += struct.pack(">i", value)
        return self

    def long(self, value):
        self.out += struct.pack(">q", value)
        return self

    def buffer(self, value):
        if value is None:
            return self.int(-1)
        self.int(len(value))
        self.out += value
        return self

    def string(self, value):
        return self.buffer(None if value is None else value.encode())

    def strings(self, values):
        self.int(len(values))
        for value in values:
            self.string(value)
        return self

    def acl(self, entries):
        self.int(len(entries))
        for perms, scheme, ident in entries:
            self.int(perms).string(scheme).string(ident)
        return self

    def raw(self, value):
        self.out += value
        return self

    def bytes(self):
        return bytes(self.out)


class Decoder:
    """Takes fields off a byte string; raises ShortRecord when it ends early."""

    def __init__(self, data, at=0):
        self.data = data
        self.at = at

    def take(self, count):
        end = self.at + count
        if count < 0 or end > len(self.data):
            raise ShortRecord(f"{count} bytes wanted at {self.at}, {len(self.data)} there")
        piece = self.data[self.at : end]
        self.at = end
        return bytes(piece)

    def bool(self):
        return self.take(1) != b"\x00"

    def int(self):
        return struct.unpack(">i", self.take(4))[0]

    def long(self):
        return struct.unpack(">q", self.take(8))[0]

    def buffer(self):
        length = self.int()
        return None if length == -1 else self.take(length)

    def string(self):
        value = self.buffer()
        return None if value is None else value.decode()

    def strings(self):
        return [self.string() for _ in range(max(self.int(), 0))]

    def acl(self):
        return [(self.int(), self.string(), self.string()) for _ in range(max(self.int(), 0))]

    def stat(self):
        return Stat(*(self.long() if size == 8 else self.int() for size in STAT_SIZES))

    def rest(self):
        return self.take(len(self.data) - self.at)


class ShortRecord(Exception):
    """The bytes end before the record does."""


STAT_FIELDS = (
    "czxid", "mzxid", "ctime", "mtime", "version", "cversion", "aversion",
    "ephemeral_owner", "data_length", "num_children", "pzxid",
)  # fmt: skip
STAT_SIZES = (8, 8, 8, 8, 4, 4, 4, 8, 4, 4, 8)


class Stat(tuple):
    """The eleven numbers of a Stat by name, comparable as a whole."""

    def __new__(cls, *values):
        return super().__new__(cls, values)

    def __getattr__(self, name):
        try:
            return self[STAT_FIELDS.index(name)]
        except ValueError:
            raise AttributeError(name) from None

    def __repr__(self):
        pairs = zip(STAT_FIELDS, self)
        return "Stat(" + ", ".join(f"{k}={v:#x}" if "zxid" in k else f"{k}={v}" for k, v in pairs) + ")"
