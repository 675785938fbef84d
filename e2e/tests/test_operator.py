"""What the operator sees and says: who may reach the pods, causes of trouble, a cut API server, members it cannot ask."""

import contextlib
import time

import pytest

import cluster
from cluster import CLIENT_IMAGE, apply, kubectl, kubectl_json, restricted_pod, run, say, until
from ensemble import Ensemble

NAMESPACE = "e2e-operator"
STRANGERS = "e2e-strangers"
OPERATOR = ("-n", "quorate-system")
NODE = "quorate-control-plane"
CUT_SECONDS = 40
HEALED_SECONDS_MAX = 20

# Tries each port of each address, prints those that answer.
KNOCK = """
import socket, sys
for target in sys.argv[1:]:
    host, port = target.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
        print(port, end=" ")
    except OSError:
        pass
"""


@pytest.fixture(scope="module")
def own(operator):
    """An ensemble of three of this module's own."""
    cluster.make_namespace(NAMESPACE)
    cluster.make_namespace(STRANGERS)
    try:
        yield Ensemble(NAMESPACE).create()
    finally:
        for namespace in (NAMESPACE, STRANGERS):
            kubectl("delete", "namespace", namespace, "--wait=false")


def open_ports(namespace, name, address):
    """Ports of a member that a pod in this namespace reaches."""
    targets = [f"{address}:{port}" for port in (2181, 2888, 3888, 7000, 8080)]
    apply(restricted_pod(namespace, name, CLIENT_IMAGE, ["python3", "-c", KNOCK, *targets]))
    phase = ("get", "pod", name, "-o", "jsonpath={.status.phase}")
    until(lambda: kubectl("-n", namespace, *phase) in ("Succeeded", "Failed"), 60)
    answer = kubectl("-n", namespace, "logs", name)
    kubectl("-n", namespace, "delete", "pod", name, "--wait=false")
    return answer.split()


def test_strangers_reach_the_client_port_and_no_other(own):
    own.wait_serving()
    address = own.pods()["zk-0"]["status"]["podIP"]
    assert open_ports(STRANGERS, "knock", address) == ["2181"]
    # One field names more, one turns it off.
    own.patch({"networkPolicy": {"clients": [{"podSelector": {}}], "monitoring": [{"podSelector": {}}]}})
    own.wait_serving()
    until(lambda: open_ports(STRANGERS, "again", address) == [], 30, poll_seconds=2)
    assert open_ports(NAMESPACE, "friend", address) == ["2181", "7000", "8080"]
    own.patch({"networkPolicy": {"enabled": False}})
    until(lambda: not kubectl_json("-n", NAMESPACE, "get", "networkpolicy")["items"], 20)
    own.patch({"networkPolicy": None})
    until(lambda: kubectl_json("-n", NAMESPACE, "get", "networkpolicy")["items"], 20)
    own.wait_serving()


def test_a_key_with_a_slip_is_refused_by_name_and_nothing_restarts(own):
    own.wait_serving()
    uids = own.uids()
    own.patch({"config": {"tikTime": "2000"}})
    told = until(lambda: refused(own), 20, own.status)
    say(told)
    assert told.endswith("tikTime is no key of zoo.cfg; the nearest one is tickTime"), told
    own.patch({"config": {"tikTime": None, "tickTime": "abc"}})
    told = until(lambda: "abc" in refused(own) and refused(own), 20, own.status)
    assert "tickTime=abc must be a whole number" in told, told
    own.patch({"config": None})
    own.wait_serving()
    assert own.uids() == uids, "a spec that was refused restarted a member"


def refused(ensemble):
    status = ensemble.status()
    reconciled = ensemble.condition("Reconciled")
    return reconciled["message"] if status.get("phase") == "Invalid" else ""


def test_a_quota_is_named_in_the_row_and_in_a_warning(own):
    quota = Ensemble(STRANGERS, "full")
    kubectl("-n", STRANGERS, "create", "quota", "two", "--hard=pods=2")
    try:
        quota.create()
        problem = until(
            lambda: next((row["problem"] for row in quota.members().values() if "problem" in row), ""), 60, quota.status
        )
        say(problem)
        assert "FailedCreate" in problem and "exceeded quota" in problem, problem
        until(lambda: any("exceeded quota" in message for message in warnings(quota)), 20, quota.events)
    finally:
        kubectl("-n", STRANGERS, "delete", "quota", "two")
        quota.delete()


def warnings(ensemble):
    found = kubectl_json(
        "-n", ensemble.namespace, "get", "events", "--field-selector",
        f"type=Warning,involvedObject.kind=ZookeeperEnsemble,involvedObject.name={ensemble.name}",
    )
    return [event["message"] for event in found["items"]]


def test_members_that_the_operator_cannot_ask_are_not_called_unavailable(own):
    own.wait_serving()
    own.patch({"networkPolicy": {"enabled": False}})
    # A policy of the namespace's owner that forgets the operator.
    policy = {
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "own-namespace-only", "namespace": NAMESPACE},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": {}}]}]},
    }
    apply(policy)
    try:
        available = until(
            lambda: own.condition("Available")["status"] == "Unknown" and own.condition("Available"), 60, own.status
        )
        say(available["message"])
        assert available["reason"] == "NoAnswer" and "NetworkPolicy" in available["message"]
        assert own.status()["phase"] == "Unknown"
        until(lambda: any("NetworkPolicy" in message for message in warnings(own)), 20, own.events)
    finally:
        kubectl("-n", NAMESPACE, "delete", "networkpolicy", "own-namespace-only")
        own.patch({"networkPolicy": None})
    own.wait_serving()


def test_a_cut_from_the_api_server_heals_within_seconds(own):
    own.wait_serving()
    operator = kubectl_json(*OPERATOR, "get", "pods", "-l", "app.kubernetes.io/name=zookeeper-operator")["items"][0]
    before = operator["status"]["containerStatuses"][0]["restartCount"]
    with cut(f"ip daddr {operator['status']['podIP']} tcp sport 6443 drop"):
        time.sleep(CUT_SECONDS)
        own.patch({"podAnnotations": {"example.org/cut": str(time.time())}})
        generation = own.object()["metadata"]["generation"]
        time.sleep(5)
    healed = time.monotonic()
    until(lambda: own.status().get("observedGeneration") == generation, HEALED_SECONDS_MAX, own.status)
    say(f"the change was taken up {time.monotonic() - healed:.1f} s after the cut")
    own.wait_serving()
    after = kubectl_json(*OPERATOR, "get", "pod", operator["metadata"]["name"])["status"]["containerStatuses"][0]
    assert after["restartCount"] == before, "a restart would not have helped"


@contextlib.contextmanager
def cut(rule):
    """Drops what the node sends and the rule matches."""
    node = ["docker", "exec", "-i", NODE, "nft", "-f", "-"]
    run(node, text=f"table inet e2e_cut {{\nchain out {{\ntype filter hook output priority 0;\n{rule}\n}}\n}}\n")
    try:
        yield
    finally:
        run(["docker", "exec", NODE, "nft", "delete", "table", "inet", "e2e_cut"])
