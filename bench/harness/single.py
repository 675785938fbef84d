"""The measures of one server, each a function from a bench to rows of the table."""

import json
import os
import shutil
import statistics
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness import workloads
from harness.ensemble import Ensemble, Kind, four_letter_word
from harness.failure import Failure
from harness.memory import resident
from harness.workloads import WarmUp

BULK_SECONDS_MAX = 600
IDLE_SESSIONS = 10_000
# The rate at which writes are sent while snapshots are taken, and how often that makes one.
STALL_WRITES_PER_SECOND = 2000
STALL_SNAP_COUNT = 10_000
STALL_SECONDS = 30
SNAPSHOTS = "server1/data/version-2"
FIRST_WARM_UP = {True: WarmUp(15, 30), False: WarmUp(4, 12)}
LATER_WARM_UP = {True: WarmUp(6, 12), False: WarmUp(3, 6)}


@dataclass
class Bench:
    generator: Path
    java: Kind
    quorate: Kind
    directory: Path
    rounds: int
    seconds: float
    znodes: int
    # On a file system in memory: what a server shows there is not its disk's doing.
    memory: Path | None = None

    def systems(self) -> list[Kind]:
        return [self.java, self.quorate]

    def places(self) -> list[tuple[Path, str]]:
        """Where data can lie, with what a row says of it."""
        return [(self.directory, ""), (self.memory, "; data in memory")]

    def server(
        self, kind: Kind, name: str, *settings: str, keep: bool = False, at: Path | None = None
    ) -> Ensemble:
        return Ensemble(kind, (at or self.directory) / name, 1, settings, keep)

    def load(self, server: Ensemble, workload: str, first: bool, *options: str) -> dict:
        warm_up = (FIRST_WARM_UP if first else LATER_WARM_UP)[server.kind.is_java]
        return workloads.run_workload(
            self.generator, server, workload, warm_up, self.seconds, options
        )

    def bulk(self, server: Ensemble, what: str, count: int):
        """Runs a bulk command of the generator to its end."""
        subprocess.run(
            self._bulk_command(server, what, count),
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=BULK_SECONDS_MAX,
        )

    @contextmanager
    def held(self, server: Ensemble, what: str, count: int):
        """Keeps what a bulk command makes while the block runs."""
        command = self._bulk_command(server, what, count)
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
            if not process.stdout.readline():
                raise Failure(f"{' '.join(command)} ended with {process.wait()}")
            yield
            process.stdin.close()

    def machine(self, at: Path, seconds: float) -> dict:
        """How long the machine keeps a program waiting that asks for little; no server runs."""
        os.sync()
        done = subprocess.run(
            [str(self.generator), "machine", f"--dir={at}", f"--seconds={seconds}"],
            check=True,
            stdout=subprocess.PIPE,
            timeout=2 * seconds + 60,
        )
        return json.loads(done.stdout)

    def _bulk_command(self, server: Ensemble, what: str, count: int) -> list[str]:
        return [
            str(self.generator),
            what,
            f"--server={server.addresses[0]}",
            f"--count={count}",
        ]


@dataclass
class Row:
    """One measure: figures of both by round, the ratio that is asked for and the one aimed at.

    `inverse` says that the ratio is Java's figure by Quorate's: work per CPU second."""

    title: str
    java: list[float]
    quorate: list[float]
    floor: float | None
    aim: float | None
    inverse: bool = False
    # Of Quorate's own figure, where that is what counts.
    absolute_max: float | None = None
    digits: int = 1
    ratios: list[float] = field(init=False)

    def __post_init__(self):
        pairs = zip(self.java, self.quorate)
        self.ratios = [a / b if self.inverse else b / a for a, b in pairs]

    @property
    def ratio(self) -> float:
        a, b = statistics.median(self.java), statistics.median(self.quorate)
        return a / b if self.inverse else b / a

    @property
    def is_met(self) -> bool:
        if self.absolute_max is not None:
            return max(self.quorate) <= self.absolute_max
        if self.floor is None:
            return True
        return self.ratio >= self.floor if self.inverse else self.ratio <= self.floor

    def markdown(self) -> str:
        def figures(values):
            return " / ".join(f"{value:,.{self.digits}f}" for value in values)

        sign = "≥" if self.inverse else "≤"
        if self.absolute_max is not None:
            floor, aim = f"≤ {self.absolute_max:g} itself", ""
        else:
            floor = "" if self.floor is None else f"{sign} {self.floor:g}"
            aim = "" if self.aim is None else f"{sign} {self.aim:g}"
        if not self.is_met:
            floor += ", missed"
        ratio = f"**{self.ratio:.3g}**"
        spread = f"{min(self.ratios):.3g} to {max(self.ratios):.3g}"
        cells = [self.title, figures(self.java), figures(self.quorate), ratio, spread, floor, aim]
        return "| " + " | ".join(cells) + " |"


