"""Four-letter words: the text, line by line, against Apache ZooKeeper's own."""

import re
import socket
import struct
import time

import pytest
import wire
from harness import KINDS, Ensemble, free_ports, wait_until

# Never the same: the version, hashes, addresses, paths of directories, dates. Numbers become N, hexadecimal ones X.
MASKS = [
    (r"^Zookeeper version: .*", "Zookeeper version: V"),
    (r"^zookeeper\.version=.*", "zookeeper.version=V"),
    (r"=/.*/version-2$", "=DIR"),
    (r" expire at .*:$", " expire at DATE:"),
    (r"0x[0-9a-f]+", "X"),
    (r"\d+(\.\d+)?", "N"),
]
LONG_SESSIONS = {"maxSessionTimeout": 300_000}  # nobody pings for the clients of a module
SERVING = "This ZooKeeper instance is not currently serving requests"


@pytest.fixture(scope="module")
def pair(peer, tmp_path_factory):
    """The kind under test and the reference, each as an ensemble of three with the same clients and znodes."""
    home = tmp_path_factory.mktemp("words")
    with Ensemble(home / "peer", {1: peer, 2: peer, 3: peer}, LONG_SESSIONS) as ours:
        with Ensemble(home / "java", {1: "java", 2: "java", 3: "java"}, LONG_SESSIONS) as java:
            for members in (ours, java):
                members.start_led_by_highest()
                members.clients = [populate(members[sid], sid) for sid in (1, 3)]
            yield ours, java


@pytest.fixture(scope="module")
def alone(peer, tmp_path_factory):
    """One server without an ensemble of each kind, with a client."""
    servers = []
    for kind in (peer, "java"):
        home = tmp_path_factory.mktemp(f"alone-{kind}")
        server = KINDS[kind](home, {"client": free_ports(1)[0]}, settings=LONG_SESSIONS).start().wait_serving()
        server.clients = [populate(server, 1)]
        servers.append(server)
    yield servers
    for server in servers:
        server.stop()


def populate(server, sid):
    """A session with an ephemeral and two watches."""
    client = server.connect(timeout_ms=300_000)
    client.create(f"/x{sid}", b"1")
    client.create(f"/x{sid}/e", b"hi", wire.EPHEMERAL)
    for path in (f"/x{sid}", f"/x{sid}/e"):
        client.get(path, watch=True)
    return client


def shape(text, ordered=True):
    """The text without what differs from run to run; lines without an order are sorted.

    Connections that ask words are left out: one that was answered may still be closing.
    """
    lines = [line for line in text.split("\n") if not re.match(r" /\S+\[0\]\(", line)]
    for pattern, mask in MASKS:
        lines = [re.sub(pattern, mask, line) for line in lines]
    return "\n".join(lines if ordered else sorted(lines))


def test_the_connection_that_asks_is_shown(alone):
    for server in alone:
        for word in ("stat", "cons"):
            assert re.search(r"^ /127\.0\.0\.1:\d+\[0\]\(queued=0,recved=1,sent=0\)$", server.word(word), re.MULTILINE)


WORDS = ["conf", "crst", "dirs", "gtmk", "isro", "ruok", "srst", "srvr", "stat", "wchs", "cons", "wchc", "wchp"]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("sid", [1, 3])
def test_text_in_an_ensemble(pair, word, sid):
    ordered = word not in ("wchc", "wchp")
    ours, java = (shape(members[sid].word(word), ordered) for members in pair)
    assert ours == java


@pytest.mark.parametrize("word", WORDS)
def test_text_of_one_server(alone, word):
    ordered = word not in ("wchc", "wchp")
    ours, java = (shape(server.word(word), ordered) for server in alone)
    assert ours == java


@pytest.mark.parametrize("sid", [1, 3])
def test_dump(pair, sid):
    """Empty sets, which only the reference shows, aside."""
    texts = []
    for members in pair:
        text = re.sub(r"^0 expire at .*\n", "", members[sid].word("dump"), flags=re.MULTILINE)
        text = re.sub(r" Sets \(\d+\)/", " Sets (B)/", text)
        texts.append(re.sub(r"^\d+ expire at .*\n", "", text, flags=re.MULTILINE))
    ours, java = (shape(text, ordered=False) for text in texts)
    assert ours == java
    sessions = re.findall(r"^\t?(0x[0-9a-f]+)", pair[0][sid].word("dump"), flags=re.MULTILINE)
    assert {f"0x{client.session:x}" for client in pair[0].clients} <= set(sessions)


def test_environment(alone):
    ours, java = (server.word("envi").splitlines() for server in alone)
    assert [line.split("=")[0] for line in ours] == [line.split("=")[0] for line in java]
    values = [dict(line.split("=", 1) for line in lines[1:]) for lines in (ours, java)]
    for name in ("os.name", "os.arch", "os.version", "user.name", "user.home", "java.io.tmpdir", "java.compiler"):
        assert values[0][name] == values[1][name], name


def answered(server, session):
    """The line of a session in `cons`, once the reference has counted down its request."""
    lines = server.word("cons").splitlines()
    return next((line for line in lines if f"sid=0x{session:x}," in line and "(queued=0," in line), None)


def test_numbers_of_a_connection(alone):
    for server in alone:
        client = server.connect(timeout_ms=6000)
        client.create("/numbers", b"x")
        client.get("/numbers")
        mine = wait_until(lambda: answered(server, client.session), 5, lambda: server.word("cons"))
        zxid = server.zxid()
        facts = dict(part.split("=", 1) for part in re.search(r"\((.*)\)", mine)[1].split(","))
        want = {"queued": "0", "recved": "3", "sent": "3", "lop": "GETD", "to": "6000", "lcxid": "0x2", "lzxid": f"0x{zxid:x}"}
        assert {name: facts[name] for name in want} == want, server.kind
        assert abs(int(facts["est"]) / 1000 - time.time()) < 60
        assert server.word("crst") == "Connection stats reset.\n"
        mine = next(line for line in server.word("cons").splitlines() if f"sid=0x{client.session:x}," in line)
        assert "recved=0,sent=0," in mine and ",lop=NA," in mine and ",lcxid=" not in mine, server.kind
        client.close_session()


