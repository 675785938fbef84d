"""Servers on loopback, of one kind, with data directories of their own."""

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from harness.failure import Failure

SERVERS = 3
START_SECONDS_MAX = 90
STOP_SECONDS_MAX = 15
# Below the range that Linux gives to outgoing connections, so that none of them takes a port.
PORTS = range(20000, 32000)
# The heap is fixed by the terms of the comparison; everything else of the JVM is its default.
JAVA_OPTIONS = ["-Xms1g", "-Xmx1g"]
JAVA_MAIN = "org.apache.zookeeper.server.quorum.QuorumPeerMain"


@dataclass
class Kind:
    """A server to compare: its name and the command that takes a zoo.cfg as last argument."""

    name: str
    command: list[str]
    is_java: bool


def java(root: Path, options: list[str] = JAVA_OPTIONS) -> Kind:
    """Apache ZooKeeper 3.9.4; it logs at INFO, as its own start script makes it."""
    class_path = subprocess.run(
        [root / "e2e/reference/classpath"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    command = [java_program(), *options, "-cp", class_path, JAVA_MAIN]
    return Kind("Java 3.9.4", command, is_java=True)


def java_program() -> str:
    home = os.environ.get("JAVA_HOME")
    return str(Path(home, "bin/java")) if home else "java"


def quorate(binary: Path) -> Kind:
    return Kind("Quorate", [str(binary), "server", "--config"], is_java=False)


class Ensemble:
    """Running servers; use as a context manager, which also removes their data.

    One server is a standalone one. With `keep` the data of an earlier run is served and left."""

    def __init__(
        self,
        kind: Kind,
        directory: Path,
        size: int = SERVERS,
        settings: tuple[str, ...] = (),
        keep: bool = False,
    ):
        self.kind = kind
        self.directory = directory
        self.size = size
        self.settings = settings
        self.keep = keep
        self.processes: list[subprocess.Popen] = []
        self.addresses: list[str] = []

    def __enter__(self):
        if not self.keep:
            shutil.rmtree(self.directory, ignore_errors=True)
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, error_type, error, traceback):
        self._stop()
        if error_type is None and not self.keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self.processes]

    def modes(self) -> list[str]:
        """Role of every server as `srvr` tells it, empty where it does not serve."""
        return [mode_of(four_letter_word(address, b"srvr")) for address in self.addresses]

    def leader(self) -> int:
        """Index of the leader."""
        return self.modes().index("leader")

    def _start(self):
        ports = free_ports(5 * self.size)
        client, quorum, election, admin, metrics = (ports[i::5] for i in range(5))
        members = [
            f"server.{i + 1}=127.0.0.1:{quorum[i]}:{election[i]}"
            for i in range(self.size if self.size > 1 else 0)
        ]
        for i in range(self.size):
            home = self.directory / f"server{i + 1}"
            data = home / "data"
            data.mkdir(parents=True, exist_ok=True)
            (data / "myid").write_text(f"{i + 1}\n")
            config = home / "zoo.cfg"
            config.write_text(
                "\n".join(
                    [
                        "tickTime=2000",
                        "initLimit=10",
                        "syncLimit=5",
                        "maxClientCnxns=0",
                        f"dataDir={data}",
                        f"clientPort={client[i]}",
                        "clientPortAddress=127.0.0.1",
                        f"admin.serverPort={admin[i]}",
                        "admin.serverAddress=127.0.0.1",
                        *self._metrics(metrics[i]),
                        *members,
                        *self.settings,
                        "",
                    ]
                )
            )
            log = open(home / "log", "wb")
            with log:
                self.processes.append(
                    subprocess.Popen(
                        [*self.kind.command, str(config)],
                        cwd=home,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                    )
                )
            self.addresses.append(f"127.0.0.1:{client[i]}")
        self._await_quorum()

    def _metrics(self, port: int) -> list[str]:
        # Java's default provider opens no port and costs less than its Prometheus one.
        if self.kind.is_java:
            return []
        return ["metricsProvider.httpHost=127.0.0.1", f"metricsProvider.httpPort={port}"]

    def _await_quorum(self):
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            for i, process in enumerate(self.processes):
                if process.poll() is not None:
                    raise Failure(
                        f"{self.kind.name} server {i + 1} ended with {process.returncode}:\n"
                        + self._log_tail(i)
                    )
            modes = self.modes()
            if sorted(modes) == self._modes_of_a_quorum():
                return
            if time.monotonic() > deadline:
                raise Failure(
                    f"{self.kind.name} has no quorum after {START_SECONDS_MAX} s, modes {modes}; "
                    f"logs are in {self.directory}:\n" + self._log_tail(0)
                )
            time.sleep(0.2 if self.size > 1 else 0.002)

    def _modes_of_a_quorum(self) -> list[str]:
        if self.size == 1:
            return ["standalone"]
        return ["follower"] * (self.size - 1) + ["leader"]

    def _log_tail(self, index: int) -> str:
        log = (self.directory / f"server{index + 1}" / "log").read_text(errors="replace")
        return "\n".join(log.splitlines()[-15:])

    def _stop(self):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS_MAX
        for process in self.processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def four_letter_word(address: str, word: bytes) -> str:
    """The answer, or an empty string when the server does not answer."""
    host, port = address.rsplit(":", 1)
    try:
        with socket.create_connection((host, int(port)), timeout=2) as connection:
            connection.sendall(word)
            answer = b""
            while chunk := connection.recv(4096):
                answer += chunk
            return answer.decode(errors="replace")
    except OSError:
        return ""


def mode_of(srvr: str) -> str:
    for line in srvr.splitlines():
        if line.startswith("Mode: "):
            return line.removeprefix("Mode: ").strip()
    return ""


def free_ports(count: int) -> list[int]:
    ports: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise Failure("no free ports on loopback")


def require_real_disk(directory: Path) -> str:
    """File system that holds `directory`; refuses those on which fsync costs nothing."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory.resolve()
    best = ("", "unknown")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount_point, file_system, *_ = line.split()
        mount_point = mount_point.replace("\\040", " ")
        if path.is_relative_to(mount_point) and len(mount_point) >= len(best[0]):
            best = (mount_point, file_system)
    if best[1] in ("tmpfs", "ramfs"):
        raise Failure(f"{directory} is on {best[1]}, where fsync does nothing; choose --dir")
    return best[1]
