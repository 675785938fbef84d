"""Captures of the client port: a raw client against a standalone server."""

import wire
from harness import JavaServer, free_ports
from hexfile import HexFile
from jute import Decoder, Encoder

FRAMES = """
Every line is one frame without its 4-byte length.
label.request was sent by the client, label.reply is the answer with that xid,
label.event (label.event2, ...) a notification that came before the reply or, for a label of
another connection, on the watching connection.
"""


def capture(home, target):
    server = JavaServer(home, {"client": free_ports(1)[0]}).start().wait_serving()
    try:
        connect(server, target)
        operations(server, target)
        errors(server, target)
        multi(server, target)
        watches(server, target)
        set_watches(server, target)
    finally:
        server.kill()


class Recorder:
    """A session whose requests and replies go to a file under labels."""

    def __init__(self, server, file):
        self.file = file
        self.connection = server.connect(30_000)

    def ask(self, label, op, body=b"", xid=None):
        """Sends one request and keeps everything up to its reply. Returns the error code."""
        connection = self.connection
        if xid is None:
            connection.xid += 1
            xid = connection.xid
        request = wire.header(xid, op) + body
        self.file.add(f"{label}.request", request)
        connection.send_frame(request)
        while True:
            frame = connection.receive_frame()
            if Decoder(frame).int() == xid:
                self.file.add(f"{label}.reply", frame)
                return int.from_bytes(frame[12:16], "big", signed=True)
            self.event(label, frame)

    def event(self, label, frame=None):
        """Keeps a notification, read now when no frame is given."""
        frame = frame or self.connection.receive_frame()
        assert Decoder(frame).int() == wire.NOTIFICATION_XID
        name, count = f"{label}.event", 1
        while name in self.file.labels:
            count += 1
            name = f"{label}.event{count}"
        self.file.add(name, frame)


def connect(server, target):
    file = HexFile(
        "Connect handshake with Apache ZooKeeper 3.9.4, standalone.\n"
        "new: with the readOnly byte; old: without it (request and response);\n"
        "reattach: same session on another connection; refused: wrong password, then close."
        + FRAMES
    )

    def exchange(label, close=True, **fields):
        connection = wire.Connection(server.ports["client"])
        file.add(f"{label}.request", wire.connect_request(**fields))
        file.add(f"{label}.reply", connection.connect(**fields))
        if close:
            connection.drop()
        return connection

    new = exchange("new", timeout_ms=6000)
    exchange("old", timeout_ms=6000, read_only=None)
    exchange("clamped_to_maximum", timeout_ms=1_000_000)
    exchange("clamped_to_minimum", timeout_ms=0)
    exchange("refused", close=False, timeout_ms=6000, session=new.session, passwd=bytes(16))
    exchange("refused_old", close=False, timeout_ms=6000, session=new.session, passwd=bytes(16), read_only=None)
    again = exchange("reattach", close=False, timeout_ms=6000, session=new.session, passwd=new.passwd)
    request = wire.header(7, wire.CLOSE_SESSION)
    file.add("close.request", request)
    again.send_frame(request)
    file.add("close.reply", again.receive_frame())
    assert again.closed_by_server()
    file.write(target / "connect.hex")


def operations(server, target):
    file = HexFile("Operations that succeed, on Apache ZooKeeper 3.9.4, standalone." + FRAMES)
    record = Recorder(server, file)
    path, watch, create = Encoder().string, wire.path_watch, wire.create_body
    for label, op, body in [
        ("create", wire.CREATE, create("/node", b"data")),
        ("create_empty_data", wire.CREATE, create("/empty", b"")),
        ("create_null_data", wire.CREATE, create("/null", None)),
        ("create_ephemeral", wire.CREATE, create("/ephemeral", b"e", wire.EPHEMERAL)),
        ("create_sequential", wire.CREATE, create("/node/s-", b"", wire.SEQUENTIAL)),
        ("create_ephemeral_sequential", wire.CREATE, create("/node/es-", b"", wire.EPHEMERAL_SEQUENTIAL)),
        ("create_non_ascii", wire.CREATE, create("/node/\u017elu\u0165", "\u6c34".encode())),
        ("create_read_acl", wire.CREATE, create("/readable", b"", acl=[(1, "world", "anyone")])),
        ("create2", wire.CREATE2, create("/node2", b"data two")),
        ("create2_sequential", wire.CREATE2, create("/node/s-", b"", wire.SEQUENTIAL)),
        ("exists", wire.EXISTS, watch("/node")),
        ("exists_root", wire.EXISTS, watch("/")),
        ("get_data", wire.GET_DATA, watch("/node")),
        ("get_data_empty", wire.GET_DATA, watch("/empty")),
        ("get_data_null", wire.GET_DATA, watch("/null")),
        ("get_data_ephemeral", wire.GET_DATA, watch("/ephemeral")),
        ("set_data", wire.SET_DATA, wire.set_body("/node", b"other", 0)),
        ("set_data_any_version", wire.SET_DATA, wire.set_body("/node", b"third")),
        ("set_data_null", wire.SET_DATA, wire.set_body("/node2", None)),
        ("get_acl", wire.GET_ACL, path("/node").bytes()),
        ("get_children", wire.GET_CHILDREN, watch("/node")),
        ("get_children_none", wire.GET_CHILDREN, watch("/empty")),
        ("get_children2", wire.GET_CHILDREN2, watch("/node")),
        ("get_children2_system", wire.GET_CHILDREN2, watch("/zookeeper")),
        ("sync", wire.SYNC, Encoder().string("/node").bytes()),
        ("sync_missing", wire.SYNC, Encoder().string("/missing").bytes()),
        ("delete", wire.DELETE, wire.path_version("/empty", 0)),
        ("delete_any_version", wire.DELETE, wire.path_version("/null")),
        ("exists_after_delete_of_children", wire.EXISTS, watch("/")),
    ]:
        assert record.ask(label, op, body) == 0, label
    assert record.ask("ping", wire.PING, xid=wire.PING_XID) == 0
    assert record.ask("close_session", wire.CLOSE_SESSION) == 0
    file.write(target / "operations.hex")


