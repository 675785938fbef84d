"""Faults of the network around three servers, in namespaces of their own.

A program, because a process enters a namespace as a whole: `unshare --map-root-user --mount --net
python network.py STORY`. It prints what it measured as JSON. Nothing outside of the namespaces
changes, and no rights are needed but that to make them.
"""

import json
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from ipaddress import ip_address
from pathlib import Path

import harness
import wire

COMPOSE = harness.ROOT / "deploy/compose"
SUFFIX = ".quorate.test"
SILENT, ANSWERING = "127.0.0.53", "127.0.0.54"
A, AAAA = 1, 28  # types of records
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
PATIENCE = 120.0  # seconds; a story says how long something took, the test says how long it may


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


class Member(harness.KINDS["quorate"]):
    """A server whose peers have hosts of their own; in a network namespace if it has one."""

    hosts = {}
    namespace = None
    client_host = "127.0.0.1"
    own_address_only = False

    def write_config(self):
        super().write_config()
        others = "" if self.own_address_only else "quorumListenOnAllIPs=true\n"
        text = self.config.read_text().replace("clientPortAddress=127.0.0.1\n", others)
        for sid, (quorum, election) in self.members.items():
            text = text.replace(f"server.{sid}=127.0.0.1:", f"server.{sid}={self.hosts[sid]}:")
        self.config.write_text(text)

    def command(self):
        enter = ["ip", "netns", "exec", self.namespace] if self.namespace else []
        return [*enter, *super().command()]

    def mode(self):
        try:
            with socket.create_connection((self.client_host, self.ports["client"]), 0.5) as stream:
                stream.sendall(b"srvr")
                text = stream.makefile("rb").read().decode()
        except OSError:
            return None
        modes = [line.removeprefix("Mode: ") for line in text.splitlines() if line.startswith("Mode: ")]
        return modes[0] if modes else None


def members(home, hosts, namespaces=None, client_hosts=None, own_address_only=False):
    ports = {sid: dict(zip(("client", "quorum", "election"), harness.free_ports(3))) for sid in hosts}
    peers = {sid: (own["quorum"], own["election"]) for sid, own in ports.items()}
    made = {}
    for sid in hosts:
        kind = type("Member", (Member,), {"hosts": hosts, "own_address_only": own_address_only})
        made[sid] = kind(home / f"server-{sid}", ports[sid], sid, peers)
        made[sid].namespace = (namespaces or {}).get(sid)
        made[sid].client_host = (client_hosts or {}).get(sid, "127.0.0.1")
    return made


def seconds_until(condition):
    start = time.monotonic()
    harness.wait_until(condition, PATIENCE, lambda: "it never came")
    return round(time.monotonic() - start, 2)


def leader(servers):
    return next((server for server in servers if server.running() and server.mode() == "leader"), None)


def all_serve(servers):
    return all(server.mode() for server in servers)


# names


class NameServers(threading.Thread):
    """The first one takes every question and answers none. The second one answers until it is told to be silent."""

    def __init__(self):
        super().__init__(daemon=True)
        self.silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.silent.bind((SILENT, 53))
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((ANSWERING, 53))
        self.addresses = {}
        self.is_silent = False

    def run(self):
        while True:
            question, asker = self.socket.recvfrom(512)
            if not self.is_silent:
                self.socket.sendto(self.answer(question), asker)

    def answer(self, question):
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1 : at + 1 + question[at]].decode())
            at += 1 + question[at]
        kind = struct.unpack(">H", question[at + 1 : at + 3])[0]
        addresses = self.addresses.get(".".join(labels))
        family = {A: socket.AF_INET, AAAA: socket.AF_INET6}.get(kind)
        found = [it.packed for it in map(ip_address, addresses or ()) if family == FAMILIES[it.version]]
        code = 0x8180 if addresses else 0x8183
        head = question[:2] + struct.pack(">5H", code, 1, len(found), 0, 0)
        records = [b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 1, len(it)) + it for it in found]
        return head + question[12 : at + 5] + b"".join(records)


