"""The Kubernetes cluster of the tests, through kubectl with an explicit context."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(
    os.environ.get("QUORATE_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quorate"
)
KUBECTL = [str(CACHE / "kind/bin/kubectl"), "--kubeconfig", str(CACHE / "kubeconfig"), "--context", "kind-quorate"]
HELM = [str(CACHE / "kind/bin/helm"), "--kubeconfig", str(CACHE / "kubeconfig"), "--kube-context", "kind-quorate"]

CLIENT_IMAGE = "quorate/e2e-client:dev"
PROMETHEUS_IMAGE = "quorate/e2e-prometheus:dev"
POLL_SECONDS = 0.5


def say(text):
    print(f"{time.strftime('%H:%M:%S')}   {text}", file=sys.stderr, flush=True)


def run(command, text=None, check=True, seconds_max=120):
    """Standard output of a command; with check=False (exit code, output and errors together)."""
    done = subprocess.run(
        command, input=text, text=True, timeout=seconds_max, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if check else subprocess.STDOUT,
    )
    if not check:
        return done.returncode, done.stdout
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


def kubectl(*arguments, **options):
    return run([*KUBECTL, *arguments], **options)


def kubectl_json(*arguments):
    return json.loads(kubectl(*arguments, "-o", "json"))


def apply(*objects):
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    return kubectl("apply", "-f", "-", text=json.dumps(listed))


def until(condition, seconds_max, shown=lambda: "", poll_seconds=POLL_SECONDS):
    """Waits for a truthy condition and returns it; prints what was seen last when time is up."""
    deadline = time.monotonic() + seconds_max
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, f"still not after {seconds_max} s: {shown()}"
        time.sleep(poll_seconds)


def make_namespace(name):
    """An empty namespace that admits only restricted pods."""
    delete_namespace(name)
    apply({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    })


def delete_namespace(name):
    kubectl("delete", "namespace", name, "--ignore-not-found", "--timeout=120s", seconds_max=150)


def install_operator():
    run([str(ROOT / "e2e/operator-up")], seconds_max=240)


def from_readme(beginning):
    """Runs the one line of the README that begins so, exactly as it is printed."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith(beginning)]
    assert len(lines) == 1, lines
    environment = {**os.environ, "KUBECONFIG": str(CACHE / "kubeconfig"), "PATH": f"{CACHE / 'kind/bin'}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", lines[0]], cwd=ROOT, env=environment, text=True, capture_output=True, timeout=180)
    assert done.returncode == 0, f"{lines[0]}\n{done.stdout}{done.stderr}"


def proxied(namespace, pod, port, path):
    """(exit code, body) of a GET to a pod's port, through the API server."""
    return kubectl("get", "--raw", f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy{path}", check=False)


@contextlib.contextmanager
def port_forward(namespace, target, port):
    """The local port that leads to a port of a pod or Service."""
    forward = subprocess.Popen(
        [*KUBECTL, "-n", namespace, "port-forward", target, f":{port}"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )
    try:
        line = forward.stdout.readline()
        local = re.search(r"127\.0\.0\.1:(\d+)", line)
        assert local, f"no port-forward to {target}: {line!r}"
        yield int(local[1])
    finally:
        forward.kill()
        forward.wait()


def restricted_pod(namespace, name, image, command, **spec):
    """A pod that restricted pod security admits; it ends once and is not restarted."""
    container = {
        "name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "command": command,
        "securityContext": {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *spec.pop("mounts", [])],
    }
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 5,
            "securityContext": {
                "runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {}}, *spec.pop("volumes", [])],
            **spec,
        },
    }