@dataclass
class MachineRow:
    """What the machine did by itself, in rounds beside those of a tail."""

    title: str
    rounds: list[dict]
    is_met = True

    def markdown(self) -> str:
        names = ("turn_p999_us", "turn_max_us", "sync_p999_us", "sync_max_us")
        cells = [" / ".join(f"{it[name] / 1000:.1f}" for it in self.rounds) for name in names]
        return "| " + " | ".join([self.title, *cells]) + " |"


def table(rows: list[Row | MachineRow]) -> str:
    """One for the servers, and one for the machine if it was looked at."""
    parts = [
        (
            "| measure | Java, by round | Quorate, by round | ratio of medians | by round | at least | aim |",
            "|---|---:|---:|---:|---:|---|---|",
            [row for row in rows if isinstance(row, Row)],
        ),
        (
            "| the machine alone, by round, ms | turn, p99.9 | turn, longest | sync, p99.9 | sync, longest |",
            "|---|---:|---:|---:|---:|",
            [row for row in rows if isinstance(row, MachineRow)],
        ),
    ]
    return "\n\n".join(
        "\n".join([head, line, *(row.markdown() for row in rows)]) for head, line, rows in parts if rows
    )


def throughput(bench: Bench):
    """CPU of the server for each request, and one outstanding write."""
    figures: dict[tuple[bool, str], list[dict]] = {}
    for _ in range(bench.rounds):
        for kind in bench.systems():
            with bench.server(kind, "throughput") as server:
                for number, workload in enumerate(("write", "read", "mix", "single")):
                    taken = bench.load(server, workload, number == 0)
                    figures.setdefault((kind.is_java, workload), []).append(taken)

    def row(title, workload, name, *rest, **options):
        columns = [[it[name] for it in figures[is_java, workload]] for is_java in (True, False)]
        return Row(title, *columns, *rest, **options)

    cpu = "server_cpu_us_per_op"
    yield row("reads per second of server CPU; µs each", "read", cpu, 6, 10, inverse=True)
    yield row("durable writes per second of server CPU; µs each", "write", cpu, 4, 6, inverse=True)
    yield row("one outstanding write, p50, µs", "single", "p50_us", 0.7, 0.4, digits=0)
    half = int(max(it["ops_per_s"] for it in figures[True, "mix"]) / 2)
    for place, where in bench.places():
        tails = {True: [], False: []}
        alone = []
        for _ in range(bench.rounds):
            alone.append(bench.machine(place, bench.seconds))
            for kind in bench.systems():
                with bench.server(kind, "tail", at=place) as server:
                    bench.load(server, "mix", True)
                    paced = bench.load(server, "mix", False, f"--rate={half}")
                    tails[kind.is_java].append(paced["p999_us"])
        title = f"p99.9 of the 90/10 mix at {half:,} requests/s, half of Java's best, µs{where}"
        yield Row(title, tails[True], tails[False], 0.2, 0.05, digits=0)
        yield MachineRow(f"beside p99.9 of the mix{where}", alone)


def znodes(bench: Bench):
    """Memory of a large tree and of watches on it."""
    count = bench.znodes
    per_znode = {True: [], False: []}
    per_watch = {True: [], False: []}
    for _ in range(bench.rounds):
        for kind in bench.systems():
            with bench.server(kind, "znodes", f"snapCount={10 * count}") as server:
                bench.bulk(server, "fill", count)
                full = resident(server)
                per_znode[kind.is_java].append(full / count)
                with bench.held(server, "watch", count):
                    per_watch[kind.is_java].append((resident(server) - full) / count)
    title = f"resident bytes per znode of 100 bytes at {count:,}"
    yield Row(title, per_znode[True], per_znode[False], 0.25, 0.2, digits=0)
    title = f"resident bytes per watch, {count:,} on a znode each"
    yield Row(title, per_watch[True], per_watch[False], 0.2, 0.1, digits=0)


