"""Java's command line client: the same commands against quorate and against Apache ZooKeeper."""

import re
import subprocess

from harness import java_class_path

COMMANDS = """
create /cli "some data"
create /cli
get /cli
get -s /cli
set /cli other
set -v 0 /cli too-old
set -s /cli third
create -e /cli/ephemeral e
create -s /cli/s- one
create -s -e /cli/s- two
create /cli/ephemeral/child x
create /no/parent x
ls /cli
ls -s /cli
ls -R /cli
ls -w /cli
create /cli/watched w
get -w /cli/watched
set /cli/watched x
stat /cli
stat /missing
get /missing
sync /cli
delete /cli
delete -v 9 /cli/watched
delete /cli/watched
deleteall /cli
ls /
quit
"""


def run(server):
    """What the client prints for the script, all numbers that differ from run to run left out."""
    command = ["java", "-Xmx64m", "-XX:TieredStopAtLevel=1", "-Dquorate.reference.level=OFF"]
    command += ["-cp", java_class_path(), "org.apache.zookeeper.ZooKeeperMain"]
    command += ["-server", f"127.0.0.1:{server.ports['client']}"]
    done = subprocess.run(
        command, input=COMMANDS, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
    )
    return done.returncode, normal(done.stdout)


def normal(text):
    """Times, sessions and the port vary; so does the place of an asynchronous event, so those come last."""
    text = re.sub(r"(ctime|mtime) = .*", r"\1 = T", text)
    text = re.sub(r"ephemeralOwner = 0x[1-9a-f][0-9a-f]*", "ephemeralOwner = S", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "ADDRESS", text)
    text = re.sub(r"\[zk: ADDRESS\(\w+\) \d+\] ", "", text)
    events = re.findall(r"WatchedEvent .*", text)
    text = re.sub(r"\n*WATCHER::\n*(WatchedEvent .*\n*)?", "\n", text)
    text = re.sub(r"WatchedEvent .*\n*", "\n", text)
    lines = [line for line in text.splitlines() if line.strip() and line.split()[0] != "Connecting"]
    return lines + sorted(events)


def test_same_output_as_on_the_reference(ensemble, peer):
    """On a follower of each, so that the zxids are the same too."""
    ours = run(ensemble({1: peer, 2: peer, 3: peer})[1])
    java = run(ensemble({1: "java", 2: "java", 3: "java"})[1])
    assert ours == java
    text = "\n".join(java[1])
    for expected in ("Created /cli", "some data", "dataVersion = 2", "Node does not exist: /missing", "NodeDataChanged"):
        assert expected in text, f"the script did not do what it should:\n{text}"


def test_reads_what_others_wrote(ensemble, peer):
    """The client on one member of an ensemble sees what was written through another."""
    members = ensemble({1: peer, 2: peer, 3: peer})
    writer = members[3].connect()
    writer.create("/from-kin", b"hello")
    writer.drop()
    members.wait_quiet()
    command = ["java", "-Xmx64m", "-XX:TieredStopAtLevel=1", "-Dquorate.reference.level=OFF"]
    command += ["-cp", java_class_path(), "org.apache.zookeeper.ZooKeeperMain"]
    command += ["-server", members.hosts(1), "get", "/from-kin"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.rstrip().endswith("hello"), done.stdout