def test_stats_are_reset(alone):
    for server in alone:
        assert int(server.srvr()["Received"]) > 1
        assert server.word("srst") == "Server stats reset.\n"
        assert server.srvr()["Received"] == "1", server.kind


def test_hash(peer, tmp_path):
    """The same transactions leave the same digests."""
    texts = []
    for kind in (peer, "java"):
        home = tmp_path / f"{len(texts)}-{kind}"
        server = KINDS[kind](home, {"client": free_ports(1)[0]}).start().wait_serving()
        client = server.connect()
        for n in range(300):
            client.create(f"/h{n}", b"")
        texts.append(server.word("hash"))
        server.stop()
    for text in texts:
        assert re.fullmatch(r"[0-9a-f]*80: \d+\n[0-9a-f]*00: \d+\n", text), text


def test_trace_mask(alone):
    for server in alone:
        assert server.word("gtmk") == "306"
        with socket.create_connection(("127.0.0.1", server.ports["client"]), timeout=5) as sock:
            sock.sendall(b"stmk" + struct.pack(">q", 7))
            assert sock.recv(64) == b"7"
            assert sock.recv(64) == b""
        assert server.word("gtmk") == "7"


MNTR_NAMES = {
    "zk_avg_latency", "zk_max_latency", "zk_min_latency", "zk_packets_received", "zk_packets_sent",
    "zk_num_alive_connections", "zk_outstanding_requests", "zk_znode_count", "zk_watch_count", "zk_ephemerals_count",
    "zk_approximate_data_size", "zk_global_sessions", "zk_open_file_descriptor_count", "zk_cnt_readlatency",
    "zk_p999_updatelatency",
}  # fmt: skip


@pytest.mark.parametrize("sid", [1, 3])
def test_mntr(pair, sid):
    ours, java = (members[sid].word("mntr") for members in pair)
    assert all(re.fullmatch(r"zk_[a-z0-9_]+\t.+", line) for line in ours.splitlines()), ours
    heads = [[line.split("\t")[0] for line in text.splitlines()[:3]] for text in (ours, java)]
    assert heads[0] == heads[1] == ["zk_version", "zk_server_state", "zk_peer_state"]
    states = [[line.split("\t")[1] for line in text.splitlines()[1:3]] for text in (ours, java)]
    assert states[0] == states[1]
    values, known = (dict(line.split("\t", 1) for line in text.splitlines()) for text in (ours, java))
    wanted = MNTR_NAMES | ({"zk_learners", "zk_synced_followers", "zk_quorum_size"} if sid == 3 else set())
    assert wanted <= set(known), "the reference does not have these"
    assert wanted <= set(values), sorted(wanted - set(values))
    own = {name for name in set(values) - set(known) if not name.startswith(("zk_op_count_", "zk_fsync_threshold"))}
    assert all(re.search(r"serv(er|ing)|driver|epoch|zxid|role|frames", name) for name in own), sorted(own)
    # Whole numbers where the reference has whole numbers, doubles where it has doubles.
    form = re.compile(r"-?\d+(\.\d+)?(E-?\d+)?")
    for name in set(values) & set(known) - {"zk_version", "zk_server_state", "zk_peer_state"}:
        assert form.fullmatch(values[name]), (name, values[name])
        assert ("." in values[name]) == ("." in known[name]), (name, values[name], known[name])
    if sid == 3:
        assert values["zk_synced_followers"] == "2"


def test_the_size_of_the_data_is_that_of_the_reference(standalone, peer):
    sizes = []
    for kind in (peer, "java"):
        server = standalone(kind, settings={"4lw.commands.whitelist": "mntr"}).start().wait_serving()
        client = server.connect()

        def size(server=server):
            return int(server.mntr()["approximate_data_size"])

        of_kind = [size()]
        client.create("/sized", b"x" * 100)
        of_kind.append(size())
        client.set("/sized", b"y")
        of_kind.append(size())
        client.delete("/sized")
        of_kind.append(size())
        sizes.append(of_kind)
        server.stop()
    assert sizes[0] == sizes[1]


def test_whitelist(standalone, peer):
    server = standalone(peer, settings={"4lw.commands.whitelist": "ruok"}).start().wait_serving()
    assert server.word("ruok") == "imok"
    assert server.word("srvr").startswith("Zookeeper version: ")
    for word in ("mntr", "stmk", "isro"):
        assert server.word(word) == f"{word} is not executed because it is not in the whitelist.\n"


def test_not_serving(peer, tmp_path):
    """The same words are refused in the same way."""
    answers = []
    for kind in (peer, "java"):
        with Ensemble(tmp_path / kind, {1: kind, 2: kind, 3: kind}) as members:
            server = members.start(1)[1]
            for _ in range(400):
                try:
                    if server.word("srvr"):
                        break
                except OSError:
                    time.sleep(0.05)
            words = [*WORDS, "dump", "hash", "mntr"]
            answers.append({word: server.word(word) for word in words})
            connection = wire.Connection(server.ports["client"])
            with pytest.raises(wire.Closed):
                connection.connect()
    assert answers[0] == answers[1]
    assert answers[0]["srvr"] == f"{SERVING}\n" and answers[0]["isro"] == "null"
