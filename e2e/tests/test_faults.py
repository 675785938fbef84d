"""Faults under load: nothing acknowledged is lost, and never two leaders in one epoch.

The load itself checks both (see e2e/client/history.py); the tests make the
faults and look at the order in which members are restarted.
"""

import time

from cluster import say, until
from load import Load

FAILOVER_SECONDS_MAX = 60
RESTART_SECONDS_MAX = 240
ACKNOWLEDGED_AFTER = 1000  # writes after a fault, about five seconds of load


def test_leader_killed_under_load(ensemble):
    leader_killed_under_load(ensemble)


def test_rolling_restart_under_load(ensemble):
    rolling_restart_under_load(ensemble)


def leader_killed_under_load(ensemble):
    before = ensemble.status()
    with Load(ensemble) as load:
        killed = time.time()
        kill_leader(ensemble, before)
        load.wait_acknowledged(ACKNOWLEDGED_AFTER)
        ensemble.wait_serving()
        load.wait_acknowledged(ACKNOWLEDGED_AFTER)
    say(f"write gap of the leader's death: {load.longest_gap_since(killed):.2f} s")
    assert len(load.report["leaders"]) >= 2, load.report["leaders"]
    assert load.report["sessions_lost"] == 0, "a session did not survive the change of leader"


def rolling_restart_under_load(ensemble):
    before = ensemble.status()
    old, known = ensemble.uids(), len(ensemble.events())
    with Load(ensemble) as load:
        started = time.time()
        ensemble.patch({"config": {"maxClientCnxns": str(100 + int(started) % 800)}})
        until_restarted(ensemble, old)
        ensemble.wait_serving()
        load.wait_acknowledged(ACKNOWLEDGED_AFTER)
    say(f"write gap of the rolling restart: {load.longest_gap_since(started):.2f} s")
    order = list(ensemble.pods())
    say(f"restarted in the order {order}, the leader was {before['leader']}")
    assert order[-1] == before["leader"], f"the leader {before['leader']} was not the last of {order}"
    told = [message for _, message in ensemble.events()[known:] if message.startswith("restarting")]
    assert [message.split()[1].strip(":,") for message in told] == order, told
    assert load.report["sessions_lost"] == 0, "a session did not survive the rolling restart"


def kill_leader(ensemble, before):
    """Kills the leader without grace and waits until another epoch has a leader."""
    say(f"killing {before['leader']}")
    old = ensemble.uids()[before["leader"]]
    ensemble.kubectl("delete", "pod", before["leader"], "--grace-period=0", "--force", "--wait=false")

    def led_anew():
        status = ensemble.status()
        return status.get("leader") and (status.get("epoch") or 0) > before["epoch"]

    until(led_anew, FAILOVER_SECONDS_MAX, ensemble.status)
    until(lambda: ensemble.uids().get(before["leader"], old) != old, FAILOVER_SECONDS_MAX, ensemble.uids)


def until_restarted(ensemble, old):
    """Until every pod is another one; never may two members be out at once."""

    def restarted():
        pods = ensemble.pods()
        out = [name for name in old if not (name in pods and is_ready(pods[name]))]
        assert len(out) <= 1, f"{out} were out at the same time"
        return len(pods) == len(old) and all(pods[name]["metadata"]["uid"] != uid for name, uid in old.items())

    until(restarted, RESTART_SECONDS_MAX, lambda: f"{ensemble.uids()} {ensemble.status()}")


def is_ready(pod):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
