"""The workloads, how long they run, and the running of one."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.ensemble import Ensemble
from harness.failure import Failure

# In this order: the write path is the longest, so the JVM's long first warm-up goes there, and
# the mix warms the reads that come after it.
WORKLOADS = ["write", "mix", "read", "single-leader", "single-follower"]
EXTRA_WORKLOADS = ["create"]


@dataclass
class WarmUp:
    """Seconds; the rule itself is in the generator."""

    min: float
    max: float


@dataclass
class Pace:
    """How long each system runs. `first` is the warm-up of the first workload after a start,
    `later` that of the others."""

    name: str
    rounds: int
    seconds: float
    java_first: WarmUp
    java_later: WarmUp
    quorate_first: WarmUp
    quorate_later: WarmUp

    def warm_up(self, is_java: bool, is_first: bool) -> WarmUp:
        if is_java:
            return self.java_first if is_first else self.java_later
        return self.quorate_first if is_first else self.quorate_later


FULL = Pace(
    "full",
    rounds=3,
    seconds=15,
    java_first=WarmUp(15, 40),
    java_later=WarmUp(15, 40),
    quorate_first=WarmUp(6, 40),
    quorate_later=WarmUp(6, 40),
)
# Under five minutes in all: 2 x (21 + 12 + 4 x 6 + 4 x 6 + 2 x 5 x 4) s and the starts.
QUICK = Pace(
    "quick",
    rounds=2,
    seconds=4,
    java_first=WarmUp(15, 21),
    java_later=WarmUp(6, 6),
    quorate_first=WarmUp(6, 12),
    quorate_later=WarmUp(6, 6),
)


def run_workload(
    generator: Path,
    ensemble: Ensemble,
    workload: str,
    warm_up: WarmUp,
    seconds: float,
    options: tuple[str, ...] = (),
) -> dict:
    """Figures of one workload, as the generator prints them."""
    # The slack covers opening sessions, laying out znodes and waiting for the last replies.
    limit = warm_up.max + seconds + 90
    try:
        done = subprocess.run(
            [*command(generator, ensemble, workload, warm_up, seconds), *options],
            stdout=subprocess.PIPE,
            text=True,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"the generator did not finish {workload} in {limit:.0f} s") from None
    if done.returncode != 0:
        raise Failure(
            f"{workload} failed on {ensemble.kind.name}; logs are in {ensemble.directory}"
        )
    return json.loads(done.stdout)


def command(
    generator: Path, ensemble: Ensemble, workload: str, warm_up: WarmUp, seconds: float
) -> list[str]:
    """The generator's command line."""
    name, addresses = workload, ensemble.addresses
    if workload.startswith("single-"):
        name = "single"
        leader = ensemble.leader()
        index = leader if workload == "single-leader" else (leader + 1) % len(addresses)
        addresses = [addresses[index]]
    return [
        str(generator),
        "load",
        name,
        f"--servers={','.join(addresses)}",
        f"--pids={','.join(map(str, ensemble.pids))}",
        f"--seconds={seconds}",
        f"--warm-up-min={warm_up.min}",
        f"--warm-up-max={warm_up.max}",
    ]
