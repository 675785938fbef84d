"""A client of the ZooKeeper client port that shows every byte: no retries, no threads, no hidden requests."""

import socket

from jute import Decoder, Encoder

OPEN_ACL = [(31, "world", "anyone")]

CREATE, DELETE, EXISTS, GET_DATA, SET_DATA, GET_ACL, SET_ACL = 1, 2, 3, 4, 5, 6, 7
GET_CHILDREN, SYNC, PING, GET_CHILDREN2, CHECK, MULTI, CREATE2 = 8, 9, 11, 12, 13, 14, 15
CHECK_WATCHES, REMOVE_WATCHES, MULTI_READ = 17, 18, 22
AUTH, SET_WATCHES, SASL, GET_EPHEMERALS, GET_ALL_CHILDREN_NUMBER = 100, 101, 102, 103, 104
SET_WATCHES2, ADD_WATCH, WHO_AM_I, CLOSE_SESSION = 105, 106, 107, -11
CREATE_CONTAINER, CREATE_TTL = 19, 21

PERSISTENT, EPHEMERAL, SEQUENTIAL, EPHEMERAL_SEQUENTIAL = 0, 1, 2, 3
CONTAINER, TTL = 4, 5

NOTIFICATION_XID, PING_XID, AUTH_XID, SET_WATCHES_XID = -1, -2, -4, -8

THROTTLED_OP = -127

# Of addWatch; of checkWatches and removeWatches.
PERSISTENT_WATCH, RECURSIVE_WATCH = 0, 1
CHILDREN_TYPE, DATA_TYPE, ANY_TYPE, PERSISTENT_TYPE, RECURSIVE_TYPE = 1, 2, 3, 4, 5


class Closed(Exception):
    """The server closed the connection."""


class ServerError(Exception):
    """The reply header carries an error code."""

    def __init__(self, code):
        super().__init__(f"error {code}")
        self.code = code


