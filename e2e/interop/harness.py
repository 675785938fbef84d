"""Servers of both kinds as processes on loopback, alone or together in one ensemble.

`java` is Apache ZooKeeper 3.9.4, `quorate` is the server of this repository. Every server has a
directory of its own with zoo.cfg, data and log; only processes started here are ever signalled.
"""

import atexit
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import wire
from relay import Relay, sync_modes

ROOT = Path(__file__).resolve().parents[2]

TICK_MS = 500
START_PATIENCE = 30.0  # seconds; a JVM on a loaded machine needs most of them
POLL = 0.05

JAVA_FLAGS = [
    "-Xmx128m",
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Xshare:auto",
    "-Djava.net.preferIPv4Stack=true",
]


class Server:
    """One server process. `ports` holds client; in an ensemble quorum and election; admin and metrics if wanted."""

    kind = None

    def __init__(self, home, ports, sid=None, members=None, settings=None):
        self.home = Path(home)
        self.sid = sid
        self.ports = ports
        self.members = members or {}
        self.settings = dict(settings or {})
        self.process = None
        self.data_dir = self.home / "data"
        self.config = self.home / "zoo.cfg"
        self.log = self.home / "server.log"
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.write_config()

    def write_config(self):
        lines = {
            "tickTime": TICK_MS,
            "initLimit": 20,
            "syncLimit": 10,
            "dataDir": self.data_dir,
            "clientPort": self.ports["client"],
            "clientPortAddress": "127.0.0.1",
            "maxClientCnxns": 0,
            "preAllocSize": 64,
            "4lw.commands.whitelist": "*",
            **self.default_settings(),
            **self.settings,
        }
        text = [f"{key}={value}" for key, value in lines.items() if value is not None]
        text += [f"server.{sid}=127.0.0.1:{quorum}:{election}" for sid, (quorum, election) in self.members.items()]
        self.config.write_text("\n".join(text) + "\n")
        if self.sid is not None:
            (self.data_dir / "myid").write_text(f"{self.sid}\n")

    def default_settings(self):
        """Without ports for them, neither the admin server nor the metrics are there."""
        if "metrics" not in self.ports:
            return {"admin.enableServer": "false"}
        return {
            "admin.serverAddress": "127.0.0.1",
            "admin.serverPort": self.ports["admin"],
            "metricsProvider.className": "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider",
            "metricsProvider.httpHost": "127.0.0.1",
            "metricsProvider.httpPort": self.ports["metrics"],
        }

    def command(self):
        raise NotImplementedError

    # life

    def start(self):
        assert not self.running(), f"server {self.sid} runs already"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment()},
            )
        STARTED.append(self.process)
        return self

    def environment(self):
        return {}

    def running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self):
        """Asks the process to end and waits for it."""
        self._end(signal.SIGTERM)

    def kill(self):
        """kill -9: nothing is flushed."""
        self._end(signal.SIGKILL)

    def freeze(self):
        """Stops the process where it is; its sockets stay open and unread."""
        self.process.send_signal(signal.SIGSTOP)
        wait_until(self._stopped, 5, lambda: f"server {self.sid} does not stop")

    def _stopped(self):
        """Threads stop one by one; a late one could still log and acknowledge a proposal."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/stat")
        try:
            return all(task.read_text().rpartition(")")[2].split()[0] == "T" for task in tasks)
        except OSError:
            return False  # a thread ended meanwhile

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def wipe(self):
        """Loses the data directory, keeps the identity."""
        assert not self.running()
        shutil.rmtree(self.data_dir / "version-2", ignore_errors=True)

    def _end(self, sig):
        if not self.running():
            return
        self.process.send_signal(sig)
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(timeout=10)
            raise AssertionError(f"server {self.sid} ({self.kind}) did not end on {sig!r}") from None

    # questions

    def word(self, word):
        return wire.four_letter_word(self.ports["client"], word)

    def srvr(self):
        """The lines of `srvr` by name; empty while the server does not answer or does not serve."""
        try:
            text = self.word("srvr")
        except OSError:
            return {}
        return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)

    def mntr(self):
        """The lines of `mntr` by name, without `zk_`; empty while the server does not serve."""
        try:
            text = self.word("mntr")
        except OSError:
            return {}
        return dict(line[3:].split("\t", 1) for line in text.splitlines() if line.startswith("zk_") and "\t" in line)

    def mode(self):
        return self.srvr().get("Mode")

    def zxid(self):
        """The last processed zxid, or None while not serving."""
        text = self.srvr().get("Zxid")
        return None if text is None else int(text, 16)

    def connect(self, timeout_ms=10_000, **kwargs):
        """A raw client connection with a session."""
        connection = wire.Connection(self.ports["client"])
        connection.connect(timeout_ms, **kwargs)
        return connection

    def come_back(self, timeout_ms, last_zxid, patience=5.0, **kwargs):
        """A connection of a client that has seen `last_zxid`. A member that is behind closes it
        without a word, and clients try again."""
        end = time.monotonic() + patience
        while True:
            try:
                return self.connect(timeout_ms, last_zxid=last_zxid, **kwargs)
            except wire.Closed:
                zxid = self.zxid()
                if time.monotonic() > end:
                    raise AssertionError(f"server {self.sid} at {zxid} turns away a client at {last_zxid:#x}") from None
                time.sleep(0.02)

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def version2(self):
        return self.data_dir / "version-2"

    def log_files(self):
        """Transaction log files, oldest first."""
        return sorted(self.version2().glob("log.*"), key=_file_zxid)

    def snapshots(self):
        return sorted(self.version2().glob("snapshot.*"), key=_file_zxid)

    def wait_serving(self, patience=START_PATIENCE):
        wait_until(self._serving_or_dead, patience, lambda: f"server {self.sid} ({self.kind}) does not serve\n{self._tail()}")
        return self

    def _serving_or_dead(self):
        assert self.running(), f"server {self.sid} ({self.kind}) ended with {self.process.poll()}\n{self._tail()}"
        return self.mode() is not None

    def _tail(self, lines=40):
        return "\n".join(self.log_text().splitlines()[-lines:])


class JavaServer(Server):
    """Apache ZooKeeper 3.9.4."""

    kind = "java"
    class_path_command = ("classpath",)

    def command(self):
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        return ["java", *JAVA_FLAGS, "-cp", class_path(*self.class_path_command), main, str(self.config)]


class DebianServer(JavaServer):
    """Apache ZooKeeper 3.8.0 as Debian 12 packages it."""

    kind = "debian"
    class_path_command = ("debian-classpath",)


class QuorateServer(Server):
    """The server of this repository."""

    kind = "quorate"

    def command(self):
        return [quorate_binary(), "server", "--config", str(self.config)]

    def environment(self):
        return {"RUST_BACKTRACE": "1"}


def older(version):
    """The kind of server that an older version of Apache ZooKeeper is."""
    return type("OlderServer", (JavaServer,), {"kind": version, "class_path_command": ("classpath", version)})


OLDER_VERSIONS = ("3.5.10", "3.6.4", "3.7.2")
KINDS = {
    "debian": DebianServer,
    "java": JavaServer,
    "quorate": QuorateServer,
    **{version: older(version) for version in OLDER_VERSIONS},
}


class Ensemble:
    """Servers by sid. `kinds` maps each sid to "java" or "quorate".

    With `record_sync` every quorum port is reached through a relay, so `syncs` can tell from the
    bytes how a learner was brought up to date, whatever the servers log. With `http` the admin
    server and the Prometheus metrics are on.
    """

    def __init__(self, home, kinds, settings=None, record_sync=False, http=False):
        self.home = Path(home)
        self.relays = {}
        names = ("client", "quorum", "election", "relay", *(("admin", "metrics") if http else ()))
        ports = {sid: dict(zip(names, free_ports(len(names)))) for sid in kinds}
        if record_sync:
            for sid, own in ports.items():
                self.relays[sid] = Relay(own["relay"], own["quorum"])
        self.servers = {}
        for sid, kind in kinds.items():
            members = {
                other: (own["relay"] if record_sync and other != sid else own["quorum"], own["election"])
                for other, own in ports.items()
            }
            self.servers[sid] = KINDS[kind](self.home / f"{kind}-{sid}", ports[sid], sid, members, settings)

    def __getitem__(self, sid):
        return self.servers[sid]

    def __iter__(self):
        return iter(self.servers.values())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def start(self, *sids):
        for sid in sids or self.servers:
            self.servers[sid].start()
        return self

    def start_led_by_highest(self):
        """Starts all so that the highest sid leads, whichever server comes up fastest."""
        sids = sorted(self.servers)
        minority = (len(sids) - 1) // 2
        for some in (sids[minority:], sids[:minority]):
            self.start(*some)
            self.wait_serving(*some)
        assert self.leader().sid == sids[-1]

    def replace(self, sid, kind):
        """Stops a member and starts a server of that kind on its directory, configuration and ports."""
        old = self.servers[sid]
        old.stop()
        new = KINDS[kind](old.home, old.ports, sid, old.members, old.settings)
        self.servers[sid] = new
        new.start()

    def close(self):
        for server in self:
            if server.running():
                server.process.kill()
        for server in self:
            if server.process is not None:
                server.process.wait(timeout=10)
        for relay in self.relays.values():
            relay.close()

    def running(self):
        return [server for server in self if server.running()]

    def leader(self):
        """The serving leader, or None."""
        return next((server for server in self.running() if server.mode() == "leader"), None)

    def wait_leader(self, patience=START_PATIENCE):
        return wait_until(self.leader, patience, lambda: "no leader\n" + self.tails())

    def wait_serving(self, *sids, patience=START_PATIENCE):
        for server in [self.servers[sid] for sid in sids] or self.running():
            server.wait_serving(patience)
        return self

    def wait_quiet(self, patience=START_PATIENCE):
        """Waits until every running member has processed the same zxid; returns it.

        A session is opened and closed first: before the first transaction of an epoch a leader and
        its followers show different zxids for the same tree.
        """

        def one_write():
            leader = self.leader()
            try:
                return leader and not leader.connect().close_session()
            except (OSError, wire.Closed, wire.ServerError):
                return False  # deposed, but not yet aware of it

        wait_until(one_write, patience, lambda: "no leader takes a session\n" + self.tails())

        def same():
            zxids = {server.zxid() for server in self.running()}
            return zxids.pop() if len(zxids) == 1 and None not in zxids else None

        return wait_until(same, patience, lambda: f"members differ: {[s.zxid() for s in self]}\n{self.tails()}")

    def hosts(self, *sids):
        """The connect string of these members, or of all."""
        return ",".join(f"127.0.0.1:{self.servers[sid].ports['client']}" for sid in sids or self.servers)

    def syncs(self, leader):
        """(learner sid, mode, zxid) of every synchronization that passed the relay of `leader`, oldest first."""
        modes = (sync_modes(conversation) for conversation in self.relays[leader].conversations)
        return [mode for mode in modes if mode]

    def tails(self):
        return "\n".join(f"--- {s.kind} {s.sid}\n{s._tail()}" for s in self)


def wait_until(condition, patience, failure):
    """The first true value of `condition()`; fails with the text of `failure()` when it takes too long."""
    end = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"after {patience} s: {failure()}")
        time.sleep(POLL)


def free_ports(count):
    """Ports of loopback outside the range that the kernel gives to outgoing connections."""
    return [_free_port([0]) for _ in range(count)]


def free_ensemble_port(servers):
    """The port to give to `quorate ensemble`, which takes others above it."""
    return _free_port([offset + n for offset in (0, 1000, 2000) for n in range(servers)])


def _free_port(offsets):
    while True:
        first = random.randrange(12_000, 30_000)
        ports = {first + offset for offset in offsets}
        if not ports & HANDED_OUT and all(map(_is_free, ports)):
            HANDED_OUT.update(ports)
            return first


def _is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def java_class_path():
    return class_path("classpath")


def class_path(script, *arguments):
    """What a script of e2e/reference prints."""
    command = (script, *arguments)
    if command not in CLASS_PATH:
        path = ROOT / "e2e" / "reference" / script
        run = subprocess.run([path, *arguments], check=True, stdout=subprocess.PIPE, text=True)
        CLASS_PATH[command] = run.stdout.strip()
    return CLASS_PATH[command]


def quorate_binary():
    """QUORATE_BIN, or the release build of this checkout, built when absent."""
    named = os.environ.get("QUORATE_BIN")
    if named:
        return named
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    binary = target / "release" / "quorate"
    if not binary.exists():
        subprocess.run(["cargo", "build", "--release", "--locked", "-p", "zk-server"], cwd=ROOT, check=True)
    return str(binary)


def _file_zxid(path):
    return int(path.name.split(".")[1], 16)


CLASS_PATH = {}
HANDED_OUT = set()
STARTED = []


@atexit.register
def _end_all():
    for process in STARTED:
        if process.poll() is None:
            process.kill()
