"""The commands of docs/clients.md, docs/containers.md and docs/operations.md, as they stand there but for ports and places.

Containers are started elsewhere, if at all; here the programs get the arguments that the container would give them.
"""

import os
import re
import shlex
import subprocess

import tree
import wire
from harness import ROOT, JavaServer, QuorateServer, free_ensemble_port, free_ports, java_class_path
from test_documents import backup_commands
from test_network import ELECTION, play
from test_readme import end, environment, finished, ours, start, wait_ready  # noqa: F401

DOCUMENTS = ("clients", "containers", "operations")
DATA = "/var/lib/zookeeper"

ZK_CLI = ["zkCli.sh -server 127.0.0.1:2181 create /clickhouse", "zkCli.sh -server 127.0.0.1:2181 ls /"]
RELEASE = "deploy/release --registry registry.example.org/team --dry-run"
DOCKER = "docker run --entrypoint /usr/bin/quorate -p 2181:2181"
ALONE = f"{DOCKER} -v quorate-data:/data IMAGE server --data-dir /data --set clientPortAddress=0.0.0.0"
OF_A_FILE = f'{DOCKER} -v "$PWD/zoo.cfg:/zoo.cfg:ro" -v quorate-data:/data IMAGE server /zoo.cfg'
THREE = (
    "docker run --rm --entrypoint /usr/bin/quorate -p 127.0.0.1:21811-21813:21811-21813 IMAGE"
    " ensemble 3 --set clientPortAddress=0.0.0.0"
)
STATUS_OF_THREE = "quorate status 127.0.0.1:21811,127.0.0.1:21812,127.0.0.1:21813"
STATUS_OF_MACHINES = "quorate status zk1.example.org,zk2.example.org,zk3.example.org"
STATUS = "quorate status 10.0.0.1 10.0.0.2 10.0.0.3:2182"
CHECKS = [
    "quorate txnlog check version-2/log.*",
    "quorate snapshot check version-2/snapshot.*",
    "quorate txnlog check --snapshot version-2/snapshot.<zxid> version-2/log.*",
]
DUMPS = ["quorate txnlog dump version-2/log.100000001", "quorate snapshot dump version-2/snapshot.100000001.gz"]
TAKE_OVER = ["zkServer.sh stop", f"cp -a {DATA} {DATA}.before", "quorate server zoo.cfg"]
HERE = [*ZK_CLI, RELEASE, ALONE, OF_A_FILE, THREE, STATUS_OF_THREE, STATUS_OF_MACHINES, STATUS, *CHECKS, *DUMPS, *TAKE_OVER]

COMPOSE = "docker compose -f deploy/compose/compose.yaml"
STATUS_OF_COMPOSE = "quorate status 127.0.0.1:2181,127.0.0.1:2182,127.0.0.1:2183"
# No test runs these; each needs what the tests do not have, or cannot be got wrong.
NOWHERE = {
    "a cluster": [
        "kubectl get service zk-client -o jsonpath='{.spec.selector}'",
        "kubectl port-forward service/zk-client 2181",
        "kubectl get zke zk",
        "kubectl delete pvc data-zk-1 --wait=false",
        "kubectl delete pod zk-1",
    ],
    "a registry": ["docker login registry.example.org", "deploy/release --registry registry.example.org/team"],
    "Docker with Compose; what it starts is started below": [
        "export QUORATE_IMAGE=registry.example.org/team/quorate:0.1.0",
        f"{COMPOSE} up -d",
        STATUS_OF_COMPOSE,
        f"{COMPOSE} restart zk-2",
        f"{COMPOSE} down",
    ],
    "a machine with systemd": [
        f"useradd --system --home-dir {DATA} --shell /usr/sbin/nologin zookeeper",
        "install target/release/quorate /usr/local/bin/",
        "install -D zoo.cfg /etc/quorate/zoo.cfg",
        "install deploy/systemd/quorate.service /etc/systemd/system/",
        "systemctl daemon-reload",
        "systemctl enable --now quorate",
        "journalctl -u quorate",
        f"install -d -o zookeeper -g zookeeper -m 0750 {DATA}",
        f"echo 1 >{DATA}/myid",
    ],
    "replaced data": [f"rm {DATA}/version-2/replaced.*"],
    "Solr": ['ZK_HOST="zk-client.default.svc:2181/solr"'],
}


