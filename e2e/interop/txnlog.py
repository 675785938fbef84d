"""Transaction log files of Apache ZooKeeper, read by an independent reader."""

import struct
import zlib

from jute import Decoder

HEADER_BYTES = 16
MAGIC = b"ZKLG"
# What quorate writes behind the first and the last entry of a batch: this, and an offset of 8 bytes.
MARK, MARK_BYTES = b"ZKSYNCED", 16

TXN_NAMES = {
    -1: "error", 1: "create", 2: "delete", 5: "setData", 7: "setACL", 14: "multi", 15: "create2",
    19: "createContainer", 20: "deleteContainer", 21: "createTTL", -10: "createSession", -11: "closeSession",
}  # fmt: skip


class Entry:
    """One entry: the fields of its TxnHeader and all of its bytes (header, txn, digest), without a mark behind them."""

    def __init__(self, data, end):
        self.data = data
        self.end = end  # offset in the file after the end-of-record byte
        fields = Decoder(data)
        self.session, self.cxid, self.zxid = fields.long(), fields.int(), fields.long()
        self.time_ms, self.type = fields.long(), fields.int()

    @property
    def name(self):
        return TXN_NAMES.get(self.type, str(self.type))


def read(path):
    """The whole entries of a file up to its padding or torn end; a wrong checksum is an error."""
    data = path.read_bytes()
    if len(data) < HEADER_BYTES:
        return []  # just created
    assert data[:4] == MAGIC, f"{path}: magic is {data[:4]!r}"
    entries = []
    at = HEADER_BYTES
    while len(data) - at >= 12:
        checksum, length = struct.unpack_from(">qi", data, at)
        end = at + 12 + length + 1
        if length == 0 or end > len(data) or data[end - 1 : end] != b"B":
            break
        body = data[at + 12 : end - 1]
        assert zlib.adler32(body) == checksum, f"{path}: checksum at {at}"
        is_marked = body[-MARK_BYTES:].startswith(MARK)
        entries.append(Entry(body[:-MARK_BYTES] if is_marked else body, end))
        at = end
    return entries


def read_all(files):
    return [entry for file in files for entry in read(file)]


def trimmed(path):
    """The bytes of a file without the zero padding behind the last entry."""
    entries = read(path)
    end = entries[-1].end if entries else HEADER_BYTES
    return path.read_bytes()[:end]
