"""What is not the ensemble's stays as it is, no hand loses data, and one bad change takes one member."""

import json

import pytest

import cluster
from cluster import apply, kubectl, kubectl_json, say, until
from ensemble import Ensemble
from test_bad_input import ABSENT_IMAGE
from test_faults import is_ready

NAMESPACE = "e2e-safety"


@pytest.fixture(scope="module")
def namespace(operator):
    cluster.make_namespace(NAMESPACE)
    yield NAMESPACE
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def test_objects_of_others_are_left_alone_and_stop_the_ensemble(namespace):
    # An ensemble for each kind, all at the same time.
    kinds = range(len(foreign_objects("shop")))
    foreign = {f"shop-{kind}": foreign_objects(f"shop-{kind}")[kind] for kind in kinds}
    apply(*foreign.values())
    before = stored(foreign.values())
    assert len(before) == len(foreign)
    shops = [Ensemble(namespace, name, 1).create() for name in foreign]
    for shop in shops:
        condition = until(lambda: refused(shop, "NameTaken"), 30, shop.status)
        assert foreign[shop.name]["metadata"]["name"] in condition["message"]
        assert set(warnings(shop)) == {"NameTaken"}
        assert shop.status()["phase"] == "Blocked" and not shop.pods()
    for shop in shops:
        shop.delete()
        made = ours(namespace, shop.name)
        assert not made, f"{made} was made beside what is taken"
    assert stored(foreign.values()) == before, "somebody else's object was changed"


def test_an_ensemble_called_default_leaves_the_namespaces_own_account_alone(namespace):
    account = until(lambda: kubectl_json("-n", namespace, "get", "serviceaccount", "default"), 30)
    ensemble = Ensemble(namespace, "default", 1).create(storage={"size": "64Mi", "reclaimPolicy": "Delete"})
    ensemble.wait_serving()
    assert kubectl_json("-n", namespace, "get", "serviceaccount", "default") == account
    ensemble.delete()
    assert kubectl_json("-n", namespace, "get", "serviceaccount", "default") == account


def test_no_object_that_is_deleted_by_hand_takes_data_with_it(namespace):
    ensemble = Ensemble(namespace, "kept", 1).create(storage={"size": "64Mi", "reclaimPolicy": "Delete"})
    ensemble.wait_serving()
    ensemble.with_client(lambda client: client.create("/kept", b"1"))
    until(lambda: owners(namespace, "data-kept-0") == ["ZookeeperEnsemble"], 30)
    volumes, old = claims(namespace, "kept"), ensemble.uids()
    for kind in ("statefulset", "configmap", "service", "poddisruptionbudget", "serviceaccount", "pod"):
        kubectl("-n", namespace, "delete", kind, "-l", "app.kubernetes.io/instance=kept", "--wait=true")
    until(lambda: ensemble.uids() and ensemble.uids() != old, 60, ensemble.uids)
    until(lambda: all(is_ready(pod) for pod in ensemble.pods().values()), 60, ensemble.status)
    ensemble.wait_serving()
    assert claims(namespace, "kept") == volumes
    assert ensemble.with_client(lambda client: client.get("/kept")[0]) == b"1"
    ensemble.delete()
    until(lambda: not claims(namespace, "kept"), 60, lambda: claims(namespace, "kept"))


