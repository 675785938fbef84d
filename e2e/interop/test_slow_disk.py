"""A disk that was fast and hangs: its server goes on with the others, and keeps its role and its clients."""

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import tree
import wire
from harness import Ensemble

# While the file that SYNCS_HANG names is there, no sync comes back.
HANGING_SYNCS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static int synced(const char *call, int fd) {
    const char *file = getenv("SYNCS_HANG");
    while (file && access(file, F_OK) == 0)
        usleep(5000);
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, call);
    return real(fd);
}

int fsync(int fd) { return synced("fsync", fd); }
int fdatasync(int fd) { return synced("fdatasync", fd); }
"""
HANG = 4.0
WAIT_MAX = 1.5  # of one request; far below the hang, far above a moment of a busy machine
WARM_UP = 60  # writes one by one, after which the disk is known to be fast
SESSION_MS = 1000  # the shortest that two ticks allow
PINGS, PING_PAUSE = 12, 0.25  # three times as long as the session lives without them


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    """A library that makes syncs hang."""
    source = tmp_path_factory.mktemp("shim") / "hang.c"
    source.write_text(HANGING_SYNCS)
    library = source.with_suffix(".so")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture
def fast_disk():
    """A directory whose syncs take next to nothing."""
    place = Path(tempfile.mkdtemp(prefix="quorate-", dir="/dev/shm"))
    yield place
    shutil.rmtree(place)


def switched(server, shim):
    """The file that makes the syncs of a server hang once it is started."""
    switch = server.home / "syncs-hang"
    environment = {**server.environment(), "LD_PRELOAD": str(shim), "SYNCS_HANG": str(switch)}
    server.environment = lambda: environment
    return switch


# A leader may not be silent for syncLimit ticks of 500 ms, and it lets a follower go that acknowledges
# nothing for so long: the hang is twice as long as the first, and half as long as the second.
@pytest.mark.parametrize("role, sync_limit", [("leader", 4), ("follower", 16)])
def test_a_server_whose_disk_hangs_goes_on(fast_disk, peer, shim, role, sync_limit):
    kinds = {1: peer, 2: peer, 3: peer}
    with Ensemble(fast_disk, kinds, settings={"syncLimit": sync_limit}) as ensemble:
        switches = {server.sid: switched(server, shim) for server in ensemble}
        ensemble.start_led_by_highest()
        victim, other = (ensemble[3], ensemble[2]) if role == "leader" else (ensemble[2], ensemble[1])
        near, far = victim.connect(), other.connect()
        for path in ("/near", "/far"):
            far.create(path, b"")
        for number in range(WARM_UP):
            far.set("/far", b"%d" % number)

        switch = switches[victim.sid]
        switch.touch()
        end = time.monotonic() + HANG
        waits = []
        while time.monotonic() < end:
            for request in (
                lambda: far.set("/far", b"far"),
                lambda: near.get("/near"),
                lambda: near.set("/near", b"near"),
                near.ping,
            ):
                start = time.monotonic()
                request()
                waits.append(time.monotonic() - start)
            assert victim.mode() == role, victim.log_text()
            time.sleep(0.005)
        switch.unlink()
        assert max(waits) < WAIT_MAX, f"{len(waits)} requests, the longest took {sorted(waits)[-5:]}"
        assert len(waits) > 100

        # With its disk, it has everything that was written meanwhile.
        assert victim.mode() == role
        near.create("/after", b"")
        ensemble.wait_quiet()
        victim.kill()
        victim.start().wait_serving()
        ensemble.wait_quiet()
        assert tree.dump(victim) == tree.dump(other)


def test_a_session_at_a_follower_lives_while_its_write_waits(fast_disk, peer, shim):
    """The leader hears of the client's pings through the follower, although nothing can be committed: one
    member stands still, and the leader's disk hangs."""
    with Ensemble(fast_disk, {1: peer, 2: peer, 3: peer}) as ensemble:
        switch = switched(ensemble[3], shim)
        ensemble.start_led_by_highest()
        client = ensemble[1].connect(timeout_ms=SESSION_MS)
        assert client.timeout_ms == SESSION_MS
        client.create("/e", flags=wire.EPHEMERAL)
        ensemble[2].freeze()
        switch.touch()
        write = client.send(wire.SET_DATA, wire.set_body("/e", b"late"))
        for _ in range(PINGS):
            time.sleep(PING_PAUSE)
            client.send(wire.PING, b"", wire.PING_XID)
        client.socket.setblocking(False)
        with pytest.raises(BlockingIOError):  # nothing is answered yet
            client.socket.recv(1, socket.MSG_PEEK)
        client.socket.settimeout(10)
        assert ensemble[3].mode() == "leader"
        switch.unlink()
        ensemble[2].thaw()
        client.reply(write)
        for _ in range(PINGS):
            client.reply(wire.PING_XID)
        assert client.get("/e")[0] == b"late"
