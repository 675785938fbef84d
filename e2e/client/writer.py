"""A writer: one session that changes znodes of its own and remembers every answer.

Every set names the version it expects, so the history of a register is a chain:
a write whose answer was lost is either the next link or will never be one, and a
later read tells which. An acknowledged write that is missing breaks the chain.
"""

import random
import threading
import time

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import (
    BadVersionError,
    ConnectionClosedError,
    ConnectionLoss,
    NoNodeError,
    OperationTimeoutError,
    SessionExpiredError,
)
from kazoo.handlers.threading import KazooTimeoutError, SequentialThreadingHandler

UNKNOWN_OUTCOME = (
    ConnectionLoss,
    ConnectionClosedError,
    OperationTimeoutError,
    SessionExpiredError,
    KazooTimeoutError,
)
ANSWER_SECONDS_MAX = 20
CONNECT_SECONDS_MAX = 1
SESSION_SECONDS = 10
REGISTERS = 4


class ImpatientHandler(SequentialThreadingHandler):
    """Gives up soon on the address of a pod that is gone; kazoo waits a whole session timeout for it."""

    def create_connection(self, *arguments, **options):
        options["timeout"] = min(options["timeout"], CONNECT_SECONDS_MAX)
        return super().create_connection(*arguments, **options)


def connect(hosts, session_seconds=SESSION_SECONDS):
    """A started client that reconnects quickly: the tests measure the servers, not a back-off."""
    client = KazooClient(
        hosts=hosts,
        timeout=session_seconds,
        handler=ImpatientHandler(),
        connection_retry={"max_tries": -1, "delay": 0.05, "backoff": 1.5, "max_delay": 0.3},
    )
    client.start(timeout=60)
    return client


class Register:
    """One znode with the version and value that its last acknowledged write left."""

    def __init__(self, path, stat):
        self.path = path
        self.version = stat.version
        self.mzxid = stat.mzxid
        self.value = b""
        self.unknown = []  # values of sets of this version whose answers were lost: at most one is ever applied

    def settled(self, value, stat):
        self.version, self.value, self.mzxid, self.unknown = stat.version, value, stat.mzxid, []

    def explains(self, value, stat):
        """Whether a read may return this: the last acknowledged state, or the unknown write on top of it."""
        if stat.version == self.version:
            return value == self.value and stat.mzxid == self.mzxid
        return stat.version == self.version + 1 and value in self.unknown