def test_kept_volumes_of_another_size_are_refused_and_of_the_same_are_taken(namespace):
    one = Ensemble(namespace, "grown", 1).create()
    one.wait_serving()
    one.with_client(lambda client: client.create("/grown", b"1"))
    one.delete()
    volumes = claims(namespace, "grown")
    assert len(volumes) == 1
    three = Ensemble(namespace, "grown", 3).create()
    condition = until(lambda: refused(three, "VolumesUnfit"), 30, three.status)
    say(condition["message"])
    assert "data-grown-0 (of 1 members)" in condition["message"]
    assert "VolumesUnfit" in warnings(three) and not three.pods()
    three.delete()
    assert claims(namespace, "grown") == volumes
    again = Ensemble(namespace, "grown", 1).create()
    again.wait_serving()
    assert again.with_client(lambda client: client.get("/grown")[0]) == b"1"
    again.delete()
    # The claim says what it should, but the volume in it is another one's: only the server can know.
    restore_as(namespace, "data-grown-0", "data-moved-0")
    moved = Ensemble(namespace, "moved", 1).create()
    told = f"belongs to ensemble {namespace}/grown with 1 voters, but this pod belongs to ensemble {namespace}/moved"

    def refusal():
        problem = moved.members().get("moved-0", {}).get("problem", "")
        return problem if problem.startswith("exit code 3:") else None

    problem = until(refusal, 60, moved.status)
    say(problem)
    assert told in problem
    moved.delete()


def test_a_claim_in_deletion_holds_restarts_and_its_volume_can_be_kept(namespace):
    ensemble = Ensemble(namespace, "held", 1).create()
    ensemble.wait_serving()
    ensemble.with_client(lambda client: client.create("/held", b"1"))
    old, volume = ensemble.uids(), volume_of(namespace, "data-held-0")
    kubectl("-n", namespace, "delete", "pvc", "data-held-0", "--wait=false")
    ensemble.patch({"podAnnotations": {"restart": "now"}})
    until(lambda: ensemble.condition("Progressing").get("reason") == "ClaimAtRisk", 60, ensemble.status)
    message = ensemble.condition("Progressing")["message"]
    say(message)
    assert f"kubectl patch pv {volume} " in message
    row = ensemble.members()["held-0"]
    assert row["ready"] and row["problem"].startswith("ClaimInDeletion: "), row
    assert "ClaimAtRisk" in warnings(ensemble)
    assert ensemble.uids() == old
    # As docs/operator.md says for an ensemble of one.
    kubectl("patch", "pv", volume, "-p", '{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}')
    ensemble.delete()
    until(lambda: not claims(namespace, "held"), 60, lambda: claims(namespace, "held"))
    free = [{"op": "remove", "path": f"/spec/claimRef/{field}"} for field in ("uid", "resourceVersion")]
    kubectl("patch", "pv", volume, "--type=json", "-p", json.dumps(free))
    ensemble.create()
    ensemble.wait_serving()
    assert volume_of(namespace, "data-held-0") == volume
    assert ensemble.with_client(lambda client: client.get("/held")[0]) == b"1"
    ensemble.delete()
    kubectl("-n", namespace, "delete", "pvc", "data-held-0")
    kubectl("delete", "pv", volume)


# Each is refused by nobody before a pod is made of it, and no such pod comes up.
BAD_CHANGES = {
    "image": ({"image": ABSENT_IMAGE}, None),
    "resources": ({"resources": {"requests": {"memory": "900Gi"}}}, {"resources": None}),
    "memory": ({"resources": {"limits": {"memory": "8Mi"}}}, {"resources": None}),
    "config": ({"config": {"minSessionTimeout": "90000"}}, {"config": {"minSessionTimeout": None}}),
}


