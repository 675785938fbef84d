"""Every write operation of the client protocol, its success and each of its errors.

The same requests go to Apache ZooKeeper 3.9.4 and to the server under test, each alone with an empty
tree. Every reply must be the same: error code, body, and the counter of the zxid. Session ids and
times are mapped, nothing else is.
"""

import itertools

import harness
import pytest
import wire
from jute import STAT_FIELDS, Decoder, Encoder, ShortRecord
from wire import CHECK, CREATE, CREATE2, DELETE, GET_ACL, GET_CHILDREN2, GET_DATA, MULTI, OPEN_ACL, SET_ACL, SET_DATA

RECONFIG, CREATE_CONTAINER, DELETE_CONTAINER, CREATE_TTL, AUTH = 16, 19, 20, 21, 100
AUTH_XID = -4

READ_ONLY = [(1, "world", "anyone")]
TTL_MAX = 0xFF_FFFF_FFFF
BOB = "bob:0ezhUayTjEymfNB3K9C0+wkMLMo="  # bob:bobpw

SUPER = "super:test"
SETTINGS = {
    "extendedTypesEnabled": "true",
    "enforceQuota": "true",
    "DigestAuthenticationProvider.superDigest": "super:D/InIHSb7yEEbrWz8b9l71RjZJU=",
}


def string(text):
    return Encoder().string(text).bytes()


def ttl_body(path, ttl, flags=5, data=b"d", acl=None):
    return wire.create_body(path, data, flags, acl) + Encoder().long(ttl).bytes()


def acl_body(path, acl, version=-1):
    return Encoder().string(path).acl(acl).int(version).bytes()


def reconfig_body():
    return Encoder().string(None).string(None).string("server.1=127.0.0.1:1:2;3").long(-1).bytes()


def auth_body(scheme, payload):
    return Encoder().int(0).string(scheme).buffer(payload).bytes()


class Session:
    """A session whose replies come as comparable values."""

    def __init__(self, server):
        self.connection = server.connect(20_000)
        self.session = self.connection.session
        self.connection.exists("/")
        self.start = self.connection.last_zxid & 0xFFFF_FFFF

    def counter(self, zxid):
        """How many transactions after the start of this session."""
        return (zxid & 0xFFFF_FFFF) - self.start if zxid > 0 else zxid

    def ask(self, op, body):
        xid = AUTH_XID if op == AUTH else None
        xid = self.connection.send(op, body, xid)
        fields = Decoder(self.connection.receive_frame())
        got, zxid, err = fields.int(), fields.long(), fields.int()
        assert got == xid
        return self.counter(zxid), err, self.body(op, fields)

    def body(self, op, fields):
        if not fields.data[fields.at :]:
            return None
        if op in (CREATE, wire.SYNC):
            shown = fields.string()
        elif op in (CREATE2, CREATE_CONTAINER, CREATE_TTL):
            shown = fields.string(), self.stat(fields.stat())
        elif op in (SET_DATA, SET_ACL, wire.EXISTS):
            shown = self.stat(fields.stat())
        elif op == GET_DATA:
            shown = fields.buffer(), self.stat(fields.stat())
        elif op == GET_ACL:
            shown = fields.acl(), self.stat(fields.stat())
        elif op == GET_CHILDREN2:
            shown = sorted(fields.strings()), self.stat(fields.stat())
        elif op == MULTI:
            shown = [
                (kind, err, tuple(map(self.mapped, value)) if kind == CREATE2 else self.mapped(value))
                for kind, err, value in wire.multi_results(fields)
            ]
        else:
            shown = None
        assert not fields.rest(), f"bytes behind the reply of {op}"
        return shown

    def mapped(self, value):
        return self.stat(value) if isinstance(value, wire_stat) else value

    def stat(self, stat):
        """The numbers without clocks; only the counters of zxids; ephemerals of this session are marked."""
        own = "own" if stat.ephemeral_owner == self.session else stat.ephemeral_owner
        zxids = map(self.counter, (stat.czxid, stat.mzxid, stat.pzxid))
        same_times = stat.ctime == stat.mtime
        rest = stat.version, stat.cversion, stat.aversion, stat.data_length, stat.num_children
        return *zxids, *rest, own, same_times