class Connection:
    """One TCP connection to a client port, before and after the session is established."""

    def __init__(self, port, host="127.0.0.1", timeout=10.0):
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.xid = 0
        self.events = []  # (type, state, path, zxid of the header) of every notification seen
        self.last_zxid = 0
        self.session = None
        self.passwd = None
        self.timeout_ms = None

    # frames

    def send_frame(self, payload):
        try:
            self.socket.sendall(len(payload).to_bytes(4, "big") + payload)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed(f"while sending {len(payload)} bytes") from error

    def receive_frame(self):
        length = int.from_bytes(self._read(4), "big", signed=True)
        return self._read(length)

    def _read(self, count):
        out = b""
        while len(out) < count:
            try:
                piece = self.socket.recv(count - len(out))
            except ConnectionResetError:
                piece = b""
            if not piece:
                raise Closed(f"after {len(out)} of {count} bytes")
            out += piece
        return out

    def closed_by_server(self, timeout=5.0):
        """True when the server ends the connection; bytes before the end are dropped."""
        self.socket.settimeout(timeout)
        try:
            while self.socket.recv(65536):
                pass
            return True
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def drop(self):
        """Ends the connection without closing the session."""
        self.socket.close()

    # session

    def connect(self, timeout_ms=10_000, session=0, passwd=bytes(16), last_zxid=0, read_only=False):
        """Sends ConnectRequest and takes the response; read_only=None leaves the optional byte out.

        Returns the raw response. `session` is 0 afterwards when the server refused the session.
        """
        request = connect_request(timeout_ms, session, passwd, last_zxid, read_only)
        self.send_frame(request)
        response = self.receive_frame()
        fields = Decoder(response)
        fields.int()
        self.timeout_ms, self.session, self.passwd = fields.int(), fields.long(), fields.buffer()
        return response

    def close_session(self):
        self.request(CLOSE_SESSION, b"")
        self.drop()

    def ping(self):
        self.send_frame(header(PING_XID, PING))
        return self.reply(PING_XID)

    # requests

    def send(self, op, body, xid=None):
        if xid is None:
            self.xid += 1
            xid = self.xid
        self.send_frame(header(xid, op) + body)
        return xid

    def reply(self, xid):
        """The body of the reply to `xid`; notifications on the way are kept in `events`."""
        while True:
            frame = self.receive_frame()
            fields = Decoder(frame)
            got, zxid, err = fields.int(), fields.long(), fields.int()
            if got == NOTIFICATION_XID:
                self.events.append((fields.int(), fields.int(), fields.string(), zxid))
                continue
            if got != xid:
                raise AssertionError(f"reply to xid {got} while waiting for {xid}")
            if zxid > 0:
                self.last_zxid = zxid
            if err:
                raise ServerError(err)
            return fields

    def request(self, op, body, xid=None):
        return self.reply(self.send(op, body, xid))

    def wait_event(self):
        """The next notification, from those already seen or from the socket."""
        while not self.events:
            fields = Decoder(self.receive_frame())
            xid, zxid, _ = fields.int(), fields.long(), fields.int()
            assert xid == NOTIFICATION_XID, f"reply to xid {xid} while waiting for a notification"
            self.events.append((fields.int(), fields.int(), fields.string(), zxid))
        return self.events.pop(0)

    def create(self, path, data=b"", flags=PERSISTENT, acl=None):
        return self.request(CREATE, create_body(path, data, flags, acl)).string()

    def create2(self, path, data=b"", flags=PERSISTENT, acl=None):
        fields = self.request(CREATE2, create_body(path, data, flags, acl))
        return fields.string(), fields.stat()

    def create_container(self, path, data=b""):
        return self.request(CREATE_CONTAINER, create_body(path, data, CONTAINER)).string()

    def create_ttl(self, path, ttl_ms, data=b""):
        return self.request(CREATE_TTL, create_body(path, data, TTL) + Encoder().long(ttl_ms).bytes()).string()

    def delete(self, path, version=-1):
        self.request(DELETE, path_version(path, version))

    def exists(self, path, watch=False):
        return self.request(EXISTS, path_watch(path, watch)).stat()

    def get(self, path, watch=False):
        fields = self.request(GET_DATA, path_watch(path, watch))
        return fields.buffer(), fields.stat()

    def set(self, path, data, version=-1):
        return self.request(SET_DATA, set_body(path, data, version)).stat()

    def get_acl(self, path):
        fields = self.request(GET_ACL, Encoder().string(path).bytes())
        return fields.acl(), fields.stat()

    def children(self, path, watch=False):
        return self.request(GET_CHILDREN, path_watch(path, watch)).strings()

    def children2(self, path, watch=False):
        fields = self.request(GET_CHILDREN2, path_watch(path, watch))
        return fields.strings(), fields.stat()

    def sync(self, path="/"):
        return self.request(SYNC, Encoder().string(path).bytes()).string()

    def multi(self, *ops):
        """Each op is (opcode, body). Returns (result type, error code, path or Stat or None) of each op."""
        fields = self.request(MULTI, multi_body(*ops))
        return multi_results(fields)

    def auth(self, scheme, payload):
        """Says who the client is; the header of the reply carries the zxid 0."""
        self.request(AUTH, Encoder().int(0).string(scheme).buffer(payload).bytes(), AUTH_XID)

    def who_am_i(self):
        fields = self.request(WHO_AM_I, b"")
        return [(fields.string(), fields.string()) for _ in range(fields.int())]

    def set_acl(self, path, acl, version=-1):
        return self.request(SET_ACL, Encoder().string(path).acl(acl).int(version).bytes()).stat()

    def ephemerals(self, prefix="/"):
        return self.request(GET_EPHEMERALS, Encoder().string(prefix).bytes()).strings()

    def all_children_number(self, path):
        return self.request(GET_ALL_CHILDREN_NUMBER, Encoder().string(path).bytes()).int()

    def multi_read(self, *ops):
        """Each op is (opcode, path). Returns (result type, error code, names or (data, Stat) or None) of each op."""
        body = multi_body(*((op, path_watch(path, True)) for op, path in ops))
        return multi_read_results(self.request(MULTI_READ, body))

    def add_watch(self, path, mode):
        return self.request(ADD_WATCH, path_number(path, mode)).rest()

    def check_watches(self, path, kind):
        return self.request(CHECK_WATCHES, path_number(path, kind)).rest()

    def remove_watches(self, path, kind):
        return self.request(REMOVE_WATCHES, path_number(path, kind)).rest()

    def set_watches(self, relative_zxid, data=(), exist=(), child=()):
        body = Encoder().long(relative_zxid).strings(data).strings(exist).strings(child).bytes()
        self.request(SET_WATCHES, body, SET_WATCHES_XID)

    def set_watches2(self, relative_zxid, data=(), exist=(), child=(), persistent=(), recursive=()):
        body = Encoder().long(relative_zxid).strings(data).strings(exist).strings(child)
        body.strings(persistent).strings(recursive)
        self.request(SET_WATCHES2, body.bytes(), SET_WATCHES_XID)

    def take_events(self):
        """All notifications so far as (type, path), oldest first: whatever a change causes comes before a later ping."""
        self.ping()
        events, self.events = self.events, []
        return [(kind, path) for kind, _, path, _ in events]


