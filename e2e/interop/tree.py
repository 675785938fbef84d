"""The data tree of one member as a client sees it, for comparing members."""

import wire
from jute import Encoder

BATCH = 100  # znodes asked for at a time


class Znode(tuple):
    """data, stat, acl and sorted children."""

    def __new__(cls, data, stat, acl, children):
        return super().__new__(cls, (data, stat, acl, children))

    @property
    def data(self):
        return self[0]

    @property
    def stat(self):
        return self[1]

    @property
    def children(self):
        return self[3]


def dump(server, credentials=None):
    """Path -> Znode of every znode but /zookeeper/config. `credentials` is "user:password".

    /zookeeper/config is local to a server while reconfiguration is off: it holds the text of the
    server's own zoo.cfg, in no fixed order. test_config_znode.py compares it.
    """
    connection = server.connect()
    if credentials:
        connection.auth("digest", credentials.encode())
    connection.sync("/")
    nodes = {}
    pending = ["/"]
    while pending:
        batch, pending = pending[:BATCH], pending[BATCH:]
        asked = [(path, _ask(connection, path)) for path in batch]
        for path, xids in asked:
            data = connection.reply(xids[0]).buffer()
            answer = connection.reply(xids[1])
            children, stat = answer.strings(), answer.stat()
            acl = connection.reply(xids[2]).acl()
            nodes[path] = Znode(data, stat, acl, sorted(children))
            pending += [f"{path.rstrip('/')}/{child}" for child in children]
        if "/zookeeper/config" in pending:
            pending.remove("/zookeeper/config")
    connection.close_session()
    return nodes


def _ask(connection, path):
    """Sends the requests about one path; the replies come in this order."""
    ops = (wire.GET_DATA, wire.GET_CHILDREN2)
    xids = [connection.send(op, wire.path_watch(path)) for op in ops]
    xids.append(connection.send(wire.GET_ACL, Encoder().string(path).bytes()))
    return xids


def differences(left, right):
    """One line per znode that is missing or differs; empty when the trees are equal."""
    lines = []
    for path in sorted(left.keys() | right.keys()):
        if path not in left or path not in right or left[path] != right[path]:
            lines.append(f"{path}:\n  {left.get(path)}\n  {right.get(path)}")
    return lines


def assert_equal_trees(servers, credentials=None):
    """Compares every server's tree with the first one's; returns the tree."""
    servers = list(servers)
    first = dump(servers[0], credentials)
    for other in servers[1:]:
        found = differences(first, dump(other, credentials))
        names = f"{servers[0].kind} {servers[0].sid} and {other.kind} {other.sid}"
        assert not found, f"trees of {names} differ:\n" + "\n".join(found)
    return first
