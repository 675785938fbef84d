"""The commands of README.md: those of `quorate` run here, as they stand there but for ports; the others run elsewhere."""

import os
import re
import signal
import subprocess

import pytest
import tree
import wire
from harness import ROOT, STARTED, JavaServer, free_ensemble_port, free_ports, quorate_binary, wait_until

# What runs here. The default ports may be taken, so others are named.
SERVER = "quorate server"
STATUS = "quorate status"
SERVER_OF_A_FILE = "quorate server zoo.cfg"
FILES = [
    "quorate txnlog check quorate-data/version-2/log.*",
    "quorate txnlog dump quorate-data/version-2/log.*",
    "quorate snapshot check quorate-data/version-2/snapshot.*",
    "quorate snapshot dump quorate-data/version-2/snapshot.*",
]
ENSEMBLES = ["cargo run --release -p zk-server -- ensemble 3", "quorate ensemble 3"]
STATUS_OF_THREE = "quorate status 127.0.0.1:21811,127.0.0.1:21812,127.0.0.1:21813"

# What runs elsewhere: in which file, and by which text there.
ELSEWHERE = {
    "./e2e/up": ("e2e/test", "/e2e/up"),
    "./e2e/test": (".ci/run", "/e2e/test"),
    "helm install quorate charts/zookeeper-operator --namespace quorate-system --create-namespace": (
        "e2e/tests/test_helm.py",
        'from_readme("helm install")',
    ),
    "kubectl apply --server-side -f deploy/crd.yaml -f deploy/operator.yaml": ("e2e/operator-up", "from_readme 'kubectl apply --server-side'"),
    "kubectl apply -f deploy/ensemble.yaml": ("e2e/up", "from_readme 'kubectl apply -f deploy/ensemble.yaml'"),
    "kubectl get zke": ("e2e/up", "from_readme 'kubectl get zke'"),
}


@pytest.fixture
def start(tmp_path):
    """Starts a command of the README in a shell of its own; gives the process and a way to read its output."""
    started = []

    def start(command):
        output = tmp_path / f"output-{len(started)}"
        with output.open("w") as out:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=tmp_path,
                env=environment(tmp_path),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        STARTED.append(process)
        started.append(process)
        return process, output.read_text

    yield start
    for process in started:
        end(process)


@pytest.fixture(autouse=True)
def ours(peer):
    if peer != "quorate":
        pytest.skip("the reference has no such commands")


def environment(home):
    """`quorate` is the program under test."""
    programs = home / "bin"
    programs.mkdir(exist_ok=True)
    link = programs / "quorate"
    if not link.exists():
        link.symlink_to(os.path.abspath(quorate_binary()))
    return {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}


def finished(command, home):
    """Standard output of a command that ends by itself, and well."""
    run = subprocess.run(["bash", "-c", command], cwd=home, env=environment(home), capture_output=True, text=True, timeout=30)
    assert run.returncode == 0, f"{command}: {run.returncode}\n{run.stdout}{run.stderr}"
    return run.stdout


def end(process):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    return process.wait(timeout=10)


def wait_ready(process, output):
    """The connect string of the ready line."""

    def ready():
        assert process.poll() is None, output()
        return re.search(r"^connect string: (\S+)$", output(), re.MULTILINE)

    return wait_until(ready, 20, output)[1]


def test_every_command_is_run_somewhere():
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("# or: ", "").splitlines()
    found = {line.partition("#")[0].strip() for line in lines} - {""}
    here = [SERVER, STATUS, SERVER_OF_A_FILE, *FILES, *ENSEMBLES, STATUS_OF_THREE]
    assert sorted(found) == sorted([*here, *ELSEWHERE])
    for file, text in ELSEWHERE.values():
        assert text in (ROOT / file).read_text(), (file, text)


def test_one_server_and_its_files(start, tmp_path):
    port = free_ports(1)[0]
    process, output = start(f"{SERVER} --set clientPort={port}")
    assert wait_ready(process, output) == f"127.0.0.1:{port}"
    client = wire.Connection(port)
    client.connect()
    client.create("/from-the-readme", b"x")
    assert "standalone" in finished(f"{STATUS} 127.0.0.1:{port}", tmp_path)
    client.close_session()
    assert end(process) == 0, output()
    said = {command: finished(command, tmp_path) for command in FILES}
    assert "/from-the-readme" in said[FILES[1]] and 'path="/zookeeper"' in said[FILES[3]], said


def test_a_java_servers_data_is_taken_over(start, tmp_path):
    java = JavaServer(tmp_path, {"client": free_ports(1)[0]}).start().wait_serving()
    client = java.connect(30_000)
    client.create("/kept", b"by Java", wire.EPHEMERAL)
    before = tree.dump(java)
    java.stop()
    wait_ready(*start(SERVER_OF_A_FILE))
    assert not tree.differences(before, tree.dump(java))
    again = java.connect(30_000, session=client.session, passwd=client.passwd)
    assert again.session == client.session
    again.close_session()


@pytest.mark.parametrize("command", ENSEMBLES)
def test_an_ensemble(start, tmp_path, command):
    first = free_ensemble_port(3)
    command = command.replace("cargo run --release -p zk-server --", "quorate")
    hosts = wait_ready(*start(f"{command} --client-port {first}"))
    asked = STATUS_OF_THREE
    for n in range(3):
        asked = asked.replace(str(21811 + n), str(first + n))
    assert hosts == asked.split()[-1]
    rows = finished(asked, tmp_path).splitlines()[1:]
    assert sorted(row.split()[1] for row in rows) == ["follower", "follower", "leader"]
