"""One ZookeeperEnsemble of the tests: made, watched and asked."""

import json
import re
import socket
import time

from kazoo.client import KazooClient

from cluster import apply, kubectl, kubectl_json, port_forward, say, until

SERVING_SECONDS_MAX = 180


class Ensemble:
    def __init__(self, namespace, name="zk", replicas=3):
        self.namespace, self.name, self.replicas = namespace, name, replicas

    def create(self, **spec):
        apply({
            "apiVersion": "quorate.dev/v1alpha1", "kind": "ZookeeperEnsemble",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {"replicas": self.replicas, "storage": {"size": "64Mi"}, **spec},
        })
        return self

    def patch(self, spec, check=True):
        return self.kubectl(
            "patch", "zke", self.name, "--type=merge", "-p", json.dumps({"spec": spec}), check=check
        )

    def delete(self):
        self.kubectl("delete", "zke", self.name, "--timeout=60s")
        until(lambda: not self.pods(), 90, lambda: list(self.pods()))

    def kubectl(self, *arguments, **options):
        return kubectl("-n", self.namespace, *arguments, **options)

    def object(self):
        return kubectl_json("-n", self.namespace, "get", "zke", self.name)

    def status(self):
        return self.object().get("status", {})

    def condition(self, kind):
        return next((c for c in self.status().get("conditions", []) if c["type"] == kind), {})

    def members(self):
        """{pod name: status row}"""
        return {row["name"]: row for row in self.status().get("members", [])}

    def leader(self):
        return self.status().get("leader")

    def pods(self):
        """{pod name: pod} of the members, oldest creation first."""
        found = kubectl_json("-n", self.namespace, "get", "pods", "-l", f"app.kubernetes.io/instance={self.name}")
        ordered = sorted(found["items"], key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))
        return {pod["metadata"]["name"]: pod for pod in ordered}

    def uids(self):
        return {name: pod["metadata"]["uid"] for name, pod in self.pods().items()}

    def events(self):
        """Events about the ensemble itself, oldest first: [(reason, message)]"""
        found = kubectl_json(
            "-n", self.namespace, "get", "events", "--field-selector",
            f"involvedObject.kind=ZookeeperEnsemble,involvedObject.name={self.name}",
        )
        ordered = sorted(found["items"], key=lambda event: event["metadata"]["creationTimestamp"])
        return [(event["reason"], event["message"]) for event in ordered]

    def hosts(self):
        """host:port of each member, as pods reach them."""
        domain = f"{self.name}-headless.{self.namespace}.svc.cluster.local"
        return [f"{self.name}-{ordinal}.{domain}:2181" for ordinal in range(self.replicas)]

    def service(self):
        return f"{self.name}-client.{self.namespace}.svc.cluster.local:2181"

    def wait_serving(self, seconds_max=SERVING_SECONDS_MAX):
        """Until the status says, of the newest spec, that every member serves. Returns the status."""
        last, started = "", time.monotonic()

        def serving():
            nonlocal last
            seen = self.object()
            line = describe(seen.get("status", {}))
            if line != last:
                say(f"{self.namespace}/{self.name} {line}")
                last = line
            return seen.get("status") if is_serving(seen, self.replicas) else None

        status = until(serving, seconds_max, lambda: json.dumps(self.status(), indent=1))
        say(f"{self.namespace}/{self.name} serves after {time.monotonic() - started:.0f} s")
        return status

    def ask(self, member, word):
        """The answer of a member to a four-letter word, through a port-forward."""
        with port_forward(self.namespace, f"pod/{member}", 2181) as port:
            answer = b""
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(word.encode())
                while chunk := connection.recv(65536):
                    answer += chunk
        return answer.decode()

    def with_client(self, action):
        """The result of an action with a kazoo client, through a port-forward to the client Service."""
        with port_forward(self.namespace, f"service/{self.name}-client", 2181) as port:
            client = KazooClient(f"127.0.0.1:{port}")
            client.start(timeout=30)
            try:
                return action(client)
            finally:
                client.stop()

    def srvr(self, member):
        """{"Mode": ..., "Zxid": ..., ...}"""
        return dict(re.findall(r"^([^:\n]+): (.*)$", self.ask(member, "srvr"), re.M))


def is_serving(seen, replicas):
    status = seen.get("status", {})
    ready = next((c for c in status.get("conditions", []) if c["type"] == "Ready"), {})
    return (
        status.get("observedGeneration") == seen["metadata"]["generation"]
        and ready.get("status") == "True"
        and status.get("readyReplicas") == replicas
        and bool(status.get("leader"))
    )


def describe(status):
    rows = [
        f"{row['name']}={row['role']}{'+' if row['ready'] else '-'}" for row in status.get("members", [])
    ]
    return f"{status.get('phase', 'no status')} epoch={status.get('epoch')} {' '.join(rows)}"