def sessions(bench: Bench):
    """Memory of a session that does nothing."""
    each = {True: [], False: []}
    for _ in range(bench.rounds):
        for kind in bench.systems():
            with bench.server(kind, "sessions") as server:
                # The first sessions bring in code and pools that stay.
                with bench.held(server, "hold", 100):
                    empty = resident(server)
                with bench.held(server, "hold", IDLE_SESSIONS):
                    each[kind.is_java].append((resident(server) - empty) / IDLE_SESSIONS)
    title = f"resident bytes per idle session at {IDLE_SESSIONS:,}"
    yield Row(title, each[True], each[False], 0.2, 0.1, digits=0)


def start(bench: Bench):
    """From the start of the process to the first answer, with a snapshot that Java has written."""
    made = bench.directory / "start-made"
    shutil.rmtree(made, ignore_errors=True)
    with bench.server(bench.java, "start-made", keep=True) as server:
        bench.bulk(server, "fill", bench.znodes)
    # A standalone Java server writes a snapshot when it starts.
    with bench.server(bench.java, "start-made", keep=True):
        pass
    seconds = {True: [], False: []}
    for _ in range(bench.rounds):
        for kind in bench.systems():
            copy = bench.directory / "start"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(made, copy)
            os.sync()
            begin = time.monotonic()
            with bench.server(kind, "start", keep=True) as server:
                seconds[kind.is_java].append((time.monotonic() - begin) * 1000)
                require_znodes(server, bench.znodes)
            shutil.rmtree(copy)
    shutil.rmtree(made)
    title = f"start with a snapshot of {bench.znodes:,} znodes, ms"
    yield Row(title, seconds[True], seconds[False], 0.15, 0.1, digits=0)


def stall(bench: Bench):
    """The longest wait of a write while snapshots of a large tree are taken."""
    for place, where in bench.places():
        quiet = {True: [], False: []}
        busy = {True: [], False: []}
        alone = []
        for kind in bench.systems():
            for snap_count, longest in ((10 * bench.znodes, quiet), (STALL_SNAP_COUNT, busy)):
                with bench.server(kind, "stall", f"snapCount={snap_count}", at=place) as server:
                    bench.bulk(server, "fill", bench.znodes)
                    for _ in range(bench.rounds):
                        longest[kind.is_java].append(longest_wait(bench, server, longest is busy))
        for _ in range(bench.rounds):
            alone.append(bench.machine(place, STALL_SECONDS))
        title = f"longest wait of a write without snapshots, ms{where}"
        yield Row(title, quiet[True], quiet[False], None, None)
        title = f"longest wait of a write while snapshots of {bench.znodes:,} znodes are taken, ms{where}"
        yield Row(title, busy[True], busy[False], None, None, absolute_max=10)
        yield MachineRow(f"beside the longest wait of a write{where}", alone)


def longest_wait(bench: Bench, server: Ensemble, with_snapshots: bool) -> float:
    """In ms, of a write among many at a fixed pace."""
    os.sync()
    before = snapshots(server)
    figures = workloads.run_workload(
        bench.generator,
        server,
        "write",
        LATER_WARM_UP[server.kind.is_java],
        STALL_SECONDS,
        (f"--rate={STALL_WRITES_PER_SECOND}", "--connections=4"),
    )
    taken = snapshots(server) - before
    if with_snapshots and len(taken) < 2:
        raise Failure(f"{server.kind.name} took no snapshots while it was measured")
    for old in sorted(taken)[:-1]:
        # There is less room in memory than on a disk.
        (server.directory / SNAPSHOTS / old).unlink(missing_ok=True)
    return figures["max_us"] / 1000


def snapshots(server: Ensemble) -> set[str]:
    return {path.name for path in (server.directory / SNAPSHOTS).glob("snapshot.*")}


def require_znodes(server: Ensemble, count: int):
    for line in four_letter_word(server.addresses[0], b"srvr").splitlines():
        if line.startswith("Node count: ") and int(line.split(": ")[1]) > count:
            return
    raise Failure(f"{server.kind.name} serves without the {count} znodes")


PARTS = {
    "throughput": throughput,
    "znodes": znodes,
    "sessions": sessions,
    "start": start,
    "stall": stall,
}
