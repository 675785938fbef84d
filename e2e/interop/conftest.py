"""Fixtures of the interop tests.

`--peer java` puts Apache ZooKeeper in the place of quorate everywhere: a test that fails then is
wrong about the reference. `--keep DIR` keeps configuration, data and logs of every server.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import harness  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--peer", choices=sorted(harness.KINDS), default="quorate", help="the server under test")


@pytest.fixture(scope="session")
def peer(request):
    """The kind of the server under test."""
    return request.config.getoption("--peer")


@pytest.fixture
def ensemble(tmp_path):
    """Makes ensembles by `ensemble({1: kind, ...})`, started and serving; ends them with the test."""
    made = []

    def make(kinds, **options):
        one = harness.Ensemble(tmp_path / f"ensemble-{len(made)}", kinds, **options)
        made.append(one)
        one.start_led_by_highest()
        return one

    yield make
    for one in made:
        one.close()


@pytest.fixture
def standalone(tmp_path):
    """Makes standalone servers by `standalone(kind, home=None)`, not started; ends them with the test."""
    made = []

    def make(kind, home=None, **options):
        home = home or tmp_path / f"standalone-{len(made)}"
        one = harness.KINDS[kind](home, {"client": harness.free_ports(1)[0]}, **options)
        made.append(one)
        return one

    yield make
    for one in made:
        if one.running():
            one.kill()


@pytest.fixture(scope="module")
def server(peer, tmp_path_factory):
    """One standalone server of the kind under test for all tests of a module."""
    server = harness.KINDS[peer](tmp_path_factory.mktemp("server"), {"client": harness.free_ports(1)[0]})
    yield server.start().wait_serving()
    server.kill()
