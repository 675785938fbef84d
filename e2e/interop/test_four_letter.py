"""Four-letter words: the shape of the text, against Apache ZooKeeper's own."""

import re
import time

import pytest
import wire
from harness import Ensemble

NUMBER = re.compile(r"\d+(\.\d+)?")


@pytest.fixture(scope="module")
def pair(peer, tmp_path_factory):
    """The kind under test and the reference, each as an ensemble of three."""
    home = tmp_path_factory.mktemp("words")
    with Ensemble(home / "peer", {1: peer, 2: peer, 3: peer}) as ours:
        with Ensemble(home / "java", {1: "java", 2: "java", 3: "java"}) as java:
            for members in (ours, java):
                members.start_led_by_highest()
                client = members[1].connect()
                client.create("/x", b"1")
                client.drop()
                members.wait_quiet()
            yield ours, java


def shape(text):
    """The text with the version and every number left out."""
    text = re.sub(r"^Zookeeper version: .*", "Zookeeper version: V", text)
    return NUMBER.sub("N", re.sub(r"0x[0-9a-f]+", "X", text))


def test_ruok(pair):
    for members in pair:
        assert members[1].word("ruok") == "imok"


@pytest.mark.parametrize("sid, mode", [(1, "follower"), (3, "leader")])
def test_srvr(pair, sid, mode):
    ours, java = (members[sid].word("srvr") for members in pair)
    assert shape(ours) == shape(java)
    assert f"Mode: {mode}\n" in ours and "Node count: 6\n" in ours
    assert ours.startswith("Zookeeper version: ")


@pytest.mark.parametrize("sid", [1, 3])
def test_mntr(pair, sid):
    ours, java = (members[sid].word("mntr") for members in pair)
    assert all(re.fullmatch(r"zk_[a-z0-9_]+\t.+", line) for line in ours.splitlines()), ours
    heads = [[line.split("\t")[0] for line in text.splitlines()[:3]] for text in (ours, java)]
    assert heads[0] == heads[1] == ["zk_version", "zk_server_state", "zk_peer_state"]
    states = [[line.split("\t")[1] for line in text.splitlines()[1:3]] for text in (ours, java)]
    assert states[0] == states[1]
    names = {line.split("\t")[0] for line in ours.splitlines()}
    known = {line.split("\t")[0] for line in java.splitlines()}
    wanted = {
        "zk_avg_latency", "zk_max_latency", "zk_min_latency", "zk_packets_received", "zk_packets_sent",
        "zk_num_alive_connections", "zk_outstanding_requests", "zk_znode_count", "zk_watch_count",
        "zk_ephemerals_count", "zk_approximate_data_size", "zk_global_sessions",
    }  # fmt: skip
    if sid == 3:
        wanted |= {"zk_learners", "zk_synced_followers", "zk_quorum_size"}
    assert wanted <= known, "the reference does not have these"
    assert wanted <= names, sorted(wanted - names)
    values = dict(line.split("\t") for line in ours.splitlines())
    assert values["zk_znode_count"] == "6"
    if sid == 3:
        assert values["zk_synced_followers"] == "2"


def test_whitelist(standalone, peer):
    server = standalone(peer, settings={"4lw.commands.whitelist": "ruok"}).start().wait_serving()
    assert server.word("ruok") == "imok"
    assert server.word("srvr").startswith("Zookeeper version: ")
    assert server.word("mntr") == "mntr is not executed because it is not in the whitelist.\n"


def test_not_serving(peer, tmp_path):
    with Ensemble(tmp_path, {1: peer, 2: peer, 3: peer}) as members:
        members.start(1)
        text = None
        for _ in range(200):
            try:
                text = members[1].word("srvr")
                break
            except OSError:
                time.sleep(0.05)
        assert text == "This ZooKeeper instance is not currently serving requests\n"
        assert members[1].word("ruok") == "imok"
        connection = wire.Connection(members[1].ports["client"])
        with pytest.raises(wire.Closed):
            connection.connect()
