"""What the documents let a person type or load, beyond the commands of the README."""

import os
import re
import subprocess
import threading

import pytest
from harness import ROOT, quorate_binary


@pytest.fixture(autouse=True)
def ours(peer):
    if peer != "quorate":
        pytest.skip("the documents are about quorate")


def backup_commands(data, copies):
    """The commands under "Backups" of docs/operations.md, with these directories."""
    text = (ROOT / "docs/operations.md").read_text()
    block = re.search(r"^## Backups$.*?^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)[1]
    return block.replace("/var/lib/zookeeper", str(data)).replace("/backup/", f"{copies}/")


def test_a_backup_of_a_server_that_is_written_to_can_be_restored(standalone, tmp_path):
    server = standalone("quorate", settings={"snapCount": 100}).start().wait_serving()
    client = server.connect(20_000)
    client.create("/counter", b"0")
    written, stop = [0], threading.Event()

    def write():
        while not stop.is_set():
            client.set("/counter", b"%d" % (written[0] + 1))
            written[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "quorate").symlink_to(os.path.abspath(quorate_binary()))
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    try:
        while written[0] < 500:
            assert writer.is_alive()
        before = written[0]
        commands = backup_commands(server.data_dir, tmp_path / "copies")
        run = subprocess.run(["bash", "-e", "-c", commands], env=environment, capture_output=True, text=True, timeout=60)
        after = written[0]
    finally:
        stop.set()
        writer.join()
    assert run.returncode == 0, run.stdout + run.stderr
    server.stop()
    [copy] = (tmp_path / "copies").iterdir()
    server.data_dir.joinpath("version-2").rename(tmp_path / "away")
    copy.joinpath("version-2").rename(server.data_dir / "version-2")
    server.start().wait_serving()
    value = int(server.connect(20_000).get("/counter")[0])
    assert before <= value <= after + 1


def test_alert_rules_cover_every_sign_and_use_metrics_that_exist():
    document = (ROOT / "docs/metrics.md").read_text()
    known = set(re.findall(r"^\| `(\w+)(?:\{[^}]*\})?` \| (?:gauge|counter|summary) \|", document, re.MULTILINE))
    signs = re.search(r"^## What to alert on$(.*?)^## ", document, re.DOTALL | re.MULTILINE)[1]
    wanted = {name for row in re.findall(r"^\| (`.*?|no or .*?) \|", signs, re.MULTILINE) for name in re.findall(r"\w+", row)}
    rules = (ROOT / "deploy/prometheus/rules.yml").read_text()
    expressions = " ".join(re.findall(r"expr:(?: >-)?\s(.*?)\n +(?:for|labels):", rules, re.DOTALL))
    names = re.sub(r"\{.*?\}|\[.*?\]|\b(?:by|on) \(.*?\)", " ", expressions)
    used = set(re.findall(r"\b[a-z_]+\b", names)) - {"sum", "increase", "unless", "or", "and", "up"}
    assert used <= known, used - known
    assert wanted & known, signs
    assert wanted & known <= used, (wanted & known) - used


def test_every_alert_is_seen_to_fire():
    seen = set(re.findall(r'alertname="(\w+)"', (ROOT / "e2e/alerts.yml").read_text()))
    rules = "".join(file.read_text() for file in (ROOT / "deploy/prometheus").glob("*rules.yml"))
    assert set(re.findall(r"- alert: (\w+)", rules)) == seen
