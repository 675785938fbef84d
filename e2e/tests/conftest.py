"""Fixtures of the cluster suite: one operator, one ensemble that most tests share."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import cluster  # noqa: E402
import diagnostics  # noqa: E402
from ensemble import Ensemble  # noqa: E402

NAMESPACE = "e2e"
# Prometheus runs beside the shared ensemble, and must be let in.
MONITORED = {"monitoring": [{"podSelector": {}}]}
HELM_NAMESPACE = "e2e-helm"
# The shared ensemble is made by the first; Helm replaces the operator, so it is last.
ORDER = ["test_install", "test_faults", "test_prometheus", "test_bad_input", "test_safety", "test_operator", "test_helm"]


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: ORDER.index(item.module.__name__))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed and call.when in ("setup", "call"):
        try:
            diagnostics.save(item.name.replace("/", "-"), ["quorate-system", NAMESPACE, "e2e-safety", HELM_NAMESPACE])
        except Exception as error:  # the test's own failure must stay the one that is reported
            cluster.say(f"diagnostics failed: {error}")


@pytest.fixture(scope="session")
def operator():
    cluster.install_operator()


@pytest.fixture(scope="session")
def made(operator):
    """The shared ensemble, applied but not waited for."""
    cluster.make_namespace(NAMESPACE)
    yield Ensemble(NAMESPACE).create(networkPolicy=MONITORED)
    if not os.environ.get("QUORATE_KEEP"):
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture
def ensemble(made):
    """The shared ensemble, serving."""
    made.wait_serving()
    return made