def named(home, *name_servers):
    """Three hosts with names, and the name servers that know them, of which these are asked, one after the other."""
    run("ip", "link", "set", "lo", "up")
    conf = home / "resolv.conf"
    conf.write_text("".join(f"nameserver {address}\n" for address in name_servers))
    run("mount", "--bind", str(conf), str(Path("/etc/resolv.conf").resolve()))
    servers = NameServers()
    hosts = {sid: f"zk-{sid}{SUFFIX}" for sid in (1, 2, 3)}
    servers.addresses = {host: [f"127.0.1.{sid}"] for sid, host in hosts.items()}
    servers.start()
    return hosts, servers


def names(home):
    """The first name server is silent; later the second one falls silent, too, and the leader dies."""
    hosts, name_servers = named(home, SILENT, ANSWERING)
    servers = members(home, hosts)
    for server in servers.values():
        server.start()
    formed = seconds_until(lambda: all_serve(servers.values()))
    name_servers.is_silent = True
    dead = leader(servers.values())
    dead.kill()
    rest = [server for server in servers.values() if server is not dead]
    elected = seconds_until(lambda: leader(rest) and all_serve(rest))
    return {"formed": formed, "elected": elected}


class Mute:
    """Takes a port so that whoever connects to it hears nothing: its queue is full."""

    def __init__(self, *address):
        self.listener = socket.create_server(address, backlog=0)
        self.queue = [socket.socket() for _ in range(4)]
        for waiting in self.queue:
            waiting.setblocking(False)
            waiting.connect_ex(address)
        assert_silent(*address)


def assert_silent(host, port):
    try:
        socket.create_connection((host, port), timeout=0.3).close()
    except TimeoutError:
        return
    raise AssertionError(f"{host}:{port} is not silent")


def moved(home):
    """A name appears when two servers already serve. Later its server has another address, and leads from there."""
    hosts, name_servers = named(home, ANSWERING)
    del name_servers.addresses[hosts[3]]
    servers = members(home, hosts, own_address_only=True)
    for sid in (1, 2):
        servers[sid].start()
    first = (servers[1], servers[2])
    seconds_until(lambda: leader(first) and all_serve(first))
    name_servers.addresses[hosts[3]] = ["127.0.1.3"]
    servers[3].start()
    joined = seconds_until(lambda: all_serve(servers.values()))

    servers[3].kill()
    mutes = [Mute("127.0.1.3", servers[3].ports[port]) for port in ("quorum", "election")]
    name_servers.addresses[hosts[3]] = ["127.0.2.3"]
    servers[3].start()
    back = seconds_until(lambda: all_serve(servers.values()))
    dead = leader(servers.values())
    assert dead is not servers[3]
    dead.kill()
    rest = [server for server in servers.values() if server is not dead]
    elected = seconds_until(lambda: leader(rest) and all_serve(rest))
    assert leader(rest) is servers[3], "nobody had to find its quorum port"
    del mutes
    return {"joined": joined, "back": back, "elected": elected}


def unknown(home):
    """Two servers do not know the name of the third, which knows theirs and has the highest id. Later they do."""
    hosts, name_servers = named(home, ANSWERING)
    address = name_servers.addresses.pop(hosts[3])
    servers = members(home, hosts)
    own = servers[3].config
    own.write_text(own.read_text().replace(f"server.3={hosts[3]}:", f"server.3={address[0]}:"))
    for server in servers.values():
        server.start()
    first = (servers[1], servers[2])
    formed = seconds_until(lambda: leader(first) and all_serve(first))
    name_servers.addresses[hosts[3]] = address
    joined = seconds_until(lambda: all_serve(servers.values()))
    return {"formed": formed, "joined": joined}