@pytest.mark.parametrize("bad", BAD_CHANGES)
def test_a_bad_change_takes_one_member_whatever_else_restarts(ensemble, bad):
    change, cure = BAD_CHANGES[bad]
    cure = cure or {"image": next(iter(ensemble.pods().values()))["spec"]["containers"][0]["image"]}
    old, works = ensemble.uids(), revision(ensemble)
    ensemble.patch(change)

    def stuck():
        return [name for name, row in ensemble.members().items() if row.get("problem") and ensemble.uids().get(name) != old[name]]

    broken, = until(stuck, 90, ensemble.status)
    say(f"{broken}: {ensemble.members()[broken]['problem']}")
    wanted = revision(ensemble)
    assert wanted != works
    serving = [name for name in old if name != broken]
    # The crash of the broken one itself, or the loss of the others.
    taken = {"image": serving, "resources": serving[:1], "memory": [broken], "config": serving[1:]}[bad]
    refusal = evict(ensemble, serving[0])
    assert "disruption budget" in refusal, refusal
    for name in taken:
        uid = ensemble.uids()[name]
        say(f"{broken} cannot come up; {name} is taken away")
        ensemble.kubectl("delete", "pod", name, "--grace-period=0", "--force", "--wait=false")
        until(lambda: ensemble.uids().get(name, uid) != uid, 60, ensemble.uids)
        if name != broken:
            # The status may be of a look before the pod was taken away.
            until(lambda: name in (pods := ensemble.pods()) and is_ready(pods[name]), 60, ensemble.status)
        assert on_revision(ensemble, wanted) <= 1, "a pod that was made anew got what does not work"
    until(lambda: ensemble.condition("Available")["status"] == "True", 30, ensemble.status)
    ensemble.patch(cure)
    ensemble.wait_serving()
    assert revision(ensemble) == works and on_revision(ensemble, works) == 3


def test_a_pause_holds_a_restart_back_until_it_ends(ensemble):
    uids, works = ensemble.uids(), revision(ensemble)
    ensemble.patch({"paused": True, "podAnnotations": {"example.org/held-back": "yes"}})
    until(lambda: ensemble.status().get("phase") == "Paused", 30, ensemble.status)
    assert ensemble.condition("Ready")["reason"] == "Paused"
    lost = ensemble.leader()
    ensemble.kubectl("delete", "pod", lost, "--grace-period=0", "--force", "--wait=false")
    until(lambda: ensemble.uids().get(lost, uids[lost]) != uids[lost], 60, ensemble.uids)
    until(lambda: lost in (pods := ensemble.pods()) and is_ready(pods[lost]), 60, ensemble.status)
    assert on_revision(ensemble, works) == 3
    assert {name: uid for name, uid in ensemble.uids().items() if name != lost}.items() <= uids.items()
    ensemble.patch({"paused": None, "podAnnotations": {"example.org/held-back": None}})
    ensemble.wait_serving()


def test_a_refused_object_does_not_blind_the_operator(ensemble):
    ensemble.patch({"podLabels": {"bad key": "x"}})
    until(lambda: refused(ensemble, "ApplyFailed"), 30, ensemble.status)
    assert ensemble.condition("Ready")["status"] == "False"
    leader = ensemble.leader()
    old = ensemble.uids()[leader]
    ensemble.kubectl("delete", "pod", leader, "--grace-period=0", "--force", "--wait=false")
    until(lambda: ensemble.leader() not in (None, leader), 60, ensemble.status)
    until(lambda: ensemble.uids().get(leader, old) != old, 60, ensemble.uids)
    ensemble.patch({"podLabels": None})
    ensemble.wait_serving()


def foreign_objects(name):
    """One object of each kind that an ensemble of this name would make, as somebody else has them."""
    labels = {"app": "shop"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "none"}]}}
    return [
        named("v1", "ServiceAccount", f"{name}-server"),
        named("v1", "Service", f"{name}-headless", spec={"selector": labels, "ports": [{"port": 80}]}),
        named("v1", "Service", f"{name}-client", spec={"selector": labels, "ports": [{"port": 80}]}),
        named("policy/v1", "PodDisruptionBudget", name, spec={"maxUnavailable": 1, "selector": {"matchLabels": labels}}),
        named("apps/v1", "StatefulSet", name, spec={
            "replicas": 0, "serviceName": name, "selector": {"matchLabels": labels}, "template": pod,
        }),
        named("v1", "PersistentVolumeClaim", f"data-{name}-0", spec={
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}},
        }),
    ]


def named(version, kind, name, **content):
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, **content}


