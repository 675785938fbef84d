"""A pytest plugin: each process of the suite has servers on ports of its own."""

import os

import pytest

PORTS_PER_WORKER = 100


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    worker = getattr(config, "workerinput", {"workerid": "gw0"})["workerid"]
    first = int(os.environ["KAZOO_FIRST_PORT"]) + PORTS_PER_WORKER * int(worker.removeprefix("gw"))
    os.environ["ZOOKEEPER_PORT_OFFSET"] = str(first)
