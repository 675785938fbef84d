"""The admin server's commands: their keys and types against Apache ZooKeeper's own."""

import json
import urllib.error
import urllib.request

import pytest
import wire
from harness import Ensemble

PRIMARY = """configuration connection_stat_reset connections dirs dump environment get_trace_mask hash
    initial_configuration is_read_only last_snapshot leader monitor observer_connection_stat_reset observers restore
    ruok server_stats set_trace_mask snapshot stat_reset stats system_properties voting_view watch_summary watches
    watches_by_path zabstate""".split()
# Compared below in another way, or changed by the others.
APART = {"monitor", "system_properties", "initial_configuration", "restore", "snapshot", "stat_reset", "connection_stat_reset"}
SECOND = {
    "configuration": "conf", "connections": "cons", "environment": "envi", "hash": "hash", "is_read_only": "isro",
    "last_snapshot": "lsnp", "leader": "lead", "server_stats": "srvr", "stats": "stat", "watches": "wchc",
    "watches_by_path": "wchp", "watch_summary": "wchs", "observers": "obsr", "get_trace_mask": "gtmk",
}  # fmt: skip
LONG_SESSIONS = {"maxSessionTimeout": 300_000}  # nobody pings for the clients of a module
# Their keys are sessions, paths and times.
MAPS = {"session_id_to_ephemeral_paths", "session_id_to_watched_paths", "expiry_time_to_session_ids", "path_to_session_ids"}


@pytest.fixture(scope="module")
def pair(peer, tmp_path_factory):
    home = tmp_path_factory.mktemp("admin")
    with Ensemble(home / "peer", {1: peer, 2: peer, 3: peer}, LONG_SESSIONS, http=True) as ours:
        with Ensemble(home / "java", {1: "java", 2: "java", 3: "java"}, LONG_SESSIONS, http=True) as java:
            for members in (ours, java):
                members.start_led_by_highest()
                members.clients = []
                for sid in (1, 3):
                    client = members[sid].connect(timeout_ms=300_000)
                    client.create(f"/a{sid}", b"1")
                    client.create(f"/a{sid}/e", b"", wire.EPHEMERAL)
                    client.get(f"/a{sid}", watch=True)
                    for n in range(150):
                        client.set(f"/a{sid}", b"%d" % n)
                    client.get(f"/a{sid}", watch=True)
                    members.clients.append(client)
            yield ours, java