def ipv6_first(home):
    """Every name has an IPv6 address that comes first and is silent. The leader dies and comes back."""
    hosts, name_servers = named(home, ANSWERING)
    run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "nowhere")
    run("ip", "addr", "add", "fd00:77::99/64", "dev", "eth0", "nodad")
    for link in ("eth0", "nowhere"):
        run("ip", "link", "set", link, "up")
    for sid, host in hosts.items():
        run("ip", "neigh", "add", f"fd00:77::{sid}", "lladdr", "02:00:00:00:77:77", "dev", "eth0", "nud", "permanent")
        name_servers.addresses[host].insert(0, f"fd00:77::{sid}")
    servers = members(home, hosts)
    for sid, host in hosts.items():
        first = socket.getaddrinfo(host, servers[sid].ports["quorum"], type=socket.SOCK_STREAM)[0]
        assert first[0] == socket.AF_INET6, first
        assert_silent(*first[4][:2])
        servers[sid].start()
    formed = seconds_until(lambda: all_serve(servers.values()))
    dead = leader(servers.values())
    dead.kill()
    rest = [server for server in servers.values() if server is not dead]
    elected = seconds_until(lambda: leader(rest) and all_serve(rest))
    dead.start()
    back = seconds_until(lambda: all_serve(servers.values()))
    return {"formed": formed, "elected": elected, "back": back}


# cuts


class Switch:
    """Three hosts, each a network namespace, on one bridge. What is cut is lost in silence."""

    def __init__(self, sids):
        run("mount", "-t", "tmpfs", "none", "/run")
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "br0", "type", "bridge")
        run("ip", "addr", "add", "10.77.0.254/24", "dev", "br0")
        run("ip", "link", "set", "br0", "up")
        self.addresses = {sid: f"10.77.0.{sid}" for sid in sids}
        self.macs = {sid: f"02:00:00:00:77:{sid:02x}" for sid in sids}
        self.namespaces = {sid: f"host-{sid}" for sid in sids}
        for sid, name in self.namespaces.items():
            run("ip", "netns", "add", name)
            run("ip", "link", "add", f"port-{sid}", "type", "veth", "peer", "name", "eth0", "netns", name)
            self.inside(sid, "link", "set", "eth0", "address", self.macs[sid])
            self.inside(sid, "addr", "add", f"{self.addresses[sid]}/24", "dev", "eth0")
            self.inside(sid, "link", "set", "lo", "up")
            self.inside(sid, "link", "set", "eth0", "up")
            run("ip", "link", "set", f"port-{sid}", "master", "br0", "up")
        # A lost host is silent: nobody answers for its address.
        for sid in sids:
            for other in sids:
                if other != sid:
                    self.neighbour(sid, other)
            run("ip", "neigh", "replace", self.addresses[sid], "lladdr", self.macs[sid], "dev", "br0", "nud", "permanent")

    def inside(self, sid, *command):
        run("ip", "-n", self.namespaces[sid], *command)

    def neighbour(self, sid, other):
        entry = (self.addresses[other], "lladdr", self.macs[other], "dev", "eth0", "nud", "permanent")
        self.inside(sid, "neigh", "replace", *entry)

    def cut(self, *sids):
        for sid in sids:
            run("ip", "link", "set", f"port-{sid}", "nomaster")

    def heal(self, *sids):
        for sid in sids:
            run("ip", "link", "set", f"port-{sid}", "master", "br0")

    def deafen(self, sid):
        """What the host sends arrives; nothing reaches it."""
        port = f"port-{sid}"
        run("bridge", "link", "set", "dev", port, "learning", "off", "flood", "off", "mcast_flood", "off")
        subprocess.run(["bridge", "fdb", "del", self.macs[sid], "dev", port, "master"], check=False, capture_output=True)

    def hear(self, sid):
        run("bridge", "link", "set", "dev", f"port-{sid}", "learning", "on", "flood", "on", "mcast_flood", "on")


def switched(home):
    switch = Switch((1, 2, 3))
    servers = members(home, switch.addresses, switch.namespaces, switch.addresses)
    for server in servers.values():
        server.start()
    seconds_until(lambda: all_serve(servers.values()))
    return switch, servers


