"""What cannot work is refused with a sentence, or stops before it does harm."""

import time

from cluster import CACHE, KUBECTL, ROOT, kubectl, run, say, until
from load import Load

ABSENT_IMAGE = "quorate/quorate:absent"
PATIENCE_SECONDS = 15  # long enough for an operator that did not stop to take the next pod


def test_malformed_objects_are_refused_with_a_sentence(operator):
    # Some cases store an object first; without the operator no pods come of it.
    deployment = ("-n", "quorate-system", "deployment/quorate-operator")
    kubectl("scale", "--replicas=0", *deployment)
    try:
        answer = run(
            ["env", f"KUBECTL={KUBECTL[0]}", str(ROOT / "operator/testdata/crd/check"), "kind-quorate",
             str(CACHE / "kubeconfig")], seconds_max=240,
        )
        say(answer.strip())
    finally:
        kubectl("scale", "--replicas=1", *deployment)
        kubectl("rollout", "status", *deployment, "--timeout=90s")


def test_a_change_of_replicas_is_refused_with_a_sentence(ensemble):
    code, answer = ensemble.patch({"replicas": 5}, check=False)
    say(answer.strip())
    assert code != 0 and "replicas cannot be changed after the ensemble was created" in answer
    assert len(ensemble.pods()) == 3


def test_an_image_that_does_not_exist_stops_after_one_pod(ensemble):
    image = next(iter(ensemble.pods().values()))["spec"]["containers"][0]["image"]
    old, leader = ensemble.uids(), ensemble.leader()
    with Load(ensemble) as load:
        ensemble.patch({"image": ABSENT_IMAGE})

        def replaced():
            return [name for name, uid in ensemble.uids().items() if uid != old.get(name)]

        stuck, = until(replaced, 90, ensemble.status)
        told = until(lambda: complaint(ensemble, stuck), 90, lambda: (ensemble.status(), ensemble.events()))
        say(f"status and events: {told}")
        for _ in range(PATIENCE_SECONDS):
            assert replaced() == [stuck], "the restart went on to another member"
            time.sleep(1)
        assert stuck != leader, "the leader was restarted first"
        load.wait_acknowledged(300)
        assert ensemble.condition("Available")["status"] == "True"

        ensemble.patch({"image": image})
        ensemble.wait_serving()
        load.wait_acknowledged(300)
    assert {pod["spec"]["containers"][0]["image"] for pod in ensemble.pods().values()} == {image}


def complaint(ensemble, stuck):
    """What a user is told of the pod that does not come back: why, in its row of the status, and an Event."""
    problem = ensemble.members().get(stuck, {}).get("problem", "")
    events = [f"{reason}: {message}" for reason, message in ensemble.events() if f"waiting for {stuck} to become ready" in message]
    return (problem, events[-1]) if "Image" in problem and events else None
