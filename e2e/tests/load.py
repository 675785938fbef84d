"""Programs of the client image, run in pods beside an ensemble."""

import json
import re

from cluster import CACHE, CLIENT_IMAGE, apply, kubectl, kubectl_json, restricted_pod, say, until

FLOWING_SECONDS_MAX = 60


class ClientPod:
    def __init__(self, namespace, name, command):
        self.namespace, self.name = namespace, name
        kubectl("-n", namespace, "delete", "pod", name, "--ignore-not-found", "--timeout=60s")
        apply(restricted_pod(namespace, name, CLIENT_IMAGE, ["python3", *command]))

    def phase(self):
        return kubectl_json("-n", self.namespace, "get", "pod", self.name)["status"].get("phase")

    def logs(self, *options):
        return kubectl("-n", self.namespace, "logs", self.name, *options, check=False)[1]

    def wait_end(self, seconds_max):
        """The whole output and whether the program succeeded."""
        until(lambda: self.phase() in ("Succeeded", "Failed"), seconds_max, lambda: self.logs("--tail=5"))
        return self.logs(), self.phase() == "Succeeded"

    def delete(self):
        kubectl("-n", self.namespace, "delete", "pod", self.name, "--ignore-not-found", "--wait=false")


def recipes(ensemble):
    """Runs the recipes against every member; fails with their output."""
    pod = ClientPod(ensemble.namespace, "recipes", ["/app/recipes.py", "--members", ",".join(ensemble.hosts())])
    output, succeeded = pod.wait_end(150)
    for line in output.splitlines():
        say(f"recipes: {line}")
    assert succeeded, output
    pod.delete()
    return output


class Load:
    """Writers with a history. A context manager: the load flows inside, `report` is there after it."""

    def __init__(self, ensemble, name="history", seconds_max=400):
        self.ensemble, self.name, self.seconds_max = ensemble, name, seconds_max
        self.pod = self.report = None

    def __enter__(self):
        self.pod = ClientPod(self.ensemble.namespace, self.name, [
            "/app/history.py", "--members", ",".join(self.ensemble.hosts()),
            "--service", self.ensemble.service(), "--seconds-max", str(self.seconds_max),
        ])
        self.wait_acknowledged(300)
        return self

    def __exit__(self, failure, *_):
        if failure is not None:
            return  # the pod stays for the diagnostics
        kubectl("-n", self.ensemble.namespace, "exec", self.name, "--", "/bin/sh", "-c", ": >/tmp/stop")
        output, succeeded = self.pod.wait_end(180)
        saved = CACHE / "log" / f"{self.ensemble.namespace}-{self.name}.log"
        saved.write_text(output)
        line = next((line for line in output.splitlines() if line.startswith("REPORT ")), None)
        assert line, f"no report:\n{output[-3000:]}"
        self.report = json.loads(line.removeprefix("REPORT "))
        say(
            f"{self.report['acknowledged']} writes acknowledged in {self.report['seconds']} s, "
            f"{self.report['unknown']} without an answer, leaders by epoch {self.report['leaders']}"
        )
        say("longest spans without an acknowledged write: "
            + ", ".join(f"{length:.2f} s" for _, length in self.report["gaps"]))
        assert not self.report["violations"], "\n".join(self.report["violations"])
        assert succeeded, output[-3000:]
        self.pod.delete()

    def acknowledged(self):
        counts = re.findall(r"acknowledged=(\d+)", self.pod.logs("--tail=3"))
        return int(counts[-1]) if counts else 0

    def wait_acknowledged(self, more, seconds_max=FLOWING_SECONDS_MAX):
        """Until `more` further writes were acknowledged: the ensemble takes writes now."""
        target = self.acknowledged() + more
        until(lambda: self.acknowledged() >= target, seconds_max, lambda: self.pod.logs("--tail=10"))

    def longest_gap_since(self, unix_seconds):
        return max((length for at, length in self.report["gaps"] if at + length >= unix_seconds), default=0)
