"""The probes of the admin port, and the metrics in Prometheus' text form against the reference's."""

import json
import re
import urllib.error
import urllib.request

import pytest
import wire
from harness import ROOT, Ensemble, wait_until

SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\})? (\S+)")
OWN_METRICS = {"zk_server_role", "zk_server_zxid", "zk_server_epoch"}  # no gauge of the reference says these
OTHER_VERSIONS = ("op_count_", "fsync_threshold_exceed_count")  # the reference has them in other versions or windows
OWN_PREFIX = "zk_server_"  # of every metric that the reference does not have


@pytest.fixture(scope="module")
def members(peer, tmp_path_factory):
    with Ensemble(tmp_path_factory.mktemp("http"), {1: peer, 2: peer, 3: peer}, http=True) as ensemble:
        ensemble.start_led_by_highest()
        yield ensemble


def fetch(port, path):
    """Status and body; a refused connection is an OSError."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read().decode()


def samples(server):
    """(name, labels) -> value of every sample; each line must be well formed."""
    status, text = fetch(server.ports["metrics"], "/metrics")
    assert status == 200
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match, f"not a sample: {line!r}"
            found[match[1], match[2] or ""] = float(match[3])
    return found


@pytest.fixture
def probed(peer):
    if peer != "quorate":
        pytest.skip("the reference's admin server has no probes")


@pytest.mark.usefixtures("probed")
def test_probes_of_a_serving_member(members):
    for server in members:
        role = server.mode()
        for path in ("/live", "/ready"):
            status, body = fetch(server.ports["admin"], path)
            assert status == 200, body
            state = json.loads(body)
            assert state["state"] == "serving" and state["role"] == role and state["sid"] == server.sid
            assert state["epoch"] == 1 and re.fullmatch(r"0x[0-9a-f]+", state["zxid"]), state
        assert fetch(server.ports["admin"], "/nothing")[0] == 404


@pytest.mark.usefixtures("probed")
def test_alone_is_live_but_not_ready(peer, tmp_path):
    with Ensemble(tmp_path, {1: peer, 2: peer, 3: peer}, http=True) as members:
        alone = members[1].start()

        def live():
            try:
                return fetch(alone.ports["admin"], "/live")[0] == 200
            except OSError:
                return False

        wait_until(live, 5, members.tails)
        status, body = fetch(alone.ports["admin"], "/ready")
        assert status == 503
        assert json.loads(body)["state"] in ("loading", "electing") and json.loads(body)["role"] == "looking"
        members.start(2)
        wait_until(lambda: fetch(alone.ports["admin"], "/ready")[0] == 200, 10, members.tails)
        members[2].kill()
        wait_until(lambda: fetch(alone.ports["admin"], "/ready")[0] == 503, 10, members.tails)
        assert fetch(alone.ports["admin"], "/live")[0] == 200


def listed_as_missing():
    """The reference's metrics that docs/metrics.md says are not here."""
    document = (ROOT / "docs/metrics.md").read_text()
    table = re.search(r"<!-- metrics of the reference that are not here: begin -->\n(.*?)<!--", document, re.DOTALL)[1]
    return {name for line in table.splitlines() for name in re.findall("`([a-z_]+)`", line.split(" | ")[0])}


def test_metrics_are_named_as_in_the_reference(members, peer, tmp_path):
    listed = listed_as_missing()
    with Ensemble(tmp_path, {1: "java", 2: "java", 3: "java"}, http=True) as reference:
        reference.start_led_by_highest()
        for sid in (1, 3):
            client = reference[sid].connect()
            client.create(f"/m{sid}", b"")
            client.close_session()
            ours = {name for name, _ in samples(members[sid])}
            theirs = {name for name, _ in samples(reference[sid])}
            wanted = {
                "znode_count", "num_alive_connections", "outstanding_requests", "watch_count", "ephemerals_count",
                "approximate_data_size", "global_sessions", "packets_received", "packets_sent", "avg_latency",
            }  # fmt: skip
            if sid == 3:
                wanted |= {"learners", "synced_followers", "quorum_size"}
            assert wanted <= theirs, "the reference does not have these"
            assert wanted <= ours, sorted(wanted - ours)
            own = {name for name in ours - theirs if not name.startswith(("process_", "jvm_", *OTHER_VERSIONS))}
            assert all(name.startswith(OWN_PREFIX) for name in own), sorted(own)
            assert peer == "java" or OWN_METRICS <= own
            missing = {name for name in theirs - ours if not name.startswith(("process_", "jvm_"))}
            unlisted = {name for name in missing if not {name, re.sub("_(count|sum)$", "", name)} & listed}
            assert not unlisted, f"docs/metrics.md does not say why these are missing: {sorted(unlisted)}"


def test_values(members):
    leader = members.leader()
    client = leader.connect()
    client.create("/counted", b"x" * 100)
    client.get("/counted", watch=True)
    client.create("/counted/e", b"", wire.EPHEMERAL)
    values = samples(leader)
    assert values["znode_count", ""] >= 5
    assert values["ephemerals_count", ""] == 1
    assert values["watch_count", ""] == 1
    assert values["num_alive_connections", ""] >= 1
    assert values["synced_followers", ""] == 2
    assert values["quorum_size", ""] == 3
    assert values["approximate_data_size", ""] > 100
    client.close_session()


def test_times_between_servers(members):
    leader = members.leader()
    follower = next(server for server in members if server is not leader)
    before = {server: samples(server) for server in members}
    client = follower.connect()
    for i in range(20):
        client.create(f"/timed{i}")
    again = wire.Connection(follower.ports["client"])
    again.connect(session=client.session, passwd=client.passwd)
    assert again.session == client.session
    again.close_session()
    members.wait_quiet()

    def more(server, name):
        return samples(server)[name, ""] - before[server][name, ""]

    for server in members:
        assert more(server, "propagation_latency_count") >= 20
        assert more(server, "propagation_latency_sum") < 20 * 1000
        assert samples(server)["unavailable_time_count", ""] == samples(server)["looking_count", ""] == 1
    assert more(leader, "quorum_ack_latency_count") >= 20
    assert more(leader, "revalidate_count") == 1
    assert samples(leader)["leader_unavailable_time_count", ""] == 1
    for name in ("proposal_latency_count", "commit_propagation_latency_count"):
        assert more(follower, name) >= 20
        assert more(leader, name) == 0
    assert more(follower, "connection_revalidate_count") == 1
    assert samples(follower)["follower_sync_time_count", ""] == 1
    assert samples(leader)["follower_sync_time_count", ""] == 0


@pytest.mark.usefixtures("probed")
def test_role_zxid_and_epoch(members):
    members.wait_quiet()
    for server in members:
        values = samples(server)
        assert values["zk_server_role", f'{{role="{server.mode()}"}}'] == 1
        assert sum(value for (name, _), value in values.items() if name == "zk_server_role") == 1
        assert values["zk_server_zxid", ""] == server.zxid()
        assert values["zk_server_epoch", ""] == server.zxid() >> 32