def document(name):
    return (ROOT / f"docs/{name}.md").read_text()


def commands(name):
    blocks = re.findall(r"^```sh\n(.*?)^```", document(name), re.DOTALL | re.MULTILINE)
    lines = re.sub(r" *\\\n *", " ", "".join(blocks)).splitlines()
    return {line.split(" #")[0].strip() for line in lines} - {""}


def arguments(docker):
    """What the program in the container gets."""
    return docker.split(" IMAGE ")[1]


def test_every_command_is_run_or_it_is_known_why_not():
    found = set().union(*map(commands, DOCUMENTS))
    backups = {line.split(" #")[0].strip() for line in backup_commands(DATA, "/backup").splitlines()}
    known = {*HERE, *backups, *(command for some in NOWHERE.values() for command in some)}
    assert found == known


def test_what_a_container_is_told_starts_servers(start, tmp_path):  # noqa: F811
    data, (port, other) = tmp_path / "data", free_ports(2)
    process, output = start(f"quorate {arguments(ALONE).replace('/data', str(data))} --set clientPort={port}")
    wait_ready(process, output)
    assert wire.four_letter_word(port, "ruok", host="127.0.0.2") == "imok", "it listens on loopback only"
    assert end(process) == 0

    (tmp_path / "zoo.cfg").write_text(f"dataDir={data}\nclientPort={other}\nadmin.enableServer=false\n")
    process, output = start(f"quorate {arguments(OF_A_FILE).replace('/zoo.cfg', str(tmp_path / 'zoo.cfg'))}")
    wait_ready(process, output)
    assert "standalone" in finished(f"quorate status 127.0.0.1:{other}", tmp_path)
    assert end(process) == 0

    first = free_ensemble_port(3)
    wait_ready(*start(f"quorate {arguments(THREE)} --client-port {first}"))
    asked = STATUS_OF_THREE
    for number in range(3):
        asked = asked.replace(str(21811 + number), str(first + number))
    assert "leader" in finished(asked, tmp_path)


def test_what_compose_starts_is_an_ensemble_that_keeps_its_data():
    took = play("compose")
    assert max(took.values()) < 2 * ELECTION, took
    text = (ROOT / "deploy/compose/compose.yaml").read_text()
    assert ",".join(re.findall(r'ports: \["(\S+):2181"\]', text)) == STATUS_OF_COMPOSE.split()[-1]


def test_the_zoo_cfg_of_three_machines_makes_an_ensemble(start, tmp_path):  # noqa: F811
    section = document("operations").split("## Setting up three servers")[1].split("\n## ")[0]
    zoo_cfg = re.search(r"^```properties\n(.*?)^```", section, re.DOTALL | re.MULTILINE)[1]
    ports = free_ports(9)
    for sid in (1, 2, 3):
        zoo_cfg, replaced = re.subn(rf"(server\.{sid}=)\S+", rf"\g<1>127.0.0.1:{ports[sid + 2]}:{ports[sid + 5]}", zoo_cfg)
        assert replaced == 1
    started = []
    for sid in (1, 2, 3):
        home = tmp_path / f"zk{sid}"
        (home / "data").mkdir(parents=True)
        (home / "data/myid").write_text(f"{sid}\n")
        own = zoo_cfg.replace(DATA, str(home / "data")).replace("clientPort=2181", f"clientPort={ports[sid - 1]}")
        (home / "zoo.cfg").write_text(own + "admin.enableServer=false\n")
        started.append(start(f"quorate server {home / 'zoo.cfg'}"))
    for process, output in started:
        wait_ready(process, output)
    asked = STATUS_OF_MACHINES
    for sid in (1, 2, 3):
        asked = asked.replace(f"zk{sid}.example.org", f"127.0.0.1:{ports[sid - 1]}")
    rows = finished(asked, tmp_path).splitlines()[1:]
    assert sorted(row.split()[1] for row in rows) == ["follower", "follower", "leader"]


def test_a_dry_run_of_the_release_prints_its_commands():
    run = subprocess.run(shlex.split(RELEASE), cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    for image in ("quorate", "quorate-operator"):
        assert re.search(rf"^docker buildx build .*--tag registry\.example\.org/team/{image}:\S+ --push", run.stdout, re.MULTILINE)


def java_programs(home, java):
    """zkCli.sh, and zkServer.sh of this server, as scripts that do what those of Apache ZooKeeper do."""
    cli = f"exec java -XX:TieredStopAtLevel=1 -Dquorate.reference.level=OFF -cp '{java_class_path()}' org.apache.zookeeper.ZooKeeperMain \"$@\""
    stop = f"[ \"$*\" = stop ] && kill {java.process.pid}" if java else "false"
    environment(home)
    for name, text in (("zkCli.sh", cli), ("zkServer.sh", stop)):
        program = home / "bin" / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)