class Writer(threading.Thread):
    """Writes below `root`/w<index> until `stop` is set."""

    def __init__(self, index, hosts, root, rate, stop):
        super().__init__(name=f"writer-{index}", daemon=True)
        self.index, self.rate, self.stop_event = index, rate, stop
        self.root = f"{root}/w{index}"
        self.client = connect(hosts)
        self.client.add_listener(self._state)
        self.registers = []
        self.entries_acked = {}  # name -> value
        self.entries_unknown = {}
        self.acks = []  # monotonic seconds
        self.unknown = self.failed = self.sessions_lost = 0
        self.violations = []
        self.connection = []  # (unix seconds, state of the session)
        self._last_zxid = 0
        self._serial = 0

    def prepare(self):
        self.client.ensure_path(f"{self.root}/log")
        for number in range(REGISTERS):
            path = f"{self.root}/r{number}"
            self.client.create(path, b"")
            self.registers.append(Register(path, self.client.exists(path)))

    def run(self):
        due = time.monotonic()
        while not self.stop_event.is_set():
            due = max(due + 1 / self.rate, time.monotonic() - 1)
            self.stop_event.wait(max(0, due - time.monotonic()))
            try:
                self._step()
            except Exception as error:  # anything unforeseen is a finding, not a silent end of the load
                self._violation(f"unexpected {type(error).__name__}: {error}")
                return

    def _step(self):
        dice = random.random()
        if dice < 0.6:
            self._set(random.choice(self.registers))
        elif dice < 0.85:
            self._create()
        else:
            self._read(random.choice(self.registers))

    def _set(self, register):
        if register.unknown and not self._resolve(register):
            return
        self._serial += 1
        value = f"{self.index}.{self._serial}".encode()
        try:
            stat = self._answer(self.client.set_async(register.path, value, register.version))
        except UNKNOWN_OUTCOME:
            self.unknown += 1
            register.unknown.append(value)
            return
        except BadVersionError:
            self.failed += 1
            if not register.unknown:
                self._violation(f"{register.path}: version {register.version} was acknowledged, yet it is not current")
            self._resolve(register)
            return
        if stat.version != register.version + 1:
            self._violation(f"{register.path}: set of version {register.version} gave {stat.version}")
        self._acknowledged(stat.mzxid)
        register.settled(value, stat)

    def _create(self):
        self._serial += 1
        name, value = f"e{self._serial}", f"{self.index}.{self._serial}".encode()
        path = f"{self.root}/log/{name}"
        try:
            if self._serial % 2:
                self._answer(self.client.create_async(path, value))
                self.acks.append(time.monotonic())
            else:
                _, stat = self._answer(self.client.create_async(path, value, include_data=True))
                self._acknowledged(stat.czxid)
            self.entries_acked[name] = value
        except UNKNOWN_OUTCOME:
            self.unknown += 1
            self.entries_unknown[name] = value

    def _read(self, register):
        """A session must see its own writes, whatever member it was moved to."""
        try:
            value, stat = self._answer(self.client.get_async(register.path))
        except UNKNOWN_OUTCOME:
            return
        if not register.explains(value, stat):
            self._violation(
                f"{register.path}: own session read version {stat.version} {value!r} after an acknowledged "
                f"version {register.version} {register.value!r}"
            )

    def _resolve(self, register):
        """Finds out what became of a write without an answer. False while the ensemble does not answer."""
        try:
            self._answer(self.client.sync_async(register.path))
            value, stat = self._answer(self.client.get_async(register.path))
        except UNKNOWN_OUTCOME:
            return False
        if stat.version == register.version:
            return True  # not applied; a set of the same version will settle it
        if not register.explains(value, stat):
            self._violation(
                f"{register.path}: version {register.version} {register.value!r} was acknowledged, "
                f"then found version {stat.version} {value!r}"
            )
        register.settled(value, stat)
        return True

    def _answer(self, pending):
        return pending.get(timeout=ANSWER_SECONDS_MAX)

    def _acknowledged(self, zxid):
        self.acks.append(time.monotonic())
        self._order(zxid)

    def _order(self, zxid):
        if zxid <= self._last_zxid:
            self._violation(f"zxid {zxid:#x} was given after {self._last_zxid:#x} in the same session")
        self._last_zxid = zxid

    def _violation(self, text):
        self.violations.append(f"writer {self.index}: {text}")

    def _state(self, state):
        self.connection.append((round(time.time(), 2), state))
        if state == KazooState.LOST and not self.stop_event.is_set():
            self.sessions_lost += 1


def verify(client, member, writers, with_data):
    """Compares what one member holds with the histories. Returns the violations."""
    found = []
    for writer in writers:
        client.sync(writer.root)
        for register in writer.registers:
            try:
                value, stat = client.get(register.path)
            except NoNodeError:
                found.append(f"{member}: {register.path} is gone")
                continue
            if not register.explains(value, stat):
                found.append(
                    f"{member}: {register.path} holds version {stat.version} {value!r}, acknowledged was version "
                    f"{register.version} {register.value!r} (unknown: {register.unknown!r})"
                )
        names = set(client.get_children(f"{writer.root}/log"))
        lost = sorted(set(writer.entries_acked) - names)
        if lost:
            found.append(f"{member}: {len(lost)} acknowledged creates of writer {writer.index} are gone: {lost[:5]}")
        strangers = sorted(names - set(writer.entries_acked) - set(writer.entries_unknown))
        if strangers:
            found.append(f"{member}: znodes nobody wrote below {writer.root}/log: {strangers[:5]}")
        if with_data:
            found += _compare_data(client, member, writer, names)
    return found


def _compare_data(client, member, writer, names):
    expected = {**writer.entries_acked, **writer.entries_unknown}
    pending = [(name, client.get_async(f"{writer.root}/log/{name}")) for name in sorted(names & set(expected))]
    return [
        f"{member}: {writer.root}/log/{name} holds other data than was written"
        for name, answer in pending
        if answer.get(timeout=ANSWER_SECONDS_MAX)[0] != expected[name]
    ]
