"""Sessions that close with many ephemerals: their transaction, and what other servers make of it."""

import harness
import pytest
import tree
import txnlog
import wire

TIMEOUT_MS = 20_000
NAME_BYTES = 900
EPHEMERALS = 2600  # their paths are longer together than the longest transaction, 2 MiB


def last_closing(files):
    closings = [entry for entry in txnlog.read_all(files) if entry.name == "closeSession"]
    assert closings, "no session was closed"
    return closings[-1]


def has_list(entry):
    """Is the path of the ephemeral in the transaction?"""
    return b"/ephemeral" in entry.data


@pytest.mark.parametrize("value, is_listed", [("true", True), ("false", False), ("no", False)])
def test_the_list_of_a_closed_session_follows_its_key(peer, standalone, value, is_listed):
    """Without the list, ours has no digest either: servers whose key is set the other way take it for the list."""
    lengths = {}
    for kind in ("java", peer):
        server = standalone(kind, settings={"closeSessionTxn.enabled": value}).start().wait_serving()
        client = server.connect(TIMEOUT_MS)
        client.create("/ephemeral", b"", wire.EPHEMERAL)
        client.close_session()
        server.stop()
        entry = last_closing(server.log_files())
        assert has_list(entry) == is_listed, f"{kind}: {entry.data}"
        lengths[kind] = len(entry.data)
    assert is_listed == (lengths["java"] == lengths[peer]) or peer == "java", lengths


def test_a_list_that_is_too_long_is_left_away_and_every_server_starts(ensemble):
    """Apache ZooKeeper writes the list however long it is, and its followers then cannot read it."""
    with ensemble({1: "quorate", 2: "quorate", 3: "quorate"}) as three:
        client = three[1].connect(TIMEOUT_MS)
        client.create("/stays", b"")
        client.create("/below", b"")
        for start in range(0, EPHEMERALS, 100):
            xids = []
            for number in range(start, start + 100):
                path = f"/below/{number:04}{'n' * NAME_BYTES}"
                xids.append(client.send(wire.CREATE, wire.create_body(path, b"", wire.EPHEMERAL)))
            for xid in xids:
                client.reply(xid)
        client.close_session()
        three.wait_quiet()
        before = tree.assert_equal_trees(three)
        assert "/stays" in before and not before["/below"].children
        for server in three:
            server.stop()
        closing = next(
            entry
            for entry in txnlog.read_all(three[1].log_files())
            if entry.name == "closeSession" and entry.session == client.session
        )
        assert len(closing.data) < NAME_BYTES
        three.start_led_by_highest()
        three.wait_quiet()
        assert not tree.assert_equal_trees(three)["/below"].children
        # One member after the other becomes a Java server on the same directory.
        for sid in (1, 2, 3):
            three.replace(sid, "java")
            three.wait_serving(sid)
        three.wait_quiet()
        assert not tree.assert_equal_trees(three)["/below"].children
        assert all(isinstance(server, harness.JavaServer) for server in three)
