"""Faults of the network around three servers, in namespaces of their own.

A program, because a process enters a namespace as a whole: `unshare --map-root-user --mount --net
python network.py STORY`. It prints what it measured as JSON. Nothing outside of the namespaces
changes, and no rights are needed but that to make them.
"""

import json
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import harness
import wire

SUFFIX = ".quorate.test"
SILENT, ANSWERING = "127.0.0.53", "127.0.0.54"
PATIENCE = 120.0  # seconds; a story says how long something took, the test says how long it may


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


class Member(harness.KINDS["quorate"]):
    """A server whose peers have hosts of their own; in a network namespace if it has one."""

    hosts = {}
    namespace = None
    client_host = "127.0.0.1"

    def write_config(self):
        super().write_config()
        text = self.config.read_text().replace("clientPortAddress=127.0.0.1\n", "quorumListenOnAllIPs=true\n")
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


def members(home, hosts, namespaces=None, client_hosts=None):
    ports = {sid: dict(zip(("client", "quorum", "election"), harness.free_ports(3))) for sid in hosts}
    peers = {sid: (own["quorum"], own["election"]) for sid, own in ports.items()}
    made = {}
    for sid in hosts:
        kind = type("Member", (Member,), {"hosts": hosts})
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
        address = self.addresses.get(".".join(labels))
        found = [address] if address and kind == 1 else []
        code = 0x8180 if address else 0x8183
        head = question[:2] + struct.pack(">5H", code, 1, len(found), 0, 0)
        record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4)
        return head + question[12 : at + 5] + b"".join(record + socket.inet_aton(it) for it in found)


def names(home):
    """The first name server is silent; later the second one falls silent, too, and the leader dies."""
    run("ip", "link", "set", "lo", "up")
    conf = home / "resolv.conf"
    conf.write_text(f"nameserver {SILENT}\nnameserver {ANSWERING}\n")
    run("mount", "--bind", str(conf), str(Path("/etc/resolv.conf").resolve()))
    name_servers = NameServers()
    hosts = {sid: f"zk-{sid}{SUFFIX}" for sid in (1, 2, 3)}
    name_servers.addresses = {host: f"127.0.1.{sid}" for sid, host in hosts.items()}
    name_servers.start()
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


def main():
    stories = {"names": names, "cut": cut, "one_way": one_way}
    story, *lengths = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="quorate-network-") as home:
        try:
            result = stories[story](Path(home), *map(float, lengths))
        except (AssertionError, OSError, subprocess.CalledProcessError, wire.Closed) as error:
            logs = "".join(log.read_text() for log in Path(home).glob("*/server.log"))
            sys.exit(f"{error}\n{logs}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
