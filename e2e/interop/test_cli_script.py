"""Java's command line client: one long session that uses every command it has, on quorate and on Java.

Each command is given when the client has answered the one before, and watch events that a command
causes are waited for, so the transcript has one order. What differs from run to run (times, session
ids, ports) is written as a name; everything else is compared as it was printed.
"""

import os
import re
import subprocess
import threading
import time

from harness import java_class_path

PATIENCE = 15  # seconds for one command

# A line of the session; "@2 " before it says how many events it causes at the client.
SCRIPT = r"""
help
version
whoami
addauth digest ada:secret
whoami
addauth

create /c "some data"
create /c again
create /no/parent x
create relative x
create /c/ x
create /c//d x
create
create -e /c/e ephemeral
create -e /c/e/child x
create -s /c/s- one
create -s /c/s- two
create -s -e /c/s- three
create -c /c/container
create -c /c/container/child x
create -c -e /c/mixed
create -t 600000 /c/ttl with-ttl
create -s -t 600000 /c/ttl- with-ttl
create -t -1 /c/bad-ttl x
create -t 1 -e /c/bad-ttl x
create -t many /c/bad-ttl x
create /c/empty
create /c/acl data auth::cdrwa
create /c/digest data digest:bob:XxXtCoFt4tkIaQ8wGDBrMPzK4Nk=:r
create /c/ip data ip:127.0.0.1:rw
create /c/bad-acl data world:nobody:r
create /c/bad-acl data nonsense:x:r
create /c/bad-acl data world:anyone
create /c/bad-acl data world:anyone:zz
create --unknown /c/x

get /c
get -s /c
get /missing
get /c/empty
get -s /c/ttl
get -s /c/e
get -b /c
get -x /c
get /c/digest
get
get -w /c/empty
@1 set /c/empty "not any more"
set /c/empty third
set -v 0 /c/empty too-old
set -v 2 /c/empty fits
set -s /c/empty with-stat
set -b /c/empty AAECAwQF
get -b /c/empty
get -x /c/empty
set /missing x
set /c

stat /c
stat /missing
stat -w /c/later
stat -w /c/later2
@1 create /c/later x
stat /c/container
stat

ls /
ls /c
ls -s /c
ls -R /c
ls -R -s /c
ls /missing
ls -w /c/container
@1 create /c/container/other x
ls -w -R /c/container
ls
ls -x /c

getAcl /c
getAcl -s /c
getAcl /c/acl
getAcl /c/ip
getAcl /c/digest
getAcl /missing
setAcl /c/later world:anyone:cdra
set /c/later refused
setAcl -s /c/later world:anyone:cdrwa
setAcl -v 0 /c/later world:anyone:r
setAcl -v 2 /c/later auth::cdrwa
getAcl -s /c/later
setAcl -R /c/container world:anyone:cdrwa,ip:127.0.0.1:r
getAcl /c/container/child
getAcl -s /c/container/other
setAcl /c/later world:nobody:r
setAcl /missing world:anyone:r
setAcl /c

getAllChildrenNumber /c
getAllChildrenNumber /
getAllChildrenNumber /missing
getEphemerals
getEphemerals /c
getEphemerals /c/s
getEphemerals /missing
getEphemerals relative

create /q
setquota -n 3 /q
listquota /q
setquota -b 100 /q
listquota /q
setquota -N 4 /q
setquota -B 50 /q
listquota /q
create /q/a 0123456789
create /q/b 0123456789
listquota /q
set /q/a 012345678901234567890123456789012345678901234567890123456789
create /q/c
create /q/d
create /q/e
listquota /q
ls -R /zookeeper
get /zookeeper/quota/q/zookeeper_limits
get /zookeeper/quota/q/zookeeper_stats
setquota -n 3 /q/a
setquota -n 3 /missing
setquota -n 3 /
setquota -n x /q
setquota -n 3
delquota -n /q
listquota /q
delquota -b /q
delquota -N /q
delquota -B /q
listquota /q
delquota /q
delquota /q
listquota /q
listquota /missing
ls -R /zookeeper

addWatch /w
@1 create /w x
@1 create /w/child x
@1 set /w/child y
@1 set /w y
@1 delete /w/child
addWatch -m PERSISTENT /w2
@1 create /w2 x
@1 create /w2/child x
set /w2/child y
@1 set /w2 y
addWatch -m NONSENSE /w2
@1 removewatches /w2 -a
set /w2 quiet
removewatches /w2 -a
removewatches /w -c
get -w /w2
@1 removewatches /w2 -d
set /w2 quiet-again
stat -w /w3
@1 removewatches /w3 -d
ls -w /w2
@1 removewatches /w2 -c
create /w2/quiet
get -w /w2
@1 removewatches /w2 -a -l
removewatches /missing -a
removewatches
@1 removewatches /w -a
printwatches
printwatches off
get -w /w2
set /w2 unheard
printwatches on
get -w /w2
@1 set /w2 heard
printwatches maybe
printwatches
printwatches on

sync /c
sync /missing
sync
config
config -s
config -w
config -c
config -c -s
reconfig -remove 3
reconfig -add server.4=127.0.0.1:1:2;3
reconfig
reconfig -s -v 1 -remove 3

history
redo 1
redo
redo 100000
nonsense
delete /c
delete -v 7 /c/later
delete /c/later
delete /missing
delete
deleteall /c
deleteall /missing
deleteall /w2 -b 1
deleteall
ls /
@1 close
ls /
whoami
close
@1 connect ADDRESS
ls /
getEphemerals
create -e /other-session
@2 connect OTHER-ADDRESS
sync /
ls /
@1 addauth nonsense x
ls /
@1 connect OTHER-ADDRESS
whoami
@1 quit
"""