def cut(home, length=36.0):
    """All three are cut off from each other for a while."""
    switch, servers = switched(home)
    switch.cut(1, 2, 3)
    time.sleep(length)
    switch.heal(1, 2, 3)
    return {"healed": seconds_until(lambda: leader(servers.values()) and all_serve(servers.values()))}


def one_way(home, length=15.0):
    """The leader speaks but hears nobody; later it hears again. Then its host is lost for good."""
    switch, servers = switched(home)
    deaf = leader(servers.values())
    rest = [server for server in servers.values() if server is not deaf]
    switch.deafen(deaf.sid)
    replaced = seconds_until(lambda: leader(rest))
    time.sleep(length)
    switch.hear(deaf.sid)
    healed = seconds_until(lambda: all_serve(servers.values()))
    lost = leader(servers.values())
    switch.cut(lost.sid)
    rest = [server for server in servers.values() if server is not lost]
    survived = seconds_until(lambda: leader(rest) and all_serve(rest))
    return {"replaced": replaced, "healed": healed, "survived": survived}


# containers


class Container(Member):
    """A host with a name of its own that runs what the image runs, with a volume and the zoo.cfg of deploy/compose."""

    name = None

    def write_config(self):
        text = (COMPOSE / "zoo.cfg").read_text()
        assert "dataDir=/data\n" in text
        self.config.write_text(text.replace("dataDir=/data\n", f"dataDir={self.data_dir}\n"))

    def command(self):
        named = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', self.name]
        return ["ip", "netns", "exec", self.namespace, *named, harness.quorate_binary(), "pod", "--config", str(self.config)]

    def ask(self):
        client = wire.Connection(self.ports["client"], self.client_host)
        client.connect()
        return client


def compose(home):
    """What deploy/compose starts: all, one of them again while the others serve, all down and up again."""
    text = (COMPOSE / "compose.yaml").read_text()
    container_names = re.findall(r"^    hostname: (\S+)$", text, re.MULTILINE)
    switch = Switch(range(1, len(container_names) + 1))
    hosts = home / "hosts"
    hosts.write_text("".join(f"{switch.addresses[sid]} {name}\n" for sid, name in enumerate(container_names, 1)))
    run("mount", "--bind", str(hosts), "/etc/hosts")
    servers = []
    for sid, name in enumerate(container_names, 1):
        servers.append(Container(home / f"server-{sid}", {"client": 2181}, sid))
        servers[-1].name, servers[-1].namespace = name, switch.namespaces[sid]
        servers[-1].client_host = switch.addresses[sid]
        servers[-1].start()
    formed = seconds_until(lambda: all_serve(servers))
    healthy = re.search(r"test: \[CMD, /usr/bin/quorate, (.*)\]", text)[1].replace('"', "").split(", ")
    for server in servers:
        run("ip", "netns", "exec", server.namespace, harness.quorate_binary(), *healthy)
    servers[0].ask().create("/kept", b"x")
    *others, last = servers
    last.stop()
    alone = seconds_until(lambda: leader(others) and all_serve(others))
    others[0].ask().set("/kept", b"y")
    last.start()
    restarted = seconds_until(lambda: all_serve(servers))
    for server in servers:
        server.stop()
    for server in servers:
        server.start()
    again = seconds_until(lambda: all_serve(servers))
    assert last.ask().get("/kept")[0] == b"y"
    return {"formed": formed, "alone": alone, "restarted": restarted, "again": again}


STORIES = {
    "names": names,
    "moved": moved,
    "unknown": unknown,
    "ipv6_first": ipv6_first,
    "cut": cut,
    "one_way": one_way,
    "compose": compose,
}


def main():
    story, *lengths = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="quorate-network-") as home:
        try:
            result = STORIES[story](Path(home), *map(float, lengths))
        except (AssertionError, OSError, subprocess.CalledProcessError, wire.Closed) as error:
            logs = "".join(log.read_text() for log in Path(home).glob("*/server.log"))
            sys.exit(f"{error}\n{logs}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