def stored(objects):
    """What is stored under the names of these objects, without what Kubernetes itself keeps changing."""
    found = {}
    for wanted in objects:
        kind, name = wanted["kind"].lower(), wanted["metadata"]["name"]
        text = kubectl("-n", NAMESPACE, "get", kind, name, "-o", "json", "--ignore-not-found")
        if text.strip():
            seen = json.loads(text)
            seen["metadata"] = {key: seen["metadata"].get(key) for key in ("uid", "labels", "annotations", "ownerReferences")}
            found[f"{kind} {name}"] = {key: seen.get(key) for key in ("metadata", "spec", "data", "automountServiceAccountToken")}
    return found


def ours(namespace, name):
    kinds = "serviceaccount,configmap,service,poddisruptionbudget,statefulset"
    found = kubectl_json("-n", namespace, "get", kinds, "-l", f"app.kubernetes.io/instance={name}")
    return [item["metadata"]["name"] for item in found["items"]]


def refused(ensemble, reason):
    condition = ensemble.condition("Reconciled")
    return condition if condition.get("reason") == reason and condition["status"] == "False" else None


def warnings(ensemble):
    found = kubectl_json(
        "-n", ensemble.namespace, "get", "events", "--field-selector",
        f"involvedObject.kind=ZookeeperEnsemble,involvedObject.uid={ensemble.object()['metadata']['uid']},type=Warning",
    )
    return [event["reason"] for event in found["items"]]


def claims(namespace, name):
    """{name: uid} of the claims of an ensemble."""
    found = kubectl_json("-n", namespace, "get", "pvc")["items"]
    return {
        claim["metadata"]["name"]: claim["metadata"]["uid"]
        for claim in found if claim["metadata"]["name"].startswith(f"data-{name}-")
    }


def volume_of(namespace, claim):
    return kubectl_json("-n", namespace, "get", "pvc", claim)["spec"]["volumeName"]


def owners(namespace, claim):
    seen = kubectl_json("-n", namespace, "get", "pvc", claim)
    return [owner["kind"] for owner in seen["metadata"].get("ownerReferences", [])]


def revision(ensemble):
    """Name of the revision that the StatefulSet wants."""
    return ensemble.kubectl("get", "statefulset", ensemble.name, "-o", "jsonpath={.status.updateRevision}")


def on_revision(ensemble, wanted):
    """Number of pods that were made of a revision."""
    return sum(pod["metadata"]["labels"]["controller-revision-hash"] == wanted for pod in ensemble.pods().values())


def evict(ensemble, name):
    """The API server's answer to an eviction, as a drain asks for one."""
    eviction = {
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": ensemble.namespace},
    }
    path = f"/api/v1/namespaces/{ensemble.namespace}/pods/{name}/eviction"
    return kubectl("create", "--raw", path, "-f", "-", text=json.dumps(eviction), check=False)[1]


def restore_as(namespace, claim, restored):
    """Gives the volume of a claim to another claim, as a restore under a wrong name does."""
    old = kubectl_json("-n", namespace, "get", "pvc", claim)
    volume = old["spec"]["volumeName"]
    kubectl("patch", "pv", volume, "-p", json.dumps({"spec": {"persistentVolumeReclaimPolicy": "Retain"}}))
    kubectl("-n", namespace, "delete", "pvc", claim, "--wait=true")
    bound = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": restored}
    claim_ref = [{"op": "replace", "path": "/spec/claimRef", "value": bound}]
    kubectl("patch", "pv", volume, "--type=json", "-p", json.dumps(claim_ref))
    metadata = {"name": restored, "namespace": namespace, "annotations": {
        key: value for key, value in old["metadata"]["annotations"].items() if key.startswith("quorate.dev/")
    }}
    spec = {key: old["spec"][key] for key in ("accessModes", "resources", "storageClassName", "volumeName")}
    apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec})
    phase = ("get", "pvc", restored, "-o", "jsonpath={.status.phase}")
    until(lambda: kubectl("-n", namespace, *phase) == "Bound", 30)
    # Only now: a volume that is free would be removed at once.
    kubectl("patch", "pv", volume, "-p", json.dumps({"spec": {"persistentVolumeReclaimPolicy": "Delete"}}))