class Client:
    """The client's process; what it prints is gathered as it comes."""

    def __init__(self, address):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self.process = subprocess.Popen(command(address), **pipes)
        self.printed = b""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while chunk := os.read(self.process.stdout.fileno(), 65536):
            self.printed += chunk

    def answer(self, line=None, events=0):
        """What is printed from now to the next prompt, with the events that belong to it."""
        if line is not None:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        end = time.monotonic() + PATIENCE
        while True:
            text = self.printed.decode()
            complete = self.ended() if line == "quit" else re.search(PROMPT, text)
            if complete and len(re.findall(EVENT, text)) >= events:
                break
            assert time.monotonic() < end, f"after {line!r} with {events} events due:\n{text}"
            time.sleep(0.005)
        self.printed = self.printed[len(text.encode()) :]
        return text

    def ended(self):
        return self.process.poll() is not None and not self.reader.is_alive()


PROMPT = r"\[zk: [^\n]*\(\w+\) \d+\] "
EVENT = r"(WatchedEvent [^\n]*)\n"


def transcript(members):
    """(command, lines, events) for each line of the script, names in place of what varies."""
    first, second = (f"127.0.0.1:{members[sid].ports['client']}" for sid in (1, 2))
    client = Client(first)
    found = [("", client.answer(events=1))]
    for line in SCRIPT.split("\n"):
        if not line:
            continue
        events, asked = re.fullmatch(r"(?:@(\d) )?(.*)", line).groups()
        given = asked.replace("OTHER-ADDRESS", second).replace("ADDRESS", first)
        found.append((asked, client.answer(given, int(events or 0))))
    return [(asked, *named(text, members)) for asked, text in found]


def named(text, members):
    """Lines and events. The thread that prints events does so in the midst of other lines."""
    events = re.findall(EVENT, text)
    if any("type:None" in event for event in events):  # a new state: the prompt comes before it or after
        text = re.sub(r"(\[zk: [^\n]*)\(\w+\)", r"\1(STATE)", text)
    lines = re.sub(rf"{EVENT}|WATCHER::\n", "\n", text).splitlines()
    return [[name(line, members) for line in part if line.strip()] for part in (lines, events)]


def name(line, members):
    line = re.sub(r"(ctime|mtime) = .*", r"\1 = T", line)
    line = re.sub(r"ephemeralOwner = 0x[1-9a-f][0-9a-f]*", "ephemeralOwner = S", line)
    for server in members:
        for use, port in server.ports.items():
            line = re.sub(rf"\b{port}\b", f"<{use} {server.sid}>", line)
    return line


def command(address):
    flags = ["-Xmx64m", "-XX:TieredStopAtLevel=1", "-Dquorate.reference.level=OFF", "-Duser.timezone=UTC"]
    return ["java", *flags, "-cp", java_class_path(), "org.apache.zookeeper.ZooKeeperMain", "-server", address]


def test_every_command_prints_what_it_prints_on_the_reference(ensemble, peer):
    """On followers of each, so that the zxids are the same too."""
    settings = {"extendedTypesEnabled": "true", "enforceQuota": "true"}
    java = transcript(ensemble({1: "java", 2: "java", 3: "java"}, settings=settings))
    ours = transcript(ensemble({1: peer, 2: peer, 3: peer}, settings=settings))
    differences = []
    for (asked, *expected), (_, *got) in zip(java, ours, strict=True):
        if expected != got:
            differences.append(f"> {asked}\n  java: {expected}\n  ours: {got}")
    assert not differences, f"{len(differences)} of {len(java)} differ:\n" + "\n".join(differences)
    assert len(java) > 200
    unused = commands_in_help(java) - {asked.split()[0] for asked, *_ in java if asked}
    assert not unused, f"the client has commands that the script does not use: {sorted(unused)}"


def commands_in_help(lines):
    text = next(printed for asked, printed, _ in lines if asked == "help")
    found = {line.split()[0] for line in text if line.startswith("\t")}
    assert len(found) > 25, text
    return found


def test_reads_what_others_wrote(ensemble, peer):
    """The client on one member of an ensemble sees what was written through another."""
    members = ensemble({1: peer, 2: peer, 3: peer})
    writer = members[3].connect()
    writer.create("/from-kin", b"hello")
    writer.drop()
    members.wait_quiet()
    ask = [*command(members.hosts(1)), "get", "/from-kin"]
    done = subprocess.run(ask, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.rstrip().endswith("hello"), done.stdout