def ask(server, command, method="GET", **headers):
    """Status, content type and body of a command."""
    request = urllib.request.Request(f"http://127.0.0.1:{server.ports['admin']}/commands{command}", method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers.get_content_type(), answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers.get_content_type(), answer.read().decode()


def shape(value, path=""):
    """Every path of the document with the type that is there."""
    if isinstance(value, dict):
        inside = {f"{path}{{}}"}
        for key, item in value.items():
            inside |= shape(item, f"{path}/{'*' if path.rpartition('/')[2] in MAPS else key}")
        return inside
    if isinstance(value, list):
        return {f"{path}[]"}.union(*(shape(item, f"{path}[]") for item in value))
    return {f"{path}:{type(value).__name__}"}


@pytest.mark.parametrize("sid", [1, 3])
@pytest.mark.parametrize("command", [command for command in PRIMARY if command not in APART])
def test_keys_and_types(pair, command, sid):
    answers = []
    for members in pair:
        status, kind, body = ask(members[sid], f"/{command}")
        assert kind == "application/json", body
        answers.append((status, json.loads(body)))
    (status, ours), (java_status, java) = answers
    assert status == java_status
    assert shape(ours) == shape(java), ours
    assert (ours["command"], ours["error"]) == (java["command"], java["error"])
    if command in SECOND:
        by_second_name = json.loads(ask(pair[0][sid], f"/{SECOND[command]}")[2])
        assert shape(by_second_name) == shape(ours) and by_second_name["command"] == command


def test_values(pair):
    ours = pair[0]
    client = ours.clients[1]
    connections = json.loads(ask(ours[3], "/connections")[2])["connections"]
    mine = next(connection for connection in connections if connection["session_id"] == client.session)
    assert mine["session_timeout"] == 300_000 and mine["last_operation"] == "GETD" and mine["packets_received"] > 150
    dump = json.loads(ask(ours[3], "/dump")[2])
    assert dump["session_id_to_ephemeral_paths"][str(client.session)] == ["/a3/e"]
    assert any(client.session in sessions for sessions in dump["expiry_time_to_session_ids"].values())
    assert json.loads(ask(ours[3], "/watches")[2])["session_id_to_watched_paths"] == {str(client.session): ["/a3"]}
    assert json.loads(ask(ours[3], "/watches_by_path")[2])["path_to_session_ids"] == {"/a3": [client.session]}
    assert json.loads(ask(ours[1], "/leader")[2])["leader_id"] == 3
    members = json.loads(ask(ours[1], "/voting_view")[2])["current_config"]
    assert [member["learner_type"] for member in members.values()] == ["participant"] * 3
    state = json.loads(ask(ours[3], "/zabstate")[2])
    assert state["zabstate"] == "broadcast" and int(state["last_zxid"], 16) == ours[3].zxid()
    hashes = [json.loads(ask(ours[sid], "/hash")[2])["digests"] for sid in (1, 3)]
    assert hashes[0] == hashes[1] and hashes[0][0]["zxid"] % 128 == 0


def test_monitor_and_properties(pair):
    """What Prometheus shows, and what zoo.cfg sets."""
    ours, java = (json.loads(ask(members[3], "/monitor")[2]) for members in pair)
    for key in ("server_state", "peer_state", "command", "error"):
        assert ours[key] == java[key]
    same = set(ours) & set(java)
    assert {"znode_count", 'readlatency{quantile="0.5"}', "synced_followers", "readlatency_count"} <= same
    assert all(type(ours[key]) is type(java[key]) or "NaN" in (ours[key], java[key]) for key in same)
    properties = [json.loads(ask(members[3], "/system_properties")[2]) for members in pair]
    for key in ("zookeeper.preAllocSize", "zookeeper.4lw.commands.whitelist", "os.name", "user.dir"):
        assert key in properties[0] and key in properties[1]
    text = json.loads(ask(pair[0][3], "/initial_configuration")[2])["initial_configuration"]
    assert text == pair[0][3].config.read_text()


def test_index(pair):
    ours, java = (ask(members[1], "")[2] for members in pair)
    assert ours == java


def test_errors(pair):
    """Unknown commands, bad arguments, and what needs an identity."""
    for command in ("/nosuch", "/set_trace_mask", "/set_trace_mask?traceMask=x", "/snapshot"):
        ours, java = (ask(members[1], command) for members in pair)
        assert ours[0] == java[0]
        assert json.loads(ours[2]) == json.loads(java[2]), command
    for members in pair:
        status, _, body = ask(members[1], "/snapshot", Authorization="nosuch x:y")
        assert (status, json.loads(body)["error"]) == (401, "Not authenticated"), members[1].kind
        status, _, body = ask(members[1], "/restore", method="POST")
        assert (status, json.loads(body)["error"]) == (401, "Auth info is missing for the command")


def test_resets(pair):
    for members in pair:
        ask(members[3], "/connection_stat_reset")
        connections = json.loads(ask(members[3], "/connections")[2])["connections"]
        assert all(connection["last_operation"] == "NA" and connection["last_cxid"] == -1 for connection in connections)
        ask(members[3], "/stat_reset")
        assert json.loads(ask(members[3], "/server_stats")[2])["server_stats"]["packets_received"] == 0
        assert json.loads(ask(members[3], "/set_trace_mask?traceMask=9")[2])["tracemask"] == 9
        assert json.loads(ask(members[3], "/get_trace_mask")[2])["tracemask"] == 9