def connect_request(timeout_ms=10_000, session=0, passwd=bytes(16), last_zxid=0, read_only=False):
    record = Encoder().int(0).long(last_zxid).int(timeout_ms).long(session).buffer(passwd)
    return (record if read_only is None else record.bool(read_only)).bytes()


def header(xid, op):
    return Encoder().int(xid).int(op).bytes()


def create_body(path, data=b"", flags=PERSISTENT, acl=None):
    return Encoder().string(path).buffer(data).acl(OPEN_ACL if acl is None else acl).int(flags).bytes()


def set_body(path, data, version=-1):
    return Encoder().string(path).buffer(data).int(version).bytes()


def path_version(path, version=-1):
    return Encoder().string(path).int(version).bytes()


def path_number(path, number):
    return Encoder().string(path).int(number).bytes()


def path_watch(path, watch=False):
    return Encoder().string(path).bool(watch).bytes()


def multi_body(*ops):
    record = Encoder()
    for op, body in ops:
        record.int(op).bool(False).int(-1).raw(body)
    return record.int(-1).bool(True).int(-1).bytes()


def multi_results(fields):
    return batch_results(
        fields,
        {CREATE: Decoder.string, CREATE2: lambda fields: (fields.string(), fields.stat()), SET_DATA: Decoder.stat},
    )


def multi_read_results(fields):
    return batch_results(
        fields,
        {GET_CHILDREN: Decoder.strings, GET_DATA: lambda fields: (fields.buffer(), fields.stat())},
    )


def batch_results(fields, readers):
    """(operation, error code, value) of each part; `readers` knows the values by operation."""
    results = []
    while True:
        op, done, err = fields.int(), fields.bool(), fields.int()
        if done:
            return results
        if op == -1:
            assert fields.int() == err, "a header and its error differ"
        value = readers[op](fields) if op in readers else None
        results.append((op, err, value))


def error_code(call, *args):
    """The error that a call of the server is answered with; 0 for none."""
    try:
        call(*args)
        return 0
    except ServerError as error:
        return error.code


def four_letter_word(port, word, host="127.0.0.1", timeout=5.0):
    """The whole text that the server answers to a four-letter word."""
    with socket.create_connection((host, port), timeout=timeout) as stream:
        stream.sendall(word.encode())
        out = b""
        while True:
            try:
                piece = stream.recv(65536)
            except ConnectionResetError:
                piece = b""
            if not piece:
                return out.decode()
            out += piece