def errors(server, target):
    file = HexFile(
        "Operations that fail, on Apache ZooKeeper 3.9.4, standalone.\n"
        "The number in a label is the error code of the reply. unimplemented_* end with a close\n"
        "by the server; their replies carry zxid -1." + FRAMES
    )
    record = Recorder(server, file)
    create, watch, version = wire.create_body, wire.path_watch, wire.path_version
    connection = record.connection
    connection.create("/errors", b"")
    connection.create("/errors/ephemeral", b"", wire.EPHEMERAL)
    for label, code, op, body in [
        ("create_parent_missing", -101, wire.CREATE, create("/missing/child")),
        ("create_exists", -110, wire.CREATE, create("/errors")),
        ("create2_exists", -110, wire.CREATE2, create("/errors")),
        ("create_under_ephemeral", -108, wire.CREATE, create("/errors/ephemeral/child")),
        ("create_bad_flags", -8, wire.CREATE, create("/errors/f", flags=9)),
        ("create_no_slash", -8, wire.CREATE, create("errors")),
        ("create_trailing_slash", -8, wire.CREATE, create("/errors/")),
        ("create_trailing_slash_of_missing", -101, wire.CREATE, create("/errors/t/")),
        ("create_control_character", -8, wire.CREATE, create("/errors/\x01")),
        ("create_double_slash", -101, wire.CREATE, create("/errors//x")),
        ("create_dots", -8, wire.CREATE, create("/errors/..")),
        ("create_empty_acl", -114, wire.CREATE, create("/errors/a", acl=[])),
        ("create_auth_acl", -114, wire.CREATE, create("/errors/a", acl=[(31, "auth", "")])),
        ("create_unknown_scheme", -114, wire.CREATE, create("/errors/a", acl=[(31, "nonsense", "x")])),
        ("create_world_other_id", -114, wire.CREATE, create("/errors/a", acl=[(31, "world", "someone")])),
        ("delete_missing", -101, wire.DELETE, version("/missing")),
        ("delete_bad_version", -103, wire.DELETE, version("/errors", 7)),
        ("delete_not_empty", -111, wire.DELETE, version("/errors")),
        ("delete_root", -8, wire.DELETE, version("/")),
        ("delete_system", -8, wire.DELETE, version("/zookeeper")),
        ("set_data_missing", -101, wire.SET_DATA, wire.set_body("/missing", b"")),
        ("set_data_bad_version", -103, wire.SET_DATA, wire.set_body("/errors", b"", 7)),
        ("exists_missing", -101, wire.EXISTS, watch("/missing")),
        ("get_data_missing", -101, wire.GET_DATA, watch("/missing")),
        ("get_children_missing", -101, wire.GET_CHILDREN, watch("/missing")),
        ("get_children2_missing", -101, wire.GET_CHILDREN2, watch("/missing")),
        ("create_undecodable", -5, wire.CREATE, b"\x00\x00\x00\x7f/short"),
        ("get_data_undecodable", -5, wire.GET_DATA, b"\x00\x00"),
    ]:
        got = record.ask(f"{label}{code}", op, body)
        assert got == code, f"{label}: {got}"
    connection.create("/errors/no-write", b"", acl=[(1, "world", "anyone")])
    assert record.ask("set_data_no_auth-102", wire.SET_DATA, wire.set_body("/errors/no-write", b"")) == -102
    assert record.ask("create_no_auth-102", wire.CREATE, create("/errors/no-write/child")) == -102
    connection.close_session()
    for label, op in [("unimplemented_opcode_999", 999), ("unimplemented_opcode_0", 0), ("unimplemented_check", 13)]:
        record.connection = server.connect()
        assert record.ask(f"{label}-6", op, version("/errors", 0)) == -6
        assert record.connection.closed_by_server()
    file.write(target / "errors.hex")


