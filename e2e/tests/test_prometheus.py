"""Debian's Prometheus, configured by deploy/prometheus, knows the leader and the zxids.

That package is built without Kubernetes discovery, so it is the configuration
with DNS discovery that runs here.
"""

import json
import re
import urllib.parse

import pytest

from cluster import PROMETHEUS_IMAGE, ROOT, apply, kubectl, proxied, restricted_pod, say, until
from test_faults import kill_leader

SCRAPE_SECONDS = 2
PICTURE_SECONDS_MAX = 60
POD = "prometheus"
RULES = [ROOT / "deploy/prometheus" / name for name in ("rules.yml", "operator-rules.yml")]


@pytest.fixture
def prometheus(ensemble):
    """query(text) -> {pod: value}, from a Prometheus in a pod beside the ensemble."""
    namespace = ensemble.namespace
    config = (ROOT / "deploy/prometheus/prometheus-dns.yml").read_text()
    faster = config.replace("zk-headless.default", f"{ensemble.name}-headless.{namespace}").replace(
        ": 15s", f": {SCRAPE_SECONDS}s"
    ).replace(
        "global:\n", f"rule_files: [/config/*rules.yml]\nglobal:\n  evaluation_interval: {SCRAPE_SECONDS}s\n"
    )
    rules = {file.name: file.read_text() for file in RULES}
    apply(
        {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": POD, "namespace": namespace},
            "data": {"prometheus.yml": faster, **rules},
        },
        restricted_pod(
            namespace, POD, PROMETHEUS_IMAGE,
            ["/usr/bin/prometheus", "--config.file=/config/prometheus.yml", "--storage.tsdb.path=/tmp/data"],
            mounts=[{"name": "config", "mountPath": "/config"}],
            volumes=[{"name": "config", "configMap": {"name": POD}}],
        ),
    )

    def query(text):
        code, body = proxied(namespace, POD, 9090, "/api/v1/query?query=" + urllib.parse.quote(text))
        if code != 0:
            return {}
        return {row["metric"].get("pod", ""): float(row["value"][1]) for row in json.loads(body)["data"]["result"]}

    yield query
    kubectl("-n", namespace, "delete", "pod", POD, "--wait=false")


def test_prometheus_knows_the_leader_before_and_after_its_death(ensemble, prometheus):
    before = ensemble.status()
    picture_is_right(ensemble, prometheus)
    until(lambda: rules_evaluated(ensemble.namespace), 30, lambda: rule_states(ensemble.namespace), 2)
    kill_leader(ensemble, before)
    after = ensemble.wait_serving()
    assert after["epoch"] > before["epoch"]
    picture_is_right(ensemble, prometheus)


def rule_states(namespace):
    """{alert: health} of the rules that Prometheus has loaded; one that it cannot read keeps it from starting."""
    code, body = proxied(namespace, POD, 9090, "/api/v1/rules")
    groups = json.loads(body)["data"]["groups"] if code == 0 else []
    return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}


def rules_evaluated(namespace):
    wanted = [alert for file in RULES for alert in re.findall(r"- alert: (\w+)", file.read_text())]
    return rule_states(namespace) == dict.fromkeys(wanted, "ok")


def picture_is_right(ensemble, query):
    """Within a few scrapes, every answer is what the members say of themselves."""
    # A follower's zxid shows the epoch only after the first transaction in it.
    ensemble.with_client(lambda client: client.create("/picture-", b"", sequence=True))
    own = f'{{namespace="{ensemble.namespace}"}}'

    def picture():
        return {
            "up": query(f"up{own}"),
            "leader": query(f'zk_server_role{{namespace="{ensemble.namespace}",role="leader"}} == 1'),
            "followers": query(f'zk_server_role{{namespace="{ensemble.namespace}",role="follower"}} == 1'),
            "zxid": query(f"zk_server_zxid{own}"),
            "epoch": query(f"zk_server_epoch{own}"),
            "synced": query(f"synced_followers{own}"),
        }

    def expected():
        status = ensemble.status()
        members = {row["name"]: row for row in status["members"]}
        leader = status["leader"]
        zxids = {name: int(ensemble.srvr(name)["Zxid"], 16) for name in members}
        return {
            "up": dict.fromkeys(members, 1.0),
            "leader": {leader: 1.0},
            "followers": {name: 1.0 for name in members if name != leader},
            "zxid": {name: float(zxid) for name, zxid in zxids.items()},
            "epoch": dict.fromkeys(members, float(status["epoch"])),
            "synced": {leader: 2.0},
        }

    # The reference gives some gauges in the leader only, some everywhere: look at the leader's.
    def right():
        seen, wanted = picture(), expected()
        seen["synced"] = {pod: value for pod, value in seen["synced"].items() if pod in wanted["leader"]}
        return seen if seen == wanted else None

    seen = until(right, PICTURE_SECONDS_MAX, lambda: f"Prometheus: {picture()}\nmembers: {expected()}", 2)
    zxid = next(iter(seen["zxid"].values()))
    say(f"Prometheus: leader {next(iter(seen['leader']))}, zxid {int(zxid):#x}, {len(seen['up'])} members up")
