"""`kubectl apply` of one object gives three servers that existing clients use."""

import subprocess

from kazoo.client import KazooClient

from cluster import ROOT, kubectl, port_forward, proxied, run, say
from load import recipes


def test_three_members_serve_after_apply(made):
    status = made.wait_serving()
    assert [(row["name"], row["sid"]) for row in status["members"]] == [("zk-0", 1), ("zk-1", 2), ("zk-2", 3)]
    roles = sorted(row["role"] for row in status["members"])
    assert roles == ["follower", "follower", "leader"], status["members"]
    assert all(row["ready"] for row in status["members"])
    leader = next(row["name"] for row in status["members"] if row["role"] == "leader")
    assert status["leader"] == leader
    # A follower keeps its old zxid until the first transaction of the epoch, as in the reference.
    zxids = {row["name"]: int(row["zxid"], 16) for row in status["members"]}
    assert zxids[leader] >> 32 == status["epoch"] and max(zxids.values()) == zxids[leader], status


def test_printer_columns_tell_the_state(ensemble):
    header, row = ensemble.kubectl("get", "zke", ensemble.name).splitlines()
    say(header)
    say(row)
    assert header.split() == ["NAME", "REPLICAS", "READY", "LEADER", "EPOCH", "STATUS", "AGE"]
    status = ensemble.status()
    assert row.split()[:6] == ["zk", "3", "3", status["leader"], str(status["epoch"]), "Serving"]


def test_members_say_what_the_status_says(ensemble):
    for name, row in ensemble.members().items():
        assert ensemble.ask(name, "ruok") == "imok"
        assert ensemble.srvr(name)["Mode"] == row["role"]
        assert "zk_server_state\t" + row["role"] in ensemble.ask(name, "mntr")
        code, body = proxied(ensemble.namespace, name, 8080, "/ready")
        assert code == 0 and '"serving"' in body, body
        code, body = proxied(ensemble.namespace, name, 8080, "/live")
        assert code == 0, body


def test_pods_are_restricted_and_disrupted_one_at_a_time(ensemble):
    # The namespace admits restricted pods only, so that they run is the proof; the
    # operator's namespace is asked with a dry run.
    answer = kubectl(
        "label", "--dry-run=server", "--overwrite", "namespace", "quorate-system",
        "pod-security.kubernetes.io/enforce=restricted", check=False,
    )[1]
    assert "violate" not in answer, answer
    budget = ensemble.kubectl("get", "pdb", ensemble.name, "-o", "jsonpath={.status.disruptionsAllowed}")
    assert budget == "1", budget


def test_kazoo_creates_watches_locks_and_elects(ensemble):
    recipes(ensemble)


def test_java_command_line_client_reads_what_kazoo_wrote(ensemble):
    class_path = run([str(ROOT / "e2e/reference/classpath")], seconds_max=300).strip()
    with port_forward(ensemble.namespace, f"service/{ensemble.name}-client", 2181) as port:
        client = KazooClient(f"127.0.0.1:{port}")
        client.start(timeout=30)
        client.create("/for-java", b"written by kazoo", makepath=True)
        client.stop()
        java = ["java", "-cp", class_path, "org.apache.zookeeper.ZooKeeperMain", "-server", f"127.0.0.1:{port}"]
        read = subprocess.run([*java, "get", "-s", "/for-java"], capture_output=True, text=True, timeout=60)
        assert "written by kazoo" in read.stdout, read.stdout + read.stderr
        assert "dataLength = 16" in read.stdout, read.stdout
        listed = subprocess.run([*java, "ls", "/"], capture_output=True, text=True, timeout=60)
        assert "for-java" in listed.stdout, listed.stdout + listed.stderr
    say("Java's client: " + read.stdout.strip().splitlines()[-1])
