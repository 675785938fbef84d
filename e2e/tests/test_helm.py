"""The same after the README's `helm install`."""

import pytest

import cluster
from cluster import HELM, ROOT, kubectl, run
from conftest import HELM_NAMESPACE
from ensemble import Ensemble
from load import recipes
from test_faults import leader_killed_under_load, rolling_restart_under_load

# As the README's line names them.
RELEASE, OPERATOR_NAMESPACE = "quorate", "quorate-system"
KEPT = ("Namespace",)


@pytest.fixture(scope="module")
def helm_ensemble():
    """An ensemble under an operator that Helm installed in place of the one from deploy/."""
    remove_manifest_install()
    cluster.make_namespace(HELM_NAMESPACE)
    try:
        cluster.from_readme("helm install")
        kubectl("-n", OPERATOR_NAMESPACE, "rollout", "status", f"deployment/{RELEASE}-operator", "--timeout=120s", seconds_max=150)
        yield Ensemble(HELM_NAMESPACE).create()
    finally:
        # Ensembles elsewhere in the cluster get their operator back.
        run([*HELM, "uninstall", RELEASE, "-n", OPERATOR_NAMESPACE, "--wait"], seconds_max=180, check=False)
        kubectl("delete", "namespace", HELM_NAMESPACE, "--wait=false")
        cluster.install_operator()


def test_kazoo_works_after_helm_install(helm_ensemble):
    helm_ensemble.wait_serving()
    recipes(helm_ensemble)


def test_leader_killed_under_load_after_helm_install(helm_ensemble):
    helm_ensemble.wait_serving()
    leader_killed_under_load(helm_ensemble)


def test_rolling_restart_under_load_after_helm_install(helm_ensemble):
    helm_ensemble.wait_serving()
    rolling_restart_under_load(helm_ensemble)


def test_data_outlives_the_ensemble(helm_ensemble):
    helm_ensemble.wait_serving()
    helm_ensemble.with_client(lambda client: client.create("/kept", b"still here"))
    helm_ensemble.delete()
    claims = helm_ensemble.kubectl("get", "pvc", "-o", "jsonpath={.items[*].metadata.name}").split()
    assert claims == ["data-zk-0", "data-zk-1", "data-zk-2"], claims
    helm_ensemble.create()
    helm_ensemble.wait_serving()
    assert helm_ensemble.with_client(lambda client: client.get("/kept")[0]) == b"still here"


def remove_manifest_install():
    """All that deploy/operator.yaml made, but its namespace."""
    manifest = (ROOT / "deploy/operator.yaml").read_text()
    parts = [part for part in manifest.split("\n---") if not any(f"kind: {kind}\n" in part for kind in KEPT)]
    kubectl("delete", "--ignore-not-found", "--timeout=60s", "-f", "-", text="\n---".join(parts))