wire_stat = type(Decoder(bytes(68)).stat())


def look(path):
    return [(GET_DATA, wire.path_watch(path)), (GET_ACL, string(path)), (GET_CHILDREN2, wire.path_watch(path))]


def creates():
    """Every code with every flag, then the errors in the order in which they are looked for."""
    yield CREATE, wire.create_body("/c")
    for flags in range(-1, 9):
        yield CREATE, wire.create_body(f"/c/one{flags}-", flags=flags)
        yield CREATE2, wire.create_body(f"/c/two{flags}-", flags=flags)
        yield CREATE_CONTAINER, wire.create_body(f"/c/con{flags}-", flags=flags)
        yield CREATE_TTL, ttl_body(f"/c/ttl{flags}-", 100_000, flags)
    for ttl in (-1, 0, 1, TTL_MAX, TTL_MAX + 1, -(1 << 63)):
        yield CREATE_TTL, ttl_body(f"/c/ttl{ttl}", ttl)
        yield CREATE_TTL, ttl_body(f"/c/ttl-{ttl}-", ttl, 6)
    yield from look("/c")
    yield CREATE, wire.create_body("/c/e", b"", wire.EPHEMERAL)
    yield CREATE, wire.create_body("/c/null", None)
    yield from look("/c/null")
    yield CREATE, wire.create_body("/c/read", acl=READ_ONLY)
    for op in (CREATE, CREATE2, CREATE_CONTAINER):
        flags = 4 if op == CREATE_CONTAINER else 0
        yield op, wire.create_body("/no/x", flags=99, acl=[])
        yield op, wire.create_body("no", flags=flags)
        yield op, wire.create_body("", flags=flags)
        yield op, wire.create_body("/no/\0", flags=flags)
        yield op, wire.create_body("/no/x", flags=flags, acl=[])
        yield op, wire.create_body("/no/x", flags=flags)
        yield op, wire.create_body("/c/read/\x01", flags=flags)
        yield op, wire.create_body("/c/e/\x01", flags=flags)
        yield op, wire.create_body("/c/e/x", flags=flags)
        yield op, wire.create_body("/c/e", flags=flags)
        yield op, wire.create_body("/", flags=flags)
        yield op, wire.create_body("/zookeeper/x", flags=flags)
    yield CREATE_TTL, ttl_body("/no/x", 0, 5, acl=[])
    yield CREATE_TTL, ttl_body("/no/x", 5, 5, acl=[])
    yield CREATE_TTL, ttl_body("/c/e/x", 5)


def paths():
    yield CREATE, wire.create_body("/p")
    for name in (
        ".", "..", "...", ".a", "a.", "a..b", "", "a/", "/", "//", "a//b", "./b", "../b", "b/.", "b/..", "b/./c", " ", "\t",
        "\x1f", "\x7f", "\x9f", "\xa0", "\ud7ff", "\ue000", "\uf8ff", "\uf900", "\uffef", "\ufff0", "\ufffd", "\U0001f600", "é",
    ):  # fmt: skip
        for op, body in (
            (CREATE, wire.create_body(f"/p/{name}")),
            (CREATE, wire.create_body(f"/p/{name}", flags=wire.SEQUENTIAL)),
            (SET_DATA, wire.set_body(f"/p/{name}", b"x")),
            (SET_ACL, acl_body(f"/p/{name}", OPEN_ACL)),
            (DELETE_CONTAINER, string(f"/p/{name}")),
            (DELETE, wire.path_version(f"/p/{name}")),
        ):
            yield op, body
    yield from look("/p")