def test_znodes_are_made_and_seen_with_the_client_of_java(tmp_path):
    server = QuorateServer(tmp_path, {"client": free_ports(1)[0]}).start().wait_serving()
    java_programs(tmp_path, None)
    said = [finished(command.replace(":2181", f":{server.ports['client']}"), tmp_path) for command in ZK_CLI]
    assert said[1].rstrip().endswith("[clickhouse, zookeeper]"), said
    server.stop()


def test_java_is_replaced_on_its_directory(start, tmp_path):  # noqa: F811
    java = JavaServer(tmp_path, {"client": free_ports(1)[0]}, settings={"jute.maxbuffer": 2_000_000}).start().wait_serving()
    client = java.connect()
    client.create("/kept", b"by Java")
    client.close_session()
    before = tree.dump(java)
    flags = re.search(r"at `(ps [^`]*)`", document("operations"))[1]
    mine = [line for line in finished(flags, tmp_path).splitlines() if str(java.config) in line]
    assert mine and "-Xmx128m" in mine[0], flags
    java_programs(tmp_path, java)
    stop, copy, replace = TAKE_OVER
    finished(stop, tmp_path)
    java.process.wait(timeout=10)
    finished(copy.replace(DATA, str(java.data_dir)), tmp_path)
    wait_ready(*start(replace))
    assert not tree.differences(before, tree.dump(java))
    assert (tmp_path / "data.before/version-2").is_dir()


def test_files_are_checked_and_dumped(tmp_path):
    server = QuorateServer(tmp_path, {"client": free_ports(1)[0]}, settings={"snapshot.compression.method": "gz"})
    client = server.start().wait_serving().connect()
    client.create("/written", b"")
    client.close_session()
    server.stop()
    assert server.log_files()[0].name == "log.100000001", "as in the document"
    snapshot = server.snapshots()[0].name
    for command in (*CHECKS, *DUMPS):
        command = re.sub(r"snapshot\.(<zxid>|100000001\.gz)", snapshot, command)
        said = finished(command, server.data_dir)
        assert "/written" in said if "txnlog dump" in command else said, command


def test_the_state_of_servers_is_shown_as_in_the_document(tmp_path):
    server = QuorateServer(tmp_path, {"client": free_ports(1)[0]}).start().wait_serving()
    closed = free_ports(1)[0]
    asked = STATUS.replace("10.0.0.1 10.0.0.2 10.0.0.3:2182", f"127.0.0.1:{server.ports['client']} 127.0.0.1:{closed}")
    run = subprocess.run(["bash", "-c", asked], env=environment(tmp_path), capture_output=True, text=True, timeout=30)
    assert run.returncode == 1
    shown = re.search(rf"^{re.escape(STATUS)}\n```\n\n```text\n(.*?)^```", document("operations"), re.DOTALL | re.MULTILINE)[1]
    head, _, _, refused = shown.splitlines()
    lines = run.stdout.splitlines()
    assert lines[0].split() == head.split()
    assert lines[2].split(maxsplit=1)[1] == refused.split(maxsplit=1)[1]
    server.stop()


def test_flags_of_java_are_answered_with_the_line_of_the_document(tmp_path):
    section = document("operations").split("### Flags of the Java command line")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`-.*?) \| (.*?) \|$", section, re.MULTILINE)
    assert len(rows) > 5
    for flags, line in rows:
        for flag in re.findall(r"`([^`]+)`", flags):
            command = [os.path.abspath(tmp_path / "bin/quorate"), "server", flag.replace("…", ".x=1")]
            run = subprocess.run(command, env=environment(tmp_path), cwd=tmp_path, capture_output=True, text=True, timeout=30)
            line = line.strip("`").replace("super:HASH", "...")  # it never shows a digest
            wanted = "leave it out" if line.startswith("none") else f"write {line} into zoo.cfg"
            assert run.returncode == 2 and wanted in run.stderr, (flag, run.stderr)
