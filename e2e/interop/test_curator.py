"""Recipes of Apache Curator on three servers, with the leader killed in the middle."""

import subprocess
from pathlib import Path

from harness import java_class_path

PROGRAM = Path(__file__).parent / "curator" / "Recipes.java"
BEFORE = ["latch", "cache", "mutex", "barrier", "waiting"]
AFTER = ["cache after", "mutex after", "latch after", "counter after", "barrier after", "closed"]


def test_recipes_outlive_the_leader(ensemble, peer, tmp_path):
    members = ensemble({1: peer, 2: peer, 3: peer})
    command = ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-Dquorate.reference.level=ERROR"]
    errors = tmp_path / "errors"
    with errors.open("wb") as log:
        program = subprocess.Popen(
            [*command, "-cp", java_class_path(), str(PROGRAM), members.hosts()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        said = [program.stdout.readline().strip() for _ in BEFORE]
        assert said == BEFORE, errors.read_text()
        members.leader().kill()
        rest, _ = program.communicate("\n", timeout=90)
        assert rest.splitlines() == AFTER, errors.read_text()
        assert program.returncode == 0
    finally:
        program.kill()