def changes():
    """delete, setData, setACL, deleteContainer."""
    for path, flags, acl in [
        ("/d", 0, OPEN_ACL), ("/d/x", 0, OPEN_ACL), ("/d/e", 1, OPEN_ACL), ("/d/p", 0, OPEN_ACL), ("/d/p/x", 0, OPEN_ACL),
    ]:  # fmt: skip
        yield CREATE, wire.create_body(path, b"", flags, acl)
    yield SET_ACL, acl_body("/d/p", READ_ONLY, 0)
    for path in ("/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "no", "/no", "/no/x", "/d", "/d/p/x", "/d/p/no", "/d//x"):
        yield DELETE, wire.path_version(path, 5)
        yield SET_DATA, wire.set_body(path, b"x", 5)
        yield SET_ACL, acl_body(path, OPEN_ACL, 5)
        yield SET_ACL, acl_body(path, [], 5)
    for path in ("/", "/zookeeper", "no", "/no", "/no/x", "/d", "/d/e", "/d/p/no"):
        yield DELETE_CONTAINER, string(path)
    yield SET_DATA, wire.set_body("/d/p", b"x", 5)
    yield SET_ACL, acl_body("/d/p", OPEN_ACL, 5)
    yield SET_DATA, wire.set_body("/d/x", b"xyz", 0)
    yield SET_DATA, wire.set_body("/d/x", None, 1)
    yield SET_DATA, wire.set_body("/d/x", b"", -2)
    yield SET_DATA, wire.set_body("/d/e", b"e", -1)
    yield SET_ACL, acl_body("/d/x", [*READ_ONLY, *OPEN_ACL, *READ_ONLY], 0)
    yield SET_ACL, acl_body("/d/x", OPEN_ACL, 0)
    yield SET_ACL, acl_body("/", OPEN_ACL, 0)
    yield SET_DATA, wire.set_body("/", b"root", 0)
    yield from look("/d/x")
    yield from look("/")
    yield DELETE_CONTAINER, string("/d/x")
    yield DELETE, wire.path_version("/d/e", 1)
    yield DELETE, wire.path_version("/d", 0)
    yield from look("/d")
    yield RECONFIG, reconfig_body()


def lists():
    yield CREATE, wire.create_body("/l")
    number = itertools.count()
    lists = [
        [(31, "world", "anyone"), (1, "world", "anyone"), (31, "world", "anyone")],
        [(-1, "world", "anyone")],
        [(0, "world", "anyone")],
        [(31, "world", "other")],
        [(31, "auth", "")],
        [(31, "auth", "anything"), (1, "ip", "127.0.0.1")],
        [(31, "digest", "amy:x"), (1, "world", "anyone")],
        [(31, "digest", "amy")],
        [(31, "digest", "amy:x:y")],
        [(31, "digest", "amy:")],
        [(31, "digest", ":x")],
        [(31, "digest", "")],
        [(31, "ip", "127.0.0.1")],
        [(31, "ip", "127.0.0.0/8")],
        [(31, "ip", "127.0.0.0/33")],
        [(31, "ip", "10.0.0.0/8"), (31, "world", "anyone")],
        [(31, "ip", "127.0.0")],
        [(31, "ip", "::1")],
        [(31, "ip", "")],
        [(31, "super", "")],
        [(31, "sasl", "amy")],
        [(31, "x509", "CN=a")],
        [(31, "", "")],
    ]

    def each():
        for acl in lists:
            path = f"/l/{next(number)}"
            yield CREATE, wire.create_body(path, b"", 0, acl)
            yield SET_ACL, acl_body("/l", [*acl, (31, "world", "anyone")])
            yield GET_ACL, string(path)
            yield CREATE, wire.create_body(path + "/x")
            yield SET_DATA, wire.set_body(path, b"x")
            yield GET_DATA, wire.path_watch(path)

    yield from each()
    yield AUTH, auth_body("digest", b"bob:bobpw")
    yield from each()
    yield CREATE, wire.create_body("/l/bob", b"", 0, [(31, "auth", "")])
    yield CREATE, wire.create_body("/l/bob/x", b"", 0, [(1, "digest", BOB)])
    yield DELETE, wire.path_version("/l/bob/x")
    yield CREATE, wire.create_body("/l/nobody", b"", 0, [(0, "world", "anyone")])
    for op, body in [
        (SET_DATA, wire.set_body("/l/nobody", b"x")),
        (SET_ACL, acl_body("/l/nobody", [(0, "digest", "amy:x")])),
        (CREATE, wire.create_body("/l/nobody/x")),
        (SET_ACL, acl_body("/zookeeper/config", OPEN_ACL)),
        (GET_ACL, string("/l/nobody")),
    ]:
        yield op, body
    yield AUTH, auth_body("digest", SUPER.encode())
    for op, body in [
        (SET_DATA, wire.set_body("/l/nobody", b"x")),
        (CREATE, wire.create_body("/l/nobody/x")),
        (CREATE, wire.create_body("/l/both", b"", 0, [(31, "auth", "")])),
        (GET_ACL, string("/l/both")),
        (SET_ACL, acl_body("/l/nobody", OPEN_ACL)),
        (SET_ACL, acl_body("/zookeeper", [(31, "auth", "")])),
        (GET_ACL, string("/zookeeper")),
    ]:
        yield op, body


def multis():
    yield CREATE, wire.create_body("/m")
    yield CREATE, wire.create_body("/m/e", b"", wire.EPHEMERAL)
    yield CREATE, wire.create_body("/m/read", b"", 0, [(2, "world", "anyone")])
    good = CREATE, wire.create_body("/m/good-", flags=wire.SEQUENTIAL)

    def multi(*ops):
        return MULTI, wire.multi_body(*ops)

    yield multi()
    yield multi(good)
    for flags in range(-1, 8):
        for op in (CREATE, CREATE2, CREATE_CONTAINER):
            yield multi(good, (op, wire.create_body(f"/m/{op}.{flags}-", flags=flags)), good)
        for ttl in (-1, 0, 100_000, TTL_MAX + 1):
            yield multi(good, (CREATE_TTL, ttl_body(f"/m/ttl{ttl}.{flags}-", ttl, flags)), good)
    for bad in [
        (CREATE, wire.create_body("m")),
        (CREATE, wire.create_body("/m/e")),
        (CREATE, wire.create_body("/m/e/x")),
        (CREATE, wire.create_body("/m/x", acl=[])),
        (CREATE, wire.create_body("/m/read/x")),
        (DELETE, wire.path_version("/m")),
        (DELETE, wire.path_version("/zookeeper")),
        (DELETE, wire.path_version("/m/e", 5)),
        (SET_DATA, wire.set_body("/m/no", b"")),
        (SET_DATA, wire.set_body("/m/", b"")),
        (CHECK, wire.path_version("/m/no")),
        (CHECK, wire.path_version("/m", 1)),
        (CHECK, wire.path_version("/m/read", 0)),
        (CHECK, wire.path_version("m", 1)),
    ]:
        yield multi(good, bad, good, bad)
    for other in [
        (GET_DATA, wire.path_watch("/m")),
        (SET_ACL, acl_body("/m", OPEN_ACL)),
        (DELETE_CONTAINER, string("/m/e")),
        (MULTI, wire.multi_body(good)),
        (0, b""),
        (-1, Encoder().int(-1).bytes()),
        (CREATE, b"\0\0"),
    ]:
        yield multi(good, other)
    yield multi(
        (CREATE2, wire.create_body("/m/x", b"1")),
        (SET_DATA, wire.set_body("/m/x", b"22", 0)),
        (CHECK, wire.path_version("/m/x", 1)),
        (CREATE, wire.create_body("/m/x/y-", b"3", wire.EPHEMERAL_SEQUENTIAL)),
        (DELETE, wire.path_version("/m/x/y-0000000000", 0)),
        (CREATE_CONTAINER, wire.create_body("/m/x/c", b"", 4)),
        (CREATE_TTL, ttl_body("/m/x/t", 100_000)),
    )
    yield from look("/m/x")
    yield from look("/m")


def quotas():
    """The znodes of a quota as the command line client makes them, and what a limit refuses."""
    stats = "/zookeeper/quota/q/zookeeper_stats"
    yield CREATE, wire.create_body("/q", b"12345")
    yield CREATE, wire.create_body("/q/a", b"123")
    yield CREATE, wire.create_body("/zookeeper/quota/q", b"")
    limits = b"count=-1,bytes=-1=;byteHardLimit=20;countHardLimit=4"
    yield CREATE, wire.create_body("/zookeeper/quota/q/zookeeper_limits", limits)
    yield CREATE, wire.create_body(stats, b"count=0,bytes=0")
    yield from look(stats)
    for op, body in [
        (CREATE, wire.create_body("/q/b", b"12")),
        (CREATE, wire.create_body("/q/a/c", b"0123456789")),
        (CREATE, wire.create_body("/q/a/d", b"0123456789a")),
        (CREATE, wire.create_body("/q/a/e", None)),
        (CREATE, wire.create_body("/q/a/f", None)),
        (CREATE, wire.create_body("/q/a/e/no/x", None)),
        (SET_DATA, wire.set_body("/q/b", b"", 7)),
        (SET_DATA, wire.set_body("/q/b", b"12345678", 7)),
        (SET_DATA, wire.set_body("/q/b", b"", 0)),
        (SET_DATA, wire.set_body("/q/b", b"0123", -1)),
        (DELETE, wire.path_version("/q/a/c")),
        (CREATE, wire.create_body("/q/a/g-", b"x", wire.EPHEMERAL_SEQUENTIAL)),
        (CREATE_CONTAINER, wire.create_body("/q/a/h", b"x", 4)),
        (MULTI, wire.multi_body((DELETE, wire.path_version("/q/b")), (CREATE, wire.create_body("/q/c", b"")))),
        (SET_DATA, wire.set_body("/zookeeper/quota/q/zookeeper_limits", b"count=1,bytes=1")),
        (CREATE, wire.create_body("/q/soft", b"0123456789")),
        (SET_DATA, wire.set_body("/q/soft", b"01234567890123456789")),
        (SET_DATA, wire.set_body("/zookeeper/quota/q/zookeeper_limits", b"nonsense")),
        (CREATE, wire.create_body("/q/nonsense", b"")),
        (SET_DATA, wire.set_body("/zookeeper/quota/q/zookeeper_limits", b"countHardLimit=0")),
        (CREATE, wire.create_body("/q/none", b"")),
        (SET_DATA, wire.set_body("/q", b"")),
        (DELETE, wire.path_version("/zookeeper/quota/q/zookeeper_limits")),
        (CREATE, wire.create_body("/q/free", b"1")),
        (SET_DATA, wire.set_body(stats, b"count=9,bytes=9,zeta=1;alpha=2")),
        (CREATE, wire.create_body("/zookeeper/quota/q/zookeeper_limits", b"count=1,bytes=1")),
        (CREATE, wire.create_body("/q/counted", b"1")),
    ]:
        yield op, body
        yield GET_DATA, wire.path_watch(stats)


def undecodable():
    """MarshallingError. The counter of the zxid shows what became a transaction."""
    for op in (CREATE, CREATE2, CREATE_CONTAINER, CREATE_TTL, DELETE, SET_DATA, SET_ACL, RECONFIG, MULTI, DELETE_CONTAINER):
        for body in (b"", b"\0\0\0\x7f/short", b"\x7f\xff\xff\xff", b"\0\0\0\2/u\0\0", b"\xff\xff\xff\xfe"):
            yield op, body
            yield CREATE, wire.create_body("/u-", flags=wire.SEQUENTIAL)
    null = Encoder().string(None).bytes()
    for op, body in [
        (CREATE, null + wire.create_body("/u")[6:]),
        (DELETE, null + Encoder().int(-1).bytes()),
        (SET_DATA, null + wire.set_body("/u", b"")[6:]),
        (SET_ACL, null + acl_body("/u", OPEN_ACL)[6:]),
        (DELETE_CONTAINER, null),
        (MULTI, wire.multi_body((SET_DATA, null + wire.set_body("/u", b"")[6:]))),
        (CREATE, Encoder().string("/u").buffer(b"").int(-1).int(0).bytes()),
        (CREATE, Encoder().string("/u").buffer(b"").int(-7).int(0).bytes()),
        (CREATE, Encoder().string("/u").buffer(b"").int(1).int(31).string(None).string("x").int(0).bytes()),
        (CREATE, wire.create_body("/u") + b"more"),
        (wire.SYNC, b""),
        (wire.SYNC, null),
    ]:
        yield op, body
        yield CREATE, wire.create_body("/u-", flags=wire.SEQUENTIAL)


SCRIPTS = [creates, paths, changes, lists, multis, quotas, undecodable]


def run(server, script):
    session = Session(server)
    for number, (op, body) in enumerate(script()):
        try:
            yield number, op, body, session.ask(op, body)
        except (wire.Closed, TimeoutError, ShortRecord) as error:
            yield number, op, body, repr(error)
            return
    session.connection.close_session()


@pytest.fixture(scope="module")
def pair(peer, tmp_path_factory):
    """Java and the server under test, each alone, with the same settings."""
    home = tmp_path_factory.mktemp("operations")
    servers = []
    for name, kind in (("reference", "java"), ("tested", peer)):
        port = {"client": harness.free_ports(1)[0]}
        servers.append(harness.KINDS[kind](home / name, port, settings=SETTINGS).start())
    yield [server.wait_serving() for server in servers]
    for server in servers:
        server.kill()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_same_answers(pair, script):
    differences = []
    steps = 0
    for theirs, ours in itertools.zip_longest(*(run(server, script) for server in pair)):
        steps += 1
        if theirs != ours:
            differences.append(f"{theirs}\n    {ours}")
    assert steps == sum(1 for _ in script()), "the connection ended early"
    assert not differences, f"{len(differences)} of {steps} steps\n" + "\n".join(differences[:40])


def test_the_znode_of_the_configuration(peer, standalone, ensemble):
    """A server alone shows no members; in an ensemble each shows the lines of its own zoo.cfg, in any order."""
    alone, together = {}, {}
    for kind in dict.fromkeys(("java", peer)):
        server = standalone(kind).start().wait_serving()
        client = server.connect()
        data, stat = client.get("/zookeeper/config")
        assert client.children("/zookeeper/config") == []
        alone[kind] = data, stat, client.get_acl("/zookeeper/config")[0]
        client.close_session()
        with ensemble({1: kind, 2: kind, 3: kind}) as three:
            for member in three:
                client = member.connect()
                data, stat = client.get("/zookeeper/config")
                wanted = {
                    f"server.{sid}=127.0.0.1:{quorum}:{election}:participant"
                    for sid, (quorum, election) in member.members.items()
                }
                assert set(data.decode().split("\n")) == {*wanted, "version=0"}, (kind, data)
                assert stat.data_length == len(data)
                own = {"mtime", "data_length"}  # when it started, and how long its ports are
                shown = [getattr(stat, field) for field in STAT_FIELDS if field not in own]
                together[kind] = shown, client.get_acl("/zookeeper/config")[0]
                client.close_session()
    assert len(set(map(str, alone.values()))) == 1, alone
    assert len(set(map(str, together.values()))) == 1, together
