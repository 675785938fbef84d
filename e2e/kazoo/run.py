"""run.py quorate|java [PYTEST-OPTION...]: kazoo's own test suite against three servers.

`java` records what the suite says about Apache ZooKeeper 3.9.4 in reference.txt. `quorate` judges:
every test of reference.txt runs, and passes unless excluded.txt names it; what is named there does
not pass. An excluded test has a process of its own and a limit of time, because a client that waits
for what the server does not have may wait for ever. With options for pytest only the selected tests
run, and nothing is recorded or missed.
"""

import os
import random
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kazoo
import pytest

import ports

HERE = Path(__file__).resolve().parent
SITE = Path(kazoo.__file__).resolve().parents[1]
REFERENCE = HERE / "reference.txt"
EXCLUDED = HERE / "excluded.txt"

WORKERS = 2
TEST_TIMEOUT = 120  # seconds
EXCLUDED_AT_ONCE = 4  # they mostly wait
EXCLUDED_TIMEOUT = 75  # seconds; the longest takes 40 where it passes
PROCESSES_MAX = 40  # of the suite and of excluded tests
LOG_LINES = 60  # of a test that failed
REFERENCE_VERSION = "3.9.4"
PYTEST = [f"--rootdir={SITE}", f"--config-file={HERE / 'pytest.ini'}", "-p", "ports", "-p", "no:cacheprovider", "-q"]


class Outcomes:
    """What became of each test, by its id; the details of those that did not pass."""

    def __init__(self):
        self.by_id = {}
        self.details = {}

    def pytest_runtest_logreport(self, report):
        if report.outcome != "passed":
            self.by_id[report.nodeid] = report.outcome
            self.details[report.nodeid] = details(report)
        elif report.when == "call":
            self.by_id.setdefault(report.nodeid, "passed")

    def pytest_collectreport(self, report):
        if report.failed:
            self.by_id[report.nodeid] = "failed"
            self.details[report.nodeid] = details(report)


def details(report):
    text = [report.longreprtext]
    for name, content in report.sections:
        text += [f"--- {name}", *content.splitlines()[-LOG_LINES:]]
    return "\n".join(text)


def main(server, *options):
    excluded = {} if server == "java" else dict(line.split(None, 1) for line in entries(EXCLUDED))
    environment(server)
    outcomes = Outcomes()
    with ThreadPoolExecutor(EXCLUDED_AT_ONCE) as pool:
        alone = pool.map(outcome_alone, [] if options else excluded, range(len(excluded)))
        os.environ.update(ports.environment(0, left_out=excluded))
        pytest.main(
            [
                *PYTEST,
                *("--tb=no", "--show-capture=no", "--durations=10", "--disable-warnings"),
                f"--timeout={TEST_TIMEOUT}",
                *("-n", str(WORKERS), "--dist=loadscope"),
                *options,
                str(SITE / "kazoo" / "tests"),
            ],
            plugins=[outcomes],
        )
        if not options:
            outcomes.by_id.update(zip(excluded, alone))
    if server == "java" and not options:
        record(outcomes.by_id)
        return 0
    return judge(outcomes, excluded, whole=not options)


def outcome_alone(test, number):
    """One excluded test: passed, another word, or None when there is no such test."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *PYTEST, str(SITE / test)],
        env={**os.environ, **ports.environment(WORKERS + number)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate(timeout=EXCLUDED_TIMEOUT)
    except subprocess.TimeoutExpired:
        printed = "hung"
    finally:  # its servers, too
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
    if process.returncode == pytest.ExitCode.USAGE_ERROR:
        return None
    return "passed" if re.search(r"\b1 passed\b", printed) else "not passed"


def environment(server):
    """What the suite and the java of bin/ are told by."""
    os.environ.update(
        PATH=f"{HERE / 'bin'}:{os.environ['PATH']}",
        PYTHONPATH=str(HERE),
        KAZOO_SERVER=server,
        KAZOO_FIRST_PORT=str(free_ports(PROCESSES_MAX * ports.PORTS_PER_PROCESS)),
        CI="true",  # nothing is left out
        ZOOKEEPER_VERSION=REFERENCE_VERSION,
        ZOOKEEPER_CLASSPATH=class_path() if server == "java" else "none",
    )


def class_path():
    script = HERE.parent / "reference" / "classpath"
    return subprocess.run([script], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def free_ports(count):
    """The first of so many ports outside the range that the kernel gives to outgoing connections."""
    while True:
        first = random.randrange(12_000, 32_000 - count)
        if all(is_free(port) for port in range(first, first + count)):
            return first


def is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def record(by_id):
    lines = [f"{outcome:7} {test}" for test, outcome in sorted(by_id.items())]
    passed = sum(outcome == "passed" for outcome in by_id.values())
    title = (
        f"# kazoo 2.11.0's own tests on Apache ZooKeeper {REFERENCE_VERSION}, three servers:"
        f" {passed} of {len(by_id)} pass.\n# Written by: e2e/kazoo/run.py java"
    )
    REFERENCE.write_text("\n".join([title, *lines]) + "\n")


def judge(outcomes, excluded, whole):
    """Prints each surprise; the exit code of the run."""
    reference = {test: outcome for outcome, test in (line.split(None, 1) for line in entries(REFERENCE))}
    by_id = {test: outcome for test, outcome in outcomes.by_id.items() if outcome}
    surprises = []
    for test, outcome in sorted(by_id.items()):
        if outcome != "passed" and test not in excluded:
            surprises.append(f"{outcome} (on Java: {reference.get(test)}): {test}\n{outcomes.details[test]}")
        if outcome == "passed" and test in excluded:
            surprises.append(f"passes, but excluded.txt says it does not: {test}: {excluded[test]}")
        if test not in reference:
            surprises.append(f"unknown to reference.txt: {test}")
    if whole:
        surprises += [f"did not run: {test}" for test in sorted({*reference, *excluded} - {*by_id})]
    for surprise in surprises:
        print(f"\n== {surprise}")
    passed = sum(outcome == "passed" for outcome in by_id.values())
    print(f"\n{passed} passed, {len(by_id) - passed} not passed ({len(excluded)} excluded), {len(surprises)} surprises")
    return 1 if surprises or not by_id else 0


def entries(file):
    lines = file.read_text().splitlines() if file.exists() else []
    return [line for line in lines if line.strip() and not line.startswith("#")]


if __name__ == "__main__":
    if sys.argv[1:2] not in (["quorate"], ["java"]):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
