"""Data directories written by running servers: transaction logs, snapshots, epoch files."""

import shutil

import tree
import txnlog
import wire
from harness import Ensemble, JavaServer, free_ports
from jute import Encoder
from workload import ordinary_life

CREATE_CONTAINER, CREATE_TTL = 19, 21
AUTH, AUTH_XID = 100, -4
CREATOR_ALL = [(31, "auth", "")]


def capture(home, target):
    standalone(home / "standalone", target / "standalone")
    extended(home / "extended", target / "extended")
    ensemble(home / "ensemble", target / "ensemble")


def standalone(home, target):
    """World ACLs only; the second start writes a snapshot with a session and its ephemerals in it."""
    server = JavaServer(home, {"client": free_ports(1)[0]}).start().wait_serving()
    ordinary_life(server)
    kept = server.connect(10_000)
    kept.create("/kept", b"owner stays", wire.EPHEMERAL)
    server.kill()
    server.start().wait_serving()
    save(server, target)


def extended(home, target):
    """Digest ACLs, setACL, containers and TTL znodes."""
    settings = {"extendedTypesEnabled": "true"}
    server = JavaServer(home, {"client": free_ports(1)[0]}, settings=settings).start().wait_serving()
    client = server.connect()
    auth = Encoder().int(0).string("digest").buffer(b"user:secret").bytes()
    client.request(AUTH, auth, AUTH_XID)
    client.create("/private", b"p", acl=CREATOR_ALL)
    client.create("/mixed", b"", acl=[(1, "world", "anyone"), (31, "ip", "127.0.0.1")])
    set_acl = Encoder().string("/mixed").acl([(31, "world", "anyone")]).int(0).bytes()
    client.request(wire.SET_ACL, set_acl)
    client.request(CREATE_CONTAINER, wire.create_body("/container", b"c", 4))
    client.request(CREATE_TTL, wire.create_body("/ttl", b"t", 5) + (60_000).to_bytes(8, "big"))
    client.drop()
    server.kill()
    server.start().wait_serving()
    save(server, target, with_tree=False)


def ensemble(home, target):
    """One member of three: epoch files, two epochs in the logs, a snapshot of a leader."""
    with Ensemble(home, {1: "java", 2: "java", 3: "java"}) as members:
        members.start()
        members.wait_serving()
        ordinary_life(members[1])
        members[3].kill()
        members.wait_leader()
        members.wait_serving()
        client = members[1].connect()
        client.create("/second-epoch", b"2")
        client.close_session()
        members.wait_quiet()
        save(members[2], target)


def save(server, target, with_tree=True):
    """Copies the data directory, logs without padding, and writes what is in it as text."""
    nodes = tree.dump(server) if with_tree else {}
    zxid = server.zxid()
    server.kill()
    target.mkdir(parents=True)
    listing = []
    for log in server.log_files():
        (target / log.name).write_bytes(txnlog.trimmed(log))
        for entry in txnlog.read(log):
            listing.append(f"{log.name} zxid={entry.zxid:#x} {entry.name} session={entry.session:#x} cxid={entry.cxid}")
    for snapshot in server.snapshots():
        shutil.copy(snapshot, target / snapshot.name)
    for name in ("currentEpoch", "acceptedEpoch"):
        if (server.version2() / name).exists():
            shutil.copy(server.version2() / name, target / name)
    (target / "entries.txt").write_text("\n".join(listing) + "\n")
    if with_tree:
        lines = [f"# tree at zxid {zxid:#x} as a client read it: path, data (hex, '-' for null), Stat"]
        for path in sorted(nodes):
            data, stat = nodes[path].data, nodes[path].stat
            lines.append(f"{path} {'-' if data is None else 'x' + data.hex()} {' '.join(str(v) for v in stat)}")
        (target / "tree.txt").write_text("\n".join(lines) + "\n")