def multi(server, target):
    file = HexFile("Multi on Apache ZooKeeper 3.9.4, standalone." + FRAMES)
    record = Recorder(server, file)
    create, version = wire.create_body, wire.path_version
    for label, code, ops in [
        (
            "success",
            0,
            [
                (wire.CREATE, create("/multi", b"m")),
                (wire.CREATE2, create("/multi/two", b"t")),
                (wire.CREATE, create("/multi/s-", b"", wire.EPHEMERAL_SEQUENTIAL)),
                (wire.SET_DATA, wire.set_body("/multi", b"n", 0)),
                (wire.CHECK, version("/multi", 1)),
                (wire.DELETE, version("/multi/two", 0)),
            ],
        ),
        (
            "failure",
            0,
            [
                (wire.CREATE, create("/multi/never")),
                (wire.CHECK, version("/multi", 77)),
                (wire.DELETE, version("/multi")),
                (wire.SET_DATA, wire.set_body("/multi", b"")),
            ],
        ),
        ("failure_first", 0, [(wire.DELETE, version("/missing")), (wire.CREATE, create("/multi/never"))]),
        ("empty", 0, []),
        ("read_inside", -5, [(wire.GET_DATA, wire.path_watch("/multi"))]),
        ("bad_flags", -5, [(wire.CREATE, create("/multi/f", flags=9))]),
    ]:
        got = record.ask(label, wire.MULTI, wire.multi_body(*ops))
        assert got == code, f"{label}: {got}"
    assert record.ask("undecodable", wire.MULTI, b"\x00\x00\x00\x01\x00\xff") == -5
    record.connection.close_session()
    file.write(target / "multi.hex")


def watches(server, target):
    file = HexFile(
        "One-shot watches on Apache ZooKeeper 3.9.4, standalone.\n"
        "own_*: the watching session makes the change itself, so the event precedes its reply.\n"
        "other_*: another session makes the change." + FRAMES
    )
    record = Recorder(server, file)
    create, watch = wire.create_body, wire.path_watch
    assert record.ask("own_exists_missing-101", wire.EXISTS, watch("/watched", True)) == -101
    assert record.ask("own_create", wire.CREATE, create("/watched", b"w")) == 0
    assert record.ask("own_get_data", wire.GET_DATA, watch("/watched", True)) == 0
    assert record.ask("own_set_data", wire.SET_DATA, wire.set_body("/watched", b"x")) == 0
    assert record.ask("own_get_children", wire.GET_CHILDREN, watch("/watched", True)) == 0
    assert record.ask("own_create_child", wire.CREATE, create("/watched/child")) == 0
    assert record.ask("own_get_children2", wire.GET_CHILDREN2, watch("/watched", True)) == 0
    assert record.ask("own_exists_child", wire.EXISTS, watch("/watched/child", True)) == 0
    assert record.ask("own_delete_child", wire.DELETE, wire.path_version("/watched/child")) == 0
    assert record.ask("other_exists", wire.EXISTS, watch("/watched", True)) == 0
    assert record.ask("other_get_children", wire.GET_CHILDREN, watch("/watched", True)) == 0
    other = server.connect()
    other.set("/watched", b"y")
    record.event("other_set_data")
    other.create("/watched/other", b"")
    record.event("other_create_child")
    assert record.ask("other_exists_again", wire.EXISTS, watch("/watched/other", True)) == 0
    assert record.ask("other_children_again", wire.GET_CHILDREN, watch("/watched/other", True)) == 0
    other.delete("/watched/other")
    record.event("other_delete")
    other.close_session()
    assert record.ask("root_children", wire.GET_CHILDREN, watch("/", True)) == 0
    assert record.ask("root_delete_child", wire.DELETE, wire.path_version("/watched")) == 0
    record.connection.close_session()
    file.write(target / "watches.hex")


def set_watches(server, target):
    file = HexFile(
        "setWatches (opcode 101, xid -8) after a reconnect, on Apache ZooKeeper 3.9.4, standalone.\n"
        "Before it: /changed was set, /gone deleted, /new created and /parent got a child after the\n"
        "client's last zxid; /same and /absent did not change. Afterwards /same is set and /absent\n"
        "created, which the registered watches report." + FRAMES
    )
    record = Recorder(server, file)
    first = record.connection
    for path in ["/changed", "/gone", "/same", "/parent"]:
        first.create(path, b"")
    seen = first.last_zxid
    other = server.connect()
    other.set("/changed", b"c")
    other.delete("/gone")
    other.create("/new", b"")
    other.create("/parent/child", b"")
    first.drop()
    record.connection = server.connect(30_000, session=first.session, passwd=first.passwd, last_zxid=seen)
    body = Encoder().long(seen)
    body.strings(["/changed", "/gone", "/same"]).strings(["/new", "/absent"]).strings(["/parent", "/gone", "/same"])
    assert record.ask("set_watches", wire.SET_WATCHES, body.bytes(), xid=wire.SET_WATCHES_XID) == 0
    other.set("/same", b"s")
    record.event("same_set")
    other.create("/absent", b"")
    record.event("absent_created")
    other.close_session()
    record.connection.close_session()
    file.write(target / "set_watches.hex")
