"""What a failed test leaves behind."""

import time

from cluster import CACHE, kubectl, kubectl_json, say
from ensemble import Ensemble

TAIL_LINES = 12


def save(test, namespaces):
    """Logs, events, objects and the answers of every member, into a directory; prints the tails."""
    directory = CACHE / "failures" / f"{time.strftime('%Y%m%d-%H%M%S')}-{test}"
    directory.mkdir(parents=True)
    for namespace in namespaces:
        if kubectl("get", "namespace", namespace, check=False)[0]:
            continue
        for name, arguments in {
            "objects.yaml": ("get", "zke,statefulset,pods,services,configmaps,pvc,pdb,deployments", "-o", "yaml"),
            "pods.txt": ("get", "pods", "-o", "wide"),
            "events.txt": ("get", "events", "--sort-by=.lastTimestamp"),
        }.items():
            _write(directory / f"{namespace}-{name}", kubectl("-n", namespace, *arguments, check=False)[1])
        _show(directory / f"{namespace}-events.txt")
        for pod in kubectl_json("-n", namespace, "get", "pods")["items"]:
            name = pod["metadata"]["name"]
            for suffix, options in {"log": (), "previous.log": ("--previous",)}.items():
                code, text = kubectl("-n", namespace, "logs", name, *options, check=False)
                if code == 0 and text:
                    _write(directory / f"{namespace}-{name}.{suffix}", text)
                    _show(directory / f"{namespace}-{name}.{suffix}")
        for found in kubectl_json("-n", namespace, "get", "zke")["items"]:
            ensemble = Ensemble(namespace, found["metadata"]["name"], found["spec"]["replicas"])
            for member in ensemble.pods():
                for word in ("srvr", "mntr"):
                    try:
                        text = ensemble.ask(member, word)
                    except Exception as error:  # a member that does not answer is what we want to know
                        text = f"{type(error).__name__}: {error}\n"
                    _write(directory / f"{namespace}-{member}.{word}", text)
    say(f"saved in {directory}")


def _write(path, text):
    path.write_text(text)


def _show(path):
    lines = path.read_text().splitlines()[-TAIL_LINES:]
    say(f"--- {path.name}")
    for line in lines:
        say(f"    {line[:300]}")
