"""/zookeeper/config: the members as each server shows them, alone and in an ensemble, on both kinds of server.

Every server makes it from its own zoo.cfg, so comparisons of trees leave it out (`tree.py`).
"""

import harness
import pytest
from jute import STAT_FIELDS

CONFIG = "/zookeeper/config"


def shown(server):
    """The lines, which have no fixed order, and all else that does not tell when the server was started."""
    client = server.connect()
    data, stat = client.get(CONFIG)
    acl, _ = client.get_acl(CONFIG)
    children = client.children("/zookeeper")
    client.close_session()
    assert (stat.mtime > 0) == bool(data), stat
    steady = {name: value for name, value in zip(STAT_FIELDS, stat, strict=True) if name != "mtime"}
    return sorted(data.decode().splitlines()), steady, acl, sorted(children)


@pytest.mark.parametrize("listed, standalone_enabled", [(False, None), (True, None), (True, "false")])
def test_a_server_alone(standalone, peer, listed, standalone_enabled):
    """It shows its own line only if it runs the protocol of an ensemble."""
    quorum, election = harness.free_ports(2)
    options = {"sid": 1, "members": {1: (quorum, election)}} if listed else {}
    options["settings"] = {"standaloneEnabled": standalone_enabled}
    found = {}
    for kind in ("java", peer):
        server = standalone(kind, **options).start().wait_serving()
        found[kind] = shown(server)
        server.stop()
    lines = [f"server.1=127.0.0.1:{quorum}:{election}:participant", "version=0"]
    assert found["java"][0] == (lines if standalone_enabled else [])
    assert found[peer] == found["java"]


@pytest.mark.parametrize("client_ports", [False, True], ids=["members", "members-with-client-ports"])
def test_three(tmp_path, peer, client_ports):
    """All members of an ensemble of both kinds show the same, also where the lines name the ports for clients."""
    with harness.Ensemble(tmp_path, {1: peer, 2: "java", 3: peer}) as three:
        lines = []
        for sid, (quorum, election) in three[1].members.items():
            line, client = f"127.0.0.1:{quorum}:{election}", three[sid].ports["client"]
            lines.append(f"server.{sid}={line}:participant" + (f";127.0.0.1:{client}" if client_ports else ""))
            if client_ports:
                for server in three:
                    server.members[sid] = (quorum, f"{election};127.0.0.1:{client}")
        if client_ports:
            for server in three:
                server.settings = {**server.settings, "clientPort": None, "clientPortAddress": None}
                server.write_config()
        three.start_led_by_highest()
        found = [shown(server) for server in three]
        assert found[1][0] == [*lines, "version=0"]
        assert found[0] == found[1] == found[2]
