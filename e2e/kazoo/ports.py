"""A pytest plugin: each process of the suite has servers on ports of its own, and leaves out what it is told."""

import os

import pytest

PORTS_PER_PROCESS = 50


def environment(number, left_out=()):
    """What tells a process, or the first of several workers, its number and what to leave out."""
    return {"KAZOO_PROCESS": str(number), "KAZOO_LEFT_OUT": " ".join(left_out)}


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    worker = getattr(config, "workerinput", {"workerid": "gw0"})["workerid"]
    number = int(os.environ["KAZOO_PROCESS"]) + int(worker.removeprefix("gw"))
    os.environ["ZOOKEEPER_PORT_OFFSET"] = str(int(os.environ["KAZOO_FIRST_PORT"]) + PORTS_PER_PROCESS * number)


def pytest_collection_modifyitems(items):
    left_out = os.environ["KAZOO_LEFT_OUT"].split()
    items[:] = [item for item in items if item.nodeid not in left_out]
