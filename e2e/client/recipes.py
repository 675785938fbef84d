"""recipes: what applications do with a ZooKeeper client, against every member.

Prints a line per check and exits with 1 at the first that fails.
"""

import argparse
import sys
import threading
import time
import uuid

from kazoo.exceptions import BadVersionError, NodeExistsError, NoNodeError, NotEmptyError
from kazoo.recipe.watchers import ChildrenWatch, DataWatch

from writer import connect

WAIT_SECONDS_MAX = 20


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", required=True, help="host:port of every member, separated by commas")
    members = parser.parse_args().members.split(",")
    clients = [connect(member) for member in members]
    root = f"/recipes-{uuid.uuid4().hex[:8]}"
    clients[0].create(root)
    for check in (create, versions, one_shot_watches, watch_recipes, ephemerals, transaction, lock, election):
        started = time.monotonic()
        path = f"{root}/{check.__name__}"
        clients[0].create(path)
        check(clients, path, members)
        print(f"ok {check.__name__} {time.monotonic() - started:.2f} s", flush=True)
    clients[0].delete(root, recursive=True)
    for client in clients:
        client.stop()


def create(clients, path, _members):
    first, last = clients[0], clients[-1]
    assert first.create(f"{path}/plain", b"one") == f"{path}/plain"
    made, stat = last.create(f"{path}/with-stat", b"two", include_data=True)
    assert made == f"{path}/with-stat" and stat.version == 0 and stat.dataLength == 3, stat
    names = [client.create(f"{path}/seq-", b"", sequence=True) for client in clients]
    assert [int(name[-10:]) for name in names] == sorted({int(name[-10:]) for name in names}), names
    refused(NodeExistsError, lambda: last.create(f"{path}/plain", b""))
    refused(NoNodeError, lambda: last.create(f"{path}/absent/child", b""))
    last.sync(path)
    assert last.get(f"{path}/plain")[0] == b"one"
    assert set(last.get_children(path)) >= {"plain", "with-stat"}
    assert last.get_children(path, include_data=True)[1].numChildren == 2 + len(clients)


def versions(clients, path, _members):
    first, last = clients[0], clients[-1]
    first.create(f"{path}/z", b"0")
    stat = first.set(f"{path}/z", b"1", version=0)
    assert stat.version == 1 and stat.mzxid > stat.czxid, stat
    last.sync(path)
    refused(BadVersionError, lambda: last.set(f"{path}/z", b"2", version=0))
    refused(BadVersionError, lambda: last.delete(f"{path}/z", version=0))
    refused(NotEmptyError, lambda: last.delete(path))
    last.delete(f"{path}/z", version=1)
    first.sync(path)
    assert first.exists(f"{path}/z") is None


def one_shot_watches(clients, path, _members):
    """Each fires once, on the member the watcher is connected to, for a change made through another."""
    writer, watcher = clients[0], clients[-1]
    seen = []
    target = f"{path}/z"

    def note(event):
        seen.append((event.type, event.path))

    watcher.sync(path)
    assert watcher.exists(target, watch=note) is None
    writer.create(target, b"")
    until(lambda: seen == [("CREATED", target)], lambda: seen)
    watcher.get(target, watch=note)
    writer.set(target, b"1")
    writer.set(target, b"2")
    until(lambda: seen[1:] == [("CHANGED", target)], lambda: seen)
    watcher.get_children(path, watch=note)
    writer.create(f"{path}/second", b"")
    until(lambda: seen[2:] == [("CHILD", path)], lambda: seen)
    watcher.get(target, watch=note)
    writer.delete(target)
    until(lambda: seen[3:] == [("DELETED", target)], lambda: seen)
    time.sleep(0.3)
    assert len(seen) == 4, seen


def watch_recipes(clients, path, _members):
    writer, watcher = clients[0], clients[-1]
    writer.create(f"{path}/data", b"0")
    watcher.sync(path)
    values, children = [], []
    DataWatch(watcher, f"{path}/data", lambda value, stat: values.append(value))
    ChildrenWatch(watcher, path, lambda names: children.append(set(names)))
    for number in range(1, 6):
        writer.set(f"{path}/data", str(number).encode())
        writer.create(f"{path}/c{number}", b"")
    until(lambda: values[-1] == b"5", lambda: values)
    until(lambda: len(children[-1]) == 6, lambda: children)


def ephemerals(clients, path, members):
    observer = clients[0]
    owner = connect(members[-1])
    owner.create(f"{path}/mine", b"", ephemeral=True)
    observer.sync(path)
    assert observer.exists(f"{path}/mine").ephemeralOwner == owner.client_id[0]
    owner.stop()
    until(lambda: observer.exists(f"{path}/mine") is None, lambda: "the ephemeral outlived its session")


def transaction(clients, path, _members):
    first, last = clients[0], clients[-1]
    multi = last.transaction()
    multi.create(f"{path}/a", b"1")
    multi.create(f"{path}/b", b"2")
    multi.set_data(f"{path}/a", b"3", version=0)
    assert not any(isinstance(result, Exception) for result in multi.commit())
    multi = last.transaction()
    multi.delete(f"{path}/a")
    multi.check(f"{path}/b", version=9)
    assert any(isinstance(result, BadVersionError) for result in multi.commit())
    first.sync(path)
    assert first.get(f"{path}/a")[0] == b"3"


def lock(clients, path, members, rounds=10):
    """Contenders increment a counter with a read and a blind write; only the lock makes that right."""
    clients[0].create(f"{path}/counter", b"0")
    errors = []

    def contend(member):
        try:
            client = connect(member)
            for _ in range(rounds):
                with client.Lock(f"{path}/lock", member):
                    client.sync(path)
                    count = int(client.get(f"{path}/counter")[0])
                    client.set(f"{path}/counter", str(count + 1).encode())
            client.stop()
        except Exception as error:
            errors.append(error)

    contenders = [*members, members[0]]
    run_all([threading.Thread(target=contend, args=(member,)) for member in contenders])
    assert not errors, errors
    clients[0].sync(path)
    counted = int(clients[0].get(f"{path}/counter")[0])
    assert counted == rounds * len(contenders), f"{counted} of {rounds * len(contenders)} increments"


def election(clients, path, members):
    """Each candidate leads once and never beside another."""
    leading, led, overlaps = set(), [], []

    def candidate(number, member):
        client = connect(member)

        def lead():
            leading.add(number)
            if len(leading) > 1:
                overlaps.append(set(leading))
            time.sleep(0.1)
            led.append(number)
            leading.discard(number)

        client.Election(f"{path}/election", str(number)).run(lead)
        client.stop()

    run_all([threading.Thread(target=candidate, args=pair) for pair in enumerate(members)])
    assert sorted(led) == list(range(len(members))), led
    assert not overlaps, overlaps


def run_all(threads):
    for thread in threads:
        thread.daemon = True
        thread.start()
    deadline = time.monotonic() + 3 * WAIT_SECONDS_MAX
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
        assert not thread.is_alive(), f"{thread.name} hangs"


def refused(error, action):
    try:
        action()
    except error:
        return
    raise AssertionError(f"no {error.__name__}")


def until(condition, shown):
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline, f"still not after {WAIT_SECONDS_MAX} s: {shown()}"
        time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main())
